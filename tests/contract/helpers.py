"""Sessions in a store, read and changed as the use cases do it: through the port alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

from headstart.adapters.dynamodb import DynamoStore
from headstart.domain import events
from headstart.domain.attempt import Attempt
from headstart.domain.change import (
    Change,
    IdempotencyKey,
    QuotaChange,
    RowKey,
    WorkingSet,
    message_key,
    used_key,
)
from headstart.domain.connections import Connection, Role, Ticket
from headstart.domain.ids import new_session_id
from headstart.domain.message import Message
from headstart.domain.model import RowModel
from headstart.domain.policy import Policy
from headstart.domain.sandbox import Command
from headstart.domain.session import Cause, Session, SessionConfig, Status
from headstart.usecases.ports import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUOTA = 3


def policy(quota: int = QUOTA) -> Policy:
    """Return a deployment's choices."""
    return Policy(stream_url="wss://stream.test/live", active_sessions=quota)


def new_change(owner: str = "alice", now: datetime = NOW, quota: int = QUOTA) -> Change:
    """Return the change that makes a session."""
    session_id = new_session_id(now)
    session = Session(
        session_id=session_id,
        owner=owner,
        status=Status.PREPARING,
        title="A title",
        created_at=now,
        updated_at=now,
        git_url="https://github.com/org/name.git",
        branch=f"session/{session_id}",
        agent="demo",
        mode="code",
        due_at=now + timedelta(seconds=30),
    )
    attempt = Attempt(number=1, cause=Cause.CREATED, started_at=now, progress_at=now)
    change = Change(WorkingSet(session=session, attempt=attempt), now, policy(quota))
    change.quota = QuotaChange.JOIN
    change.save(SessionConfig(env_vars={"A": "", "B": "ü"}, mcp_servers={"x": {"ratio": 0.1}}))
    change.save(attempt)
    change.emit(events.SessionPreparing(attempt_number=1, cause=Cause.CREATED))
    return change


def new_ticket(session_id: str, name: str = "t1") -> Ticket:
    """Return a ticket by that name."""
    return Ticket(hash=name, session_id=session_id, owner="alice", expires_at=NOW)


def created(store: Store, owner: str = "alice", now: datetime = NOW) -> str:
    """Write a session; returns its id."""
    change = new_change(owner, now)
    session_id = change.session.session_id
    assert store.create(change, new_ticket(session_id)) is None
    return session_id


def read(store: Store, session_id: str, *names: RowKey, quota: int = QUOTA) -> Change:
    """Return a change that nothing was decided on yet, with rows beside the working set."""
    found = store.load(session_id)
    found.more = store.named(session_id, names) if names else {}
    return Change(found, NOW, policy(quota))


def write(store: Store, session_id: str, *rows: RowModel) -> Change:
    """Commit a change that saves these rows, or touches the session alone."""
    change = read(store, session_id)
    for row in rows:
        change.save(row)
    store.commit(change)
    return change


def named(store: Store, session_id: str, name: RowKey) -> Any:
    """Return a row beside the working set, None where there is none."""
    return store.named(session_id, [name])[name]


def used(store: Store, owner: str = "alice", key: str = "k") -> IdempotencyKey | None:
    """Return what an Idempotency-Key was used for."""
    found: IdempotencyKey | None = named(store, "-", used_key(owner, key))
    return found


def key_of(change: Change, expires_at: datetime) -> IdempotencyKey:
    """Return a key that stands for the session of a change."""
    return IdempotencyKey(
        key="k", body_hash="h", session_id=change.session.session_id, expires_at=expires_at
    )


def command(number: int, **more: Any) -> Command:
    """Return a command of the first attempt."""
    known = {"kind": "disk", "attempt_number": 1, "created_at": NOW + timedelta(seconds=number)}
    return Command.model_validate({"command_id": f"1.disk.{number}", **known, **more})


def viewer(session_id: str, connection_id: str = "c=/+1", **more: Any) -> Connection:
    """Return a viewer's connection, made with the ticket of that session."""
    return Connection(
        connection_id=connection_id,
        session_id=session_id,
        role=Role.VIEWER,
        credential="t1",
        expires_at=NOW,
        **more,
    )


class LookedAt(DynamoStore):
    """The store on DynamoDB with what tests/unit looks at in the one in memory."""

    def message(self, session_id: str, number: int) -> Message:
        """Return a message."""
        found: Message = named(self, session_id, message_key(number))
        return found

    def attempt(self, session_id: str, number: int) -> Attempt:
        """Return an attempt, the present one or an earlier one."""
        present = self.load(session_id).attempt
        earlier = RowKey(Attempt, (number,))
        found: Attempt = present if present.number == number else named(self, session_id, earlier)
        return found
