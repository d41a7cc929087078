"""What makes a method of an operation: one that blocks, and one that is awaited.

The two differ in nothing else, so each operation is named once for both clients.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from functools import partial
from math import inf
from threading import Event
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

import httpx

from headstart_client.blocking import within
from headstart_client.errors import TransportFailed
from headstart_client.operations import Pages
from headstart_client.requests import Operation, Reply, Request, went_on
from headstart_client.signatures import documented
from headstart_client.transport import FAILURES, TIMEOUT, WHOLE_SECONDS, Http, Token, trusted

P = ParamSpec("P")
T = TypeVar("T")


class Blocking(Http):
    """Sends what operations ask for, and waits for it."""

    def __init__(
        self, url: str, token: Token, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(url, token)
        self._client = httpx.Client(timeout=TIMEOUT, verify=trusted(url))
        self._sleep = sleep

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _items(self, pages: Pages[T]) -> Iterator[T]:
        cursor: str | None = None
        left = inf if pages.limit is None else pages.limit
        while left > 0:
            page = self._run(pages.at(cursor))
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
                request = went_on(operation, self._outcome(request))
        except StopIteration as done:
            result: T = done.value
            return result

    def _outcome(self, request: Request) -> Reply | TransportFailed:
        arguments = self._arguments(request)
        try:
            return within(WHOLE_SECONDS, partial(self._request, arguments))
        except FAILURES as error:
            return self._failure(error)

    def _request(self, arguments: dict[str, Any], given_up: Event) -> Reply:
        content = bytearray()
        with self._client.stream(**arguments) as response:
            for piece in response.iter_bytes():
                if given_up.is_set():
                    raise TimeoutError
                content += piece
        return self._reply(response, bytes(content))


class Awaiting(Http):
    """The same for asyncio."""

    def __init__(
        self, url: str, token: Token, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        super().__init__(url, token)
        self._client = httpx.AsyncClient(timeout=TIMEOUT, verify=trusted(url))
        self._sleep = sleep

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _items(self, pages: Pages[T]) -> AsyncIterator[T]:
        cursor: str | None = None
        left = inf if pages.limit is None else pages.limit
        while left > 0:
            page = await self._run(pages.at(cursor))
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
                request = went_on(operation, await self._outcome(request))
        except StopIteration as done:
            result: T = done.value
            return result

    async def _outcome(self, request: Request) -> Reply | TransportFailed:
        arguments = self._arguments(request)
        try:
            async with asyncio.timeout(WHOLE_SECONDS):
                response = await self._client.request(**arguments)
                return self._reply(response, response.content)
        except FAILURES as error:
            return self._failure(error)


class _Pair:
    """A method as either client has it, by the name that it is given in their class."""

    def __init__(self, blocking: Callable[..., Any], awaiting: Callable[..., Any]) -> None:
        self._blocking, self._awaiting = blocking, awaiting

    def __set_name__(self, _: type, name: str) -> None:
        for method in (self._blocking, self._awaiting):
            method.__name__ = method.__qualname__ = name

    def _of(self, client: Http | None, owner: type) -> Callable[..., Any]:
        method = self._awaiting if issubclass(owner, Awaiting) else self._blocking
        return method if client is None else MethodType(method, client)


class Call(_Pair, Generic[P, T]):
    """A method that returns what an operation comes to."""

    def __init__(self, operation: Callable[P, Operation[T]]) -> None:
        def blocking(client: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return client._run(operation(*args, **kwargs))

        async def awaiting(client: Awaiting, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return await client._run(operation(*args, **kwargs))

        super().__init__(documented(blocking, operation), documented(awaiting, operation))

    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[Any, P], Any]: ...
    def __get__(self, client: Http | None, owner: type) -> Any:
        return self._of(client, owner)


class Listing(_Pair, Generic[P, T]):
    """A method that iterates over the items of an operation's pages."""

    def __init__(self, pages: Callable[P, Pages[T]]) -> None:
        def blocking(client: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            return client._items(pages(*args, **kwargs))

        def awaiting(client: Awaiting, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
            return client._items(pages(*args, **kwargs))

        super().__init__(
            documented(blocking, pages, Iterator), documented(awaiting, pages, AsyncIterator)
        )

    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[Any, P], Any]: ...
    def __get__(self, client: Http | None, owner: type) -> Any:
        return self._of(client, owner)
