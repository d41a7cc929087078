"""Attempts in a test: failed, tried again in one sandbox or the next, and woken."""

from datetime import timedelta
from typing import Any

from headstart.adapters.memory import MemoryPorts
from headstart.domain.archive import Tree
from headstart.domain.attempt import StepRecord
from headstart.domain.errors import (
    StepError,
)
from headstart.domain.life.beginning import new_session
from headstart.domain.requests import CreateSession, RetrySession
from headstart.domain.steps import STEPS, StepName, StepStatus
from headstart.domain.tree import tree_key
from headstart.usecases import talk
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.archives import BASE, last, save
from tests.unit.helpers import Runner, begin, created, prepared_up_to
from tests.unit.test_sleep import falling, say

S = StepName
SLOW = 16
"""Seconds that are more than `PreparedTreeAfter`."""


def record(ports: MemoryPorts, session_id: str, step: StepName) -> StepRecord:
    """Return how a step of the present attempt stands."""
    return ports.store.sets[session_id].attempt.step(step)


def skipped(ports: MemoryPorts, session_id: str, step: StepName) -> str | None:
    """Return why a step was skipped, None where it was not."""
    found = record(ports, session_id, step)
    return found.message if found.status is StepStatus.SKIPPED else None


def again(ports: MemoryPorts, session_id: str, number: int = 2) -> Runner:
    """Let the sandbox of a further attempt say hello."""
    begin(ports, session_id, S.SANDBOX, attempt=number)
    runner = Runner(ports, session_id, connection_id=f"r{number}", process=f"p{number}")
    runner.connect()
    runner.hello()
    return runner


def through(runner: Runner, upto: StepName, number: int = 2, **cloned: Any) -> None:
    """Do the steps of an attempt before `upto`; the clone answers `cloned`."""
    for step in STEPS[1:]:
        if step.name is upto:
            break
        begin(runner.ports, runner.session_id, step.name, attempt=number)
        if record(runner.ports, runner.session_id, step.name).status is not StepStatus.SKIPPED:
            output = cloned if step.name is S.CLONE else {}
            runner.complete(f"{number}.{step.name.value}.1", **output)


def failed_at(ports: MemoryPorts, step: StepName, error: StepError, **body: Any) -> str:
    """Return a session that failed at a step of its first attempt, its sandbox still there."""
    session_id = created(ports, **{"setupCommands": ["npm ci"], **body})
    prepared_up_to(ports, session_id, step)
    fail_preparation(ports, session_id, 1, error)
    return session_id


def retried(ports: MemoryPorts, session_id: str, **more: Any) -> None:
    request = {"attemptNumber": 1, **more}
    talk.retry(ports, "alice", session_id, RetrySession.model_validate(request))


def in_another_sandbox(ports: MemoryPorts, session_id: str) -> None:
    """Let a failed session's sandbox end before the retry."""
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    ports.sandboxes.alive.clear()


def awake(ports: MemoryPorts) -> Runner:
    """Return the sandbox of a session that was saved and woken."""
    session_id, runner = falling(ports)
    save(ports, runner)
    say(ports, session_id)
    return again(ports, session_id)


def put_tree(ports: MemoryPorts, **more: Any) -> Tree:
    """Have a prepared tree for what alice asks for with `npm ci`, made two hours ago."""
    session = new_session(
        CreateSession(prompt="x", github_repo="org/name", setup_commands=["npm ci"]),
        ports.policy,
        session_id="ses_0",
        owner="alice",
        now=ports.clock(),
        key=None,
    ).session
    key = tree_key(session.recipe or "", ports.policy.image)
    known: dict[str, Any] = {
        "key": key,
        "file": {"key": f"trees/{key}/one", "bytes": 9, "sha256": "tree"},
        "commit": "a" * 40,
        "branch": "session/ses_0",
        "made_ms": 60_000,
        "created_at": ports.clock() - timedelta(hours=2),
        "expires_at": ports.clock() + timedelta(days=1),
    }
    tree = Tree.model_validate({**known, **more})
    ports.store.trees[key] = tree
    ports.objects.stored[tree.file.key] = (tree.file.bytes, tree.file.sha256)
    return tree


def with_base(ports: MemoryPorts) -> tuple[str, Runner, dict[str, Any]]:
    """Return a session whose setup has made a base, and that base's upload."""
    session_id = created(ports, setupCommands=["npm ci"])
    runner = prepared_up_to(ports, session_id, S.SETUP)
    begin(ports, session_id, S.SETUP)
    runner.complete("1.setup.1", base=BASE)
    return session_id, runner, last(runner, "upload")
