"""An agent that is dead or hangs: its session's work sleeps and wakes, and its user goes on."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flow.conftest import Cloud, Repositories
from tests.flow.test_sleep import (
    FILES,
    WORK,
    fall_asleep,
    first_turn,
    repository_of,
    seen,
    send,
    stop_task,
)

CRASHES = 4
"""One more than the runner takes for bad luck."""

_AWAY_SECONDS = 5.0


def agents_in(repository: Path) -> list[int]:
    """Return the agent's servers of the session that has this clone."""
    home = b"HOME=" + os.fsencode(repository.parent / "home")
    found = []
    for process in Path("/proc").iterdir():
        try:
            serves = b"headstart_demo_agent\0serve" in (process / "cmdline").read_bytes()
            if serves and home in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def kill_often(repository: Path) -> None:
    """Kill the agent each time that it comes back, until it does not any more.

    One that was killed before it served is started no more either.
    """
    killed: set[int] = set()
    while len(killed) < CRASHES:
        end = time.monotonic() + _AWAY_SECONDS
        while not (here := set(agents_in(repository)) - killed):
            if time.monotonic() > end:
                return
            time.sleep(0.05)
        for pid in here:
            os.kill(pid, signal.SIGKILL)
        killed |= here


def ruin(repository: Path) -> None:
    """Break what the agent keeps, and kill it: it can't be started again."""
    [pid] = agents_in(repository)
    store = repository.parent / "home/.local/share/demo-agent/demo-agent.db"
    store.write_bytes(b"no database" * 1000)
    os.kill(pid, signal.SIGKILL)


def hang(repository: Path) -> None:
    """Stop the agent where it is."""
    [pid] = agents_in(repository)
    os.kill(pid, signal.SIGSTOP)


Leave = Callable[[Cloud, str], None]


@pytest.mark.parametrize(
    ("fault", "leave"),
    [
        pytest.param(kill_often, stop_task, marks=pytest.mark.long),
        pytest.param(ruin, stop_task, marks=pytest.mark.long),
        pytest.param(hang, stop_task, marks=pytest.mark.long),
        (ruin, fall_asleep),
    ],
)
def test_the_work_is_there_after_the_wake(
    cloud: Cloud,
    repositories: Repositories,
    fault: Callable[[Path], None],
    leave: Leave,
) -> None:
    url = repositories.make(f"{fault.__name__}-{leave.__name__}", FILES)
    session_id = first_turn(cloud, gitUrl=url, setupCommands=[WORK])
    repository = repository_of(session_id)
    before = seen(repository)
    with cloud.watch(session_id) as viewer:
        fault(repository)
        leave(cloud, session_id)
        asleep = viewer.until_type("session.asleep")
    assert asleep["data"]["saved"] is True
    if fault is not kill_often:  # an agent that came back once more has told its session
        assert "; saved without the agent's session" in asleep["data"]["reason"]

    send(cloud, session_id, "And now?")
    with cloud.watch(session_id, after=asleep["eventId"]) as viewer:
        viewer.until_type("turn.completed", "session.failed")
    session = cloud.wait(session_id, "running")
    assert session["status"] == "ready", session["failure"]
    assert seen(repository_of(session_id)) == before
    [restore] = [step for step in session["attempt"]["steps"] if step["step"] == "restore"]
    said = asleep["data"]["reason"].partition("saved without ")[2]
    assert restore.get("message", "").partition("Put back without ")[2] == said


@pytest.mark.long
def test_a_message_starts_an_agent_again_that_crashed_too_often(cloud: Cloud) -> None:
    session_id = first_turn(cloud)
    kill_often(repository_of(session_id))
    send(cloud, session_id, "Are you there?")
    with cloud.watch(session_id) as viewer:
        for _ in range(2):
            viewer.until_type("turn.completed", "message.failed")
    assert cloud.wait(session_id, "running")["status"] == "ready"
    ends = [e["type"] for e in cloud.events(session_id) if e["type"].startswith("turn.")]
    assert ends == ["turn.started", "turn.completed"] * 2
