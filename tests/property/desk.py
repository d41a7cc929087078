"""What a sandbox's runner and its agent do for the cloud: commands, each id once, and one turn."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from headstart.domain.errors import DeliveryUnknown
from headstart.domain.steps import StepName
from tests.property.violation import hold

if TYPE_CHECKING:
    from tests.property.box import Box

_T = TypeVar("_T")
_STEPS = set(StepName)
_SLOW_UPLOAD = 10
_COPY_PATIENCE = 2
"""How many rounds a prompt waits for a copy of the work that is being made."""

RUNNERS_WORD = "the runner says so"
"""The reason of every end that a runner tells, which tells them from those that the cloud finds."""


@dataclass(frozen=True)
class Manners:
    """How long things take in the sandboxes of a world: `boot` in seconds, the others in rounds."""

    boot: int = 0
    step: int = 0
    post: int = 0
    turn: int = 2
    archive: int = 0
    upload: int = 0
    posts_first: bool = True
    """Whether the agent has a message when it begins to answer the POST, or when it is done."""
    delivers_anyway: bool = False
    """Whether the agent has the message of a delivery that ends as DeliveryUnknown."""


@dataclass
class Trouble:
    """What goes wrong in the next sandbox that comes to it."""

    failing: str | None = None
    """The error of the next step or delivery."""
    turn_error: str | None = None
    asks: int = 0
    """How many of the next turns ask something."""
    news: int = 0
    """How many events of a type that the cloud does not know are told."""
    loses_copies: int = 0
    loses_uploads: int = 0
    invents_uploads: int = 0
    """How many uploads are said to be done, and are not."""
    slow_uploads: int = 0


@dataclass
class Task:
    """A command that is being worked on."""

    id: str
    kind: str
    args: dict[str, Any]
    left: int
    waited: int = 0
    is_posting: bool = False
    is_cancelled: bool = False
    error: str | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether a delivery ends without anybody knowing."""
        return self.error == DeliveryUnknown.__name__


@dataclass
class Turn:
    """The agent's work on one message."""

    turn_id: str
    message_id: str
    command_id: str
    left: int
    asked: str | None = None


class Desk:
    """The runner's commands, its journal of them and of deliveries, and the turn."""

    def __init__(self, box: "Box") -> None:
        self._box = box
        self._world = box.world
        self._journal: dict[str, dict[str, Any] | None] = {}
        self._shown: set[str] = set()
        self._begun: dict[str, str] = {}
        """The turn that was asked for last, by message."""
        self._aborted: set[str] = set()
        self._cancelled: set[str] = set()
        self._copies: dict[str, tuple[str, ...]] = {}
        self.tasks: dict[str, Task] = {}
        self.turn: Turn | None = None
        self.done: list[str] = []
        """The messages whose work is in the work tree."""
        self._base: str | None = None
        """What this sandbox's differences are made on."""
        self.has_repository = False
        self.is_leaving = False

    @property
    def _manners(self) -> Manners:
        return self._world.manners

    @property
    def _trouble(self) -> Trouble:
        return self._world.trouble

    @property
    def running(self) -> list[str]:
        """The commands being worked on, a prompt's as long as its turn."""
        return sorted({*self.tasks, *([self.turn.command_id] if self.turn else [])})

    @property
    def delivering(self) -> list[str]:
        """The prompts whose outcome is not known."""
        return [task.id for task in self.tasks.values() if task.is_posting]

    # What the cloud says.

    def start(self, command_id: str, kind: str, args: dict[str, Any]) -> None:
        """Begin a command, unless it is known: then its stored result is told again."""
        if command_id in self._journal:
            if result := self._journal[command_id]:
                self._box.tell({"result": result}, unless_waiting=True)
            return
        self._journal[command_id] = None
        if command_id in self._cancelled:
            self._fail(command_id, "Cancelled")
        elif self.is_leaving and kind == "prompt":
            self._fail(command_id, "SandboxLeaving")
        else:
            slot = _STEPS if kind in _STEPS else {kind} & {"prompt", "archive", "publish"}
            for older in [task.id for task in self.tasks.values() if task.kind in slot]:
                self.cancel(older)
            self.tasks[command_id] = Task(command_id, kind, args, self._rounds(kind))
            if kind == "archive":
                self._copies[command_id] = tuple(self.done)

    def _rounds(self, kind: str) -> int:
        if kind in _STEPS:
            return self._manners.step
        if kind == "upload" and self._trouble.slow_uploads:
            self._trouble.slow_uploads -= 1
            return _SLOW_UPLOAD
        return {"archive": self._manners.archive, "upload": self._manners.upload}.get(kind, 0)

    def cancel(self, command_id: str) -> None:
        """Kill a command, or end its turn; an id that is not known is remembered."""
        if self.turn and self.turn.command_id == command_id:
            self.end_turn(interrupted=True)
        elif task := self.tasks.get(command_id):
            if task.is_posting:
                task.is_cancelled = True
            else:
                del self.tasks[command_id]
                self._journal[command_id] = _failed(command_id, "Cancelled")
        elif command_id not in self._journal:
            self._cancelled.add(command_id)

    def begin_leaving(self) -> None:
        """Take no more prompts; one that was not posted yet never will be."""
        self.is_leaving = True
        for task in list(self.tasks.values()):
            if task.kind == "prompt" and not task.is_posting:
                del self.tasks[task.id]
                self._fail(task.id, "SandboxLeaving")

    def close(self) -> None:
        """Work on nothing any more; what is interrupted so is told no more."""
        self.tasks.clear()
        self.end_turn(interrupted=True)

    # What goes on.

    def work(self) -> None:
        """Go on by one round with everything."""
        self._converse()
        for task in list(self.tasks.values()):
            if task.id not in self.tasks:
                continue
            if task.kind == "prompt":
                self._deliver(task)
            elif task.left:
                task.left -= 1
            else:
                del self.tasks[task.id]
                self._do(task)

    def _converse(self) -> None:
        turn = self.turn
        if turn is None or turn.asked:
            return
        self.say()
        if self._trouble.asks:
            self._trouble.asks -= 1
            turn.asked = f"ask_{next(self._world.numbers)}"
            body = {"title": "May I?", "patterns": [], "metadata": {}}
            asked = {"requestId": turn.asked, "kind": "permission", "body": body}
            self._box.tell({"event": {"type": "input.requested", "turnId": turn.turn_id, **asked}})
        elif turn.left:
            turn.left -= 1
        else:
            error, self._trouble.turn_error = self._trouble.turn_error, None
            self.end_turn(self._excused(error))

    def say(self) -> None:
        """Let the agent say something in its turn."""
        if self.turn:
            data = {"kind": "text", "partId": str(next(self._world.numbers)), "text": "x"}
            event = {"type": "agent.event", "turnId": self.turn.turn_id, "data": data}
            self._box.tell({"event": event})
            if self._trouble.news:
                self._trouble.news -= 1
                self._box.tell({"event": {"type": "news", "turnId": self.turn.turn_id}})

    def end_turn(self, error: str | None = None, *, interrupted: bool = False) -> None:
        """Let the agent's turn end."""
        turn, self.turn = self.turn, None
        if turn:
            ids = {"turnId": turn.turn_id, "messageId": turn.message_id}
            if turn.asked:
                outcome = {"requestId": turn.asked, "outcome": "withdrawn"}
                resolved = {"type": "input.resolved", "turnId": turn.turn_id, **outcome}
                self._box.tell({"event": resolved})
            problem = {"code": error, "reason": RUNNERS_WORD} if error else None
            end = {"type": "turn.ended", **ids, "error": problem, "interrupted": interrupted}
            self._box.tell({"event": end})

    def lose_turn(self) -> None:
        """Have the turn vanish without an end, as by a defect of the runner."""
        self.turn = None
        self._world.truth.excuse(self._box.session_id)

    def _deliver(self, task: Task) -> None:
        if not task.is_posting:
            others = [t for t in self.tasks.values() if t is not task]
            if self.turn and self.turn.message_id != task.args["messageId"]:
                self.end_turn(interrupted=True)
            saving = any(t.kind in {"archive", "publish"} for t in others)
            task.waited += 1
            if any(t.is_posting for t in others):
                return
            if saving and task.waited <= _COPY_PATIENCE:
                return
            task.left, task.is_posting = self._manners.post, True
            task.error, self._trouble.failing = self._excused(self._trouble.failing), None
            if self._manners.posts_first:
                self._post(task)
        if task.left:
            task.left -= 1
            return
        del self.tasks[task.id]
        self._post(task)
        if task.error:
            self._fail(task.id, "DeliveryUnknown" if task.is_unknown else "DeliveryFailed")
        else:
            self._finish(task.id, {})
            self._begin_turn(task)

    def _post(self, task: Task) -> None:
        """Let the agent have a message, unless it refuses it or shows it already."""
        message_id = task.args["messageId"]
        arrives = task.error is None or (task.is_unknown and self._manners.delivers_anyway)
        if arrives and message_id not in self._shown:
            self._shown.add(message_id)
            self.done.append(message_id)
            self._world.told_agent[self._box.session_id].append(message_id)

    def _begin_turn(self, task: Task) -> None:
        ids = task.args
        if ids["turnId"] == self._begun.get(ids["messageId"]):
            return
        before, known = self.turn, ids["messageId"] in self._begun
        hold(before is None or before.message_id == ids["messageId"], "two turns at once")
        left = before.left if before else 0 if known else self._manners.turn
        self.turn = Turn(ids["turnId"], ids["messageId"], task.id, left)
        self._begun[self.turn.message_id] = self.turn.turn_id
        if task.is_cancelled or self.turn.turn_id in self._aborted:
            self.end_turn(interrupted=True)
        elif self.is_leaving:
            self.end_turn("SandboxStopped")

    def _do(self, task: Task) -> None:
        error = None
        if task.kind in _STEPS:
            error, self._trouble.failing = self._excused(self._trouble.failing), None
        if error or (task.kind in {"archive", "upload"} and self._is_lost(task)):
            self._fail(task.id, error or "ArchiveFailed")
            return
        match task.kind:
            case "clone":
                self._finish(task.id, self._clone(task))
                return
            case "setup" if task.args["baseAfterMs"] == 0:
                self._finish(task.id, {"base": self._make_base(task)})
                return
            case "archive":
                self._finish(task.id, self._archive(task))
                return
            case "upload" if self._trouble.invents_uploads:
                self._trouble.invents_uploads -= 1
                self._excused(True)
            case "upload":
                for file in task.args["files"]:
                    self._world.base.objects.stored[_key_of(file)] = (1, file["sha256"])
            case "publish":
                self._finish(task.id, self._publish(task))
                return
            case "abort":
                self._abort(task.args["turnId"])
            case "input":
                if not self._answer(task.args["requestId"]):
                    self._fail(task.id, "InputGone")
                    return
        self._finish(task.id, {})

    def _clone(self, task: Task) -> dict[str, Any]:
        if self.has_repository:
            return {"cached": True}
        self.has_repository = True
        archive = task.args["archive"]
        stored = self._world.base.objects.stored
        if archive is None:
            return {"commit": "c" * 40, **self._adopt(task.args["tree"])}
        files = [file for file in (archive["base"], archive["difference"]) if file]
        hold(all(_key_of(f) in stored for f in files), "what is to be put back is not there")
        self._base = archive["base"]["sha256"]
        self.done = list(self._world.saved[files[-1]["sha256"]])
        return {"adopted": "archive"}

    def _adopt(self, tree: dict[str, Any] | None) -> dict[str, Any]:
        if tree is None or _key_of(tree) not in self._world.base.objects.stored:
            return {}
        hold(not self._world.saved[tree["sha256"]], "an agent's work is in a prepared tree")
        self._base = tree["sha256"]
        self._world.adoptions += 1
        return {"adopted": "tree", "setup": "same commit", "fetched": 0}

    def _make_base(self, task: Task) -> dict[str, Any]:
        self._base = f"base-{task.id}-{self._box.handle}"
        self._world.saved[self._base] = self._copies.get(task.id, tuple(self.done))
        return {"bytes": 1, "sha256": self._base}

    def _archive(self, task: Task) -> dict[str, Any]:
        base = None
        if self._base is None or task.args["base"] != self._base:
            base = self._make_base(task)
        sha256 = f"copy-{task.id}"
        self._world.saved[sha256] = self._copies[task.id]
        self._world.built_on[sha256] = self._base or ""
        return {"base": base, "difference": {"bytes": 1, "sha256": sha256}}

    def _publish(self, task: Task) -> dict[str, Any]:
        """Push a commit of the work, as a sandbox does: told first, then there, then seen."""
        pushed, commit = self._world.pushed[self._box.session_id], f"{len(self.done):040x}"
        hold(set(task.args["pushed"]) <= set(pushed), "what was never pushed is said to be ours")
        self._box.tell({"event": {"type": "work.pushed", "commandId": task.id, "commit": commit}})
        pushed.append(commit)
        return {"status": "published", "commit": commit}

    def _is_lost(self, task: Task) -> bool:
        if task.kind == "archive" and self._trouble.loses_copies:
            self._trouble.loses_copies -= 1
            return self._excused(True)
        if task.kind == "upload" and self._trouble.loses_uploads:
            self._trouble.loses_uploads -= 1
            return self._excused(True)
        return False

    def _abort(self, turn_id: str) -> None:
        self._aborted.add(turn_id)
        if self.turn and self.turn.turn_id == turn_id:
            self.end_turn(interrupted=True)

    def _answer(self, request_id: str) -> bool:
        if self.turn is None or self.turn.asked != request_id:
            return False
        self.turn.asked = None
        outcome = {"requestId": request_id, "outcome": "answered"}
        resolved = {"type": "input.resolved", "turnId": self.turn.turn_id, **outcome}
        self._box.tell({"event": resolved})
        return True

    def _excused(self, goes_wrong: _T) -> _T:
        """Have the truth know of what goes wrong here on purpose."""
        if goes_wrong:
            self._world.truth.excuse(self._box.session_id)
        return goes_wrong

    def _fail(self, command_id: str, error: str) -> None:
        self._end(_failed(command_id, error))

    def _finish(self, command_id: str, output: dict[str, Any]) -> None:
        self._end({"commandId": command_id, "status": "completed", "output": output})

    def _end(self, result: dict[str, Any]) -> None:
        self._journal[result["commandId"]] = result
        self._box.tell({"result": result})


def _key_of(file: dict[str, Any]) -> str:
    return str(file["url"]).removeprefix("https://objects.test/")


def _failed(command_id: str, error: str) -> dict[str, Any]:
    reason = {"code": error, "reason": RUNNERS_WORD, "retryable": True}
    return {"commandId": command_id, "status": "failed", "error": reason}
