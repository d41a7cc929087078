"""The runner put together: one process, from the first connection to its exit status.

What speaks with the cloud is imported first and connects; what does the work is imported beside
that, and looked at before anything is started.
"""

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from headstart_runner import log
from headstart_runner.config import Config
from headstart_runner.journal import Journal, prepare_state_dir
from headstart_runner.lobby import Lobby
from headstart_runner.log import logger
from headstart_runner.redaction import Redactor
from headstart_runner.uplink.asking import Asking
from headstart_runner.uplink.channel import Channel, ChannelClosed
from headstart_runner.uplink.patience import Patience
from headstart_runner.uplink.reporter import Reporter

if TYPE_CHECKING:
    from headstart_runner.desk import Desk
    from headstart_runner.workshop import Workshop

_SAVE_SECONDS = 100.0
"""How long the cloud has to save the work. The agent's end takes 3 s more and the last reports 4 s:
ECS kills a container 120 s after its SIGTERM (StopTimeout of the task definition)."""

_FLUSH_SECONDS = 4.0


def _nothing() -> None:
    pass


def _imported() -> "type[Workshop]":
    from headstart_runner.workshop import Workshop  # noqa: PLC0415  (a third of a second, see run)

    return Workshop


async def run(config: Config, stop: asyncio.Event, make_sure: Callable[[], None] = _nothing) -> int:
    """Serve the session until `stop` is set (0) or the channel is closed for good (its status).

    No process is started before `make_sure`, which runs on a thread of its own, has returned; what
    it raises ends the runner.
    """
    redactor = Redactor()
    redactor.add(config.key.get_secret_value())
    log.configure(redactor, config.session_id)
    prepare_state_dir(config.state_dir)
    lock = _lock(config.state_dir)
    journal = Journal(config.state_dir)
    patience = Patience()
    reporter = Reporter(
        journal,
        redactor,
        session_id=config.session_id,
        batch_seconds=config.batch_ms / 1000,
        patience=patience,
    )
    asking, lobby = Asking(config.session_id), Lobby(journal)
    channel = Channel(config, journal, redactor, reporter, lobby, asking=asking, patience=patience)
    serving = asyncio.create_task(channel.run(), name="channel")
    stopping = asyncio.create_task(stop.wait())
    dismissed = asyncio.create_task(channel.dismissed.wait())
    tasks = [dismissed, stopping, serving]
    shop: Workshop | None = None
    try:
        make = await asyncio.to_thread(_imported)
        shop = make(config, journal, redactor, reporter, asking)
        sure = asyncio.create_task(shop.open_when(make_sure))
        saving = asyncio.create_task(_ask_to_save(stop, shop.desk, reporter, channel))
        tasks += [sure, saving]
        channel.commands = lobby.hand_over(shop.desk, reporter.viewers)
        over = {serving, dismissed}
        await asyncio.wait({*over, stopping, sure}, return_when=asyncio.FIRST_COMPLETED)
        if not sure.done() or sure.exception() is None:
            await asyncio.wait({*over, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if config.repository.exists():
                await asyncio.wait(over, timeout=_SAVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        await shop.close()
        if sure.done():
            sure.result()
        return await _flush(serving, reporter)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if shop is not None:
            await shop.tidy_up()
        journal.close()
        os.close(lock)


async def _ask_to_save(
    stop: asyncio.Event, desk: "Desk", reporter: Reporter, channel: Channel
) -> None:
    await stop.wait()
    await desk.settle()
    await reporter.drained()
    await desk.said()
    channel.leave()


async def _flush(serving: asyncio.Task[None], reporter: Reporter) -> int:
    """Send what is left, if there is still a channel, and return the exit status."""
    draining = asyncio.create_task(reporter.drained(texts=True))
    try:
        await asyncio.wait(
            {serving, draining}, timeout=_FLUSH_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        draining.cancel()
    if not serving.done():
        return 0
    try:
        serving.result()
    except ChannelClosed as closed:
        logger.warning("stopping: %s", closed)
        return closed.status
    return 0


def _lock(state_dir: Path) -> int:
    """Make sure that no other runner uses this journal."""
    handle = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


async def main(config: Config, make_sure: Callable[[], None]) -> int:
    """Run until SIGTERM or SIGINT, or until the channel is closed for good."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await run(config, stop, make_sure)
