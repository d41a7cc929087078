"""The runner put together: one process, from the first connection to its exit status."""

import asyncio
import fcntl
import os
import signal
import tempfile
from pathlib import Path

from headstart_runner import log
from headstart_runner.agents.supervisor import Supervisor
from headstart_runner.archives.workspace import prepare
from headstart_runner.config import Config
from headstart_runner.conversation.courier import Courier
from headstart_runner.desk import Desk
from headstart_runner.gateway.credentials import SessionCredentials
from headstart_runner.gateway.door import Door
from headstart_runner.gateway.gateway import Gateway
from headstart_runner.journal import Journal, prepare_state_dir
from headstart_runner.log import logger
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor
from headstart_runner.steps.base import Tools
from headstart_runner.uplink.asking import Asking
from headstart_runner.uplink.channel import Channel, ChannelClosed
from headstart_runner.uplink.reporter import Reporter
from headstart_runner.vault import Vault

_SAVE_SECONDS = 100.0
"""How long the cloud has to save the work. The agent's end takes 3 s more and the last reports 4 s:
ECS kills a container 120 s after its SIGTERM (StopTimeout of the task definition)."""

_FLUSH_SECONDS = 4.0


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
    reporter = Reporter(
        journal, redactor, session_id=config.session_id, batch_seconds=config.batch_ms / 1000
    )
    supervisor = Supervisor(config, journal, redactor, launcher)
    courier = Courier(journal, redactor, reporter, supervisor)
    asking = Asking(config.session_id)
    credentials = SessionCredentials(Vault(), asking.credential, redactor)
    door = Door()
    gateway = Gateway(door, credentials, journal, launcher, redactor)
    desk = Desk(
        Tools(config, journal, redactor, reporter, launcher, supervisor, courier, door, gateway)
    )
    channel = Channel(config, journal, redactor, reporter, desk, asking=asking)
    serving = asyncio.create_task(channel.run(), name="channel")
    stopping = asyncio.create_task(stop.wait())
    dismissed = asyncio.create_task(channel.dismissed.wait())
    saving = asyncio.create_task(_ask_to_save(stop, desk, reporter, channel))
    try:
        desk.recover()
        over = {serving, dismissed}
        await asyncio.wait({*over, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if config.repository.exists():
            await asyncio.wait(over, timeout=_SAVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        await desk.stop()
        await supervisor.stop()
        await launcher.kill_all()
        return await _flush(serving, reporter)
    finally:
        tasks = (saving, dismissed, stopping, serving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await launcher.kill_all()
        await gateway.close()
        journal.close()
        os.close(lock)


async def _ask_to_save(
    stop: asyncio.Event, desk: Desk, reporter: Reporter, channel: Channel
) -> None:
    await stop.wait()
    await desk.settle()
    await reporter.drained()
    channel.leave()


async def _flush(serving: asyncio.Task[None], reporter: Reporter) -> int:
    """Send what is left, if there is still a channel, and return the exit status."""
    draining = asyncio.create_task(reporter.drained())
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


def _prepare_workspace(config: Config, launcher: Launcher) -> None:
    if config.agent_uid is not None:
        # A volume may come without the mode of the image's folder, and we share this one.
        Path(tempfile.gettempdir()).chmod(0o1777)
    prepare(config, launcher)


async def main(config: Config) -> int:
    """Run until SIGTERM or SIGINT, or until the channel is closed for good."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await run(config, stop)
