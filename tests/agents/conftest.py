"""Each test here runs once for each registered agent whose program is installed."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from agent_kit import AgentBox, installed, wanted
from fake_cloud import FakeCloud, fake_cloud
from model_stub import ModelStub, model_stub
from runner_kit import SAMPLE, Repositories, started

from headstart_local.git_server import GitServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "agent" in metafunc.fixturenames:
        metafunc.parametrize("agent", wanted())


@pytest.fixture
def with_model(agent: str) -> None:
    """Leave out the demo agent, which has no model."""
    if agent == "demo":
        pytest.skip("the demo agent needs no model")


@pytest.fixture
def model() -> Iterator[ModelStub]:
    with model_stub() as stub:
        yield stub


@pytest.fixture
async def cloud() -> AsyncIterator[FakeCloud]:
    async with fake_cloud() as running:
        yield running


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repositories]:
    with GitServer(tmp_path_factory.mktemp("git")) as server:
        yield Repositories(server, tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def sample(repositories: Repositories) -> str:
    """Return the URL of a small repository that no test changes."""
    return repositories.make("sample", SAMPLE)


@pytest.fixture(autouse=True)
def _own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runner leave its temporary files where nobody else's are."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


@pytest.fixture
async def box(
    agent: str, cloud: FakeCloud, tmp_path: Path, model: ModelStub
) -> AsyncIterator[AgentBox]:
    """Return a sandbox with a runner, and nothing prepared yet."""
    if not installed(agent):
        pytest.skip(f"{agent} is not on PATH: make test-agents installs it")
    async with started(cloud, tmp_path) as sandbox:
        yield AgentBox(agent, cloud, sandbox, model)


@pytest.fixture
async def prepared(box: AgentBox, sample: str) -> AgentBox:
    """Return a sandbox whose agent is up."""
    await box.prepare(sample)
    return box
