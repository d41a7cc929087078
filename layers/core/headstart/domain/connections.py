"""Who may connect over a WebSocket, and who is connected."""

from datetime import datetime
from enum import StrEnum

from headstart.domain.channel import Hello
from headstart.domain.ids import hash_secret, new_secret
from headstart.domain.model import RowModel, Timestamp, format_time
from headstart.domain.policy import Policy
from headstart.domain.sandbox import Sandbox, SandboxStatus


class Ticket(RowModel):
    """A viewer's right to connect once; known by the hash of its secret only."""

    hash: str
    session_id: str
    owner: str
    expires_at: Timestamp


class Role(StrEnum):
    """Who is at the other end of a connection."""

    VIEWER = "viewer"
    RUNNER = "runner"


class Connection(RowModel):
    """A WebSocket: `opening` until its first frame, and only then sent anything.

    `credential` is what it connected with: a ticket's hash, or `bootstrap` or `resume`.
    `sandbox_id` is the sandbox whose key let a runner in: what it says counts only while that one
    is the session's.
    """

    connection_id: str
    session_id: str
    role: Role
    credential: str
    sandbox_id: str | None = None
    is_open: bool = False
    expires_at: Timestamp


class Standing(StrEnum):
    """What a runner's connection is to its session: only what comes over the current one counts.

    An `outdated` one belongs to a process that has a newer one; a `foreign` one belongs to another
    process or another sandbox than the session's.
    """

    CURRENT = "current"
    OUTDATED = "outdated"
    FOREIGN = "foreign"


def standing(
    connection: Connection, sandbox: Sandbox | None, hello: Hello | None = None
) -> Standing:
    """Say whether a frame is from the session's runner; a hello may make its connection current.

    Frames are served late and in any order, so the last one served proves nothing. Rows and runners
    of older versions have no ids and no numbers; where one is missing, nothing is compared.
    """
    if sandbox is None or (
        connection.sandbox_id and sandbox.sandbox_id and connection.sandbox_id != sandbox.sandbox_id
    ):
        return Standing.FOREIGN
    if hello is None:
        current = sandbox.connection_id == connection.connection_id
        return Standing.CURRENT if current else Standing.OUTDATED
    if sandbox.status is SandboxStatus.STOPPED or sandbox.process not in {None, hello.process}:
        return Standing.FOREIGN
    if hello.connection and hello.connection < sandbox.connection_number:
        return Standing.OUTDATED
    return Standing.CURRENT


def new_ticket(policy: Policy, session_id: str, owner: str, now: datetime) -> tuple[str, Ticket]:
    """Return a secret and the ticket that knows its hash."""
    secret = new_secret()
    return secret, Ticket(
        hash=hash_secret(secret),
        session_id=session_id,
        owner=owner,
        expires_at=now + policy.ticket_life,
    )


def stream_view(policy: Policy, secret: str, ticket: Ticket) -> dict[str, str]:
    """Return the `stream` object: where to connect, with what, until when."""
    return {
        "url": policy.stream_url,
        "ticket": secret,
        "expiresAt": format_time(ticket.expires_at),
    }
