"""What a session costs in calls to the table, counted where botocore sends them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from headstart.adapters.memory import MemoryPorts
from headstart.domain.requests import CallbackTarget, CreateSession, SendMessage
from headstart.domain.session import Status
from headstart.domain.steps import STEPS, StepName
from headstart.usecases.create import create_session
from headstart.usecases.deliver import take
from headstart.usecases.inbox import receive
from headstart.usecases.prepare import StepTask, finish_preparation, run_step
from headstart.usecases.talk import initiate, send_message
from headstart.usecases.watch import connect_runner, connect_viewer, disconnect
from tests.contract.helpers import LookedAt

SETUP = ["python3 -m compileall -q .", "git log --oneline -5"]
REQUEST = CreateSession(
    prompt="What is in here?", git_url="https://github.com/org/name.git", setup_commands=SETUP
)


FILE = {"bytes": 7, "sha256": "hash"}


class Drive:
    """A session driven from its creation to its sleep, as a runner and one viewer see it.

    `calls` are the calls to the table by what they were made for.
    """

    def __init__(self, client: Any) -> None:
        store: Any = LookedAt(client, "headstart")
        self.ports = MemoryPorts(store=store)
        self.calls: dict[str, Counter[str]] = {}
        self._phase: Counter[str] = Counter()
        self._seq = 0
        self.session_id, self.attempt = "", 1
        client.meta.events.register("before-call.dynamodb.*", self._note)

    def _note(self, model: Any, **_: Any) -> None:
        self._phase[model.name] += 1

    @contextmanager
    def counting(self, phase: str) -> Iterator[None]:
        """Count what is called within as made for that."""
        self._phase = self.calls.setdefault(phase, Counter())
        yield
        self._phase = Counter()

    @property
    def runner(self) -> str:
        """The connection of the present attempt's runner."""
        return f"r{self.attempt}"

    def say(self, action: str, **body: Any) -> None:
        """Say something as the accepted runner does."""
        frame = {"action": action, "sessionId": self.session_id, **body}
        self.ports.clock.advance(milliseconds=250)
        receive(self.ports, self.runner, json.dumps(frame))

    def report(self, *events: dict[str, Any], done: str = "", **output: Any) -> None:
        """Report events, or that a command is done."""
        self._seq += 1
        result = {"commandId": done, "status": "completed", "output": output}
        self.say("report", seq=self._seq, events=list(events), results=[result] if done else [])

    def beat(self, *running: str) -> None:
        """Send a heartbeat."""
        self.say("heartbeat", running=list(running), lastSeq=self._seq, viewers=1)

    def told(self, connection_id: str) -> list[dict[str, Any]]:
        """Return every frame that a connection was sent."""
        return [json.loads(text) for text in self.ports.sockets.sent[connection_id]]

    def commanded(self, kind: str) -> dict[str, Any]:
        """Return the newest command of a kind."""
        return [frame for frame in self.told(self.runner) if frame.get("kind") == kind][-1]

    def task(self, step: StepName) -> None:
        """Enter a state of the machine."""
        run_step(
            self.ports,
            StepTask(
                session_id=self.session_id,
                attempt_number=self.attempt,
                step=step,
                task_token=f"token-{step.value}",
            ),
        )

    # What happens, in order.

    def create(self, **more: Any) -> None:
        """Create the session, and let its viewer in."""
        request = REQUEST.model_copy(update=more)
        with self.counting("created"):
            created = create_session(self.ports, "alice", request, None)
        self.session_id = created["sessionId"]
        with self.counting("viewer connects"):
            connect_viewer(self.ports, "v1", created["stream"]["ticket"])
        with self.counting("viewer subscribes"):
            receive(self.ports, "v1", json.dumps({"action": "subscribe", "after": 0}))

    def connect(self) -> None:
        """Start the sandbox; its runner connects and says hello."""
        with self.counting("sandbox"):
            self.task(StepName.SANDBOX)
        key = list(self.ports.sandboxes.specs.values())[-1].key
        with self.counting("runner connects"):
            connect_runner(self.ports, self.runner, self.session_id, key)
        with self.counting("hello"):
            known = {"attemptNumber": self.attempt, "process": self.runner, "connection": 1}
            receive(self.ports, self.runner, json.dumps({"action": "hello", **known}))

    def step(self, step: StepName) -> None:
        """Do a step of the preparation; the one that takes longest says how it goes."""
        name = f"{self.attempt}.{step.value}.1"
        with self.counting("steps begin"):
            self.task(step)
        if step is StepName.SETUP:
            with self.counting("a step goes on"):
                progress = {"commandId": name, "message": "Working", "elapsedMs": 1}
                self.report({"type": "progress", **progress})
        with self.counting("steps end"):
            self.report(done=name)

    def deliver(self) -> str:
        """Deliver the first message; returns the turn that it begins."""
        with self.counting("steps begin"):
            self.task(StepName.DELIVER)
        prompt = self.commanded("prompt")
        with self.counting("steps end"):
            self.report(done=prompt["id"], agentMessageId="msg")
        with self.counting("finish"):
            finish_preparation(self.ports, self.session_id, self.attempt)
        return str(prompt["args"]["turnId"])

    def delta(self, turn_id: str, number: int = 0) -> None:
        """Report a word of the answer."""
        delta = {"turnId": turn_id, "partId": "p", "offset": 4 * number, "text": "word"}
        self.report({"type": "agent.delta", **delta})

    def part(self, turn_id: str) -> dict[str, Any]:
        """Return the final state of the answer's part."""
        data = {"kind": "text", "partId": "p", "text": "word" * 11}
        return {"type": "agent.event", "turnId": turn_id, "data": data}

    def answer(self, turn_id: str) -> None:
        """Stream an answer: eleven reports of deltas, then its part and the turn's end."""
        for number in range(11):
            if number in {3, 8}:
                with self.counting("heartbeats"):
                    self.beat(self.commanded("prompt")["id"])
            with self.counting("an answer streams"):
                self.delta(turn_id, number)
        with self.counting("the turn ends"):
            ended = {"type": "turn.ended", "turnId": turn_id, "messageId": "msg", "usage": {}}
            self.report(self.part(turn_id), ended)

    def save(self) -> None:
        """Make the copy of the work that the turn's end asks for, and send it."""
        with self.counting("the copy is made"):
            self.report(done=self.commanded("archive")["id"], base=FILE, difference=FILE)
        upload = self.commanded("upload")
        for file in upload["args"]["files"]:
            key = file["url"].removeprefix("https://objects.test/")
            self.ports.objects.stored[key] = (7, "hash")
        with self.counting("the copy is sent"):
            self.report(done=upload["id"])


def in_turn(client: Any) -> tuple[Drive, str]:
    """Return a session in its first turn, and that turn."""
    drive = Drive(client)
    drive.create()
    drive.connect()
    for step in STEPS[1:-1]:
        drive.step(step.name)
    return drive, drive.deliver()


GET, QUERY, DELETE = "GetItem", "Query", "DeleteItem"
BATCH, COMMIT = "BatchGetItem", "TransactWriteItems"
A_SESSION = {
    "created": {COMMIT: 1},
    # The ticket; it is let in if its session is there.
    "viewer connects": {GET: 1, COMMIT: 1},
    # Whose connection it is; the set, what waits in the queue, what happened so far.
    "viewer subscribes": {GET: 1, QUERY: 2, BATCH: 1, COMMIT: 1},
    # How long steps took before, and a prepared tree; the second commit remembers the task that
    # was started.
    "sandbox": {QUERY: 1, BATCH: 1, COMMIT: 2},
    "runner connects": {QUERY: 1, COMMIT: 1},
    "hello": {GET: 1, QUERY: 1, COMMIT: 1},
    # One step is told what was asked for; the last one delivers the head of the queue,
    # and looks at the session once more before a frame that can't be taken back.
    "steps begin": {QUERY: 7, BATCH: 2, GET: 1, COMMIT: 7},
    "a step goes on": {QUERY: 1},
    # The last one is the message's: it was delivered.
    "steps end": {QUERY: 7, BATCH: 1, COMMIT: 7},
    "finish": {QUERY: 1},
    "an answer streams": {QUERY: 11},
    "heartbeats": {QUERY: 2},
    "the turn ends": {QUERY: 1, COMMIT: 1},
    "the copy is made": {QUERY: 1, COMMIT: 1},
    # What was said to be sent is written down, looked for, and takes the place of the one before.
    "the copy is sent": {QUERY: 1, BATCH: 1, COMMIT: 2},
    "viewer leaves": {DELETE: 1, QUERY: 1, COMMIT: 1},
}
"""All calls to the table of one session that is watched by one viewer and says one answer."""

MOST = 75


def test_a_whole_session_makes_few_calls(dynamodb: Any) -> None:
    drive, turn_id = in_turn(dynamodb)
    drive.answer(turn_id)
    drive.save()
    with drive.counting("viewer leaves"):
        disconnect(drive.ports, "v1")
    session = drive.ports.store.session(drive.session_id)
    assert (session.status, session.saving) == (Status.READY, None)
    acks = [frame for frame in drive.told("r1") if frame["type"] == "ack"]
    assert [ack["seq"] for ack in acks] == list(range(1, 23))
    assert drive.calls == A_SESSION
    assert sum(sum(made.values()) for made in A_SESSION.values()) <= MOST


def made_by(drive: Drive, action: Callable[[], object]) -> dict[str, int]:
    """Return the calls that an action makes."""
    with drive.counting("this"):
        action()
    return dict(drive.calls.pop("this"))


def test_a_heartbeat_that_changes_nothing_is_one_read(dynamodb: Any) -> None:
    drive = Drive(dynamodb)
    drive.create()
    drive.connect()
    drive.task(StepName.DISK)
    # The first frame after the welcome says that the sandbox's first key is needed no more.
    assert made_by(drive, lambda: drive.beat("1.disk.1")) == {QUERY: 1, COMMIT: 1}
    assert made_by(drive, lambda: drive.beat("1.disk.1")) == {QUERY: 1}
    drive.report(done="1.disk.1")
    for step in STEPS[2:-1]:
        drive.step(step.name)
    turn_id = drive.deliver()
    prompt = drive.commanded("prompt")["id"]
    assert made_by(drive, lambda: drive.beat(prompt)) == {QUERY: 1}
    drive.answer(turn_id)
    drive.save()
    assert made_by(drive, drive.beat) == {QUERY: 1}
    # Once a minute it is written down that the runner lives.
    drive.ports.clock.advance(minutes=1)
    assert made_by(drive, drive.beat) == {QUERY: 1, COMMIT: 1}


def test_a_report_in_a_turn_is_a_read_and_a_write(dynamodb: Any) -> None:
    drive, turn_id = in_turn(dynamodb)
    say = partial(drive.report, drive.part(turn_id))
    assert made_by(drive, say) == {QUERY: 1, COMMIT: 1}
    # What only those who watch care for is not written; nor is what was taken before.
    assert made_by(drive, partial(drive.delta, turn_id)) == {QUERY: 1}
    drive._seq -= 1
    assert made_by(drive, partial(drive.delta, turn_id)) == {QUERY: 1}
    send = partial(send_message, drive.ports, "alice", drive.session_id)
    assert made_by(drive, lambda: send(SendMessage(prompt="more"), None)) == {QUERY: 1, COMMIT: 1}
    # The next message is at hand, should the turn end with this.
    assert made_by(drive, say) == {QUERY: 1, BATCH: 1, COMMIT: 1}


def test_a_runner_that_does_not_name_its_session_costs_one_read_more(dynamodb: Any) -> None:
    drive, turn_id = in_turn(dynamodb)
    drive.session_id, prompt = "", drive.commanded("prompt")["id"]
    assert made_by(drive, lambda: drive.beat(prompt)) == {GET: 1, QUERY: 1}
    say = partial(drive.report, drive.part(turn_id))
    assert made_by(drive, say) == {GET: 1, QUERY: 1, COMMIT: 1}


def test_a_held_message_is_read_when_it_may_move_and_not_at_each_step(dynamodb: Any) -> None:
    drive = Drive(dynamodb)
    drive.create(auto_initiate=False)
    drive.connect()
    for step in STEPS[1:-1]:
        drive.step(step.name)
    for phase in ("sandbox", "hello"):
        assert drive.calls[phase] == A_SESSION[phase]
    # One step is told what was asked for.
    assert drive.calls["steps begin"] == {QUERY: 6, BATCH: 1, COMMIT: 6}
    assert drive.calls["steps end"] == {QUERY: 6, COMMIT: 6}
    assert made_by(drive, lambda: drive.task(StepName.DELIVER)) == {QUERY: 1, BATCH: 1, COMMIT: 1}


def test_a_message_released_while_the_preparation_ends_is_delivered_with_its_end(
    dynamodb: Any,
) -> None:
    drive = Drive(dynamodb)
    drive.create(auto_initiate=False)
    drive.connect()
    for step in STEPS[1:-1]:
        drive.step(step.name)
    # The message is held, so nothing is delivered; then it is not held any more.
    drive.task(StepName.DELIVER)
    initiate(drive.ports, "alice", drive.session_id)
    finish = partial(finish_preparation, drive.ports, drive.session_id, 1)
    assert made_by(drive, finish) == {QUERY: 1, BATCH: 1, GET: 1, COMMIT: 1}
    prompt = drive.commanded("prompt")
    assert prompt["args"]["text"] == REQUEST.prompt
    drive.report(done=prompt["id"], agentMessageId="msg")
    assert drive.ports.store.session(drive.session_id).status is Status.RUNNING


def test_a_receiver_costs_a_session_one_deletion_for_each_change_that_it_hears_of(
    dynamodb: Any,
) -> None:
    """What is to be told goes with the events: no write more, until the queue has it."""
    drive = Drive(dynamodb)
    drive.create(callback_target=CallbackTarget(url="https://hooks.test/"))
    drive.connect()
    for step in STEPS[1:-1]:
        drive.step(step.name)
    turn_id = drive.deliver()
    drive.answer(turn_id)
    drive.save()
    waiting = drive.ports.callback_queue.waiting
    kinds = {"session.ready", "turn.completed"}
    events, _ = drive.ports.store.events_after(drive.session_id, 0, 100)
    assert waiting == [(drive.session_id, e.event_id) for e in events if e.type in kinds]
    more = {
        phase: sum(made.values()) - sum(A_SESSION[phase].values())
        for phase, made in drive.calls.items()
    }
    assert {phase: count for phase, count in more.items() if count} == {
        "steps end": 1,
        "the turn ends": 1,
    }
    assert drive.calls["the turn ends"] == {QUERY: 1, COMMIT: 1, DELETE: 1}
    session_id, event_id = waiting[-1]
    take_it = partial(take, drive.ports, session_id, event_id, tries=1, receipt="r")
    assert made_by(drive, take_it) == {GET: 1, BATCH: 1, QUERY: 1}
