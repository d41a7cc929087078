"""The store in memory, for tests: one contract suite runs against it and the one on DynamoDB."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from headstart.adapters.layout import hot_sk, is_hot
from headstart.adapters.memory_texts import MemoryTexts
from headstart.adapters.rows import check_count, named_sk, row_sk
from headstart.domain.archive import Archive, Tree
from headstart.domain.attempt import Attempt, Output
from headstart.domain.callbacks import DueCallbacks
from headstart.domain.change import (
    Change,
    HotRow,
    IdempotencyKey,
    QuotaChange,
    RowKey,
    WorkingSet,
)
from headstart.domain.connections import Connection, Ticket
from headstart.domain.cursors import SessionPlace
from headstart.domain.errors import (
    ChangeRefused,
    Conflict,
    QuotaExceeded,
    SessionNotFound,
    TicketRefused,
)
from headstart.domain.events import Event
from headstart.domain.message import Input, Message
from headstart.domain.model import RowModel
from headstart.domain.policy import LINE_LENGTH
from headstart.domain.sandbox import Command, Sandbox
from headstart.domain.session import Session, SessionConfig, Status, Waiting

_M = TypeVar("_M", bound=RowModel)
_PAGE_BYTES = 1024 * 1024


class MemoryStore(MemoryTexts):
    """The Store port; rows are copied in and out, so nobody shares what they hold."""

    def __init__(self) -> None:
        self.sets: dict[str, WorkingSet] = {}
        self.rows: dict[str, dict[str, RowModel]] = defaultdict(dict)
        self.event_log: dict[str, list[Event]] = defaultdict(list)
        self.quota: dict[str, set[str]] = defaultdict(set)
        self.lines: dict[str, list[Waiting]] = defaultdict(list)
        self.keys: dict[tuple[str, str], IdempotencyKey] = {}
        self.tickets: dict[str, Ticket] = {}
        self.known: dict[str, Connection] = {}
        self.trees: dict[str, Tree] = {}
        self.known_durations: dict[tuple[str, str], dict[str, int]] = {}
        self.commits = 0

    # A session's changes.

    def load(self, session_id: str) -> WorkingSet:
        """Return what belongs to a session now."""
        found = self._set(session_id)
        return WorkingSet(
            session=found.session.model_copy(deep=True),
            attempt=found.attempt.model_copy(deep=True),
            sandbox=found.sandbox and found.sandbox.model_copy(deep=True),
            commands={i: c.model_copy(deep=True) for i, c in found.commands.items()},
            connections={i: c.model_copy() for i, c in found.connections.items()},
        )

    def _set(self, session_id: str) -> WorkingSet:
        if session_id not in self.sets:
            raise SessionNotFound()
        return self.sets[session_id]

    def named(self, session_id: str, keys: Iterable[RowKey]) -> dict[RowKey, RowModel | None]:
        """Return rows beside the working set."""
        return {name: self._named(session_id, name) for name in keys}

    def _named(self, session_id: str, name: RowKey) -> RowModel | None:
        if name.model is IdempotencyKey:
            owner, used = name.name
            return self.keys.get((str(owner), str(used)))
        found = self.rows[session_id].get(named_sk(name.model, *name.name))
        return found.model_copy(deep=True) if found else None

    def create(self, change: Change, ticket: Ticket) -> IdempotencyKey | None:
        """Write a new session whole."""
        owner = change.session.owner
        if change.key and (used := self.key(owner, change.key.key, change.now)):
            return used
        self._check_quota(change, LINE_LENGTH)
        self._write(change)
        self.put_ticket(ticket)
        return None

    def commit(self, change: Change) -> None:
        """Write a change whole."""
        stored = self._set(change.session.session_id).session
        if stored.version != change.session.version:
            raise Conflict()
        if change.key and self.key(stored.owner, change.key.key, change.now):
            raise Conflict()
        if change.burnt and change.burnt not in self.tickets:
            raise TicketRefused("the ticket was used")
        self._check_quota(change)
        change.session.version += 1
        self._write(change)

    def _check_quota(self, change: Change, line_length: int | None = None) -> None:
        owner, own = change.session.owner, change.session.session_id
        active, line = self.quota[owner], self.lines[owner]
        quota = change.policy.active_sessions
        full = len(active) >= quota or (line and not change.left_line)
        if change.quota is QuotaChange.JOIN and own not in active and full:
            raise QuotaExceeded(f"at most {quota} sessions may be active")
        if change.joined_line and line_length is not None and len(line) >= line_length:
            raise QuotaExceeded(f"at most {line_length} sessions may wait for a place")

    def _write(self, change: Change) -> None:
        session = change.session
        left, joined = change.left_line, change.joined_line
        place = change.quota or left or joined
        parts = (session, *change.rows, *change.gone, *change.closed, change.persisted_events)
        more = (change.key, change.burnt, change.durations, place, left, joined)
        check_count(sum(1 for part in (*parts, *more) if part))
        beside = [*change.closed, *(row for row in change.rows if not is_hot(row))]
        hot = [row for row in change.rows if is_hot(row)]
        names = [hot_sk(row) for row in (*hot, *change.gone)]
        names += [row_sk(row) for row in beside]
        if len(set(names)) < len(names):
            raise ChangeRefused("a transaction writes each row once")
        self.commits += 1
        found = self.sets.setdefault(
            session.session_id, WorkingSet(session=session, attempt=change.attempt)
        )
        found.session = session.model_copy(deep=True)
        for kept in hot:
            _keep(found, kept.model_copy(deep=True))
        for gone in change.gone:
            _forget(found, gone)
        for row in beside:
            self.rows[session.session_id][row_sk(row)] = row.model_copy(deep=True)
        self.event_log[session.session_id] += change.persisted_events
        if change.key:
            self.keys[session.owner, change.key.key] = change.key
        if change.durations:
            self.remember_durations(session.owner, session.git_url, change.durations)
        if change.burnt:
            self.tickets.pop(change.burnt, None)
        if left:
            self.lines[session.owner].remove(left)
        if joined:
            self.lines[session.owner].append(joined)
        if change.quota is QuotaChange.JOIN:
            self.quota[session.owner].add(session.session_id)
        elif change.quota is QuotaChange.LEAVE:
            self.quota[session.owner].discard(session.session_id)

    # What is only read.

    @property
    def sessions(self) -> dict[str, Session]:
        """All sessions, as they are stored."""
        return {session_id: found.session for session_id, found in self.sets.items()}

    def session(self, session_id: str) -> Session:
        """Return a session."""
        return self._set(session_id).session.model_copy(deep=True)

    def sessions_of(
        self, owner: str, after: SessionPlace | None, limit: int
    ) -> tuple[list[Session], SessionPlace | None]:
        """Return a page of an owner's sessions."""

        def place(session: Session) -> str:
            return SessionPlace.of(session).text

        mine = sorted((s for s in self.sessions.values() if s.owner == owner), key=place)[::-1]
        rest = [s for s in mine if after is None or place(s) < after.text]
        page = [s.model_copy(deep=True) for s in rest[:limit]]
        return page, SessionPlace.of(page[-1]) if len(rest) > limit else None

    def due(self, shard: int, now: datetime, limit: int) -> list[str]:
        """Return the ids that are due; all are in shard 0."""
        due = [s for s in self.sessions.values() if s.due_at and s.due_at <= now]
        return [s.session_id for s in due][:limit] if shard == 0 else []

    def messages_page(self, session_id: str, after: int, limit: int) -> tuple[list[Message], bool]:
        """Return a page of messages."""
        known = (row for row in self.rows[session_id].values() if isinstance(row, Message))
        found = [row.model_copy(deep=True) for row in known if row.number > after]
        rest = sorted(found, key=lambda message: message.number)
        page: list[Message] = []
        size = 0
        while rest and len(page) < limit and size < _PAGE_BYTES:
            page.append(rest.pop(0))
            size += len(page[-1].model_dump_json().encode())
        return page, bool(rest)

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

    def prepared_before(
        self, owner: str, git_url: str, tree_key: str | None
    ) -> tuple[dict[str, int], Tree | None]:
        """Return how long each step took before, and a prepared tree."""
        times = dict(self.known_durations.get((owner, git_url), {}))
        tree = self.trees.get(tree_key or "")
        return times, tree and tree.model_copy(deep=True)

    def put_tree(self, tree: Tree) -> Tree | None:
        """Write a tree in the place of an older one."""
        known = self.trees.get(tree.key)
        if known is None or known.created_at < tree.created_at:
            self.trees[tree.key] = tree
            return known
        return None if known.file.key == tree.file.key else tree

    def put_ticket(self, ticket: Ticket) -> None:
        """Write a ticket."""
        self.tickets[ticket.hash] = ticket

    def ticket(self, ticket_hash: str) -> Ticket | None:
        """Return a ticket."""
        return self.tickets.get(ticket_hash)

    def let_in(self, connection: Connection) -> bool:
        """Write whose a connection is, while its session is there."""
        found = self.sets.get(connection.session_id)
        if found is None or found.session.status is Status.DELETING:
            return False
        self.known[connection.connection_id] = connection.model_copy()
        return True

    def connection(self, connection_id: str) -> Connection | None:
        """Return whose a connection is."""
        found = self.known.get(connection_id)
        return found.model_copy() if found else None

    def remove_connection(self, connection_id: str) -> Connection | None:
        """Forget whose a connection was."""
        return self.known.pop(connection_id, None)

    def callbacks_due(
        self, shard: int, now: datetime, limit: int
    ) -> list[tuple[str, DueCallbacks]]:
        """Return what is due to be put in the queue; all of it is in shard 0."""
        found = [(i, row) for i, rows in self.rows.items() for row in rows.values()]
        due = [(i, r) for i, r in found if isinstance(r, DueCallbacks) and r.due_at <= now]
        return due[:limit] if shard == 0 else []

    def forget_callbacks(self, session_id: str, last_id: int) -> None:
        """Delete a row of callbacks."""
        self.rows[session_id].pop(named_sk(DueCallbacks, last_id), None)

    def purge(self, session_id: str, limit: int) -> bool:
        """Delete rows, the session last."""
        rows = self.rows[session_id]
        for sk in list(rows)[:limit]:
            del rows[sk]
        if rows:
            return False
        self.event_log.pop(session_id, None)
        self.sets.pop(session_id, None)
        return True

    # What tests look at.

    def remember_durations(self, owner: str, git_url: str, durations: dict[str, int]) -> None:
        """Replace what is known of an owner's repository."""
        self.known_durations[owner, git_url] = dict(durations)

    def _of(self, session_id: str, model: type[_M], *name: str | int) -> _M | None:
        found = self._named(session_id, RowKey(model, name))
        return found if isinstance(found, model) else None

    def attempt(self, session_id: str, number: int) -> Attempt:
        """Return an attempt, the present one or an earlier one."""
        present = self._set(session_id).attempt
        if present.number == number:
            return present.model_copy(deep=True)
        found = self._of(session_id, Attempt, number)
        if found is None:
            raise SessionNotFound()
        return found

    def config(self, session_id: str) -> SessionConfig:
        """Return what was asked for."""
        found = self._of(session_id, SessionConfig)
        if found is None:
            raise SessionNotFound()
        return found

    def message(self, session_id: str, number: int) -> Message:
        """Return a message."""
        found = self._of(session_id, Message, number)
        if found is None:
            raise SessionNotFound()
        return found

    def sandbox(self, session_id: str) -> Sandbox | None:
        """Return the session's sandbox."""
        return self.load(session_id).sandbox if session_id in self.sets else None

    def command(self, session_id: str, command_id: str) -> Command | None:
        """Return a command that has not gone."""
        return self.load(session_id).commands.get(command_id)

    def commands(self, session_id: str, prefix: str = "") -> list[Command]:
        """Return the commands that have not gone and whose id begins so, oldest first."""
        known = self.load(session_id).commands.values()
        found = [c for c in known if c.command_id.startswith(prefix)]
        return sorted(found, key=lambda command: command.created_at)

    def open_commands(self, session_id: str) -> list[Command]:
        """Return the commands that are not answered."""
        return [c for c in self.commands(session_id) if not c.answered]

    def connections(self, session_id: str) -> list[Connection]:
        """Return who is connected."""
        return list(self.load(session_id).connections.values())

    def input(self, session_id: str, request_id: str) -> Input | None:
        """Return something the agent asked."""
        return self._of(session_id, Input, request_id)

    def output(self, session_id: str, attempt_number: int, step: str) -> Output | None:
        """Return what is kept of a step's output."""
        return self._of(session_id, Output, attempt_number, step)

    def archive(self, session_id: str) -> Archive | None:
        """Return the last good archive."""
        return self._of(session_id, Archive)


def _keep(found: WorkingSet, row: HotRow) -> None:
    """Put a row of a working set in its place: what nobody saved stays as it was."""
    match row:
        case Attempt():
            found.attempt = row
        case Sandbox():
            found.sandbox = row
        case Command():
            found.commands[row.command_id] = row
        case Connection():
            found.connections[row.connection_id] = row


def _forget(found: WorkingSet, row: HotRow) -> None:
    match row:
        case Command():
            found.commands.pop(row.command_id, None)
        case Connection():
            found.connections.pop(row.connection_id, None)
