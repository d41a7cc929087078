"""Setup commands: what ran well runs once, a base is made of it, and scripts are lines of CI."""

import signal

import pytest
from fake_cloud import FakeCloud, Json
from runner_kit import (
    SESSION_ID,
    Sandbox,
    eventually,
    processes,
    setup_args,
)

pytestmark = pytest.mark.anyio


def skipped(result: Json) -> list[bool]:
    return [command["skipped"] for command in result["output"]["commands"]]


async def test_what_ran_well_is_skipped_until_something_before_it_changes(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    commands = ["echo a >> ran", "echo b >> ran"]

    async def run(number: int, *commands: str, **env: str) -> Json:
        return await cloud.do("setup", setup_args(*commands, **env), name=f"1.setup.{number}")

    failed = await run(1, *commands, "echo c >> ran; exit 1")
    assert failed["status"] == "failed"
    again = await run(2, *commands, "echo d >> ran")
    assert skipped(again) == [True, True, False]
    shown = [event["message"] for event in cloud.of("progress", commandId="1.setup.2")]
    assert shown[-1] == "The setup is done; 2 skipped, they ran before"
    assert skipped(await run(3, *commands)) == [True, True]
    assert skipped(await run(4, commands[0], "echo e >> ran")) == [True, False]
    # Its successor has changed what it left, so it counts no more.
    assert skipped(await run(5, *commands)) == [True, False]
    assert skipped(await run(6, *commands, CI="1")) == [False, False]
    assert (cloned.repository / "ran").read_text().split() == list("abcdebab")


async def test_a_command_whose_daemon_was_killed_runs_again(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    daemon = "(sleep 63.7 >/dev/null 2>&1 &)"
    await cloud.do("setup", setup_args("true", daemon, "true", "exit 1"))
    assert processes("sleep 63.7") == []
    again = await cloud.do("setup", setup_args("true", daemon, "true"), name="1.setup.2")
    assert skipped(again) == [True, False, False]
    assert processes("sleep 63.7")


async def test_commands_are_told_why_and_for_whom_they_run_and_are_skipped_all_the_same(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    args = setup_args('echo "$HEADSTART_ATTEMPT_CAUSE $HEADSTART_SESSION_ID" >> told', "exit 1")
    await cloud.do("setup", args | {"cause": "created"})
    again = setup_args(args["commands"][0], 'echo "$HEADSTART_ATTEMPT_CAUSE" >> told')
    done = await cloud.do("setup", again | {"cause": "retry"}, name="1.setup.2")

    assert skipped(done) == [True, False]
    assert (cloned.repository / "told").read_text() == f"created {SESSION_ID}\nretry\n"


async def test_no_commands_are_fine(cloud: FakeCloud, cloned: Sandbox) -> None:
    done = await cloud.do("setup", setup_args())

    assert done["output"] == {"commands": [], "base": None, "notes": []}


async def test_a_base_is_made_when_the_commands_took_longer_than_that(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    slow = await cloud.do("setup", setup_args("sleep 0.1") | {"baseAfterMs": 50})
    fast = await cloud.do("setup", setup_args("true") | {"baseAfterMs": 60_000}, name="1.setup.2")
    unasked = await cloud.do("setup", setup_args("sleep 0.1", "true"), name="1.setup.3")
    cloned_for_long = await cloud.do("setup", setup_args() | {"baseAfterMs": 0}, name="1.setup.4")

    for made in (slow, cloned_for_long):
        base = made["output"]["base"]
        assert base["bytes"] > 0
        assert base["elapsedMs"] >= 0
    assert (fast["output"]["base"], unasked["output"]["base"]) == (None, None)


async def test_no_base_is_made_of_what_changes_meanwhile_and_the_setup_is_done(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    busy = "(while :; do date +%N > busy; done) > /dev/null 2>&1 &"
    made = await cloud.do("setup", setup_args(busy, "sleep 0.1") | {"baseAfterMs": 50})

    assert made["status"] == "completed"
    assert made["output"]["base"] is None
    [note] = made["output"]["notes"]
    assert note.startswith("No prepared tree was made: it lacks repo")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo a\nfalse\necho b > never", "`echo a …` exited with status 1: a"),
        ("false | cat\necho b > never", "`false | cat …` exited with status 1"),
    ],
)
async def test_a_script_stops_at_its_first_failing_line(
    cloud: FakeCloud, cloned: Sandbox, script: str, reason: str
) -> None:
    failed = await cloud.do("setup", setup_args(script))

    assert failed["error"]["reason"] == reason
    assert not (cloned.repository / "never").exists()


async def test_a_script_with_the_line_ends_of_windows_works(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    script = "if true; then\r\n  echo a \\\r\n    b > said\r\nfi\r\ntouch last\r"
    done = await cloud.do("setup", setup_args(script))

    assert done["status"] == "completed", done
    assert (cloned.repository / "said").read_text() == "a b\n"
    assert (cloned.repository / "last").exists()


async def test_a_long_script_is_run_whole_and_told_of_in_a_line(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    script = "\n".join(["echo begun", *[f": {'漢' * 240}"] * 40, "echo done > last"])
    done = await cloud.do("setup", setup_args(script))

    assert done["output"]["commands"][0]["command"] == "echo begun …"
    assert (cloned.repository / "last").read_text() == "done\n"
    assert all(len(event["message"]) < 100 for event in cloud.of("progress"))


async def test_commands_begin_with_no_signal_ignored_or_blocked(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        await cloud.do("setup", setup_args("grep -E '^Sig(Ign|Blk)' /proc/self/status > signals"))
    finally:
        signal.signal(signal.SIGHUP, before)

    words = (cloned.repository / "signals").read_text().split()
    # 32 and 33 are the C library's own (signal(7)): nobody else can set what is inherited of them.
    ours = ~(0b11 << 31)
    assert [int(word, 16) & ours for word in words[1::2]] == [0, 0]


async def test_a_viewer_who_joins_in_the_middle_sees_what_was_printed_before(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    await cloud.watch(0)
    await cloud.start(
        "setup", setup_args("echo early; touch printed; until [ -e go ]; do sleep 0.02; done")
    )
    await eventually((cloned.repository / "printed").exists)
    await cloud.watch(1)
    await cloud.until(lambda: any(event.get("output") for event in cloud.of("progress")))
    (cloned.repository / "go").touch()
    await cloud.result("1.setup.1")

    shown = [event for event in cloud.of("progress") if event.get("output")]
    assert "".join(event["output"] for event in shown) == "early\n"
    assert shown[0]["outputOffset"] == 0
