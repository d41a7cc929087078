"""A runner in a test: it speaks the channel, and the machine is stepped by hand."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import Change
from headstart.domain.life import sleeping
from headstart.domain.requests import CreateSession
from headstart.domain.steps import STEPS, StepName
from headstart.usecases.change import change
from headstart.usecases.commit import read
from headstart.usecases.create import create_session
from headstart.usecases.inbox import receive
from headstart.usecases.prepare import StepTask, finish_preparation, run_step
from headstart.usecases.watch import connect_runner


def created(ports: MemoryPorts, **body: Any) -> str:
    """Create alice's session and return its id."""
    request = {"prompt": "Add a health check", "githubRepo": "org/name", **body}
    answer = create_session(ports, "alice", CreateSession.model_validate(request), None)
    return str(answer["sessionId"])


def token(step: StepName, attempt: int = 1, number: int = 1) -> str:
    """Return the token the machine would wait with."""
    return f"token-{attempt}-{step.value}-{number}"


def begin(
    ports: MemoryPorts, session_id: str, step: StepName, attempt: int = 1, number: int = 1
) -> str:
    """Enter a state of the machine; returns its token."""
    waiting = token(step, attempt, number)
    run_step(
        ports,
        StepTask(session_id=session_id, attempt_number=attempt, step=step, task_token=waiting),
    )
    return waiting


@dataclass
class Runner:
    """The far end of a runner's connection; `number` counts those of its process, 0 counts none."""

    ports: MemoryPorts
    session_id: str
    connection_id: str = "r1"
    process: str = "p1"
    seq: int = 0
    key: str = ""
    number: int = 0
    _read: int = field(default=0)

    def connect(self, key: str | None = None) -> None:
        """Connect with the bootstrap key of the sandbox's environment, or another."""
        if key is None:
            spec = list(self.ports.sandboxes.specs.values())[-1]
            key = spec.key
        connect_runner(self.ports, self.connection_id, self.session_id, key)

    def send(self, action: str, **body: Any) -> None:
        """Send a frame."""
        receive(self.ports, self.connection_id, json.dumps({"action": action, **body}))

    def hello(self) -> None:
        """Say hello and remember the resume key."""
        hello = {"attemptNumber": 1, "process": self.process, "lastSeq": self.seq}
        self.send("hello", **hello, connection=self.number)
        for frame in self.frames():
            if frame["type"] == "welcome":
                self.key = frame.get("resumeKey") or self.key

    def frames(self) -> list[dict[str, Any]]:
        """Return every frame received so far."""
        return [json.loads(text) for text in self.ports.sockets.sent[self.connection_id]]

    def new_frames(self) -> list[dict[str, Any]]:
        """Return the frames received since the last look."""
        found = self.frames()[self._read :]
        self._read += len(found)
        return found

    def report(self, *events: dict[str, Any], results: list[dict[str, Any]] | None = None) -> None:
        """Report a new batch."""
        self.seq += 1
        self.repeat(*events, results=results)

    def repeat(self, *events: dict[str, Any], results: list[dict[str, Any]] | None = None) -> None:
        """Report the present batch (again)."""
        self.send("report", seq=self.seq, events=list(events), results=results or [])

    def beat(self, *running: str, **more: Any) -> list[dict[str, Any]]:
        """Send a heartbeat that counts, and return what comes back."""
        self.new_frames()
        self.send("heartbeat", running=list(running), **{"lastSeq": self.seq, **more})
        return self.new_frames()

    def complete(self, command_id: str, **output: Any) -> None:
        """Report that a command is done."""
        self.report(results=[{"commandId": command_id, "status": "completed", "output": output}])

    def fail(self, command_id: str, code: str, reason: str = "because of the test") -> None:
        """Report that a command failed."""
        error = {"code": code, "reason": reason, "retryable": True}
        self.report(results=[{"commandId": command_id, "status": "failed", "error": error}])


def another(runner: Runner, connection_id: str, number: int = 0) -> Runner:
    """Return the same process with a further connection, not open yet."""
    runner = replace(runner, connection_id=connection_id, number=number, _read=0)
    runner.connect(runner.key)
    return runner


def connected(ports: MemoryPorts, session_id: str) -> Runner:
    """Acquire the sandbox and let its runner say hello."""
    begin(ports, session_id, StepName.SANDBOX)
    runner = Runner(ports, session_id)
    runner.connect()
    runner.hello()
    return runner


def prepared_up_to(ports: MemoryPorts, session_id: str, last: StepName) -> Runner:
    """Do every step before `last`."""
    runner = connected(ports, session_id)
    for step in STEPS[1:]:
        if step.name is last:
            break
        begin(ports, session_id, step.name)
        runner.complete(f"1.{step.name.value}.1")
    return runner


def running(ports: MemoryPorts, session_id: str) -> Runner:
    """Prepare a session whole: the agent has the first message."""
    runner = prepared_up_to(ports, session_id, StepName.DELIVER)
    begin(ports, session_id, StepName.DELIVER)
    message = ports.store.message(session_id, 1)
    runner.complete(f"{message.message_id}.prompt.1", agentMessageId="msg_1")
    finish_preparation(ports, session_id, 1)
    return runner


def turn_ended(
    ports: MemoryPorts, session_id: str, error: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return the event that ends the active turn."""
    turn = ports.store.session(session_id).active_turn
    assert turn
    return {
        "type": "turn.ended",
        "turnId": turn.turn_id,
        "messageId": turn.message_id,
        "error": error,
        **more,
    }


def statuses(ports: MemoryPorts, session_id: str) -> dict[str, str]:
    """Return how the steps of the first attempt stand."""
    attempt = ports.store.attempt(session_id, 1)
    return {record.step.value: record.status.value for record in attempt.steps}


def types(ports: MemoryPorts, session_id: str) -> list[str]:
    """Return the types of the persisted events, in order."""
    return [event.type for event in ports.store.event_log[session_id]]


def begin_sleep(ports: MemoryPorts, session_id: str) -> bool:
    """Begin to put an idle session to sleep, as the janitor does; False where it is not idle."""
    return change(ports, session_id, sleeping.begin_sleep)


def opened(ports: MemoryPorts, session_id: str) -> Change:
    """Return a change of a session that nothing was decided on yet."""
    return read(ports, session_id)


def touch(ports: MemoryPorts, session_id: str) -> None:
    """Let a session do what its state does by itself."""
    change(ports, session_id, lambda _: None)
