"""What a server answers to git's first request, where git itself tells too little of it."""

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import httpx

from headstart_runner.log import logger

_TIMEOUT = httpx.Timeout(30, connect=10)
_REFS = "/info/refs"
_SMART = "application/x-git-upload-pack-advertisement"
_REF = re.compile(rb"[0-9a-f]{40,64}\t\S")
_LEAST_WAIT = 1
# The second protocol's first answer is short: it names no branches.
_HEADERS = {"User-Agent": "git/2 (headstart)", "Git-Protocol": "version=2"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's status and what follows from its headers; nothing of it was followed.

    `location` is the repository that a redirect leads to, if it names one; `wait` the seconds that
    the server wants to be left alone.
    """

    status: int
    is_git: bool
    location: str | None
    wait: int | None


async def ask(url: str, addresses: Sequence[str]) -> Answer | None:
    """Ask the server at one of these addresses, or where its name leads without any.

    None where there was no answer: git finds words for that.
    """
    parts = urlsplit(url)
    try:
        asked = httpx.URL(f"{url.rstrip('/')}{_REFS}?service=git-upload-pack")
    except httpx.InvalidURL:
        return None
    headers = {**_HEADERS, "Host": parts.netloc.rpartition("@")[2]}
    extensions = {"sni_hostname": parts.hostname} if addresses else {}
    if addresses:
        asked = asked.copy_with(host=addresses[0])
    try:
        async with (
            # The certificates that git trusts: the system's.
            httpx.AsyncClient(
                timeout=_TIMEOUT, trust_env=False, verify=ssl.create_default_context()
            ) as client,
            client.stream("GET", asked, headers=headers, extensions=extensions) as answer,
        ):
            smart = answer.headers.get("Content-Type", "").startswith(_SMART)
            return Answer(
                answer.status_code,
                smart or bool(_REF.match(await _beginning(answer))),
                _repository(url, answer.headers.get("Location")),
                _seconds(answer.headers),
            )
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        logger.info("the git server did not answer: %s", type(error).__name__)
        return None


async def _beginning(answer: httpx.Response) -> bytes:
    async for piece in answer.aiter_bytes():
        return piece
    return b""


def _repository(url: str, location: str | None) -> str | None:
    """Return the repository whose first answer a redirect leads to, if it does."""
    try:
        parts = urlsplit(urljoin(f"{url.rstrip('/')}{_REFS}", location or ""))
        _ = parts.port  # is it one?
    except ValueError:
        return None
    if location is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    path = parts.path.removesuffix(_REFS)
    return None if path == parts.path else parts._replace(path=path, query="", fragment="").geturl()


def _seconds(headers: Mapping[str, str]) -> int | None:
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
