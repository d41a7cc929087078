"""Prepared trees in a test: made by one session, adopted by another."""

from typing import Any

from headstart.adapters.memory import MemoryPorts
from headstart.domain.archive import Tree
from headstart.domain.steps import STEPS, StepName
from headstart.usecases.prepare import finish_preparation
from tests.unit.archives import BASE, last, make, put
from tests.unit.attempts import (
    S,
    record,
)
from tests.unit.helpers import Runner, begin, created, turn_ended

COMMIT, TIP = "a" * 40, "b" * 40
ADOPTED: dict[str, Any] = {
    "adopted": "tree",
    "setup": "same package-lock.json",
    "fetched": 3,
    "commit": TIP,
    "defaultBranch": "main",
}


def up_to(ports: MemoryPorts, upto: StepName, *, base: Any = BASE, **cloned: Any) -> Runner:
    """Return a session that has done the steps before one; its setup took a minute."""
    return on(ports, created(ports, setupCommands=["npm ci"]), upto, base=base, **cloned)


def on(
    ports: MemoryPorts,
    session_id: str,
    upto: StepName,
    connection_id: str = "r1",
    *,
    base: Any = BASE,
    **cloned: Any,
) -> Runner:
    begin(ports, session_id, S.SANDBOX)
    runner = Runner(ports, session_id, connection_id)
    runner.connect()
    runner.hello()
    for step in STEPS[1:]:
        if step.name is upto:
            break
        begin(ports, session_id, step.name)
        if record(ports, session_id, step.name).status.value == "skipped":
            continue
        output = {"commit": COMMIT, **cloned} if step.name is S.CLONE else {}
        if step.name is S.SETUP:
            ports.clock.advance(minutes=1)
            output = {"base": base}
        runner.complete(f"1.{step.name.value}.1", **output)
    return runner


def keep(ports: MemoryPorts, runner: Runner) -> None:
    """Have the newest upload arrive, and be kept."""
    upload = last(runner, "upload")
    put(ports, upload)
    runner.complete(upload["id"])


def trees(ports: MemoryPorts) -> list[Tree]:
    return list(ports.store.trees.values())


def in_bucket(ports: MemoryPorts) -> set[str]:
    return {key for key in ports.objects.stored if key.startswith("trees/")}


def counted(ports: MemoryPorts) -> list[str]:
    return [name for name, _, _ in ports.metrics.measured if name.startswith("PreparedTrees")]


def delivered(ports: MemoryPorts, runner: Runner) -> None:
    begin(ports, runner.session_id, S.DELIVER)
    runner.complete(last(runner, "prompt")["id"], agentMessageId="m")
    finish_preparation(ports, runner.session_id, 1)


def adopter(ports: MemoryPorts) -> Runner:
    """Return a session that adopted a tree, its first turn over and its copy asked for."""
    runner = up_to(ports, S.DELIVER, **ADOPTED)
    delivered(ports, runner)
    runner.report(turn_ended(ports, runner.session_id))
    return runner


def made(ports: MemoryPorts, runner: Runner) -> dict[str, Any]:
    """Make the copy that was asked for; returns its upload, which has arrived."""
    make(runner, last(runner, "archive"))
    upload = last(runner, "upload")
    put(ports, upload)
    return upload


def told_asleep(ports: MemoryPorts, runner: Runner) -> dict[str, Any]:
    log = ports.store.event_log[runner.session_id]
    [asleep] = [event.data for event in log if event.type == "session.asleep"]
    return asleep
