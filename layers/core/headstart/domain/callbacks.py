"""Callbacks: which events a session's receiver is called for, with what, and when again.

The form is that of Standard Webhooks 1.0.0
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from headstart.domain.events import Event
from headstart.domain.fitting import fitting
from headstart.domain.model import RowModel, Timestamp, format_time
from headstart.domain.repository import check_target, is_allowed_source

CALLED_FOR = frozenset(
    {
        "session.prepared",
        "session.ready",
        "session.failed",
        "session.asleep",
        "turn.completed",
        "turn.failed",
        "input.requested",
        "work.published",
        "work.unchanged",
        "work.publish_failed",
    }
)
"""The types of events that a receiver is called for."""

DATA_BYTES = 16 * 1024
"""The most of an event's data that a callback has: "usually smaller than 20kb" ("Payload size")."""

EXCHANGE_TIME = timedelta(seconds=10)
"""How long a call may take in all, from looking up the name to the status of the answer."""

PAUSE = timedelta(seconds=60)
"""How long a receiver that did not answer in time is not asked again by the same environment, and
no callback that it kept waiting is tried again."""

RETRIES = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800)
)
"""How long after each try the next one comes: a day, less a few minutes, in all."""

TRIES = len(RETRIES) + 1

GIVE_UP = timedelta(seconds=1)
"""After the last try: it is when it would be taken again that a message becomes a dead letter."""

SEND_CHECK = timedelta(minutes=1)
"""When the janitor puts events in the queue, should who was to do it have died."""

SECRET_LIFE = timedelta(days=7)
"""How long calls are signed with the secret before the newest one, too."""

HEADERS = 20
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_VALUE = re.compile(r"([\x21-\x7e]([\x20-\x7e]{0,1022}[\x21-\x7e])?)?")
_OURS = ("webhook-", "content-", "proxy-")
_CONNECTION = frozenset(
    {"host", "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}
)
_LOW_PORTS = 1024
_SECRET_BYTES = (24, 64)


class DueCallbacks(RowModel):
    """The events of one change whose callbacks are not in the queue yet."""

    owner: str
    event_ids: list[int]
    due_at: Timestamp


def check_callback_url(url: str, allowed: list[str]) -> str:
    """Return the address of a receiver; raises ValueError with a reason that quotes nothing.

    It is https, at 443 or a port from 1024 up, and names no private host; anything else must match
    one of the deployment's `allowed` patterns.
    """
    check_target(url)
    if not url.isascii():
        raise ValueError("must be plain ASCII, all else percent-encoded")
    if is_allowed_target(url, allowed):
        return url
    parts = check_target(url, public=True)
    if parts.port not in {None, 443} and (parts.port or 0) < _LOW_PORTS:
        raise ValueError("must be at port 443 or at one from 1024 up")
    return url


def is_allowed_target(url: str, allowed: list[str]) -> bool:
    """Say whether the deployment names a receiver beside public https."""
    return is_allowed_source(url, allowed)


def check_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return what a caller wants to be sent along; raises ValueError, quoting no value."""
    if len(headers) > HEADERS:
        raise ValueError(f"must be at most {HEADERS}")
    seen: set[str] = set()
    for name, value in headers.items():
        low = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("must have names of letters, digits and -, 64 characters at most")
        if low in _CONNECTION or low.startswith(_OURS):
            raise ValueError(f"must not set {low}: the call does")
        if low in seen:
            raise ValueError(f"must name {low} once")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(
                f"must have a value for {low} of at most 1024 printable ASCII characters, "
                "without spaces around it"
            )
        seen.add(low)
    return headers


def payload(event: Event) -> bytes:
    """Return the body of a callback: the event, its ids among its data."""
    data = fitting(event.data, DATA_BYTES)
    ids: dict[str, object] = {"sessionId": event.session_id, "eventId": event.event_id}
    if event.turn_id is not None:
        ids["turnId"] = event.turn_id
    if data is not event.data:
        ids["truncated"] = True
    body = {"type": event.type, "timestamp": format_time(event.timestamp), "data": {**data, **ids}}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def callback_id(session_id: str, event_id: int) -> str:
    """Return the `webhook-id`: the same whenever an event is told, by which receivers know it."""
    return f"{session_id}_{event_id}"


def signed_headers(
    webhook_id: str, now: datetime, body: bytes, secrets: Iterable[bytes]
) -> dict[str, str]:
    """Return the standard's headers, with a signature by each secret ("Signature scheme")."""
    timestamp = str(int(now.timestamp()))
    content = b".".join([webhook_id.encode(), timestamp.encode(), body])
    digests = (hmac.digest(secret, content, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(d).decode()}" for d in digests),
    }


def read_secret(text: str) -> bytes:
    """Return a secret's bytes, with or without `whsec_` in front; raises ValueError, quoting none.

    24 to 64 bytes ("Signature scheme").
    """
    try:
        secret = base64.b64decode(text.strip().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the secret is no base64") from None
    low, high = _SECRET_BYTES
    if not low <= len(secret) <= high:
        raise ValueError(f"the secret has {len(secret)} bytes, not {low} to {high}")
    return secret


def next_try(tries: int, chance: float, *, hung: bool = False) -> timedelta:
    """Return how long after its n-th try a callback is tried again; `chance`, 0 to 1, is jitter.

    A fifth more or less, so that what failed together does not come back together. After a
    receiver `hung` it has a pause at least.
    """
    if tries > len(RETRIES):
        return GIVE_UP
    delay = max(RETRIES[tries - 1], PAUSE) if hung else RETRIES[tries - 1]
    return delay * (0.8 + 0.4 * chance)


def origin_of(url: str) -> str:
    """Return scheme, host and port, which is what hangs where a receiver does."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"
