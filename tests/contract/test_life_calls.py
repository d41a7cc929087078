"""What the rest of a session's life costs, beyond the calls of test_session_calls.

Sleep, wake and deletion; and what all of it prints and asks of the bucket.
"""

from dataclasses import dataclass, field
from typing import Any

from headstart.adapters.memory import MemoryObjects
from headstart.domain.archive import StoredFile
from headstart.domain.policy import DUE_SHARDS
from headstart.domain.requests import SendMessage
from headstart.domain.session import Status
from headstart.domain.steps import STEPS
from headstart.usecases import janitor
from headstart.usecases.delete import delete_session
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.talk import send_message
from headstart.usecases.watch import disconnect
from tests.contract.test_session_calls import (
    A_SESSION,
    BATCH,
    COMMIT,
    DELETE,
    GET,
    QUERY,
    Drive,
    in_turn,
)

Measured = list[tuple[str, dict[str, str]]]


@dataclass
class CountedObjects(MemoryObjects):
    """A bucket that knows what was asked of it."""

    asked: list[str] = field(default_factory=list)

    def is_there(self, file: StoredFile) -> bool:
        self.asked.append("head")
        return super().is_there(file)

    def drop(self, key: str) -> None:
        self.asked.append("drop")
        super().drop(key)

    def delete(self, prefix: str) -> None:
        self.asked.append("delete all")
        super().delete(prefix)


def answered(client: Any) -> Drive:
    """Return a session whose first turn is over and saved, and whose viewer has left."""
    drive, turn_id = in_turn(client)
    drive.ports.objects = CountedObjects()
    drive.answer(turn_id)
    drive.save()
    disconnect(drive.ports, "v1")
    drive.calls.clear()
    return drive


def fall_asleep(drive: Drive) -> None:
    """Let the session be idle until the janitor looks, be saved and its sandbox stop."""
    drive.ports.clock.advance(minutes=16)
    with drive.counting("the janitor looks"):
        janitor.sweep(drive.ports)
    drive.save()
    with drive.counting("its runner leaves"):
        disconnect(drive.ports, drive.runner)
    [name] = drive.ports.sandboxes.specs
    with drive.counting("its sandbox stopped"):
        sandbox_stopped(drive.ports, name, f"task:{name}", "the session sleeps")


def wake(drive: Drive) -> str:
    """Wake the session with a message; returns the turn that this begins."""
    with drive.counting("a message wakes it"):
        send_message(drive.ports, "alice", drive.session_id, SendMessage(prompt="And now?"), None)
    drive.attempt = 2
    drive.connect()
    for step in STEPS[1:-1]:
        drive.step(step.name)
    return drive.deliver()


SLEEP = {
    # Who is due, and who waits in line; then the session, which is asked for its copy.
    "the janitor looks": {QUERY: DUE_SHARDS + 3, COMMIT: 1},
    "the copy is made": {QUERY: 1, COMMIT: 1},
    # Of the copy before nothing is read but its name; the sandbox is given up with the commit.
    "the copy is sent": {QUERY: 2, BATCH: 1, COMMIT: 2},
    "its runner leaves": {DELETE: 1, QUERY: 1, COMMIT: 1},
    "its sandbox stopped": {QUERY: 1},
}
"""All calls to the table of a session that falls asleep."""

WAKE = {
    "a message wakes it": {QUERY: 1, COMMIT: 1},
    "sandbox": A_SESSION["sandbox"],
    "runner connects": A_SESSION["runner connects"],
    "hello": A_SESSION["hello"],
    # The clone is told which copy to put back, too.
    "steps begin": {QUERY: 7, BATCH: 3, GET: 1, COMMIT: 7},
    "a step goes on": A_SESSION["a step goes on"],
    "steps end": A_SESSION["steps end"],
    "finish": A_SESSION["finish"],
}
"""All calls to the table of a session that wakes, until its message is delivered."""


def test_sleep_and_wake_cost_about_what_a_preparation_does(dynamodb: Any) -> None:
    drive = answered(dynamodb)
    fall_asleep(drive)
    assert drive.ports.store.session(drive.session_id).status is Status.ASLEEP
    assert drive.calls == SLEEP
    drive.calls.clear()
    wake(drive)
    assert drive.ports.store.session(drive.session_id).status is Status.RUNNING
    assert drive.calls == WAKE


def test_a_deletion_reads_what_there_is_and_deletes_it_at_once(dynamodb: Any) -> None:
    drive = answered(dynamodb)
    with drive.counting("deleted"):
        delete_session(drive.ports, "alice", drive.session_id)
    assert drive.calls["deleted"] == {QUERY: 3, GET: 1, DELETE: 1, COMMIT: 2, "BatchWriteItem": 1}


def test_the_bucket_lists_nothing_until_the_session_is_deleted(dynamodb: Any) -> None:
    """Lists are its dearest requests: what a copy replaces is named, and goes by its name."""
    drive = answered(dynamodb)
    bucket: Any = drive.ports.objects
    assert bucket.asked == ["head", "head"]
    fall_asleep(drive)
    # The second copy replaces the first, base and difference.
    assert bucket.asked == ["head"] * 4 + ["drop"] * 2
    drive.answer(wake(drive))
    drive.save()
    assert bucket.asked == (["head"] * 4 + ["drop"] * 2 + ["head"] * 2 + ["drop"] * 2)
    delete_session(drive.ports, "alice", drive.session_id)
    assert bucket.asked[-1] == "delete all"
    assert bucket.asked.count("delete all") == 1


PREPARED = [("StepTime", {"Step": step.name.value}) for step in STEPS[1:-1]]
SAVED: Measured = [("ArchiveTime", {}), ("ArchiveBytes", {})]


def test_what_is_measured_of_a_session_is_a_line_each(dynamodb: Any) -> None:
    """A line is paid for, and each metric with its dimensions, by the month."""
    drive, turn_id = in_turn(dynamodb)
    drive.answer(turn_id)
    drive.save()
    beginning: Measured = [("SessionsCreated", {}), ("FastReturn", {})]
    first = [*beginning, *PREPARED, ("TimeToReady", {}), *SAVED]
    assert measured(drive) == first
    fall_asleep(drive)
    turn_id = wake(drive)
    drive.answer(turn_id)
    drive.save()
    assert measured(drive) == [*first, *SAVED, *PREPARED, ("TimeToReady", {}), *SAVED]


def measured(drive: Drive) -> Measured:
    """Return the metrics of which a line was written, in order."""
    return [(name, dimensions) for name, _, dimensions in drive.ports.metrics.measured]
