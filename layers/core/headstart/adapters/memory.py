"""The ports in memory: what unit tests and property tests run on."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from headstart.adapters.memory_store import MemoryStore
from headstart.domain.archive import StoredFile
from headstart.domain.errors import (
    ConnectionGone,
    HeadstartError,
    SecretsUnavailable,
    TaskTokenGone,
)
from headstart.domain.policy import Policy
from headstart.usecases.ports import (
    ExecutionStatus,
    PublicKey,
    RepositoryToken,
    SandboxSpec,
    StartedSandbox,
    StoredObject,
)

_T = TypeVar("_T")
_PAGE_BYTES = 1024 * 1024


@dataclass
class MemoryMachine:
    """The Machine port: what was started and which tokens were answered how.

    `down` makes every call fail with it, once it is set.
    """

    started: list[tuple[str, int]] = field(default_factory=list)
    stopped: list[tuple[str, int]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    beats: list[str] = field(default_factory=list)
    down: HeadstartError | None = None

    def _reach(self) -> None:
        if self.down:
            raise self.down

    def start(self, session_id: str, attempt_number: int) -> str:
        """Start an execution."""
        self._reach()
        if (session_id, attempt_number) not in self.started:
            self.started.append((session_id, attempt_number))
        return f"execution:{session_id}-{attempt_number}"

    def stop(self, session_id: str, attempt_number: int, reason: str) -> None:
        """Stop an execution."""
        self._reach()
        self.stopped.append((session_id, attempt_number))

    def status(self, session_id: str, attempt_number: int) -> ExecutionStatus:
        """Say whether an execution runs."""
        self._reach()
        if (session_id, attempt_number) not in self.started:
            return ExecutionStatus.MISSING
        ended = (session_id, attempt_number) in self.stopped
        return ExecutionStatus.ENDED if ended else ExecutionStatus.RUNNING

    def _answer(self, task_token: str, answer: str) -> None:
        self._reach()
        if task_token in self.answers:
            raise TaskTokenGone()
        self.answers[task_token] = answer

    def succeed(self, task_token: str) -> None:
        """End a task well."""
        self._answer(task_token, "ok")

    def fail(self, task_token: str, code: str, reason: str) -> None:
        """End a task with an error."""
        self._answer(task_token, code)

    def beat(self, task_token: str) -> None:
        """Say a task is alive."""
        self._reach()
        if task_token in self.answers:
            raise TaskTokenGone()
        self.beats.append(task_token)


@dataclass
class MemorySandboxes:
    """The SandboxProvider port: what was started by name, and what of it lives."""

    specs: dict[str, SandboxSpec] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    refusal: HeadstartError | None = None
    listed: list[StartedSandbox] = field(default_factory=list)

    def started(self) -> list[StartedSandbox]:
        """Return what the test listed, in no order."""
        living = [task for task in self.listed if task.handle in self.alive]
        return random.sample(living, len(living))

    def start(self, spec: SandboxSpec) -> str:
        """Start a sandbox once."""
        if self.refusal:
            raise self.refusal
        handle = f"task:{spec.name}"
        if spec.name not in self.specs:
            self.specs[spec.name] = spec
            self.alive.add(handle)
        return handle

    def is_alive(self, handle: str) -> bool:
        """Say whether a sandbox lives."""
        return handle in self.alive

    def stop(self, handle: str, reason: str) -> None:
        """Stop a sandbox."""
        self.alive.discard(handle)


@dataclass
class MemoryObjects:
    """The Objects port: what was stored, by key; `contents` are those that somebody reads."""

    stored: dict[str, tuple[int, str]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def presign_put(self, key: str, size: int, sha256: str) -> tuple[str, dict[str, str]]:
        """Return a URL."""
        return f"https://objects.test/{key}", {"x-amz-checksum-sha256": sha256}

    def presign_get(self, key: str) -> str:
        """Return a URL."""
        return f"https://objects.test/{key}"

    def read(self, key: str, most: int) -> bytes | None:
        """Return an object."""
        text = self.contents.get(key)
        return text if text is not None and len(text) <= most else None

    def is_there(self, file: StoredFile) -> bool:
        """Say whether an object is there."""
        return self.stored.get(file.key) == (file.bytes, file.sha256)

    def copy(self, source: str, target: StoredFile) -> bool:
        """Copy an object."""
        if source not in self.stored:
            return False
        if self.stored[source] != (target.bytes, target.sha256):
            return False
        self.stored.pop(target.key, None)
        self.stored[target.key] = self.stored[source]
        return True

    def listed(self, prefix: str) -> list[StoredObject]:
        """Return objects in the order in which they were written, a second apart."""
        began = datetime(2026, 1, 1, tzinfo=UTC)
        return [
            StoredObject(key=key, bytes=size, written_at=began + timedelta(seconds=second))
            for second, (key, (size, _)) in enumerate(self.stored.items())
            if key.startswith(prefix)
        ]

    def drop(self, key: str) -> None:
        """Delete an object."""
        self.stored.pop(key, None)

    def delete(self, prefix: str) -> None:
        """Delete objects."""
        for key in [key for key in self.stored if key.startswith(prefix)]:
            del self.stored[key]


@dataclass
class MemoryCallbackQueue:
    """The CallbackQueue port: what was put there, and what was put off for how long."""

    waiting: list[tuple[str, int]] = field(default_factory=list)
    put_offs: dict[str, timedelta] = field(default_factory=dict)
    down: HeadstartError | None = None

    def put(self, owner: str, session_id: str, event_ids: Sequence[int]) -> None:
        """Put events in the queue."""
        if self.down:
            raise self.down
        self.waiting += [(session_id, event_id) for event_id in event_ids]

    def put_off(self, receipt: str, delay: timedelta) -> None:
        """Put a message off."""
        if self.down:
            raise self.down
        self.put_offs[receipt] = delay


@dataclass
class MemorySigning:
    """The Signing port: secrets that a test knows."""

    known: list[bytes] = field(default_factory=lambda: [b"s" * 24])
    down: HeadstartError | None = None

    def secrets(self, now: datetime) -> list[bytes]:
        """Return the secrets."""
        if self.down:
            raise self.down
        return self.known


@dataclass
class MemoryReceivers:
    """The Receivers port: what was told, and what to answer to the next calls, 204 at last."""

    told: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int | HeadstartError] = field(default_factory=list)

    def post(self, owner: str, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Call a receiver."""
        self.told.append((url, dict(headers), body))
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, HeadstartError):
            raise answer
        return answer


@dataclass
class MemorySockets:
    """The Sockets port: what every connection was sent."""

    sent: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    gone: set[str] = field(default_factory=set)

    def post(self, connection_id: str, text: str) -> None:
        """Send a message."""
        if connection_id in self.gone:
            raise ConnectionGone()
        self.sent[connection_id].append(text)

    def close(self, connection_id: str) -> None:
        """Close a connection."""
        self.gone.add(connection_id)

    @staticmethod
    def for_each(connection_ids: Sequence[str], do: Callable[[str], _T]) -> list[_T]:
        """Do something for one connection after the other, and for all though one raises."""
        done: list[_T] = []
        errors: list[Exception] = []
        for connection_id in connection_ids:
            try:
                done.append(do(connection_id))
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return done


@dataclass
class MemoryMetrics:
    """The Metrics port: everything measured, in order."""

    measured: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)

    def count(self, name: str, value: int = 1, **dimensions: str) -> None:
        """Count something."""
        self.measured.append((name, value, dimensions))

    def milliseconds(self, name: str, value: int, **dimensions: str) -> None:
        """Record a time."""
        self.measured.append((name, value, dimensions))

    def bytes(self, name: str, value: int, **dimensions: str) -> None:
        """Record a size."""
        self.measured.append((name, value, dimensions))


class MemoryClock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, **parts: float) -> None:
        """Move on by a timedelta."""
        self.now += timedelta(**parts)


class MemorySecrets:
    """The agents' secrets in memory; counts how often they were read."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self.reads = 0

    def read(self) -> dict[str, str]:
        """Return the variables."""
        self.reads += 1
        return self.variables


class MemorySealing:
    """The Sealing port in memory: a key is the beginning of what it was wrapped to."""

    def __init__(self) -> None:
        self.key_id = "key-1"
        self.spki = bytes.fromhex("30820222300d06092a864886f70d01010105000382020f00")
        self.earlier: set[str] = set()
        self.down: HeadstartError | None = None
        self.opened = 0

    def public_key(self) -> PublicKey:
        """Return the present key."""
        return PublicKey(key_id=self.key_id, spki=self.spki)

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Return a key as it was wrapped."""
        if self.down:
            raise self.down
        if key_id not in {self.key_id, *self.earlier}:
            raise SecretsUnavailable("The secrets can't be opened")
        self.opened += 1
        return wrapped[:32]


@dataclass
class MemoryGitHub:
    """The GitHub port: which tokens were asked for; `moved` are the new names of repositories."""

    asked: list[tuple[str, bool]] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    refusal: HeadstartError | None = None

    def token(self, repository: str, *, write: bool) -> RepositoryToken:
        """Return another token each time."""
        self.asked.append((repository, write))
        if self.refusal:
            raise self.refusal
        return RepositoryToken(
            repository=self.moved.get(repository, repository),
            value=f"ghs_{len(self.asked)}",
            expires_at=datetime(2026, 1, 1, 1, tzinfo=UTC),
        )


@dataclass
class MemoryPorts:
    """The Ports in memory."""

    store: MemoryStore = field(default_factory=MemoryStore)
    machine: MemoryMachine = field(default_factory=MemoryMachine)
    sandboxes: MemorySandboxes = field(default_factory=MemorySandboxes)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    secrets: MemorySecrets = field(default_factory=MemorySecrets)
    github: MemoryGitHub = field(default_factory=MemoryGitHub)
    sealing: MemorySealing = field(default_factory=MemorySealing)
    callback_queue: MemoryCallbackQueue = field(default_factory=MemoryCallbackQueue)
    signing: MemorySigning = field(default_factory=MemorySigning)
    receivers: MemoryReceivers = field(default_factory=MemoryReceivers)
    sockets: MemorySockets = field(default_factory=MemorySockets)
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    clock: MemoryClock = field(default_factory=MemoryClock)
    identified: list[str] = field(default_factory=list)
    policy: Policy = field(default_factory=lambda: Policy(stream_url="wss://stream.test/live"))

    def identify(self, session_id: str) -> None:
        """Remember which sessions the log was told of."""
        self.identified.append(session_id)
