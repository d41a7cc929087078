"""Git's smart HTTP protocol, passed on to the session's host with what opens it there.

gitprotocol-http(5) has the requests, Git LFS's batch API those for large files. What is refused is
refused in words that git shows: a text, or in git's own protocol where it reads nothing else.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientResponse, web

from headstart.domain.errors import (
    GitNetworkError,
    NotARepository,
    RepositoryAccessDenied,
    RepositoryNotFound,
    StepError,
)
from headstart_runner.gateway import lfs
from headstart_runner.gateway.answers import is_smart, lists_refs
from headstart_runner.gateway.calls import Call, Kind, call_of, name_of
from headstart_runner.gateway.credentials import Credential, Credentials
from headstart_runner.gateway.exchange import Body, Exchange, Outgoing, basic, remember
from headstart_runner.gateway.gateway import Source, Watch
from headstart_runner.gateway.pkt_lines import (
    NotAPush,
    PushReader,
    begins_as_fetch,
    refusal,
    refused,
)
from headstart_runner.gateway.relay import body_of, pass_back
from headstart_runner.log import Oddities

_WAIT_SECONDS = 60.0
"""How long a busy server is waited for in a request that no step waits for."""

_REQUEST_SECONDS = 2 * 3600.0
"""How long one request may take: a turn takes no longer."""

_DRAIN_SECONDS = 60.0
_AT_ONCE = 32
_MOST_PROBLEMS = 64
_MOST_ASKED_BYTES = 1024 * 1024
_NOT_PASSED_BACK = frozenset({"set-cookie", "www-authenticate"})
_NO_OTHER: Mapping[str, str] = {}
_REFS = "info/refs?service=git-upload-pack"
_WANTS, _PUSHES = "application/x-git-upload-pack-request", "application/x-git-receive-pack-request"
_UNKNOWN_TO_IT = {404, 501}
_STATUS: tuple[tuple[type[StepError], int], ...] = (
    (RepositoryNotFound, 404), (NotARepository, 404), (GitNetworkError, 502),
)  # fmt: skip


class GitHandler:
    """Answers what comes for the session's host.

    At most 32 requests at once of commands and the agent, and 32 of the runner's own steps: the
    others wait, and an agent that keeps many open does not hold up what is published.
    """

    def __init__(self, source: Source, credentials: Credentials) -> None:
        self._host = urlsplit(source.url).netloc
        self._repository = name_of(urlsplit(source.url).path)
        self._branch = source.branch
        self._source = source
        self._exchange = Exchange(source, credentials)
        self._actions = lfs.Actions()
        self._smart: OrderedDict[str, bool] = OrderedDict()
        self._problems: OrderedDict[str, StepError] = OrderedDict()
        self._oddities = Oddities()
        self._watch: Watch | None = None
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._room_of_steps = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Break off what is under way."""
        await self._exchange.close()

    @contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """Let someone see what is waited for, and forget what went wrong before."""
        self._problems.clear()
        self._watch = watch
        try:
            yield
        finally:
            self._watch = None

    def problem(self, url: str) -> StepError | None:
        """Return what went wrong with a repository last, None where nothing did."""
        return self._problems.get(name_of(urlsplit(url).path))

    async def handle(self, request: web.Request, tail: str) -> web.StreamResponse:
        """Answer a request; `tail` is its address behind the handler's own."""
        async with self._room:
            return await self._handled(request, tail)

    async def handle_step(self, request: web.Request, tail: str) -> web.StreamResponse:
        """Answer a request that a step of the runner makes."""
        async with self._room_of_steps:
            return await self._handled(request, tail)

    async def _handled(self, request: web.Request, tail: str) -> web.StreamResponse:
        call = call_of(request.method, tail)
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                if call is None or call.host != self._host:
                    raise RepositoryAccessDenied(
                        f"this session's git reaches {self._host} only, by HTTP"
                    )
                return await self._answer(request, call)
        except (StepError, TimeoutError) as error:
            reason = error if isinstance(error, StepError) else GitNetworkError("no time left")
            return await self._refuse(request, call, reason)

    async def _answer(self, request: web.Request, call: Call) -> web.StreamResponse:
        if call.write and call.repository != self._repository:
            raise RepositoryAccessDenied(f"this session may push to {self._source.url} only")
        if call.kind in {Kind.FILE, Kind.FETCH}:
            await self._see(call)
        match call.kind:
            case Kind.REFS:
                return await self._refs(request, call)
            case Kind.PUSH:
                return await self._push(request, call)
            case Kind.BATCH:
                return await self._batch(request, call)
            case Kind.LOCKS:
                return await self._locks(request, call)
            case Kind.ACTION:
                return await self._act(request, call)
        body = await self._wants(request) if call.kind is Kind.FETCH else Body()
        answer, _ = await self._ask(request, call, body)
        async with answer:
            return await self._pass_back(request, call, answer)

    async def _ask(
        self, request: web.Request, call: Call, body: Body, own: Mapping[str, str] = _NO_OTHER
    ) -> tuple[ClientResponse, Credential | None]:
        outgoing = Outgoing(request.method, request.headers, body, own=own)
        return await self._exchange.ask(call, outgoing, self._watching())

    async def _see(self, call: Call) -> None:
        """See that a path is a repository's before more is asked of it than that.

        A host has more than repositories, and other addresses of it may end like git's.
        """
        if call.repository == self._repository:
            return
        if call.repository not in self._smart:
            refs = replace(call, kind=Kind.REFS, rest=_REFS, service="upload")
            outgoing = Outgoing("GET", {}, Body())
            answer, _ = await self._exchange.ask(refs, outgoing, self._watching())
            async with answer:
                await self._begun_as_refs(refs, answer)
        if call.kind is not Kind.FILE and not self._smart[call.repository]:
            raise self._no_repository(call)

    async def _refs(self, request: web.Request, call: Call) -> web.StreamResponse:
        answer, _ = await self._ask(request, call, Body())
        async with answer:
            begun = await self._begun_as_refs(call, answer)
            return await self._pass_back(request, call, answer, begun)

    async def _begun_as_refs(self, call: Call, answer: ClientResponse) -> bytes:
        """Return what was read to see that an answer lists refs; NotARepository if it doesn't."""
        begun = b""
        smart = is_smart(answer.headers.get("Content-Type", ""), call.service or "upload")
        if not smart:
            begun = await self._begun(answer)
            if call.write or not lists_refs(begun):
                raise self._no_repository(call)
        remember(self._smart, call.repository, smart)
        return begun

    def _no_repository(self, call: Call) -> NotARepository:
        url = self._exchange.address_of(call)
        return NotARepository(f"{url} answers, but not as a git repository: check the address")

    async def _wants(self, request: web.Request) -> Body:
        body = await Body.of(body_of(request))
        encoding = request.headers.get("Content-Encoding", "identity")
        if request.content_type != _WANTS or not begins_as_fetch(body.begun, encoding):
            raise RepositoryAccessDenied("this is not how git asks for objects")
        return body

    def _watching(self) -> Watch:
        """Return who waits: a step, or nobody, and then there is a minute."""
        if self._watch is not None:
            return self._watch
        clock = asyncio.get_running_loop().time
        over = clock() + _WAIT_SECONDS
        return Watch(lambda message, percent: None, lambda: over - clock())

    async def _push(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Pass a push on once its commands are known to be the session's to give."""
        push, pieces = PushReader(), body_of(request)
        try:
            if request.content_type != _PUSHES:
                raise NotAPush("it does not begin as a push does")
            if request.headers.get("Content-Encoding", "identity") != "identity":
                raise NotAPush("its commands can't be read, they are compressed")
            async for piece in pieces:
                push.feed(piece)
                if push.done:
                    break
            else:
                raise NotAPush("it ends before its commands do")
            if (reason := refused(push.updates, self._branch)) is not None:
                raise NotAPush(reason)
            body = await Body.of(pieces, bytes(push.taken))
            answer, _ = await self._ask(request, call, body)
        except NotAPush as error:
            self._note(call, RepositoryAccessDenied(str(error)))
            return await self._refuse_push(request, push, str(error))
        except StepError as error:
            self._note(call, error)
            return await self._refuse_push(request, push, error.reason)
        async with answer:
            return await self._pass_back(request, call, answer)

    async def _refuse_push(
        self, request: web.Request, push: PushReader, reason: str
    ) -> web.StreamResponse:
        # Who is still sending when the answer comes may never look at it.
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _ in body_of(request):
                    pass
        if not push.updates:
            return _text(403, reason)
        return web.Response(
            body=refusal(push, reason), content_type="application/x-git-receive-pack-result"
        )

    async def _batch(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Have the contents of large files go the way that everything goes, where they are here."""
        asked = await _whole(body_of(request), _MOST_ASKED_BYTES)
        try:
            batch = lfs.batch(asked)
            call = self._of_files(call, uploads=batch.uploads)
            await self._see(call)
            answer, credential = await self._ask(request, call, Body(batch.body), lfs.HEADERS)
            async with answer:
                said = await _whole(answer.content.iter_any(), lfs.MOST_BYTES)
            kept = self._actions.keep(
                said,
                call.repository,
                self._exchange.address_of(call),
                [credential.password, basic(credential)] if credential else [],
                lambda name: self._door_of(request, name),
                uploads=batch.uploads,
            )
        except lfs.NotABatch as error:
            raise RepositoryAccessDenied(
                f"this batch of large files makes no sense: {error}"
            ) from error
        except (ClientError, OSError) as error:
            raise self._exchange.broken(error) from error
        return web.Response(body=kept, headers={"Content-Type": lfs.CONTENT_TYPE})

    async def _locks(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Ask for what is locked where something may be pushed; nowhere else is anything."""
        asked = await _whole(body_of(request), _MOST_ASKED_BYTES)
        if call.repository != self._repository:
            return _no_locks()
        try:
            body = Body(lfs.locks(asked))
        except lfs.NotABatch as error:
            raise RepositoryAccessDenied(f"these locks make no sense: {error}") from error
        answer, _ = await self._ask(request, call, body, lfs.HEADERS)
        async with answer:
            return await self._pass_back(request, call, answer)

    def _of_files(self, call: Call, *, uploads: bool) -> Call:
        """Return a call about contents of large files as what it is, a read or a write."""
        if uploads and call.repository != self._repository:
            raise RepositoryAccessDenied(f"this session may send files to {self._source.url} only")
        return replace(call, write=uploads)

    def _door_of(self, request: web.Request, action: str) -> str:
        """Return where a client finds an action: beside the batch that it asked for."""
        beside = request.raw_path.partition("?")[0].removesuffix("objects/batch")
        return f"http://{request.headers.get('Host', '127.0.0.1')}{beside}actions/{action}"

    async def _act(self, request: web.Request, call: Call) -> web.StreamResponse:
        action = self._actions.get(call.action or "")
        if (
            action is None
            or action.repository != call.repository
            or action.method != request.method
        ):
            raise RepositoryAccessDenied(
                "this large file's address is not known, or not any more: ask again"
            )
        body = await Body.of(body_of(request))
        own = action.headers
        outgoing = Outgoing(request.method, request.headers, body, action.href, own)
        call = self._of_files(call, uploads=action.uploads)
        answer, _ = await self._exchange.ask(call, outgoing, self._watching())
        async with answer:
            return await self._pass_back(request, call, answer)

    async def _begun(self, answer: ClientResponse) -> bytes:
        try:
            return await answer.content.readany()
        except (ClientError, OSError) as error:
            raise self._exchange.broken(error) from error

    async def _pass_back(
        self, request: web.Request, call: Call, answer: ClientResponse, begun: bytes = b""
    ) -> web.StreamResponse:
        try:
            return await pass_back(request, answer, begun=begun, without=_NOT_PASSED_BACK)
        except (ClientError, OSError) as error:
            transport = request.transport
            if transport is not None and not transport.is_closing():
                # What has begun can't be called a failure any more, only be broken off.
                self._note(call, self._exchange.broken(error))
                transport.abort()
            return web.Response(status=502)

    async def _refuse(
        self, request: web.Request, call: Call | None, error: StepError
    ) -> web.StreamResponse:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 403)
        if call is None:
            return _text(status, error.reason)
        self._note(call, error)
        if call.kind is Kind.FETCH:
            said = f"ERR {error.reason}\n".encode()
            return web.Response(
                body=b"%04x%s" % (len(said) + 4, said),
                content_type="application/x-git-upload-pack-result",
            )
        if call.kind is Kind.LOCKS and status in _UNKNOWN_TO_IT:
            # A server without locks: said as it is, git-lfs writes that into the repository's
            # settings, by an address that is the door's.
            return _no_locks()
        if call.kind in {Kind.BATCH, Kind.LOCKS, Kind.ACTION}:
            text = json.dumps({"message": error.reason})
            return web.Response(status=status, text=text, content_type=lfs.CONTENT_TYPE)
        return _text(status, error.reason)

    def _note(self, call: Call, error: StepError) -> None:
        """Keep what went wrong for who asks, and say it where an operator sees it."""
        self._oddities.note(f"git: {error.reason}")
        if call.kind is Kind.FILE:
            # Without git a server is asked for files that it need not have.
            return
        self._problems[call.repository] = error
        while len(self._problems) > _MOST_PROBLEMS:
            self._problems.popitem(last=False)


def _no_locks() -> web.Response:
    return web.Response(text=json.dumps({"ours": [], "theirs": []}), content_type=lfs.CONTENT_TYPE)


def _text(status: int, reason: str) -> web.Response:
    # git shows what is plain text as `remote: …`, and asks for a password after a 401.
    return web.Response(status=status, text=f"{reason}\n")


async def _whole(pieces: AsyncIterator[bytes], most: int) -> bytes:
    whole = bytearray()
    async for piece in pieces:
        whole += piece
        if len(whole) > most:
            raise lfs.NotABatch(f"it has more than {most} bytes")
    return bytes(whole)
