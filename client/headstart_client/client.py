"""The two clients: Headstart blocks, AsyncHeadstart is for asyncio."""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
)
from math import inf
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, Unpack

import httpx

from headstart_client import operations as ops
from headstart_client.blocking import Loop
from headstart_client.follow import DEFAULT_TIMING, Timing, follow
from headstart_client.models import Answer, Event, Message, Page, Stream, Summary
from headstart_client.options import SessionOptions
from headstart_client.requests import Operation
from headstart_client.signatures import documented
from headstart_client.transport import TIMEOUT, Http, Token
from headstart_client.turns import answer_to

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    operation: Callable[P, Operation[T]],
) -> Callable[Concatenate["Headstart", P], T]:
    def method(self: "Headstart", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(operation(*args, **kwargs))

    return documented(method, operation)


class Headstart(Http):
    """A blocking client of one API for one user; safe to share between threads."""

    def __init__(
        self, url: str, token: Token, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(url, token)
        self._client = httpx.Client(timeout=TIMEOUT)
        self._sleep = sleep

    create_session = _blocking(ops.create_session)
    prepare = _blocking(ops.prepare)
    get = _blocking(ops.get)
    archive = _blocking(ops.archive)
    changes = _blocking(ops.changes)
    diff = _blocking(ops.diff)
    publish = _blocking(ops.publish)
    messages = _blocking(ops.messages)
    text = _blocking(ops.text)
    text_page = _blocking(ops.text_page)
    logs = _blocking(ops.logs)
    defaults = _blocking(ops.defaults)
    stream_ticket = _blocking(ops.stream_ticket)
    initiate = _blocking(ops.initiate)
    wait = _blocking(ops.wait)
    patch = _blocking(ops.patch)
    rename = _blocking(ops.rename)
    withdraw = _blocking(ops.withdraw)
    retry = _blocking(ops.retry)
    interrupt = _blocking(ops.interrupt)
    answer_input = _blocking(ops.answer_input)
    delete = _blocking(ops.delete)
    _send_message = _blocking(ops.send_message)

    def list(
        self, *, search: str | None = None, repository: str | None = None, limit: int | None = None
    ) -> Iterator[Summary]:
        """Iterate over the caller's sessions, newest first, `limit` at most.

        `search` has words that the title or the repository's address must have, all of them;
        `repository` is such an address. Pages are fetched as needed.
        """
        return self._items(ops.listing(search, repository, limit), limit)

    def events(self, session_id: str, after: int = 0) -> Iterator[Event]:
        """Iterate over the persisted events after an id, oldest first, up to now."""
        return self._items(lambda cursor: ops.events_page(session_id, int(cursor or after)))

    def follow(
        self,
        session_id: str,
        after: int = 0,
        *,
        stream: Stream | None = None,
        timing: Timing = DEFAULT_TIMING,
    ) -> Generator[Event, None, None]:
        """Iterate over a session's events as they happen, each persisted one once and in order.

        As `AsyncHeadstart.follow`, in a thread that ends with the iteration: at its end, at
        `close()` of what this returns, or when it is let go after a `break`.
        """
        with Loop() as loop:
            client = AsyncHeadstart(self._url, self._token)
            events = client.follow(session_id, after, stream=stream, timing=timing)
            try:
                while (event := loop.wait_for(_next(events))) is not None:
                    yield event
            finally:
                loop.wait_for(events.aclose())
                loop.wait_for(client.close())

    def send(
        self, session_id: str, prompt: str, *, if_busy: Literal["queue", "reject"] = "queue"
    ) -> "Turn":
        """Queue a message; it wakes a sleeping session. `result()` of the answer awaits its turn.

        `if_busy="reject"` raises Conflict while a turn runs.
        """
        after = self.get(session_id).last_event_id
        message = self._send_message(session_id, prompt, if_busy=if_busy)
        return Turn(self, session_id, message, after)

    def run(
        self,
        prompt: str,
        repository: str,
        *,
        timeout: float | None = None,
        **options: Unpack[SessionOptions],
    ) -> Answer:
        """Create a session on a repository, an address or `org/name`, and return its answer.

        It raises what `Turn.result` raises; the session stays, also where that is TimeoutError.
        """
        created = self.create_session(prompt, **ops.on_repository(repository, options))
        [message] = self.messages(created.session_id)[:1]
        turn = Turn(self, created.session_id, message, 0, created.stream)
        return turn.result(timeout)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _items(
        self, page_at: Callable[[str | None], Operation[Page[T]]], limit: int | None = None
    ) -> Iterator[T]:
        cursor: str | None = None
        left = inf if limit is None else limit
        while left > 0:
            page = self._run(page_at(cursor))
            yield from page.items[: None if left == inf else int(left)]
            left -= len(page.items)
            cursor = page.next_cursor
            if not cursor:
                return

    def _run(self, operation: Operation[T]) -> T:
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
    operation: Callable[P, Operation[T]],
) -> Callable[Concatenate["AsyncHeadstart", P], Coroutine[Any, Any, T]]:
    async def method(self: "AsyncHeadstart", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(operation(*args, **kwargs))

    return documented(method, operation)


class AsyncHeadstart(Http):
    """The same calls for asyncio, and `follow`."""

    def __init__(
        self, url: str, token: Token, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        super().__init__(url, token)
        self._client = httpx.AsyncClient(timeout=TIMEOUT)
        self._sleep = sleep

    create_session = _awaiting(ops.create_session)
    prepare = _awaiting(ops.prepare)
    get = _awaiting(ops.get)
    archive = _awaiting(ops.archive)
    changes = _awaiting(ops.changes)
    diff = _awaiting(ops.diff)
    publish = _awaiting(ops.publish)
    messages = _awaiting(ops.messages)
    text = _awaiting(ops.text)
    text_page = _awaiting(ops.text_page)
    logs = _awaiting(ops.logs)
    defaults = _awaiting(ops.defaults)
    stream_ticket = _awaiting(ops.stream_ticket)
    initiate = _awaiting(ops.initiate)
    wait = _awaiting(ops.wait)
    patch = _awaiting(ops.patch)
    rename = _awaiting(ops.rename)
    withdraw = _awaiting(ops.withdraw)
    retry = _awaiting(ops.retry)
    interrupt = _awaiting(ops.interrupt)
    answer_input = _awaiting(ops.answer_input)
    delete = _awaiting(ops.delete)
    _send_message = _awaiting(ops.send_message)

    def list(
        self, *, search: str | None = None, repository: str | None = None, limit: int | None = None
    ) -> AsyncIterator[Summary]:
        """Iterate over the caller's sessions, newest first, `limit` at most.

        `search` has words that the title or the repository's address must have, all of them;
        `repository` is such an address. Pages are fetched as needed.
        """
        return self._items(ops.listing(search, repository, limit), limit)

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

    async def send(
        self, session_id: str, prompt: str, *, if_busy: Literal["queue", "reject"] = "queue"
    ) -> "AsyncTurn":
        """Queue a message; it wakes a sleeping session. `result()` of the answer awaits its turn.

        `if_busy="reject"` raises Conflict while a turn runs.
        """
        after = (await self.get(session_id)).last_event_id
        message = await self._send_message(session_id, prompt, if_busy=if_busy)
        return AsyncTurn(self, session_id, message, after)

    async def run(
        self,
        prompt: str,
        repository: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - one signature for both clients
        **options: Unpack[SessionOptions],
    ) -> Answer:
        """Create a session on a repository, an address or `org/name`, and return its answer.

        It raises what `AsyncTurn.result` raises; the session stays, also where that is
        TimeoutError.
        """
        created = await self.create_session(prompt, **ops.on_repository(repository, options))
        [message] = (await self.messages(created.session_id))[:1]
        turn = AsyncTurn(self, created.session_id, message, 0, created.stream)
        return await turn.result(timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _items(
        self, page_at: Callable[[str | None], Operation[Page[T]]], limit: int | None = None
    ) -> AsyncIterator[T]:
        cursor: str | None = None
        left = inf if limit is None else limit
        while left > 0:
            page = await self._run(page_at(cursor))
            for item in page.items[: None if left == inf else int(left)]:
                yield item
            left -= len(page.items)
            cursor = page.next_cursor
            if not cursor:
                return

    async def _run(self, operation: Operation[T]) -> T:
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


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    async for event in events:
        return event
    return None


class AsyncTurn:
    """A message that was sent, and what comes of it; that is told after the event `after`."""

    def __init__(
        self,
        client: AsyncHeadstart,
        session_id: str,
        message: Message,
        after: int,
        stream: Stream | None = None,
    ) -> None:
        self.session_id = session_id
        self.message = message
        self._client = client
        self.after = after
        self._stream = stream

    async def result(self, timeout: float | None = None) -> Answer:  # noqa: ASYNC109 - as Turn
        """Wait for the end of the message's turn, and return what came of it.

        Raises TurnFailed, of which Interrupted is one, PreparationFailed, and TimeoutError after
        `timeout` seconds: a turn that asks waits for `answer_input`.
        """
        stream, self._stream = self._stream, None
        async with asyncio.timeout(timeout):
            events = self._client.follow(self.session_id, self.after, stream=stream)
            return await answer_to(
                self._client.text, events, self.session_id, self.message.message_id
            )


class Turn:
    """A message that was sent, and what comes of it; that is told after the event `after`."""

    def __init__(
        self,
        client: Headstart,
        session_id: str,
        message: Message,
        after: int,
        stream: Stream | None = None,
    ) -> None:
        self.session_id = session_id
        self.message = message
        self._client = client
        self.after = after
        self._stream = stream

    def result(self, timeout: float | None = None) -> Answer:
        """Wait for the end of the message's turn, and return what came of it.

        Raises TurnFailed, of which Interrupted is one, PreparationFailed, and TimeoutError after
        `timeout` seconds: a turn that asks waits for `answer_input`.
        """
        stream, self._stream = self._stream, None

        async def result() -> Answer:
            async with AsyncHeadstart(self._client._url, self._client._token) as client:
                turn = AsyncTurn(client, self.session_id, self.message, self.after, stream)
                return await turn.result(timeout)

        with Loop() as loop:
            return loop.wait_for(result())
