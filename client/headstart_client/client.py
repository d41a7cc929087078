"""The two clients: Headstart blocks, AsyncHeadstart is for asyncio and can follow a session."""

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, get_args, get_type_hints

import httpx

from headstart_client import operations as ops
from headstart_client.errors import HeadstartError, TransportFailed
from headstart_client.follow import DEFAULT_TIMING, Timing, follow
from headstart_client.models import Event, Page, Session, Stream

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])

Token = str | Callable[[], str]
"""A bearer token, or what returns the current one: asked before each request, as tokens expire."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL)
_TIMEOUT = httpx.Timeout(10.0, read=ops.WAIT_SECONDS + 10.0)


class _Http:
    """How a request becomes HTTP and a reply or failure comes of it: the same for both clients."""

    def __init__(self, url: str, token: Token) -> None:
        self._url = url.rstrip("/") + "/"
        self._token = token

    def _arguments(self, request: ops.Request) -> dict[str, Any]:
        token = self._token if isinstance(self._token, str) else self._token()
        # httpx's own words for it name a codec, or look like a lost connection.
        if not (token.isascii() and token.isprintable()):
            raise HeadstartError("The token can't be one: it has a line break or is not ASCII")
        headers = {"authorization": f"Bearer {token}"}
        if request.idempotency_key:
            headers["idempotency-key"] = request.idempotency_key
        return {
            "method": request.method,
            "url": self._url + request.path,
            "params": dict(request.params),
            "headers": headers,
            "json": request.body,
        }

    @staticmethod
    def _reply(response: httpx.Response) -> ops.Reply:
        try:
            body = response.json() if response.content else None
        except ValueError:
            body = None
        wait = response.headers.get("retry-after", "")
        token = response.request.headers.get("authorization", "").removeprefix("Bearer ")
        seconds = float(wait) if wait.isdigit() else None
        return ops.Reply(response.status_code, body, seconds, token)

    @staticmethod
    def _failure(error: httpx.TransportError | httpx.InvalidURL) -> TransportFailed:
        sent = not isinstance(error, _NOT_SENT)
        return TransportFailed(str(error) or type(error).__name__, sent=sent)


def _documented(method: M, operation: Callable[..., Any]) -> M:
    """Have `help` show an operation's arguments, answer and words for its method."""
    shown: Any = method
    shown.__name__, shown.__doc__ = operation.__name__, operation.__doc__
    shown.__qualname__ = operation.__name__
    given = inspect.signature(operation)
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    *_, answer = get_args(given.return_annotation)
    answer = None if answer is type(None) else answer
    parameters = [me, *(one for p in given.parameters.values() for one in _spelled(p))]
    shown.__signature__ = given.replace(parameters=parameters, return_annotation=answer)
    return method


def _spelled(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """Yield a parameter as it is, but each field of an unpacked TypedDict by its own name."""
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
        yield parameter
        return
    [fields] = get_args(parameter.annotation)
    for name, kind in get_type_hints(fields).items():
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=..., annotation=kind)


def _blocking(
    operation: Callable[P, ops.Operation[T]],
) -> Callable[Concatenate["Headstart", P], T]:
    def method(self: "Headstart", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(operation(*args, **kwargs))

    return _documented(method, operation)


class Headstart(_Http):
    """A blocking client of one API for one user; safe to share between threads."""

    def __init__(
        self, url: str, token: Token, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(url, token)
        self._client = httpx.Client(timeout=_TIMEOUT)
        self._sleep = sleep

    create_session = _blocking(ops.create_session)
    prepare = _blocking(ops.prepare)
    get = _blocking(ops.get)
    archive = _blocking(ops.archive)
    changes = _blocking(ops.changes)
    diff = _blocking(ops.diff)
    publish = _blocking(ops.publish)
    messages = _blocking(ops.messages)
    stream_ticket = _blocking(ops.stream_ticket)
    send_message = _blocking(ops.send_message)
    initiate = _blocking(ops.initiate)
    wait = _blocking(ops.wait)
    patch = _blocking(ops.patch)
    retry = _blocking(ops.retry)
    interrupt = _blocking(ops.interrupt)
    answer_input = _blocking(ops.answer_input)
    delete = _blocking(ops.delete)

    def list(self) -> Iterator[Session]:
        """Iterate over the caller's sessions, newest first; pages are fetched as needed."""
        return self._items(ops.list_page)

    def events(self, session_id: str, after: int = 0) -> Iterator[Event]:
        """Iterate over the persisted events after an id, oldest first, up to now."""
        return self._items(lambda cursor: ops.events_page(session_id, int(cursor or after)))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _items(self, page_at: Callable[[str | None], ops.Operation[Page[T]]]) -> Iterator[T]:
        cursor: str | None = None
        while True:
            page = self._run(page_at(cursor))
            yield from page.items
            cursor = page.next_cursor
            if not cursor:
                return

    def _run(self, operation: ops.Operation[T]) -> T:
        try:
            request = next(operation)
            while True:
                if request.delay:
                    self._sleep(request.delay)
                try:
                    response = self._client.request(**self._arguments(request))
                except (httpx.TransportError, httpx.InvalidURL) as error:
                    request = operation.throw(self._failure(error))
                else:
                    request = operation.send(self._reply(response))
        except StopIteration as done:
            result: T = done.value
            return result


def _awaiting(
    operation: Callable[P, ops.Operation[T]],
) -> Callable[Concatenate["AsyncHeadstart", P], Coroutine[Any, Any, T]]:
    async def method(self: "AsyncHeadstart", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(operation(*args, **kwargs))

    return _documented(method, operation)


class AsyncHeadstart(_Http):
    """The same calls for asyncio, and `follow`."""

    def __init__(
        self, url: str, token: Token, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        super().__init__(url, token)
        self._client = httpx.AsyncClient(timeout=_TIMEOUT)
        self._sleep = sleep

    create_session = _awaiting(ops.create_session)
    prepare = _awaiting(ops.prepare)
    get = _awaiting(ops.get)
    archive = _awaiting(ops.archive)
    changes = _awaiting(ops.changes)
    diff = _awaiting(ops.diff)
    publish = _awaiting(ops.publish)
    messages = _awaiting(ops.messages)
    stream_ticket = _awaiting(ops.stream_ticket)
    send_message = _awaiting(ops.send_message)
    initiate = _awaiting(ops.initiate)
    wait = _awaiting(ops.wait)
    patch = _awaiting(ops.patch)
    retry = _awaiting(ops.retry)
    interrupt = _awaiting(ops.interrupt)
    answer_input = _awaiting(ops.answer_input)
    delete = _awaiting(ops.delete)

    def list(self) -> AsyncIterator[Session]:
        """Iterate over the caller's sessions, newest first; pages are fetched as needed."""
        return self._items(ops.list_page)

    def events(self, session_id: str, after: int = 0) -> AsyncIterator[Event]:
        """Iterate over the persisted events after an id, oldest first, up to now."""
        return self._items(lambda cursor: ops.events_page(session_id, int(cursor or after)))

    def follow(
        self,
        session_id: str,
        after: int = 0,
        *,
        stream: Stream | None = None,
        timing: Timing = DEFAULT_TIMING,
    ) -> AsyncGenerator[Event, None]:
        """Iterate over a session's events as they happen, each persisted one once and in order.

        It starts after the event id `after` and reconnects for ever: it ends after
        `session.deleted`, raises NotFound for a session that is gone and Unauthorized for a token
        that is no longer valid. `stream` is the unused ticket of `create_session`, which saves the
        first call. See headstart_client.follow for the two types of event it adds.
        """
        return follow(lambda: self.stream_ticket(session_id), after, stream, timing)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _items(
        self, page_at: Callable[[str | None], ops.Operation[Page[T]]]
    ) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            page = await self._run(page_at(cursor))
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if not cursor:
                return

    async def _run(self, operation: ops.Operation[T]) -> T:
        try:
            request = next(operation)
            while True:
                if request.delay:
                    await self._sleep(request.delay)
                try:
                    response = await self._client.request(**self._arguments(request))
                except (httpx.TransportError, httpx.InvalidURL) as error:
                    request = operation.throw(self._failure(error))
                else:
                    request = operation.send(self._reply(response))
        except StopIteration as done:
            result: T = done.value
            return result
