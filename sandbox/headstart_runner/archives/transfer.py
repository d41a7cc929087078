"""Large files to and from the object store by presigned URLs, which are never said anywhere."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx

from headstart.domain.secrecy import is_secret_name
from headstart_runner.authorities import authorities
from headstart_runner.log import logger

_CHUNK = 64 * 1024
_TRIES = 3
_PAUSE_SECONDS = 0.2
_TIMEOUT = httpx.Timeout(30, connect=10)


class TransferFailed(Exception):
    """The file did not get through; the words are fit for a person and hold no URL."""


class _TryAgain(Exception):
    """A try failed in a way that may pass."""


def signatures_of(url: str) -> list[str]:
    """Return what makes a presigned URL a key to the object."""
    query = urlsplit(url).query
    return [query, *(value for name, value in parse_qsl(query) if is_secret_name(name))]


async def put_file(file: Path, url: str, headers: Mapping[str, str]) -> None:
    """Send a file with these headers, 3 tries; TransferFailed when it was not taken."""
    size = file.stat().st_size  # noqa: ASYNC240  (one call, no wait)

    async def send(client: httpx.AsyncClient) -> None:
        # With a length the store gets the plain content: it does not take chunks.
        sent = {"Content-Length": str(size), **headers}
        answer = await client.put(url, content=_pieces(file), headers=sent)
        _judge(answer.status_code)

    await _persist(send)


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            yield piece


async def get_file(
    url: str, file: Path, *, size: int, sha256: str, show: Callable[[int], None]
) -> None:
    """Fetch a file, 3 tries, of exactly that size and hash (base64); else TransferFailed.

    `show` sees how many bytes have come. What is left in `file` after an error is worth nothing.
    """

    async def fetch(client: httpx.AsyncClient) -> None:
        digest, done = hashlib.sha256(), 0
        async with client.stream("GET", url) as answer:
            _judge(answer.status_code)
            with file.open("wb") as out:
                async for piece in answer.aiter_raw(_CHUNK):
                    done += len(piece)
                    if done > size:
                        raise TransferFailed(f"it has more than the {size} bytes it should have")
                    digest.update(piece)
                    out.write(piece)
                    show(done)
        if done != size:
            raise TransferFailed(f"it has {done} bytes instead of {size}")
        if base64.b64encode(digest.digest()).decode() != sha256:
            raise TransferFailed("its content is not what was saved: the checksum differs")

    await _persist(fetch)


async def _persist(attempt: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, verify=authorities()) as client:
        for number in range(1, _TRIES + 1):
            try:
                await attempt(client)
                return
            except (_TryAgain, httpx.TransportError) as error:
                reason = _in_words(error)
            except httpx.InvalidURL:
                raise TransferFailed("its address makes no sense") from None
            logger.info("try %d of a transfer failed: %s", number, reason)
            if number == _TRIES:
                # Without a cause: what httpx says may name the URL.
                raise TransferFailed(f"the object store can't be reached: {reason}") from None
            await asyncio.sleep(_PAUSE_SECONDS * 2**number)


def _in_words(error: _TryAgain | httpx.TransportError) -> str:
    """Return what went wrong, without what httpx says: that may name the URL."""
    if isinstance(error, _TryAgain):
        return str(error)
    late = isinstance(error, httpx.TimeoutException)
    return "no answer in time" if late else "the connection broke"


def _judge(status: int) -> None:
    if status >= 500 or status == 429:
        raise _TryAgain(f"status {status}")
    if status >= 300:
        raise TransferFailed(f"the object store answered with status {status}")
