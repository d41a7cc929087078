"""Identifiers: minted once, before anything else happens, and never translated."""

import base64
import hashlib
import hmac
import json
import secrets
from datetime import datetime

from headstart.domain.model import Model

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_LENGTH = 14
_TIME_MASK = (1 << 48) - 1
_COUNTER_SPAN = 4096

SESSION_ID_PATTERN = r"^ses_[0-9a-f]{12}[0-9A-Za-z]{14}$"


def _random_base62(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def new_session_id(now: datetime) -> str:
    """Mint a session id in the format the agent CLIs use for their own sessions.

    `ses_`, 12 hex digits that descend with time (so an agent's list shows the newest first), then
    14 base62 characters of randomness. The agents check only the prefix.
    """
    ticks = int(now.timestamp() * 1000) * _COUNTER_SPAN
    return f"ses_{~ticks & _TIME_MASK:012x}{_random_base62(_RANDOM_LENGTH)}"


def new_id(prefix: str) -> str:
    """Mint an identifier `<prefix>_<24 base62 characters>` with 142 bits of randomness."""
    return f"{prefix}_{_random_base62(24)}"


def derived_secret(secret: str, name: str) -> str:
    """Return the bearer secret that belongs to a secret and a name: always the same one."""
    mac = hmac.digest(secret.encode(), name.encode(), "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def new_secret() -> str:
    """Mint a bearer secret (ticket, sandbox key): 256 bits, URL-safe."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Return how a bearer secret is stored; 256 random bits need no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()


def body_hash(request: Model) -> str:
    """Return the hash by which a repeated request is told from another one."""
    canonical = json.dumps(request.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
