"""A runner against a fake cloud, with real repositories over real HTTP."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from archive_kit import Box, box
from fake_cloud import FakeCloud, fake_cloud
from gateway_kit import Gate, Mint, a_repository, gate, private_server
from image_kit import Container, shared_python
from object_store import ObjectStore
from publish_kit import Desk, a_desk
from pulls_kit import GitHub, a_github
from runner_kit import AGENT_UID, SAMPLE, Repositories, Sandbox, prepare, started
from talk_kit import Posts

from headstart_local.git_server import GitServer
from headstart_runner.agents.http import AgentClient
from headstart_runner.archives import listing
from headstart_runner.conversation import turn


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _short_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let turns end sooner: the demo agent's events trail its idle by nothing."""
    monkeypatch.setattr(turn, "QUIET_SECONDS", 0.1)


@pytest.fixture(autouse=True)
def _open_folders(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Let the agent's uid through to the sandboxes: pytest makes folders for its own uid only."""
    if AGENT_UID is not None:
        base = tmp_path_factory.getbasetemp()
        for folder in (base.parent, base, tmp_path):
            folder.chmod(0o711)


@pytest.fixture
async def cloud() -> AsyncIterator[FakeCloud]:
    async with fake_cloud() as running:
        yield running


@pytest.fixture
async def sandbox(cloud: FakeCloud, tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with started(cloud, tmp_path) as box:
        yield box


@pytest.fixture(scope="session")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with GitServer(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture
def repositories(git_server: GitServer, tmp_path: Path) -> Repositories:
    scratch = tmp_path / f"scratch-{tmp_path.name}"
    scratch.mkdir()
    return Repositories(git_server, scratch)


@pytest.fixture(scope="session")
def sample(git_server: GitServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a small repository that no test changes."""
    return Repositories(git_server, tmp_path_factory.mktemp("shared")).make("sample", SAMPLE)


@pytest.fixture
def cloned(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox with something where the clone would be."""
    sandbox.make_repository()
    return sandbox


@pytest.fixture
async def prepared(cloud: FakeCloud, sandbox: Sandbox, sample: str) -> Sandbox:
    """Return a sandbox whose agent is up."""
    await prepare(cloud, sample)
    return sandbox


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    """Return a bucket of our own."""
    with ObjectStore().running() as running:
        yield running


@pytest.fixture
def posts(monkeypatch: pytest.MonkeyPatch) -> Posts:
    """Record what is posted to the agent."""
    posted: Posts = []
    real = AgentClient.prompt

    async def prompt(self: AgentClient, session_id: str, body: dict[str, Any]) -> None:
        posted.append(body)
        await real(self, session_id, body)

    monkeypatch.setattr(AgentClient, "prompt", prompt)
    return posted


@pytest.fixture
async def work(tmp_path: Path, store: ObjectStore) -> AsyncIterator[Box]:
    """Return a workspace with a repository and what git ignores in it."""
    async with box(tmp_path / "work", store) as made:
        made.do("git init -q repo; cd repo; echo ignored/ > .gitignore; mkdir ignored src")
        made.do("head -c 300000 /dev/urandom > ignored/large; echo 1 > src/one; echo 2 > two")
        # What is newer than a tick of the clock is saved twice.
        await asyncio.sleep(2 * listing._TICK_SECONDS)
        yield made


@pytest.fixture
def container(cloud: FakeCloud) -> Iterator[Container]:
    """Return the image's two users and folders, with nothing started yet."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become the image's two users, with setpriv")
    python = shared_python()
    if python is None:
        pytest.skip("no Python of this version can be run by other users")
    # Other users can't enter what pytest makes.
    with tempfile.TemporaryDirectory(prefix="headstart-image-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        made = Container(cloud, root, python)
        yield made
        if made.process is not None:
            made.kill()


@pytest.fixture
def mint() -> Mint:
    """Return who gives tokens for git, and knows which are good."""
    return Mint()


@pytest.fixture
def server(tmp_path: Path, mint: Mint) -> Iterator[GitServer]:
    """Return a git server that lets in whom the mint's tokens let in."""
    folder = tmp_path / "served"
    folder.mkdir()
    with private_server(folder, mint) as running:
        yield running


@pytest.fixture(name="box")
async def gated(tmp_path: Path, server: GitServer, mint: Mint) -> AsyncIterator[Gate]:
    """Return a gateway that is open for a private repository of that server."""
    url = a_repository(server, tmp_path / "scratch")
    async with gate(tmp_path, server, mint, url) as opened:
        yield opened


@pytest.fixture
async def desk(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> AsyncIterator[Desk]:
    async with a_desk(cloud, sandbox, repositories) as made:
        yield made


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHub]:
    with a_github(tmp_path) as made:
        yield made
