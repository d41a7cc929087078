"""A gateway as the runner has one, for what is measured by its way."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from headstart_runner.gateway.credentials import Credential, SessionCredentials
from headstart_runner.gateway.door import Door
from headstart_runner.gateway.gateway import Gateway, Source
from headstart_runner.journal import Journal
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor
from headstart_runner.vault import Vault


@dataclass(frozen=True)
class Opened:
    """A gateway, and what starts commands that go by its way."""

    gateway: Gateway
    launcher: Launcher


@asynccontextmanager
async def opened(
    folder: Path, source: Source, credential: Credential | None = None
) -> AsyncIterator[Opened]:
    """Open a gateway for the length of the block; the cloud would give this credential."""

    async def ask(host: str, repository: str, write: bool) -> Credential | None:
        return credential

    journal, redactor = Journal(folder), Redactor()
    launcher = Launcher(uid=None, home=folder, path=os.environ["PATH"])
    credentials = SessionCredentials(Vault(), ask, redactor)
    gateway = Gateway(Door(), credentials, journal, launcher, redactor)
    await gateway.open(source)
    try:
        yield Opened(gateway, launcher)
    finally:
        await launcher.kill_all()
        await gateway.close()
        journal.close()
