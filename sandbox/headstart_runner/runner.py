"""The runner put together: one process, from the first connection to its exit status."""

import asyncio
import fcntl
import os
import signal
from contextlib import suppress
from pathlib import Path

from headstart_runner import log
from headstart_runner.agents.supervisor import Supervisor
from headstart_runner.channel import Channel, ChannelClosed
from headstart_runner.commands import Commands
from headstart_runner.config import Config
from headstart_runner.delivery import Courier
from headstart_runner.journal import Journal, prepare_state_dir
from headstart_runner.log import logger
from headstart_runner.process import Launcher
from headstart_runner.redaction import Redactor
from headstart_runner.reporter import Reporter
from headstart_runner.steps.base import Tools

_FLUSH_SECONDS = 4.0
_GIT_IDENTITY = "[user]\n\tname = Headstart\n\temail = headstart@localhost\n"


async def run(config: Config, stop: asyncio.Event) -> int:
    """Serve the session until `stop` is set (0) or the channel is closed for good (its status)."""
    redactor = Redactor()
    redactor.add(config.key.get_secret_value())
    log.configure(redactor, config.session_id)
    prepare_state_dir(config.state_dir)
    lock = _lock(config.state_dir)
    journal = Journal(config.state_dir)
    launcher = Launcher(uid=config.agent_uid, home=config.home, path=config.path)
    _prepare_workspace(config, launcher)
    reporter = Reporter(journal, redactor, batch_seconds=config.batch_ms / 1000)
    supervisor = Supervisor(config, journal, redactor, launcher)
    courier = Courier(journal, redactor, reporter, supervisor)
    commands = Commands(Tools(config, journal, redactor, reporter, launcher, supervisor, courier))
    channel = asyncio.create_task(
        Channel(config, journal, redactor, reporter, commands).run(), name="channel"
    )
    stopping = asyncio.create_task(stop.wait())
    try:
        commands.recover()
        await asyncio.wait({channel, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await commands.stop()
        await supervisor.stop()
        await launcher.kill_all()
        return await _leave(channel, reporter)
    finally:
        stopping.cancel()
        channel.cancel()
        await asyncio.gather(channel, stopping, return_exceptions=True)
        await launcher.kill_all()
        journal.close()
        os.close(lock)


async def _leave(channel: asyncio.Task[None], reporter: Reporter) -> int:
    """Send what is left, if there is still a channel, and return the exit status."""
    draining = asyncio.create_task(reporter.drained())
    try:
        await asyncio.wait(
            {channel, draining}, timeout=_FLUSH_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        draining.cancel()
    if not channel.done():
        return 0
    try:
        channel.result()
    except ChannelClosed as closed:
        logger.warning("stopping: %s", closed)
        return closed.status
    return 0


def _lock(state_dir: Path) -> int:
    """Make sure that no other runner uses this journal."""
    handle = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _prepare_workspace(config: Config, launcher: Launcher) -> None:
    for path in (config.workspace, config.home):
        path.mkdir(parents=True, exist_ok=True)
        launcher.own(path)
    # The agent commits under this name, unless the setup commands set another.
    with suppress(FileExistsError):
        settings = config.home / ".gitconfig"
        with settings.open("x") as stream:
            stream.write(_GIT_IDENTITY)
        launcher.own(settings)


async def main(config: Config) -> int:
    """Run until SIGTERM or SIGINT, or until the channel is closed for good."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await run(config, stop)
