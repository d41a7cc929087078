"""The container image as it is started: its init, its users, a whole session with its agent."""

import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fake_cloud import BOOTSTRAP_KEY, FakeCloud, Json, fake_cloud
from runner_kit import (
    BRANCH,
    SAMPLE,
    SESSION_ID,
    Repositories,
    clone_args,
    eventually,
    prompt_args,
    setup_args,
)
from tests.agents.model_stub import KEY, KEY_VARIABLE, MODEL, ModelStub, model_stub

from headstart_local.git_server import GitServer
from headstart_runner.config import RIGHTS

IMAGE = os.environ.get("HEADSTART_IMAGE", "")
AGENT = os.environ.get("AGENT", "demo")
REPOSITORY = Path(__file__).resolve().parents[2]
READ_ONLY = ("--read-only", "--cap-drop=ALL")

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cloud() -> AsyncIterator[FakeCloud]:
    async with fake_cloud() as running:
        yield running


@pytest.fixture
def sample(tmp_path: Path) -> Iterator[str]:
    with GitServer(tmp_path) as server:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        yield Repositories(server, scratch).make("sample", SAMPLE)


@pytest.fixture
def model() -> Iterator[ModelStub]:
    with model_stub() as stub:
        yield stub


def docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def container(cloud: FakeCloud) -> Iterator[str]:
    """Run the image with no more rights than it needs, where it can reach the fake cloud."""
    if not IMAGE:
        pytest.skip("HEADSTART_IMAGE is not set: make test-image builds one and sets it")
    settings = {
        "HEADSTART_URL": cloud.url,
        "HEADSTART_SESSION_ID": SESSION_ID,
        "HEADSTART_KEY": BOOTSTRAP_KEY,
        "HEADSTART_ATTEMPT": "1",
        "HEADSTART_BATCH_MS": "20",
    }
    environment = [f"--env={name}={value}" for name, value in settings.items()]
    rights = [f"--cap-add={name}" for name in RIGHTS]
    name = docker("run", "--detach", "--network=host", *READ_ONLY, *rights, *environment, IMAGE)
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


async def test_a_session_in_the_image_from_its_clone_to_its_end(
    cloud: FakeCloud, container: str, sample: str, model: ModelStub
) -> None:
    restore = {"agent": AGENT, "sessionId": SESSION_ID, "title": "Health"}
    tools = ("git", "rg", "python3", "node", "npm", "npx")
    commands = ["id -u > who", " && ".join(f"{tool} --version" for tool in tools)]
    agent: Json = {"agent": AGENT, "sessionId": SESSION_ID, "mode": "code"}
    if AGENT != "demo":
        provider, secrets = model.provider(), {KEY_VARIABLE: KEY}
        agent |= {"model": MODEL, "provider": provider, "secrets": secrets}
    for kind, args in (
        ("disk", {"minFreeBytes": 1}),
        ("clone", clone_args(sample)),
        ("branch", {"branch": BRANCH}),
        ("restore", restore),
        ("setup", setup_args(*commands)),
        ("agent", agent),
    ):
        result = await cloud.result(await cloud.start(kind, args), 60)
        assert result["status"] == "completed", (result, docker("logs", container))
    assert docker("exec", container, "cat", "/workspace/repo/who") == "10001"
    prompt = prompt_args(text="Light the lamp. " * 10)
    await cloud.start("prompt", prompt, name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("turn.ended"), 60)
    assert cloud.of("turn.ended")[0]["error"] is None
    assert len(cloud.of("agent.delta")) > 1
    if AGENT != "demo":
        said = [event["data"].get("text", "") for event in cloud.of("agent.event")]
        assert any(f"You said: {prompt['text'].strip()}" in text for text in said)
    users = docker("exec", container, "ps", "-eo", "uid=").split()
    assert set(users) == {"10000", "10001"}

    docker("stop", "--time=20", container)

    assert docker("inspect", "--format={{.State.ExitCode}}", container) == "0"


@pytest.mark.skipif(not IMAGE, reason="HEADSTART_IMAGE is not set")
def test_without_its_rights_the_runner_says_so_and_ends() -> None:
    python = ("--entrypoint=/opt/headstart/bin/python", IMAGE, "-m", "headstart_runner")
    settings = ("HEADSTART_URL=ws://x", f"HEADSTART_SESSION_ID={SESSION_ID}", "HEADSTART_ATTEMPT=1",
                f"HEADSTART_KEY={BOOTSTRAP_KEY}")  # fmt: skip
    environment = [f"--env={setting}" for setting in settings]
    with pytest.raises(subprocess.CalledProcessError) as failed:
        docker("run", "--rm", "--network=none", *environment, *python)

    assert failed.value.returncode == 78
    assert f"needs the capabilities {', '.join(RIGHTS)}" in failed.value.stderr


async def test_what_the_agent_runs_can_read_nothing_of_the_runner(
    cloud: FakeCloud, container: str, sample: str
) -> None:
    await cloud.do("clone", clone_args(sample))
    nosy = (
        "for p in /proc/[0-9]*; do cat $p/environ 2>/dev/null; done | tr '\\0' '\\n'; "
        "cat /var/lib/headstart/* ; touch /opt/headstart/x /usr/bin/x; find / -xdev -perm /6000"
    )
    command = await cloud.start("setup", setup_args(f"({nosy}) > all.txt 2>&1; true"))
    await cloud.result(command)

    seen = docker("exec", container, "cat", "/workspace/repo/all.txt")
    assert "Permission denied" in seen
    assert BOOTSTRAP_KEY not in seen
    assert "HEADSTART_" not in seen
    assert not re.search(r"^/(usr|bin|sbin|opt).*$", seen, re.MULTILINE)


async def test_the_init_reaps_orphans_and_is_the_only_one(
    cloud: FakeCloud, container: str, sample: str
) -> None:
    await cloud.do("clone", clone_args(sample))
    await cloud.do("setup", setup_args("(setsid sleep 0.2 &) ; (setsid true &)"))

    def states() -> list[str]:
        return docker("exec", container, "ps", "-eo", "stat=,comm=").splitlines()

    await eventually(lambda: not any(line.startswith("Z") for line in states()))
    assert sum("tini" in line for line in states()) == 1


def test_the_sandbox_gets_the_versions_that_were_tested() -> None:
    def pins(name: str) -> set[str]:
        lines = (REPOSITORY / "requirements" / name).read_text().splitlines()
        return {line for line in lines if line and not line.startswith("#")}

    assert pins("sandbox.txt") <= pins("dev.txt")
