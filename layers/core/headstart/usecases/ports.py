"""What the use cases need from outside; adapters implement it and speak only our errors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

from pydantic import Field

from headstart.domain.archive import StoredFile, Tree
from headstart.domain.callbacks import DueCallbacks
from headstart.domain.change import Change, IdempotencyKey, RowKey, WorkingSet
from headstart.domain.connections import Connection, Ticket
from headstart.domain.cursors import SessionPlace
from headstart.domain.events import Event
from headstart.domain.long_texts import Text, TextPiece
from headstart.domain.message import Message
from headstart.domain.model import Model, RowModel, Timestamp
from headstart.domain.policy import Policy
from headstart.domain.session import Session, Waiting

Clock = Callable[[], datetime]
T = TypeVar("T")


class Store(Protocol):
    """The table. Reads are consistent unless said otherwise; `None` or empty means not there.

    Every method raises ServiceUnavailable when the table can't be reached.
    """

    # A session's changes.

    def load(self, session_id: str) -> WorkingSet:
        """Return what belongs to a session now, as of one moment; raises SessionNotFound."""

    def named(self, session_id: str, keys: Iterable[RowKey]) -> dict[RowKey, RowModel | None]:
        """Return up to 100 rows beside the working set by their names, in one call."""

    def create(self, change: Change, ticket: Ticket) -> IdempotencyKey | None:
        """Write a new session whole, in one call.

        Returns None when written, or the key's earlier use when `change.key` was used before and
        has not expired; nothing is written then. Raises QuotaExceeded as `commit` does, and when
        LINE_LENGTH wait already.
        """

    def commit(self, change: Change) -> None:
        """Write a change whole, in one call.

        Raises Conflict when the session changed since it was read, SessionNotFound when it is
        gone, TicketRefused when the ticket to be burnt is not there any more, and QuotaExceeded
        when it may not join its owner's active sessions: they are as many as may be, or others
        wait in line and it is not one of them. Who has a place keeps it.
        """

    # What is only read.

    def session(self, session_id: str) -> Session:
        """Return a session; raises SessionNotFound."""

    def sessions_of(
        self, owner: str, after: SessionPlace | None, limit: int
    ) -> tuple[list[Session], SessionPlace | None]:
        """Return a page of an owner's sessions, newest first, and where it ended if there are more.

        Eventually consistent.
        """

    def due(self, shard: int, now: datetime, limit: int) -> list[str]:
        """Return ids of sessions whose `due_at` has come (eventually consistent)."""

    def messages_page(self, session_id: str, after: int, limit: int) -> tuple[list[Message], bool]:
        """Return messages numbered above `after`, in order, and whether more may follow.

        At most `limit` of them, and about 1 MB.
        """

    def events_after(self, session_id: str, after: int, limit: int) -> tuple[list[Event], bool]:
        """Return about `limit` persisted events above `after` in order, and whether more follow."""

    def texts(self, session_id: str, beginning: str) -> list[Text]:
        """Return how the texts stand whose refs begin so, by ref: those of about 1 MB of rows."""

    def text_pieces(self, session_id: str, text: Text, offset: int) -> list[TextPiece]:
        """Return pieces of a text from a byte on, in order: about 1 MB at most."""

    # What is an owner's.

    def forget_key(self, owner: str, used: IdempotencyKey) -> None:
        """Forget a key, unless it stands for another session by now."""

    def places(self, owner: str) -> set[str]:
        """Return the ids of the sessions that count against an owner's quota."""

    def free_places(self, owner: str, session_ids: set[str]) -> None:
        """Have sessions not count any more."""

    def line(self, owner: str) -> list[Waiting]:
        """Return who waits for a place, the first in line first: up to a few thousand."""

    def forget_waiting(self, owner: str, waiting: Waiting) -> None:
        """Take out of the line what no session stands for; a place that is gone is fine."""

    # What is known from before.

    def prepared_before(
        self, owner: str, git_url: str, tree_key: str | None
    ) -> tuple[dict[str, int], Tree | None]:
        """Return how many milliseconds each step took an owner before on a repository, and a tree.

        A change of one of the owner's sessions replaces the times; the last writer wins. The tree's
        expiry is the caller's to check.
        """

    def put_tree(self, tree: Tree) -> Tree | None:
        """Write a tree in the place of an older one of its key.

        Returns the one of them that has no row now: the older one, or this one where one as new is
        there; None where nothing else is or was there. Raises Conflict.
        """

    # Who may connect, and who did: what a session knows of them is in its working set.

    def put_ticket(self, ticket: Ticket) -> None:
        """Write a ticket."""

    def ticket(self, ticket_hash: str) -> Ticket | None:
        """Return a ticket; its expiry is the caller's to check."""

    def let_in(self, connection: Connection) -> bool:
        """Write whose a connection is; False if its session is gone or being deleted."""

    def connection(self, connection_id: str) -> Connection | None:
        """Return whose a connection is."""

    def remove_connection(self, connection_id: str) -> Connection | None:
        """Forget whose a connection was, and return it; None for one that is not there."""

    # What is to be told to receivers.

    def callbacks_due(
        self, shard: int, now: datetime, limit: int
    ) -> list[tuple[str, DueCallbacks]]:
        """Return what is due to be put in the queue, with the session's id.

        Found eventually, read consistently.
        """

    def forget_callbacks(self, session_id: str, last_id: int) -> None:
        """Delete a row of callbacks by its last event; one that is gone is fine."""

    def purge(self, session_id: str, limit: int) -> bool:
        """Delete up to `limit` rows of a session, its working set last; True when none is left."""


class ExecutionStatus(StrEnum):
    """How Step Functions sees an execution; `missing` was never started or is forgotten."""

    RUNNING = "running"
    ENDED = "ended"
    MISSING = "missing"


class Machine(Protocol):
    """The preparation state machine. Methods raise ServiceUnavailable."""

    def start(self, session_id: str, attempt_number: int) -> str:
        """Start an attempt's execution and return its ARN; started already counts as started."""

    def stop(self, session_id: str, attempt_number: int, reason: str) -> None:
        """Stop an attempt's execution; one that is over is fine."""

    def status(self, session_id: str, attempt_number: int) -> ExecutionStatus:
        """Say whether an attempt's execution runs."""

    def succeed(self, task_token: str) -> None:
        """End the waiting task well; raises TaskTokenGone when nothing waits."""

    def fail(self, task_token: str, code: str, reason: str) -> None:
        """End the waiting task with an error by name; raises TaskTokenGone."""

    def beat(self, task_token: str) -> None:
        """Say the task is alive; raises TaskTokenGone."""


class SandboxSpec(Model):
    """What a sandbox is started with: a name that makes starting it idempotent, and its key.

    A try has a name of its own; the first of an attempt is `try_number` 1.
    """

    name: str
    session_id: str
    attempt_number: int
    try_number: int
    key: str
    stream_url: str


class StartedSandbox(Model):
    """A container task that has not stopped, as its provider lists it."""

    handle: str
    name: str
    started_at: Timestamp


class SandboxProvider(Protocol):
    """What runs sandboxes: ECS Fargate now, others behind the same three calls."""

    def start(self, spec: SandboxSpec) -> str:
        """Start a sandbox, or return the one of that name; raises SandboxStartFailed."""

    def is_alive(self, handle: str) -> bool:
        """Say whether a sandbox has not stopped."""

    def stop(self, handle: str, reason: str) -> None:
        """Stop a sandbox; one that is gone is fine."""

    def started(self) -> Iterable[StartedSandbox]:
        """Yield all sandboxes that have not stopped, in another order each time.

        Asked for as they are taken: who stops early has asked for few.
        """


class StoredObject(Model):
    """An object as the bucket lists it."""

    key: str
    bytes: int
    written_at: Timestamp


class Objects(Protocol):
    """Where archives are kept. Methods raise ServiceUnavailable."""

    def presign_put(self, key: str, size: int, sha256: str) -> tuple[str, dict[str, str]]:
        """Return a URL that takes exactly that content once more, and the headers to send."""

    def presign_get(self, key: str) -> str:
        """Return a URL that gives an object for a few minutes."""

    def read(self, key: str, most: int) -> bytes | None:
        """Return a small object, None for one that is gone or has more than `most` bytes."""

    def is_there(self, file: StoredFile) -> bool:
        """Say whether an object is there whole."""

    def copy(self, source: str, target: StoredFile) -> bool:
        """Copy an object, within the bucket; False where there is none to copy.

        Nor is there one that is not what `target` must be. Raises ServiceUnavailable.
        """

    def listed(self, prefix: str) -> list[StoredObject]:
        """Return the objects whose keys begin so, some 20 000 at most."""

    def drop(self, key: str) -> None:
        """Delete one object, in one request that costs nothing; none is fine."""

    def delete(self, prefix: str) -> None:
        """Delete every object whose key begins so; none is fine."""


class Secrets(Protocol):
    """What the deployment gives its agents and nobody else."""

    def read(self) -> dict[str, str]:
        """Return variables by name; raises ServiceUnavailable, or AgentStartFailed for nonsense."""


class RepositoryToken(Model):
    """What opens one repository until `expires_at`; `repository` is its present name."""

    repository: str
    value: str = Field(repr=False)
    expires_at: Timestamp


class GitHub(Protocol):
    """The deployment's GitHub App."""

    def token(self, repository: str, *, write: bool) -> RepositoryToken:
        """Return a new token for one repository, `org/name`: to read it, or to write to it.

        Who may write may open pull requests too, where the App may.
        Raises AppNotInstalled, RepositoryAccessDenied, GitHubUnavailable.
        """


class PublicKey(Model):
    """A public key as SubjectPublicKeyInfo in DER (RFC 5280), and what its deployment calls it."""

    key_id: str
    spki: bytes


class Sealing(Protocol):
    """The key pair that callers' secrets are sealed with; its private half stays where it is."""

    def public_key(self) -> PublicKey:
        """Return what is sealed with now; EncryptionKeyNotFound, ServiceUnavailable."""

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Return the key that was encrypted for a key pair, the present one or one before it.

        Raises SecretsUnavailable where it can't be, ServiceUnavailable.
        """


class CallbackQueue(Protocol):
    """What waits to be told to receivers. Methods raise ServiceUnavailable."""

    def put(self, owner: str, session_id: str, event_ids: Sequence[int]) -> None:
        """Have a session's receiver called for events, each at least once.

        What waits for one owner's receivers holds up no other's.
        """

    def put_off(self, receipt: str, delay: timedelta) -> None:
        """Have a message that was taken be taken again after a delay."""


class Signing(Protocol):
    """What proves to receivers who calls."""

    def secrets(self, now: datetime) -> list[bytes]:
        """Return the secrets to sign with, the newest first; raises ServiceUnavailable."""


class Receivers(Protocol):
    """What sessions' owners want to be told at."""

    def post(self, owner: str, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Call a receiver and return the status it answers; raises CallbackFailed."""


class Sockets(Protocol):
    """The WebSocket API's way back."""

    def post(self, connection_id: str, text: str) -> None:
        """Send one message; raises ConnectionGone."""

    def close(self, connection_id: str) -> None:
        """Close a connection; one that is gone is fine."""

    def for_each(self, connection_ids: Sequence[str], do: Callable[[str], T]) -> list[T]:
        """Do it for all, a few at a time; then return what came of each, or raise what one did."""


class Metrics(Protocol):
    """What operators watch."""

    def count(self, name: str, value: int = 1, **dimensions: str) -> None:
        """Count something that happened."""

    def milliseconds(self, name: str, value: int, **dimensions: str) -> None:
        """Record how long something took."""

    def bytes(self, name: str, value: int, **dimensions: str) -> None:
        """Record how large something is."""


class Ports(Protocol):
    """Everything a use case may reach; each is made when first used."""

    @property
    def store(self) -> Store: ...
    @property
    def machine(self) -> Machine: ...
    @property
    def sandboxes(self) -> SandboxProvider: ...
    @property
    def objects(self) -> Objects: ...
    @property
    def secrets(self) -> Secrets: ...
    @property
    def github(self) -> GitHub: ...
    @property
    def sealing(self) -> Sealing: ...
    @property
    def callback_queue(self) -> CallbackQueue: ...
    @property
    def signing(self) -> Signing: ...
    @property
    def receivers(self) -> Receivers: ...
    @property
    def sockets(self) -> Sockets: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def clock(self) -> Clock: ...

    def identify(self, session_id: str) -> None:
        """Name the session in every log line that follows."""
