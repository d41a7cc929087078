"""One request to the session's host: asked again where it was too early, moved or unopened."""

import asyncio
import base64
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Self, TypeVar
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientResponse, ClientTimeout, ServerDisconnectedError
from aiohttp.helpers import is_ip_address
from multidict import CIMultiDict

from headstart.domain.credentials import without_credentials
from headstart.domain.errors import (
    GitNetworkError,
    RepositoryAccessDenied,
    RepositoryNotFound,
    StepError,
)
from headstart.domain.repository import same_server
from headstart_runner.clock import awake_sleep
from headstart_runner.gateway.addresses import addresses_of
from headstart_runner.gateway.answers import moved_to, seconds_to_wait
from headstart_runner.gateway.calls import Call, Kind
from headstart_runner.gateway.credentials import Credential, Credentials
from headstart_runner.gateway.gateway import Source, Watch
from headstart_runner.gateway.relay import CONNECT_SECONDS, exactly, forwarded, upstream
from headstart_runner.gateway.resolver import CheckedResolver
from headstart_runner.terminal import plain
from headstart_runner.wire import cut_text

SILENT_SECONDS = 120.0
"""How long a server may say nothing: git's own say something every five seconds."""

_KEPT_BYTES = 1024 * 1024
"""How much of a request can be sent again: git sends more than that in pieces of unknown number,
and asks beforehand whether it will be heard (http.postBuffer)."""

_T = TypeVar("_T")

_NO_SUCCESS = 300
_MOVED = {301, 302, 303, 307, 308}
_BUSY = {429, 503}
_UNAUTHORIZED, _NOT_FOUND = 401, 404
_UNOPENED = {_UNAUTHORIZED, 403, _NOT_FOUND}
_MOST_MOVES = 5
_LET_GO_SECONDS = 1.0
_MOST_REMEMBERED = 256
_ADDRESS_BYTES = 500
_SAID_BYTES = 300
_PASSED = (
    "Accept", "Accept-Encoding", "Accept-Language", "Content-Length", "Content-Type",
    "Git-Protocol", "Pragma", "Range", "User-Agent",
)  # fmt: skip
"""What git (http.c, remote-curl.c) and git-lfs say. Others may say who asks, or have a server take
a request for another than it is (X-HTTP-Method-Override, X-Original-URL)."""

_ENCODING = "Content-Encoding"
_OF_ITS_OWN = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
"""Headers that the client library would add: who asks is git."""


@dataclass(slots=True)
class Body:
    """What a request brings: its beginning, and the rest of it where that is all but short."""

    begun: bytes = b""
    rest: AsyncIterator[bytes] | None = None
    on_passed: Callable[[], None] = lambda: None
    """What is called when nothing of it is left to be sent."""
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._idle.set()

    @property
    def passing(self) -> bool:
        """Whether some of it is still to be sent."""
        return not self._idle.is_set()

    @classmethod
    async def of(cls, pieces: AsyncIterator[bytes], begun: bytes = b"") -> Self:
        """Begin to read a body."""
        kept = bytearray(begun)
        async for piece in pieces:
            kept += piece
            if len(kept) > _KEPT_BYTES:
                return cls(bytes(kept), pieces)
        return cls(bytes(kept))

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield all of it, once."""
        self._idle.clear()
        try:
            yield self.begun
            self.begun = b""
            if self.rest is not None:
                async for piece in self.rest:
                    yield piece
        finally:
            self._idle.set()
            self.on_passed()

    async def let_go(self) -> None:
        """Wait until nobody reads it any more: a server may answer before it has got it all."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LET_GO_SECONDS):
                await self._idle.wait()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as its client made it; `href` is another place on the host than its call's.

    `own` are headers that count before the client's: with an Authorization among them none is
    added.
    """

    method: str
    headers: Mapping[str, str]
    body: Body
    href: str | None = None
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def opened(self) -> bool:
        """Whether it needs nothing of ours to be let in."""
        return any(name.lower() == "authorization" for name in self.own)


class Exchange:
    """Speaks to one host, over connections to addresses that were checked, and to no other."""

    def __init__(self, source: Source, credentials: Credentials) -> None:
        parts = urlsplit(source.url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._netloc, self._host, self._port = parts.netloc, parts.hostname or "", parts.port or 0
        self._allow_private = source.allow_private
        self._credentials = credentials
        resolver = CheckedResolver(allow_private=source.allow_private)
        self._client = upstream(resolver, silent_seconds=SILENT_SECONDS)
        self._moved: OrderedDict[str, str] = OrderedDict()
        self._locked: OrderedDict[str, None] = OrderedDict()

    async def close(self) -> None:
        """Break off what is under way."""
        await self._client.close()

    def address_of(self, call: Call) -> str:
        """Return a repository's true address, as it was asked for."""
        return f"{self._origin}{call.path}"

    async def ask(
        self, call: Call, request: Outgoing, watch: Watch
    ) -> tuple[ClientResponse, Credential | None]:
        """Return the host's answer, and what it was opened with; the caller closes it.

        A read is tried without a credential until the host wants one; what is refused is asked
        again with a new one, once. Raises what kept it from being done.
        """
        if is_ip_address(self._host):
            # The client resolves no address, so its resolver would not see this one.
            await addresses_of(self._host, self._port, allow_private=self._allow_private)
        credential, renewed, moves = None, request.opened, 0
        if not renewed and (call.write or call.repository in self._locked):
            credential = await self._credential(call)
        while True:
            answer = await self._send(call, request, credential)
            elsewhere = request.href is not None and answer.status in _MOVED
            if answer.status < _NO_SUCCESS or elsewhere:
                # A large file's client goes on by itself, to an address that opens what is there.
                return answer, credential
            said = await _said(answer, credential)
            again = request.body.rest is None
            if again:
                answer.release()
            else:
                answer.close()
                await request.body.let_go()
            if answer.status in _MOVED:
                moves += 1
                self._follow(call, answer, last=moves > _MOST_MOVES or not again)
            elif answer.status in _BUSY and again:
                await self._wait(answer, watch)
            elif answer.status in _UNOPENED and not renewed:
                newer = await self._another(call, answer.status, credential)
                if newer is None:
                    raise self._refused(call, answer.status, said, credential)
                if not again:
                    raise GitNetworkError(f"{self._host} wanted another credential: do it again")
                renewed, credential = credential is not None, newer
            else:
                raise self._refused(call, answer.status, said, credential)

    async def _credential(self, call: Call) -> Credential | None:
        return await self._credentials.get(self._netloc, call.repository, write=call.write)

    async def _another(
        self, call: Call, status: int, credential: Credential | None
    ) -> Credential | None:
        """Return another credential than the one that was refused, None where there is none."""
        if credential is None:
            remember(self._locked, call.repository, None)
            return await self._credential(call)
        if status != _UNAUTHORIZED:
            return None
        self._credentials.forget(credential)
        return await self._credential(call)

    async def _send(
        self, call: Call, request: Outgoing, credential: Credential | None
    ) -> ClientResponse:
        url = request.href or f"{self._origin}{self._moved.get(call.path, call.path)}/{call.rest}"
        try:
            address = exactly(url)
        except ValueError as error:
            raise RepositoryAccessDenied(f"what is asked of {self._host} {error}") from error
        headers = _passed(request.headers, call.kind)
        headers.update(request.own)
        if credential is not None:
            headers["Authorization"] = f"Basic {basic(credential)}"
        body, whole = request.body, request.body.rest is None
        if whole:
            headers.popall("Content-Length", None)
        # It may close a connection that has been idle just when it is used again. A push may
        # have been done all the same, and its connection has just answered git's first question.
        for last in (False, True) if whole and call.kind is not Kind.PUSH else (True,):
            send = partial(
                self._client.request,
                request.method,
                address,
                headers=headers,
                skip_auto_headers=_OF_ITS_OWN,
                allow_redirects=False,
            )
            try:
                if not whole:
                    return await _send_long(send, body)
                return await send(data=body.begun or None)
            except (ClientError, OSError) as error:
                if last or not isinstance(error, ServerDisconnectedError):
                    await body.let_go()
                    raise self.broken(error) from error
        raise AssertionError("the last try returns or raises")

    def broken(self, error: BaseException) -> GitNetworkError:
        """Return the error that a connection which failed is."""
        said = "no answer in time" if isinstance(error, TimeoutError) else "it broke off"
        cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
        if cause is not None:
            said = plain(str(cause.strerror or cause) if isinstance(cause, OSError) else str(cause))
        return GitNetworkError(f"The connection to {self._host} failed: {said}")

    def _follow(self, call: Call, answer: ClientResponse, *, last: bool) -> None:
        """Go to the new address if it is on the same host; another may be anywhere."""
        url = f"{self._origin}{self._moved.get(call.path, call.path)}"
        new = moved_to(url, call.rest, answer.headers.get("Location"))
        if new is None or (last and same_server(new, url)):
            raise RepositoryNotFound(f"{self.address_of(call)} has moved: use its new address")
        if new == url or "@" in urlsplit(new).netloc or not same_server(new, url):
            shown = cut_text(without_credentials(new), _ADDRESS_BYTES)
            raise RepositoryNotFound(f"{self.address_of(call)} has moved to {shown}")
        remember(self._moved, call.path, urlsplit(new).path)

    async def _wait(self, answer: ClientResponse, watch: Watch) -> None:
        """Wait as long as a busy server asks to, if there is so much time."""
        seconds = seconds_to_wait(answer.headers)
        if seconds is None:
            raise GitNetworkError(
                f"The connection to {self._host} failed: it answered with status {answer.status}"
            )
        asks = f"{self._host} asks to wait {seconds} s"
        if seconds >= watch.seconds_left():
            raise GitNetworkError(f"{asks}, longer than the step may take")
        watch.show(asks, None)
        await awake_sleep(seconds)

    def _refused(
        self, call: Call, status: int, said: str, credential: Credential | None
    ) -> StepError:
        """Return what an answer that is none means, for a person to act on."""
        url = self.address_of(call)
        if status == _NOT_FOUND and credential is None:
            return RepositoryNotFound(f"There is no repository at {url}: check the address")
        if status == _NOT_FOUND:
            return RepositoryNotFound(
                f"There is no repository at {url}, or the session's credential does not open it"
            )
        quoted = f": {said}" if said else ""
        if status in _UNOPENED and credential is None and call.write:
            return RepositoryAccessDenied(
                f"nothing opens {url} for writing: the access rules don't give this session the "
                f"App, and it brought no GIT_TOKEN{quoted}"
            )
        if status in _UNOPENED and credential is None:
            return RepositoryAccessDenied(
                f"{self._host} asks for credentials: {url} does not exist, or is not public{quoted}"
            )
        if status in _UNOPENED:
            to = "write to" if call.write else "read"
            return RepositoryAccessDenied(
                f"{self._host} does not let the session's credential {to} {url}{quoted}"
            )
        return GitNetworkError(
            f"The connection to {self._host} failed: it answered with status {status}{quoted}"
        )


def basic(credential: Credential) -> str:
    """Return a credential as HTTP Basic writes it (RFC 7617)."""
    return base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()


async def _send_long(send: Callable[..., Awaitable[ClientResponse]], body: Body) -> ClientResponse:
    """Send what is not short; its server may say nothing for as long as some of it still comes.

    aiohttp counts the silence from the first byte of an answer, and git's servers may send that
    before they have read anything.
    """
    clock = asyncio.get_running_loop().time
    patient = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=None)
    async with asyncio.timeout(None) as limit:
        body.on_passed = lambda: limit.reschedule(clock() + SILENT_SECONDS)
        try:
            answer = await send(data=body.pieces(), timeout=patient)
        finally:
            body.on_passed = lambda: None

    def count() -> None:
        protocol = answer.connection.protocol if answer.connection else None
        if protocol is not None:
            protocol.read_timeout = SILENT_SECONDS
            protocol.start_timeout()

    if body.passing:
        body.on_passed = count
    else:
        count()
    return answer


def _passed(headers: Mapping[str, str], kind: Kind) -> CIMultiDict[str]:
    """Return the headers that are passed on, the first of each name: that is what was judged."""
    sent = forwarded(headers)
    names = (*_PASSED, _ENCODING) if kind is Kind.FETCH else _PASSED
    return CIMultiDict((name, sent[name]) for name in names if name in sent)


async def _said(answer: ClientResponse, credential: Credential | None) -> str:
    """Return what a refusal says in plain text, in one line and not too much of it."""
    if answer.status not in _UNOPENED or not answer.content_type.startswith("text/plain"):
        return ""
    said = b""
    with suppress(ClientError, OSError, TimeoutError):
        said = await answer.content.read(_SAID_BYTES)
    text = " ".join(plain(said.decode(errors="replace")).split())
    ours = (credential.password, basic(credential)) if credential else ()
    return "" if any(secret in text for secret in ours) else cut_text(text, _SAID_BYTES)


def remember(known: OrderedDict[str, _T], name: str, value: _T) -> None:
    """Keep what is known by a name, with those of 255 others at most."""
    known[name] = value
    while len(known) > _MOST_REMEMBERED:
        known.popitem(last=False)
