"""What a git server's answer says in its headers and its first bytes, which may be anything."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from headstart.domain.repository import is_plain_path

_REF = re.compile(rb"[0-9a-f]{40,64}\t\S")
_LEAST_WAIT = 1


def is_smart(content_type: str, service: str) -> bool:
    """Return whether an answer is declared as git's own (gitprotocol-http(5))."""
    return content_type.startswith(f"application/x-git-{service}-pack-advertisement")


def lists_refs(begun: bytes) -> bool:
    """Return whether an answer begins as the list of refs of a server that has no git."""
    return bool(_REF.match(begun))


def moved_to(url: str, rest: str, location: str | None) -> str | None:
    """Return the repository that a redirect leads to, None where it names none.

    `rest` is what followed the repository's address `url` in the request.
    """
    asked = rest.partition("?")[0]
    try:
        parts = urlsplit(urljoin(f"{url.rstrip('/')}/{asked}", location or ""))
        _ = parts.port  # is it one?
    except ValueError:
        return None
    if location is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    path = parts.path.removesuffix(f"/{asked}")
    return (
        None
        if path == parts.path or not is_plain_path(path)
        else parts._replace(path=path, query="", fragment="").geturl()
    )


def seconds_to_wait(headers: Mapping[str, str]) -> int | None:
    """Return what Retry-After says (RFC 9110, 10.2.3): seconds, or a date."""
    said = headers.get("Retry-After", "").strip()
    try:
        if said.isdecimal():
            return max(_LEAST_WAIT, int(said))
        date = parsedate_to_datetime(said)
        left = date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)
    except (ValueError, OverflowError):
        return None
    return max(_LEAST_WAIT, round(left.total_seconds()))
