"""The two clients: Headstart blocks, AsyncHeadstart is for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Generic, Literal, TypeVar, Unpack

from headstart_client import operations as ops
from headstart_client.blocking import Loop, closed_at_exit
from headstart_client.calls import Awaiting, Blocking, Call, Listing
from headstart_client.follow import DEFAULT_TIMING, Timing, follow
from headstart_client.models import Answer, Event, Message, Stream
from headstart_client.options import SessionOptions
from headstart_client.signatures import spelled
from headstart_client.turns import answer_to
from headstart_client.wholes import Wholes

C = TypeVar("C")


class Calls:
    """The calls of the API that both clients have alike."""

    create_session = Call(ops.create_session)
    prepare = Call(ops.prepare)
    get = Call(ops.get)
    archive = Call(ops.archive)
    changes = Call(ops.changes)
    diff = Call(ops.diff)
    publish = Call(ops.publish)
    messages = Call(ops.messages)
    text = Call(ops.text)
    text_page = Call(ops.text_page)
    logs = Call(ops.logs)
    defaults = Call(ops.defaults)
    stream_ticket = Call(ops.stream_ticket)
    initiate = Call(ops.initiate)
    wait = Call(ops.wait)
    patch = Call(ops.patch)
    rename = Call(ops.rename)
    withdraw = Call(ops.withdraw)
    retry = Call(ops.retry)
    interrupt = Call(ops.interrupt)
    answer_input = Call(ops.answer_input)
    delete = Call(ops.delete)
    list = Listing(ops.listing)
    events = Listing(ops.events)
    _send_message = Call(ops.send_message)


class Headstart(Calls, Blocking):
    """A blocking client of one API for one user; safe to share between threads."""

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
        `close()` of what this returns, when it is let go after a `break`, or with the process.
        """
        return closed_at_exit(self._followed(session_id, after, stream, timing))

    def _followed(
        self, session_id: str, after: int, stream: Stream | None, timing: Timing
    ) -> Generator[Event, None, None]:
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

    @spelled
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


class AsyncHeadstart(Calls, Awaiting):
    """The same calls for asyncio, and `follow`."""

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

    @spelled
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


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    async for event in events:
        return event
    return None


class _Sent(Generic[C]):
    """What both kinds of turn know."""

    def __init__(
        self,
        client: C,
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


class AsyncTurn(_Sent[AsyncHeadstart]):
    """A message that was sent, and what comes of it; that is told after the event `after`."""

    async def result(self, timeout: float | None = None) -> Answer:  # noqa: ASYNC109 - as Turn
        """Wait for the end of the message's turn, and return what came of it.

        Raises TurnFailed, of which Interrupted is one, PreparationFailed, and TimeoutError after
        `timeout` seconds: a turn that asks waits for `answer_input`.
        """
        stream, self._stream = self._stream, None
        events = self._client.follow(self.session_id, self.after, stream=stream)
        wholes = Wholes(self._client.text, self.session_id)
        answer = answer_to(wholes, events, self.session_id, self.message.message_id)
        try:
            return await asyncio.wait_for(answer, timeout)
        except TimeoutError as error:
            if str(error):
                raise
            raise TimeoutError(
                f"The turn of {self.session_id} has not ended within {timeout:g} s; it goes on"
            ) from error


class Turn(_Sent[Headstart]):
    """A message that was sent, and what comes of it; that is told after the event `after`."""

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
