"""A world to live in for one session: Step Functions, containers, an agent, and crashes.

Everything that AWS would do by itself is a method here, to be called in any order; everything a
function does may die before or after any call to a port.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from headstart.adapters.memory import MemoryPorts, MemorySandboxes
from headstart.domain.errors import (
    ChangeRefused,
    HeadstartError,
    SandboxStopped,
    SessionNotFound,
    TaskTokenGone,
    TicketRefused,
)
from headstart.domain.requests import CreateSession
from headstart.domain.session import Status
from headstart.domain.steps import STEPS
from headstart.usecases import watch
from headstart.usecases.create import create_session
from headstart.usecases.inbox import receive
from headstart.usecases.janitor import stop_orphans, sweep
from headstart.usecases.ports import ExecutionStatus, SandboxSpec, StartedSandbox
from headstart.usecases.prepare import (
    StepTask,
    error_of,
    fail_preparation,
    finish_preparation,
    run_step,
)
from headstart.usecases.sandbox import sandbox_stopped

_SERVICE_ERRORS = {"Crash", "Conflict", "ServiceUnavailable"}


class Crash(BaseException):
    """The process stopped right here; nothing in it gets to clean up."""


class Crashing:
    """A port whose calls may be the last thing its caller does."""

    def __init__(self, port: Any, world: "World") -> None:
        self._port = port
        self._world = world

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "commit":
                self._world.let_rival_in()
            self._world.about_to_call()
            result = found(*args, **kwargs)
            self._world.has_called()
            return result

        return call


@dataclass
class Execution:
    """One execution of the machine, a state at a time."""

    session_id: str
    number: int
    index: int = 0
    token: str | None = None
    answer: tuple[str, str] | None = None
    retries: Counter[str] = field(default_factory=Counter)
    error: dict[str, str] | None = None
    ended: bool = False


class Machine:
    """The Machine port over executions that the world moves on."""

    def __init__(self) -> None:
        self.executions: dict[tuple[str, int], Execution] = {}
        self._tokens = itertools.count(1)

    def start(self, session_id: str, attempt_number: int) -> str:
        key = (session_id, attempt_number)
        self.executions.setdefault(key, Execution(session_id, attempt_number))
        return f"{session_id}-{attempt_number}"

    def stop(self, session_id: str, attempt_number: int, reason: str) -> None:
        if execution := self.executions.get((session_id, attempt_number)):
            execution.ended = True

    def status(self, session_id: str, attempt_number: int) -> ExecutionStatus:
        execution = self.executions.get((session_id, attempt_number))
        if execution is None:
            return ExecutionStatus.MISSING
        return ExecutionStatus.ENDED if execution.ended else ExecutionStatus.RUNNING

    def _waiting(self, token: str) -> Execution:
        for execution in self.executions.values():
            if execution.token == token and not execution.answer and not execution.ended:
                return execution
        raise TaskTokenGone()

    def succeed(self, task_token: str) -> None:
        self._waiting(task_token).answer = ("ok", "")

    def fail(self, task_token: str, code: str, reason: str) -> None:
        self._waiting(task_token).answer = (code, reason)

    def beat(self, task_token: str) -> None:
        self._waiting(task_token)

    def new_token(self) -> str:
        return f"token-{next(self._tokens)}"


class Containers(MemorySandboxes):
    """The SandboxProvider port; a started container is a Box."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self.world = world
        self.boxes: dict[str, Box] = {}

    def start(self, spec: SandboxSpec) -> str:
        handle = super().start(spec)
        if handle not in self.boxes:
            self.boxes[handle] = Box(self.world, spec, handle)
        return handle

    def stop(self, handle: str, reason: str) -> None:
        if handle in self.alive:
            self.boxes[handle].die(reason)

    def started(self) -> list[StartedSandbox]:
        now = self.world.base.clock.now
        return [
            StartedSandbox(handle=h, name=self.boxes[h].spec.name, started_at=self.boxes[h].born)
            for h in sorted(self.alive)
            if now >= self.boxes[h].born
        ]


class Box:
    """A container: the runner with its journal, and the agent with what it was told."""

    def __init__(self, world: "World", spec: SandboxSpec, handle: str) -> None:
        self.world = world
        self.spec = spec
        self.handle = handle
        self.born = world.base.clock.now
        self.key = spec.key
        self.connection: str | None = None
        self.read = 0
        self.seq = 0
        self.batch: dict[str, Any] | None = None
        self.todo: list[dict[str, Any]] = []
        self.journal: dict[str, dict[str, Any]] = {}
        self.outbox: list[dict[str, Any]] = []
        self.turn: dict[str, str] | None = None
        self.kill_at: datetime | None = None

    @property
    def alive(self) -> bool:
        return self.handle in self.world.containers.alive

    def die(self, reason: str) -> None:
        self.world.containers.alive.discard(self.handle)
        self.drop()
        self.world.told_of_ends.append((self.spec.name, self.handle, reason))

    def drop(self) -> None:
        if self.connection:
            self.world.base.sockets.gone.add(self.connection)
        self.connection = None

    def connect(self) -> None:
        """Connect with the key it has and say hello; an answer that never comes is no matter."""
        self.drop()
        connection = f"r{next(self.world.connections)}"
        try:
            watch.connect_runner(self.world.ports, connection, self.spec.session_id, self.key)
        except TicketRefused:
            self.die("the key was refused")
            return
        self.connection, self.read = connection, 0
        hello = {"attemptNumber": 1, "process": self.handle, "lastSeq": self.seq}
        self.say("hello", **hello)

    def say(self, action: str, **body: Any) -> None:
        if self.connection:
            receive(self.world.ports, self.connection, json.dumps({"action": action, **body}))

    def listen(self) -> None:
        """Take in what the cloud sent."""
        if not self.connection:
            return
        if self.connection in self.world.base.sockets.gone:
            self.connection = None
            return
        frames = self.world.base.sockets.sent[self.connection][self.read :]
        self.read += len(frames)
        for frame in map(json.loads, frames):
            self._hear(frame)

    def _hear(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "welcome":
                self.key = frame.get("resumeKey") or self.key
            case "refused":
                self.die("refused")
            case "leave":
                self.die("left")
            case "ack" if self.batch and frame["seq"] == self.batch["seq"]:
                self.batch = None
            case "cancel":
                self.todo = [c for c in self.todo if c["id"] != frame["id"]]
            case "command":
                known = [c["id"] for c in self.todo]
                if frame["id"] in self.journal:
                    self.outbox.append({"results": [self.journal[frame["id"]]]})
                elif frame["id"] not in known:
                    self.todo.append(frame)

    def work(self, error: str | None) -> None:
        """Do the oldest command, well or badly."""
        if not self.todo:
            return
        command = self.todo.pop(0)
        result: dict[str, Any] = {"commandId": command["id"], "status": "completed"}
        if command["kind"] == "prompt" and self.kill_at:
            error = "DeliveryFailed"
        if error:
            reason = {"code": error, "reason": "drawn", "retryable": True}
            result |= {"status": "failed", "error": reason}
        else:
            result["output"] = self._do(command["kind"], command["args"])
        self.journal[command["id"]] = result
        self.outbox.append({"results": [result]})
        if command["kind"] == "abort" and self.turn:
            self.end_turn(None, interrupted=True)

    def _do(self, kind: str, args: dict[str, Any]) -> dict[str, Any]:
        match kind:
            case "prompt":
                assert self.turn is None, "two turns at once"
                self.world.told_agent.append(args["messageId"])
                self.turn = {"turnId": args["turnId"], "messageId": args["messageId"]}
            case "snapshot":
                return {"bytes": 1, "sha256": "s"}
            case "upload":
                key = args["url"].removeprefix("https://objects.test/")
                self.world.base.objects.stored[key] = (1, "s")
        return {}

    def end_turn(self, error: str | None, *, interrupted: bool = False) -> None:
        """Let the agent finish."""
        if self.turn:
            said = {"kind": "text", "partId": str(next(self.world.said)), "text": "x"}
            part = {"type": "agent.event", "turnId": self.turn["turnId"], "data": said}
            self.outbox.append({"events": [part]})
            problem = {"code": error, "reason": "drawn"} if error else None
            event = {"type": "turn.ended", **self.turn, "error": problem}
            self.outbox.append({"events": [{**event, "interrupted": interrupted}]})
            self.turn = None

    def report(self) -> None:
        """Send the unacknowledged batch again, or else the next."""
        if self.batch is None and self.outbox:
            self.seq += 1
            self.batch = {"seq": self.seq, **self.outbox.pop(0)}
        if self.batch:
            self.say("report", **self.batch)
        elif self.kill_at:
            self.say("leaving")

    def must_stop(self) -> None:
        """SIGTERM from outside: end the turn, ask for the work to be saved, be killed at last."""
        self.kill_at = self.world.base.clock.now + timedelta(seconds=30)
        self.end_turn("SandboxStopped")


class World:
    """One session, and everything around it."""

    def __init__(self, *, auto_initiate: bool) -> None:
        self.base = MemoryPorts()
        self.machine = Machine()
        self.containers = Containers(self)
        self.told_agent: list[str] = []
        self.told_of_ends: list[tuple[str, str, str]] = []
        self.connections = itertools.count(1)
        self.crash_in: int | None = None
        self.crash_after = False
        self.rival: Callable[[], None] | None = None
        self.said = itertools.count(1)
        self.ports: Any = MemoryPorts(
            store=self._crashing(self.base.store),
            machine=self._crashing(self.machine),
            sandboxes=self._crashing(self.containers),
            objects=self._crashing(self.base.objects),
            secrets=self.base.secrets,
            sockets=self._crashing(self.base.sockets),
            metrics=self.base.metrics,
            clock=self.base.clock,
            policy=self.base.policy,
            identified=self.base.identified,
        )
        request = CreateSession(
            prompt="first",
            github_repo="o/n",
            setup_commands=["x"],
            auto_initiate=auto_initiate,
        )
        self.session_id = str(create_session(self.ports, "alice", request, None)["sessionId"])

    def _crashing(self, port: Any) -> Any:
        return Crashing(port, self)

    def let_rival_in(self) -> None:
        """Let someone else change the session between a read and its commit."""
        rival, self.rival = self.rival, None
        if rival:
            crash, self.crash_in = self.crash_in, None
            self.run(rival)
            self.crash_in = crash

    def about_to_call(self) -> None:
        if self.crash_in is not None and not self.crash_after:
            self._count_down()

    def has_called(self) -> None:
        if self.crash_in is not None and self.crash_after:
            self._count_down()

    def _count_down(self) -> None:
        assert self.crash_in is not None
        self.crash_in -= 1
        if self.crash_in < 0:
            self.crash_in = None
            raise Crash()

    def run(self, action: Callable[[], object]) -> None:
        """Do something a function would do; a refusal or a crash ends it there."""
        try:
            action()
        except SessionNotFound:
            session = self.base.store.sessions.get(self.session_id)
            assert session is None or session.status is Status.DELETING
        except ChangeRefused:
            raise
        except (HeadstartError, Crash):
            pass
        finally:
            self.crash_in = None

    @property
    def boxes(self) -> list[Box]:
        return [box for box in self.containers.boxes.values() if box.alive]

    def step_machine(self) -> None:
        """Move every execution on by one transition."""
        for execution in list(self.machine.executions.values()):
            if not execution.ended:
                self._step(execution)

    def _step(self, execution: Execution) -> None:
        if execution.answer:
            self._take_answer(execution)
        elif execution.error is not None:
            self._attempt(execution, lambda: self._fail(execution))
        elif execution.index == len(STEPS):
            try:
                self._attempt(execution, lambda: self._finish(execution))
            except SandboxStopped as error:
                execution.error = {"Error": error.code, "Cause": error.reason}
        elif execution.token is None:
            self._begin(execution)

    def _take_answer(self, execution: Execution) -> None:
        assert execution.answer
        code, reason = execution.answer
        execution.answer = execution.token = None
        if code == "ok":
            execution.index += 1
            execution.retries.clear()
            return
        allowed = dict(STEPS[execution.index].retries) | dict.fromkeys(_SERVICE_ERRORS, 5)
        execution.retries[code] += 1
        if execution.retries[code] > allowed.get(code, 0):
            execution.error = {"Error": code, "Cause": reason}

    def _begin(self, execution: Execution) -> None:
        execution.token = self.machine.new_token()
        task = StepTask(
            session_id=execution.session_id,
            attempt_number=execution.number,
            step=STEPS[execution.index].name,
            task_token=execution.token,
        )
        try:
            run_step(self.ports, task)
        except (HeadstartError, Crash) as error:
            execution.answer = (type(error).__name__, str(error))
        finally:
            self.crash_in = None

    def _attempt(self, execution: Execution, action: Callable[[], None]) -> None:
        """Lambda is asked again until it succeeds; one error is for good."""
        try:
            action()
        except SandboxStopped:
            raise
        except (HeadstartError, Crash):
            return
        finally:
            self.crash_in = None
        execution.ended = True

    def _fail(self, execution: Execution) -> None:
        error = error_of(execution.error or {})
        fail_preparation(self.ports, execution.session_id, execution.number, error)

    def _finish(self, execution: Execution) -> None:
        finish_preparation(self.ports, execution.session_id, execution.number)

    def lose_heartbeats(self) -> None:
        """End every wait that no living runner feeds, as HeartbeatSeconds does."""
        for execution in self.machine.executions.values():
            if execution.token and not execution.answer and not execution.ended and not self.boxes:
                execution.answer = ("States.HeartbeatTimeout", "")

    def kill_late(self) -> None:
        """Kill the containers whose time to stop is over, as ECS does."""
        for box in self.boxes:
            if box.kill_at and box.kill_at <= self.base.clock.now:
                box.die("killed")

    def hear_of_ends(self) -> None:
        """Deliver ECS's events; a function that crashed is called again."""
        for name, handle, reason in list(self.told_of_ends):
            try:
                sandbox_stopped(self.ports, name, handle, reason)
            except (HeadstartError, Crash):
                continue
            finally:
                self.crash_in = None
            if (name, handle, reason) in self.told_of_ends:
                self.told_of_ends.remove((name, handle, reason))

    def janitor(self) -> None:
        self.run(lambda: sweep(self.ports))
        self.run(lambda: stop_orphans(self.ports))

    def move_everything(self, error: str | None = None) -> None:
        """One round of what happens by itself."""
        self.step_machine()
        for box in self.boxes:
            if box.connection is None:
                self.run(box.connect)
            box.listen()
            box.work(error)
            self.run(box.report)
            box.listen()
        self.hear_of_ends()
