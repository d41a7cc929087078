"""The ports in memory: what unit tests and property tests run on.

The same contract suite runs against this store and the one on DynamoDB.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from headstart.adapters.rows import attempt_sk, command_sk, input_sk, message_sk, output_sk, row_sk
from headstart.adapters.transaction import check_count
from headstart.domain.errors import (
    Conflict,
    ConnectionGone,
    HeadstartError,
    QuotaExceeded,
    SessionNotFound,
    TaskTokenGone,
)
from headstart.domain.events import Event
from headstart.domain.model import Model
from headstart.domain.policy import Policy
from headstart.domain.session import (
    Attempt,
    CommandRow,
    Input,
    Message,
    Output,
    Sandbox,
    Session,
    SessionConfig,
    Snapshot,
)
from headstart.domain.work import IdempotencyKey, QuotaChange, Work
from headstart.usecases.ports import (
    Connection,
    ExecutionStatus,
    Role,
    SandboxSpec,
    StartedSandbox,
    Ticket,
)

_M = TypeVar("_M", bound=Model)
_PAGE_BYTES = 1024 * 1024


class MemoryStore:
    """The Store port; rows are copied in and out, so nobody shares what they hold."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.rows: dict[str, dict[str, Model]] = defaultdict(dict)
        self.event_log: dict[str, list[Event]] = defaultdict(list)
        self.quota: dict[str, set[str]] = defaultdict(set)
        self.keys: dict[tuple[str, str], IdempotencyKey] = {}
        self.tickets: dict[str, Ticket] = {}
        self.known: dict[str, Connection] = {}
        self.known_durations: dict[str, dict[str, int]] = {}
        self.commits = 0

    def create(self, work: Work, ticket: Ticket, quota: int) -> IdempotencyKey | None:
        """Write a new session whole."""
        owner = work.session.owner
        if work.key and (used := self.key(owner, work.key.key, work.now)):
            return used
        self._check_quota(work, quota)
        self._write(work)
        self.put_ticket(ticket)
        return None

    def commit(self, work: Work, quota: int) -> None:
        """Write a change whole."""
        stored = self.session(work.session.session_id)
        if stored.version != work.session.version:
            raise Conflict()
        if work.key and self.key(stored.owner, work.key.key, work.now):
            raise Conflict()
        self._check_quota(work, quota)
        work.session.version += 1
        self._write(work)

    def _check_quota(self, work: Work, quota: int) -> None:
        active = self.quota[work.session.owner]
        if work.quota is QuotaChange.JOIN and len(active) >= quota:
            raise QuotaExceeded(f"at most {quota} sessions may be active")

    def _write(self, work: Work) -> None:
        session = work.session
        parts = (session, *work.rows, work.persisted_events, work.key, work.quota)
        check_count(sum(1 for part in parts if part))
        self.commits += 1
        self.sessions[session.session_id] = session.model_copy(deep=True)
        for row in work.rows:
            self.rows[session.session_id][row_sk(row)] = row.model_copy(deep=True)
        self.event_log[session.session_id] += work.persisted_events
        if work.key:
            self.keys[session.owner, work.key.key] = work.key
        if work.quota is QuotaChange.JOIN:
            self.quota[session.owner].add(session.session_id)
        elif work.quota is QuotaChange.LEAVE:
            self.quota[session.owner].discard(session.session_id)

    def session(self, session_id: str) -> Session:
        """Return a session."""
        if session_id not in self.sessions:
            raise SessionNotFound()
        return self.sessions[session_id].model_copy(deep=True)

    def sessions_of(
        self, owner: str, cursor: str | None, limit: int
    ) -> tuple[list[Session], str | None]:
        """Return a page of an owner's sessions."""

        def place(session: Session) -> str:
            return f"{session.created_at.isoformat()}#{session.session_id}"

        mine = sorted((s for s in self.sessions.values() if s.owner == owner), key=place)[::-1]
        rest = [s for s in mine if cursor is None or place(s) < cursor]
        page = [s.model_copy(deep=True) for s in rest[:limit]]
        return page, place(page[-1]) if len(rest) > limit else None

    def due(self, shard: int, now: datetime, limit: int) -> list[str]:
        """Return the ids that are due; all are in shard 0."""
        due = [s for s in self.sessions.values() if s.due_at and s.due_at <= now]
        return [s.session_id for s in due][:limit] if shard == 0 else []

    def _row(self, session_id: str, sk: str, model: type[_M]) -> _M | None:
        found = self.rows[session_id].get(sk)
        return found.model_copy(deep=True) if isinstance(found, model) else None

    def _require(self, session_id: str, sk: str, model: type[_M]) -> _M:
        found = self._row(session_id, sk, model)
        if found is None:
            raise SessionNotFound()
        return found

    def _all(self, session_id: str, model: type[_M]) -> list[_M]:
        rows = self.rows[session_id].values()
        return [row.model_copy(deep=True) for row in rows if isinstance(row, model)]

    def attempt(self, session_id: str, number: int) -> Attempt:
        """Return an attempt."""
        return self._require(session_id, attempt_sk(number), Attempt)

    def config(self, session_id: str) -> SessionConfig:
        """Return what was asked for."""
        return self._require(session_id, "CONFIG", SessionConfig)

    def message(self, session_id: str, number: int) -> Message:
        """Return a message."""
        return self._require(session_id, message_sk(number), Message)

    def messages(self, session_id: str, after: int = 0) -> list[Message]:
        """Return the messages above a number."""
        found = [m for m in self._all(session_id, Message) if m.number > after]
        return sorted(found, key=lambda message: message.number)

    def messages_page(self, session_id: str, after: int, limit: int) -> tuple[list[Message], bool]:
        """Return a page of messages."""
        rest = self.messages(session_id, after)
        page: list[Message] = []
        size = 0
        while rest and len(page) < limit and size < _PAGE_BYTES:
            page.append(rest.pop(0))
            size += len(page[-1].model_dump_json().encode())
        return page, bool(rest)

    def command(self, session_id: str, command_id: str) -> CommandRow | None:
        """Return a command."""
        return self._row(session_id, command_sk(command_id), CommandRow)

    def commands(self, session_id: str, prefix: str = "") -> list[CommandRow]:
        """Return the commands whose id begins so."""
        found = self._all(session_id, CommandRow)
        found = [row for row in found if row.command_id.startswith(prefix)]
        return sorted(found, key=lambda row: row.created_at)

    def sandbox(self, session_id: str) -> Sandbox | None:
        """Return the sandbox."""
        return self._row(session_id, "SANDBOX", Sandbox)

    def snapshot(self, session_id: str) -> Snapshot | None:
        """Return the last good snapshot."""
        return self._row(session_id, "SNAPSHOT", Snapshot)

    def input(self, session_id: str, request_id: str) -> Input | None:
        """Return something the agent asked."""
        return self._row(session_id, input_sk(request_id), Input)

    def output(self, session_id: str, attempt_number: int, step: str) -> Output | None:
        """Return what is kept of a step's output."""
        return self._row(session_id, output_sk(attempt_number, step), Output)

    def events_after(self, session_id: str, after: int, limit: int) -> tuple[list[Event], bool]:
        """Return a page of events."""
        rest = [e for e in self.event_log[session_id] if (e.event_id or 0) > after]
        return rest[:limit], len(rest) > limit

    def key(self, owner: str, key: str, now: datetime) -> IdempotencyKey | None:
        """Return a key that has not expired."""
        used = self.keys.get((owner, key))
        return used if used and used.expires_at > now else None

    def forget_key(self, owner: str, used: IdempotencyKey) -> None:
        """Forget a key."""
        found = self.keys.get((owner, used.key))
        if found and found.session_id == used.session_id:
            del self.keys[owner, used.key]

    def places(self, owner: str) -> set[str]:
        """Return the ids that count against an owner's quota."""
        return set(self.quota[owner])

    def free_places(self, owner: str, session_ids: set[str]) -> None:
        """Have sessions not count any more."""
        self.quota[owner] -= session_ids

    def durations(self, git_url: str) -> dict[str, int]:
        """Return how long each step took before."""
        return dict(self.known_durations.get(git_url, {}))

    def remember_durations(self, git_url: str, durations: dict[str, int]) -> None:
        """Replace what is known of a repository."""
        self.known_durations[git_url] = dict(durations)

    def put_ticket(self, ticket: Ticket) -> None:
        """Write a ticket."""
        self.tickets[ticket.hash] = ticket

    def ticket(self, ticket_hash: str) -> Ticket | None:
        """Return a ticket."""
        return self.tickets.get(ticket_hash)

    def put_connection(self, connection: Connection) -> None:
        """Write a connection."""
        self.known[connection.connection_id] = connection.model_copy()

    def open_connection(self, connection: Connection) -> bool:
        """Open a connection and burn its ticket."""
        if connection.role is Role.VIEWER and not self.tickets.pop(connection.credential, None):
            return False
        connection.is_open = True
        self.put_connection(connection)
        return True

    def connection(self, connection_id: str) -> Connection | None:
        """Return a connection."""
        found = self.known.get(connection_id)
        return found.model_copy() if found else None

    def connections(self, session_id: str) -> list[Connection]:
        """Return a session's connections."""
        return [c.model_copy() for c in self.known.values() if c.session_id == session_id]

    def remove_connection(self, connection: Connection) -> None:
        """Forget a connection."""
        self.known.pop(connection.connection_id, None)

    def purge(self, session_id: str, limit: int) -> bool:
        """Delete rows, the session last."""
        rows = self.rows[session_id]
        for sk in list(rows)[:limit]:
            del rows[sk]
        if rows:
            return False
        self.event_log.pop(session_id, None)
        self.sessions.pop(session_id, None)
        return True


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
        """Return what the test listed."""
        return [task for task in self.listed if task.handle in self.alive]

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
    """The Objects port: what was stored, by key."""

    stored: dict[str, tuple[int, str]] = field(default_factory=dict)

    def presign_put(self, key: str, size: int, sha256: str) -> tuple[str, dict[str, str]]:
        """Return a URL."""
        return f"https://objects.test/{key}", {"x-amz-checksum-sha256": sha256}

    def presign_get(self, key: str) -> str:
        """Return a URL."""
        return f"https://objects.test/{key}"

    def is_there(self, key: str, size: int, sha256: str) -> bool:
        """Say whether an object is there."""
        return self.stored.get(key) == (size, sha256)

    def delete(self, prefix: str) -> None:
        """Delete objects."""
        for key in [key for key in self.stored if key.startswith(prefix)]:
            del self.stored[key]


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


@dataclass
class MemoryPorts:
    """The Ports in memory."""

    store: MemoryStore = field(default_factory=MemoryStore)
    machine: MemoryMachine = field(default_factory=MemoryMachine)
    sandboxes: MemorySandboxes = field(default_factory=MemorySandboxes)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    secrets: MemorySecrets = field(default_factory=MemorySecrets)
    sockets: MemorySockets = field(default_factory=MemorySockets)
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    clock: MemoryClock = field(default_factory=MemoryClock)
    identified: list[str] = field(default_factory=list)
    policy: Policy = field(default_factory=lambda: Policy(stream_url="wss://stream.test/live"))

    def identify(self, session_id: str) -> None:
        """Remember which sessions the log was told of."""
        self.identified.append(session_id)
