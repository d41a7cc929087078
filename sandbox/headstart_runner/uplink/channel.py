"""The one connection to the cloud: opened again and again for as long as there is hope."""

import asyncio
import random
import socket
import sqlite3
from contextlib import suppress
from typing import Protocol

from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from headstart.domain.channel import (
    DOWN_FRAME,
    Ack,
    Cancel,
    Command,
    CredentialAnswer,
    Heard,
    Heartbeat,
    Hello,
    Leave,
    Leaving,
    Part,
    Refused,
    Viewers,
    Welcome,
)
from headstart.domain.ids import new_id
from headstart.domain.model import OpenModel
from headstart_runner import wire
from headstart_runner.clock import awake_sleep, until_frozen
from headstart_runner.config import Config
from headstart_runner.journal import Journal
from headstart_runner.log import logger
from headstart_runner.redaction import Redactor
from headstart_runner.uplink.asking import Asking
from headstart_runner.uplink.parts import Parts
from headstart_runner.uplink.patience import Patience
from headstart_runner.uplink.reporter import Reporter

EXIT_REFUSED = 64
EXIT_OFFLINE = 65
EXIT_KEY_REJECTED = 66

_FIRST_BACKOFF = 0.25
_LAST_BACKOFF = 20.0
_STABLE_SECONDS = 5.0
_REJECTIONS = 3
_MAX_FRAME = 1024 * 1024
_USER_TIMEOUT_MS = 15_000
_EARLY_SECONDS = 1.0
"""How long a command may run before a heartbeat of its own names it: most are over by then."""


class CloudSilent(ConnectionError):
    """A heartbeat was not answered on this connection, which must be dead."""


class ChannelClosed(Exception):
    """The runner must stop with this exit status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class CommandHandler(Protocol):
    """Who does what the cloud asks for."""

    def start(self, command: Command) -> None:
        """Begin a command; returns at once."""

    def cancel(self, command_id: str) -> None:
        """Kill a command; returns at once."""

    def running(self) -> list[str]:
        """Return the ids of the commands being worked on."""

    def turn(self) -> str | None:
        """Return the turn that goes on."""

    def delivering(self) -> list[str]:
        """Return the prompts whose outcome stayed open when the sandbox began to leave."""

    def viewers_changed(self, before: int, now: int) -> None:
        """Take note of who watches."""


class Channel:
    """Speaks the protocol of headstart.domain.channel; gives up by raising ChannelClosed."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        redactor: Redactor,
        reporter: Reporter,
        commands: CommandHandler,
        *,
        asking: Asking,
        patience: Patience,
    ) -> None:
        self._patience = patience
        self._config = config
        self._journal = journal
        self._redactor = redactor
        self._reporter = reporter
        self.commands = commands
        """Who is asked from now on; another may take over at any time."""
        self._asking = asking
        self._process = new_id("run")
        self._connections = 0
        self._parts = Parts()
        self._resume_key = journal.get("resume_key")
        if self._resume_key:
            redactor.add(self._resume_key)
        self._rejections = 0
        self._welcomed = False
        self._answers_heartbeats = False
        self._begun = asyncio.Event()
        self._heard = asyncio.Event()
        self._recounted = False
        self._leaving = asyncio.Event()
        self.dismissed = asyncio.Event()
        """Set when the cloud needs the sandbox no more."""

    def leave(self) -> None:
        """Say, on this and every later connection, that the sandbox must stop."""
        self._leaving.set()

    async def run(self) -> None:
        """Stay connected; raise ChannelClosed when refused, rejected or offline for too long."""
        backoff = _FIRST_BACKOFF
        offline = 0.0
        loop = asyncio.get_running_loop()
        while offline < self._config.offline_seconds:
            began, patience = loop.time(), self._patience.seconds
            self._welcomed = False
            await self._once()
            lasted = loop.time() - began
            if self._welcomed:
                offline = 0.0
                backoff = _FIRST_BACKOFF if lasted > _STABLE_SECONDS else backoff
            else:
                # An attempt lasts at most so long, if the sandbox was not frozen in it.
                offline += min(lasted, patience * 2)
            pause = backoff * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)
            await awake_sleep(pause)
            offline += pause
            backoff = min(backoff * 2, _LAST_BACKOFF)
        raise ChannelClosed(EXIT_OFFLINE, f"offline for {offline:.0f} s")

    async def _once(self) -> None:
        key = self._resume_key or self._config.key.get_secret_value()
        try:
            async with connect(
                self._config.url,
                additional_headers={
                    "Authorization": f"Bearer {key}",
                    "X-Headstart-Session": self._config.session_id,
                },
                open_timeout=self._patience.seconds,
                close_timeout=1,
                # Missing answers and the kernel tell of death; not every gateway answers pings.
                ping_interval=None,
                max_size=_MAX_FRAME,
            ) as socket_:
                self._rejections = 0
                _bound_kernel_retries(socket_)
                await self._converse(socket_)
        except InvalidStatus as error:
            self._rejected(error.response.status_code)
        except sqlite3.OperationalError as error:
            # On a disk that is full nothing can be said, or taken. What fills it may go again.
            logger.warning("the journal can't be written: %s", error)
        except (OSError, WebSocketException, TimeoutError) as error:
            logger.info("not connected: %s", error)

    def _rejected(self, status: int) -> None:
        logger.warning("the connection was rejected with status %d", status)
        if status not in {401, 403}:
            return
        self._rejections += 1
        if self._rejections >= _REJECTIONS:
            raise ChannelClosed(EXIT_KEY_REJECTED, "the key is no longer valid")

    async def _converse(self, socket_: ClientConnection) -> None:
        async def send(text: str) -> None:
            await socket_.send(text)

        self._connections += 1
        hello = Hello(
            attempt_number=self._config.attempt,
            process=self._process,
            connection=self._connections,
            last_seq=self._journal.last_seq,
        )
        await send(wire.dumps(hello.to_json()))
        async with self._patience.answer():
            while not self._welcomed:
                self._take(await socket_.recv())
        tasks = [
            asyncio.create_task(work)
            for work in (
                self._read(socket_),
                self._reporter.pump(send),
                self._asking.pump(send),
                self._beat(socket_),
                self._announce(socket_),
                until_frozen(),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Before the goodbye, which may take its time: nobody sees volatile events now.
            self._reporter.viewers = 0
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _read(self, socket_: ClientConnection) -> None:
        async for message in socket_:
            self._take(message)

    async def _beat(self, socket_: ClientConnection) -> None:
        """Say at each interval, and soon after a command began, what there is.

        One at a time, so that what is heard is the answer to the last; raises CloudSilent.
        """
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._config.heartbeat_seconds
            beat = Heartbeat(
                session_id=self._config.session_id,
                running=self.commands.running(),
                turn=self.commands.turn(),
                last_seq=self._journal.last_seq,
                backlog=self._reporter.backlog,
                viewers=self._reporter.viewers,
            )
            self._begun.clear()
            self._heard.clear()
            self._recounted = False
            try:
                if not self._answers_heartbeats:
                    await socket_.send(wire.dumps(beat.to_json()))
                else:
                    async with self._patience.answer():
                        await socket_.send(wire.dumps(beat.to_json()))
                        await self._heard.wait()
            except TimeoutError:
                raise CloudSilent("a heartbeat was not answered") from None
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._unnamed(beat)

    async def _unnamed(self, beat: Heartbeat) -> None:
        """Wait until a command that the heartbeat does not name has run for a moment."""
        while True:
            await self._begun.wait()
            self._begun.clear()
            await awake_sleep(_EARLY_SECONDS)
            if not set(self.commands.running()) <= set(beat.running):
                return

    async def _announce(self, socket_: ClientConnection) -> None:
        await self._leaving.wait()
        leaving = Leaving(session_id=self._config.session_id, delivering=self.commands.delivering())
        await socket_.send(wire.dumps(leaving.to_json()))
        await asyncio.Event().wait()  # the connection goes on

    def _take(self, message: str | bytes) -> None:
        frame = parse(message)
        if isinstance(frame, Part):
            whole = self._parts.add(frame)
            frame = parse(whole) if whole is not None else None
        match frame:
            case Welcome():
                self._welcome(frame)
            case Refused():
                raise ChannelClosed(EXIT_REFUSED, f"{frame.code}: {frame.reason}")
            case Ack():
                self._reporter.acknowledge(frame)
            case Command():
                self.commands.start(frame)
                self._begun.set()
            case Cancel():
                self.commands.cancel(frame.id)
            case Viewers():
                self._recounted = True
                self._watch(frame.count)
            case Heard():
                if not self._recounted:  # else a newer count overtook the answer
                    self._watch(frame.viewers)
                self._heard.set()
            case CredentialAnswer():
                self._asking.answered(frame)
            case Leave():
                self.dismissed.set()
            case _:
                pass

    def _welcome(self, welcome: Welcome) -> None:
        if welcome.resume_key:
            # The old key is still good until this one was used, should we not get to keep it.
            self._redactor.add(welcome.resume_key)
            self._journal.put("resume_key", welcome.resume_key)
            self._resume_key = welcome.resume_key
        self._welcomed = True
        self._answers_heartbeats = welcome.answers_heartbeats
        self._watch(welcome.viewers)

    def _watch(self, count: int) -> None:
        before, self._reporter.viewers = self._reporter.viewers, count
        self.commands.viewers_changed(before, count)


def parse(message: str | bytes) -> OpenModel | None:
    """Return a downward frame; None for one of an unknown type or without sense."""
    try:
        return DOWN_FRAME.validate_json(message)
    except ValidationError as error:
        problems = error.errors(include_input=False)
        if not any(problem["type"] == "union_tag_invalid" for problem in problems):
            logger.warning("a frame was ignored: %s", problems)
        return None


def _bound_kernel_retries(socket_: ClientConnection) -> None:
    """Let the kernel give up on a dead peer after 15 s instead of 15 minutes (tcp(7))."""
    raw = socket_.transport.get_extra_info("socket")
    with suppress(OSError):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
