"""The store in memory, for tests: one contract suite runs against it and the one on DynamoDB."""

from collections import defaultdict
from datetime import datetime
from typing import TypeVar

from headstart.adapters.rows import (
    attempt_sk,
    check_count,
    command_sk,
    input_sk,
    message_sk,
    output_sk,
    row_sk,
)
from headstart.domain.connections import Connection, Role, Ticket
from headstart.domain.errors import (
    ChangeRefused,
    Conflict,
    QuotaExceeded,
    SessionNotFound,
)
from headstart.domain.events import Event
from headstart.domain.model import Model
from headstart.domain.policy import LINE_LENGTH
from headstart.domain.session import (
    Attempt,
    Command,
    Input,
    Message,
    Output,
    Sandbox,
    Session,
    SessionConfig,
    Snapshot,
)
from headstart.domain.work import IdempotencyKey, QuotaChange, Waiting, Work

_M = TypeVar("_M", bound=Model)
_PAGE_BYTES = 1024 * 1024


class MemoryStore:
    """The Store port; rows are copied in and out, so nobody shares what they hold."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.rows: dict[str, dict[str, Model]] = defaultdict(dict)
        self.event_log: dict[str, list[Event]] = defaultdict(list)
        self.quota: dict[str, set[str]] = defaultdict(set)
        self.lines: dict[str, list[Waiting]] = defaultdict(list)
        self.keys: dict[tuple[str, str], IdempotencyKey] = {}
        self.tickets: dict[str, Ticket] = {}
        self.known: dict[str, Connection] = {}
        self.known_durations: dict[tuple[str, str], dict[str, int]] = {}
        self.commits = 0

    def create(self, work: Work, ticket: Ticket, quota: int) -> IdempotencyKey | None:
        """Write a new session whole."""
        owner = work.session.owner
        if work.key and (used := self.key(owner, work.key.key, work.now)):
            return used
        self._check_quota(work, quota, LINE_LENGTH)
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

    def _check_quota(self, work: Work, quota: int, line_length: int | None = None) -> None:
        active, line = self.quota[work.session.owner], self.lines[work.session.owner]
        own = work.session.session_id
        full = len(active) >= quota or (line and not work.left_line)
        if work.quota is QuotaChange.JOIN and own not in active and full:
            raise QuotaExceeded(f"at most {quota} sessions may be active")
        if work.joined_line and line_length is not None and len(line) >= line_length:
            raise QuotaExceeded(f"at most {line_length} sessions may wait for a place")

    def _write(self, work: Work) -> None:
        session = work.session
        answered = [row for row in work.rows if isinstance(row, Command) and row.answered]
        left, joined = work.left_line, work.joined_line
        place = work.quota or left or joined
        parts = (session, *work.rows, *answered, work.persisted_events, work.key)
        check_count(sum(1 for part in (*parts, place, left, joined) if part))
        if len({row_sk(row) for row in work.rows}) < len(work.rows):
            raise ChangeRefused("a transaction writes each row once")
        self.commits += 1
        self.sessions[session.session_id] = session.model_copy(deep=True)
        rows = self.rows[session.session_id]
        for command in answered:
            rows.pop(command_sk(command.command_id), None)
        for row in work.rows:
            rows[row_sk(row)] = row.model_copy(deep=True)
        self.event_log[session.session_id] += work.persisted_events
        if work.key:
            self.keys[session.owner, work.key.key] = work.key
        if left:
            self.lines[session.owner].remove(left)
        if joined:
            self.lines[session.owner].append(joined)
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

    def attempts(self, sessions: list[Session]) -> dict[str, Attempt]:
        """Return the present attempts of sessions."""
        found = {
            s.session_id: self._row(s.session_id, attempt_sk(s.attempt_number), Attempt)
            for s in sessions
        }
        return {session_id: attempt for session_id, attempt in found.items() if attempt}

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

    def command(self, session_id: str, command_id: str) -> Command | None:
        """Return a command."""
        found = [row for row in self._all(session_id, Command) if row.command_id == command_id]
        return min(found, key=lambda row: row.answered, default=None)

    def commands(self, session_id: str, prefix: str = "") -> list[Command]:
        """Return the commands whose id begins so."""
        found = self._all(session_id, Command)
        found = [row for row in found if row.command_id.startswith(prefix)]
        return sorted(found, key=lambda row: row.created_at)

    def open_commands(self, session_id: str) -> list[Command]:
        """Return the commands that have no answer."""
        return [row for row in self.commands(session_id) if not row.answered]

    def sandbox(self, session_id: str) -> Sandbox | None:
        """Return the sandbox."""
        return self._row(session_id, "SANDBOX", Sandbox)

    def snapshot(self, session_id: str) -> Snapshot | None:
        """Return the last good snapshot."""
        return self._row(session_id, "SNAPSHOT", Snapshot)

    def input(self, session_id: str, request_id: str) -> Input | None:
        """Return something the agent asked."""
        return self._row(session_id, input_sk(request_id), Input)

    def inputs(self, session_id: str, request_ids: list[str]) -> list[Input]:
        """Return things the agent asked."""
        found = (self.input(session_id, request_id) for request_id in request_ids)
        return [asked for asked in found if asked]

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

    def line(self, owner: str) -> list[Waiting]:
        """Return who waits, the first first."""
        return sorted(self.lines[owner], key=lambda waiting: (waiting.since, waiting.session_id))

    def forget_waiting(self, owner: str, waiting: Waiting) -> None:
        """Take out of the line what no session stands for."""
        if waiting in self.lines[owner]:
            self.lines[owner].remove(waiting)

    def durations(self, owner: str, git_url: str) -> dict[str, int]:
        """Return how long each step took before."""
        return dict(self.known_durations.get((owner, git_url), {}))

    def remember_durations(self, owner: str, git_url: str, durations: dict[str, int]) -> None:
        """Replace what is known of an owner's repository."""
        self.known_durations[owner, git_url] = dict(durations)

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
