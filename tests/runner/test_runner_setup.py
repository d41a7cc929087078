"""Setup commands: each ends with its own process, and nothing of a failed one is left."""

import asyncio
import os
import time

import pytest
from fake_cloud import FakeCloud, Json
from runner_kit import (
    AGENT_UID,
    BRANCH,
    SESSION_ID,
    Sandbox,
    agent_args,
    eventually,
    processes,
    setup_args,
)

from headstart.domain.channel import OUTPUT_TAIL_BYTES
from headstart_runner.processes import launcher
from headstart_runner.processes.output import LIVE_BYTES_PER_SECOND

pytestmark = pytest.mark.anyio


def tail(cloud: FakeCloud, command_id: str = "1.setup.1") -> str:
    """Return the retained output, which must be without gaps."""
    text, end = "", None
    for piece in cloud.of("output", commandId=command_id):
        assert end in (None, piece["offset"])
        end = piece["offset"] + len(piece["text"].encode())
        text += piece["text"]
    return text


async def test_the_first_failure_stops_the_setup_and_says_why(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    commands = ("echo fine", "echo wörking; echo 'E: no such package' >&2; exit 7", "touch never")
    failed = await cloud.do("setup", setup_args(*commands))

    assert failed["error"]["code"] == "SetupCommandFailed"
    reason = failed["error"]["reason"]
    assert reason == f"`{commands[1]}` exited with status 7: E: no such package"
    assert tail(cloud) == "fine\nwörking\nE: no such package\n"
    assert not (cloned.repository / "never").exists()
    kinds = [
        item.get("type", "result") for item in cloud.order if item.get("commandId") == "1.setup.1"
    ]
    assert kinds[-1] == "result"


async def test_a_failed_step_is_a_warning(
    cloud: FakeCloud, cloned: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    await cloud.do("setup", setup_args("exit 7"))
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.getMessage().startswith("1.setup.1 failed: SetupCommandFailed: ")


async def test_a_path_without_bash_is_a_failure_in_words(cloud: FakeCloud, cloned: Sandbox) -> None:
    failed = await cloud.do("setup", setup_args("make", PATH="/nonexistent"))

    assert failed["error"]["code"] == "SetupCommandFailed"
    reason = failed["error"]["reason"]
    assert reason == "`make` could not be started: there is no program bash on PATH"


async def test_a_command_that_hangs_is_stopped_at_its_own_limit(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    failed = await cloud.do("setup", setup_args("echo begun; sleep 61.5", command_timeout=1))

    assert failed["error"]["code"] == "SetupCommandTimedOut"
    assert failed["error"]["reason"] == "`echo begun; sleep 61.5` was stopped after 1 s"
    assert tail(cloud) == "begun\n"
    assert processes("sleep 61.5") == []


async def test_a_setup_over_its_whole_limit_is_stopped_and_keeps_its_output(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    failed = await cloud.do("setup", setup_args("echo begun; sleep 61.6"), limit=1)

    assert failed["error"]["code"] == "StepTimedOut"
    assert tail(cloud) == "begun\n"
    assert processes("sleep 61.6") == []


async def test_standard_input_is_empty(cloud: FakeCloud, cloned: Sandbox) -> None:
    done = await cloud.do("setup", setup_args("read -r answer || echo none > answer"))

    assert done["status"] == "completed"
    assert (cloned.repository / "answer").read_text() == "none\n"


async def test_of_a_flood_of_output_little_is_shown_and_the_end_is_kept(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    flood = "yes 'all work and no play makes jack a dull boy' | head -c 10000000; exit 3"
    began = time.monotonic()
    failed = await cloud.do("setup", setup_args(flood))
    seconds = time.monotonic() - began

    assert failed["error"]["code"] == "SetupCommandFailed"
    kept = tail(cloud)
    assert len(kept) == OUTPUT_TAIL_BYTES
    live = [event for event in cloud.of("progress") if event.get("output")]
    shown = sum(len(event["output"].encode()) for event in live)
    assert 0 < shown <= LIVE_BYTES_PER_SECOND * (seconds + 1)
    assert "MB of output not shown live" in cloud.of("progress")[-1]["message"]
    offsets = [event["outputOffset"] for event in live]
    assert offsets == sorted(offsets)


async def test_live_output_arrives_while_the_command_runs(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    go = cloned.repository / "go"
    command = (
        "printf 'gr\\303'; sleep 0.05; printf '\\274n\\n'; until [ -e go ]; do sleep 0.02; done"
    )
    await cloud.start("setup", setup_args(command))
    await cloud.until(lambda: "".join(e["output"] or "" for e in cloud.of("progress")) == "grün\n")
    go.touch()

    assert (await cloud.result("1.setup.1"))["status"] == "completed"


async def test_a_daemon_lives_on_after_success(cloud: FakeCloud, cloned: Sandbox) -> None:
    began = time.monotonic()
    done = await cloud.do(
        "setup", setup_args("(while sleep 0.05; do echo tick; date > tick; done) & echo up")
    )

    assert done["status"] == "completed"
    assert time.monotonic() - began < 15
    tick = cloned.repository / "tick"
    await eventually(tick.exists)
    tick.unlink()
    await eventually(tick.exists)
    await cloned.stop()
    await asyncio.sleep(0.1)
    tick.unlink(missing_ok=True)
    await asyncio.sleep(0.2)
    assert not tick.exists()


ESCAPES = {
    "child": "sleep 61.{n}",
    "setsid": "setsid sleep 61.{n} & sleep 62",
    "double fork": "(setsid bash -c 'sleep 61.{n} & disown' &) ; sleep 62",
    "clean environment": "env -i setsid -f /bin/sleep 61.{n}; sleep 62",
    "ignores SIGTERM": "trap '' TERM HUP INT; setsid -f sleep 61.{n}; sleep 62",
}


ENDINGS = [(escape, "cancel") for escape in ESCAPES] + [
    ("child", "failure"),
    ("setsid", "failure"),
    ("setsid", "timeout"),
]


@pytest.mark.parametrize(("escape", "end"), ENDINGS)
async def test_nothing_escapes_a_command_that_does_not_succeed(
    cloud: FakeCloud, cloned: Sandbox, escape: str, end: str
) -> None:
    number = f"{list(ESCAPES).index(escape)}{ord(end[0])}"
    command = ESCAPES[escape].format(n=number)
    if end == "failure":
        command = command.replace("sleep 62", "sleep 0.2; exit 1").replace(
            "sleep 61", "(sleep 61" if escape == "child" else "sleep 61"
        )
        command += ") & sleep 0.2; exit 1" if escape == "child" else ""
    args: Json = setup_args(command, command_timeout=1 if end == "timeout" else 20)
    await cloud.start("setup", args)
    await eventually(lambda: processes(f"sleep 61.{number}"))
    if end == "cancel":
        await cloud.cancel("1.setup.1")
        await eventually(lambda: not processes(f"sleep 61.{number}"))
        assert cloud.results.get("1.setup.1") is None
    else:
        result = await cloud.result("1.setup.1")
        assert result["status"] == "failed"
        assert processes(f"sleep 61.{number}") == []


@pytest.mark.skipif(AGENT_UID is not None, reason="another uid's commands can't stop a nanny")
@pytest.mark.parametrize("end", ["wait", "exit"])
async def test_a_command_that_stops_its_nanny_is_stopped_at_its_limit_all_the_same(
    cloud: FakeCloud, cloned: Sandbox, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(launcher, "_NANNY_SECONDS", 0.2)
    marker = f"sleep 3{os.getpid()}"
    command = f"setsid {marker} & {marker} & kill -STOP $PPID; {end}"
    failed = await cloud.do("setup", setup_args(command, command_timeout=1))

    assert failed["error"]["code"] == "SetupCommandTimedOut"
    assert processes(marker) == []


async def test_a_new_try_kills_the_older_one_and_a_repeated_id_starts_nothing(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    args = setup_args("echo x >> count; exec sleep 61.97")
    await cloud.start("setup", args)
    await eventually(lambda: processes("sleep 61.97"))
    before = processes("sleep 61.97")
    await cloud.start("setup", args)
    await cloud.do("abort", {"turnId": "none"})
    await asyncio.sleep(0.2)
    assert processes("sleep 61.97") == before
    done = await cloud.do("setup", setup_args("wc -l < count > lines"), name="1.setup.2")

    assert done["status"] == "completed"
    assert processes("sleep 61.97") == []
    assert (cloned.repository / "lines").read_text().strip() == "1"
    assert "1.setup.1" not in cloud.results
    await cloud.start("setup", args)
    again = await cloud.result("1.setup.1")
    assert again["error"]["code"] == "Cancelled"


async def test_a_finished_command_is_answered_again_without_being_done_again(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    args = setup_args("echo x >> count")
    first = await cloud.do("setup", args)
    cloud.results.clear()
    second = await cloud.do("setup", args)

    assert second == first
    assert (cloned.repository / "count").read_text() == "x\n"


async def test_commands_see_no_environment_of_the_runner(
    cloud: FakeCloud, cloned: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_KEY", "not-for-children")
    await cloud.do("setup", setup_args("env | cut -d= -f1 | sort > names", COLOR="blue"))

    names = set((cloned.repository / "names").read_text().split())
    ours = {"HEADSTART_ENV", "HEADSTART_PATH", "HEADSTART_ATTEMPT_CAUSE", "HEADSTART_SESSION_ID"}
    person = {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "USER"}
    assert names == {"COLOR", "PWD", "SHLVL", "_", *person, *ours}


async def test_commands_know_who_they_run_as(cloud: FakeCloud, cloned: Sandbox) -> None:
    await cloud.do("setup", setup_args('echo "$USER $LOGNAME $(id -un) $SHELL $LANG" > said'))

    user, login, name, shell, language = (cloned.repository / "said").read_text().split()
    assert user == login == name
    assert (shell, language) == ("/bin/bash", "C.UTF-8")


REMOVAL = 'rm -rf "$PWD"'


@pytest.mark.parametrize(
    "commands",
    [("echo a", REMOVAL), (REMOVAL, "echo b"), (f"{REMOVAL}; exit 3",)],
    ids=["at the end", "before another", "in one that fails"],
)
async def test_a_command_that_removes_the_work_tree_is_told_from_others(
    cloud: FakeCloud, cloned: Sandbox, commands: tuple[str, ...]
) -> None:
    failed = await cloud.do("setup", setup_args(*commands))
    again = await cloud.do("setup", setup_args(*commands), name="1.setup.2")

    for result in (failed, again):
        assert result["error"] == {
            "code": "WorkspaceGone",
            "reason": "The work tree is gone from the sandbox, a setup command may have removed "
            "it: a retry begins with a new sandbox",
            "retryable": True,
        }


async def test_a_command_that_removes_what_the_agent_keeps_in_home_costs_a_new_session_nothing(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    await cloud.do("restore", {"agent": "demo", "sessionId": SESSION_ID, "title": ""})
    removed = await cloud.do("setup", setup_args('rm -rf "$HOME"'))
    started = await cloud.do("agent", agent_args())

    assert (removed["status"], started["status"]) == ("completed", "completed")


async def test_a_session_that_the_agent_had_and_lost_is_told_from_others(
    cloud: FakeCloud, cloned: Sandbox
) -> None:
    await cloud.do("restore", {"agent": "demo", "sessionId": SESSION_ID, "title": ""})
    await cloud.do("agent", agent_args())
    await cloud.do("setup", setup_args('rm -rf ~/.local; echo A=1 >> "$HEADSTART_ENV"'))
    failed = await cloud.do("agent", agent_args(), name="2.agent")

    assert failed["error"] == {
        "code": "WorkspaceGone",
        "reason": "demo no longer has the session, a setup command may have removed it from HOME: "
        "a retry begins with a new sandbox",
        "retryable": True,
    }


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("branch", {"branch": BRANCH}),
        ("restore", {"agent": "demo", "sessionId": SESSION_ID, "title": ""}),
        ("agent", agent_args()),
    ],
)
async def test_no_step_begins_without_the_work_tree(
    cloud: FakeCloud, sandbox: Sandbox, kind: str, args: Json
) -> None:
    failed = await cloud.do(kind, args)

    assert failed["error"]["code"] == "WorkspaceGone"
