"""What a setup command's failure says: how it ended, and its own last words, plain."""

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, setup_args

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("kill -SEGV $$", "was killed by SIGSEGV (signal 11)"),
        ("exit 137", "exited with status 137, killed by SIGKILL (signal 9)"),
        ("exit 129", "exited with status 129, killed by SIGHUP (signal 1)"),
        ("exit 160", "exited with status 160, killed by signal 32"),
        ("exit 192", "exited with status 192, killed by SIGRTMAX (signal 64)"),
        ("exit 128", "exited with status 128"),
        ("exit 141", "exited with status 141, killed by SIGPIPE (signal 13)"),
        ("exit 193", "exited with status 193"),
        ("exit 255", "exited with status 255"),
    ],
)
async def test_how_a_command_ended_is_told(
    cloud: FakeCloud, cloned: Sandbox, command: str, how: str
) -> None:
    failed = await cloud.do("setup", setup_args(command))

    assert failed["error"]["reason"] == f"`{command}` {how}"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (r"\033[31mE: no such \033[1mpackage\033[0m\n\033[0m\033[K\n", "E: no such package"),
        (r"10%%\r50%%\rfailed at 50%%\r\n", "failed at 50%"),
        (r"\033]0;title\007done \033]8;;http://x\033\\link\033]8;;\033\\\n", "done link"),
    ],
)
async def test_what_a_command_says_last_is_told_plain(
    cloud: FakeCloud, cloned: Sandbox, output: str, said: str
) -> None:
    (cloned.repository / "says").write_text(f"printf '{output}'; exit 1\n")
    failed = await cloud.do("setup", setup_args("bash says"))

    assert failed["error"]["reason"] == f"`bash says` exited with status 1: {said}"


async def test_the_last_output_is_kept_as_people_see_it(cloud: FakeCloud, cloned: Sandbox) -> None:
    begin = r"printf '\033[2K\033[1G\033[32m10%%'; sleep 0.1"
    end = r"printf '\r50%%\r\033[31mfailed\033[0m\r\nat last\n'"
    (cloned.repository / "says").write_text(f"{begin}; {end}; exit 1\n")
    await cloud.do("setup", setup_args("bash says"))

    assert "".join(piece["text"] for piece in cloud.of("output")) == "failed\nat last\n"
    assert "\\u001b" not in cloud.everything()


async def test_a_command_is_never_taken_for_an_option(cloud: FakeCloud, cloned: Sandbox) -> None:
    (cloned.repository / "-x").write_text("echo done > ran")
    (cloned.repository / "-x").chmod(0o755)
    done = await cloud.do("setup", setup_args("-x", PATH=f"{cloned.repository}:/usr/bin:/bin"))
    listed = await cloud.do("setup", setup_args("- npm ci"), name="1.setup.2")

    assert done["status"] == "completed", done
    assert (cloned.repository / "ran").read_text() == "done\n"
    assert listed["error"]["reason"] == (
        "`- npm ci` exited with status 127 (without the `- ` of a list in YAML it may work): "
        "bash: line 1: -: command not found"
    )


async def test_a_long_command_does_not_hide_how_it_ended(cloud: FakeCloud, cloned: Sandbox) -> None:
    failed = await cloud.do("setup", setup_args(f"echo {'漢' * 400}; exit 9"))

    reason = failed["error"]["reason"]
    assert "…` exited with status 9: 漢漢漢" in reason
    assert len(reason.encode()) < 1_100
