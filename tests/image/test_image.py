"""The container image as it is started: its init, its users, a whole session with its agent."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from fake_cloud import BOOTSTRAP_KEY, FakeCloud, Json, fake_cloud
from hostile_kit import nosing, planting
from object_store import ObjectStore
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
from work_kit import archive_args, archive_ref, restore_args, upload_args

from headstart_local.git_server import GitServer
from headstart_runner.config import RIGHTS

IMAGE = os.environ.get("HEADSTART_IMAGE", "")
AGENT = os.environ.get("AGENT", "demo")
REPOSITORY = Path(__file__).resolve().parents[2]
LIMITS = ("--read-only", "--cap-drop=ALL", *(f"--cap-add={name}" for name in RIGHTS))
AS_ROOT = ("--user=root", "--security-opt=no-new-privileges")
"""How it is started where no program may raise its rights (SandboxUser of template.yaml)."""
STOP_SECONDS = 120
"""When ECS kills what does not end by itself (StopTimeout of template.yaml)."""

pytestmark = pytest.mark.anyio
needs_image = pytest.mark.skipif(
    not IMAGE, reason="HEADSTART_IMAGE is not set: make test-image builds one and sets it"
)


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
def store() -> Iterator[ObjectStore]:
    with ObjectStore().running() as running:
        yield running


@contextmanager
def started(cloud: FakeCloud, *options: str) -> Iterator[str]:
    """Run the image with no more rights than it needs, where it can reach the fake cloud."""
    settings = {
        "HEADSTART_URL": cloud.url,
        "HEADSTART_SESSION_ID": SESSION_ID,
        "HEADSTART_KEY": BOOTSTRAP_KEY,
        "HEADSTART_ATTEMPT": "1",
        "HEADSTART_BATCH_MS": "20",
    }
    environment = [f"--env={name}={value}" for name, value in settings.items()]
    name = docker("run", "--detach", "--network=host", *LIMITS, *options, *environment, IMAGE)
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


@pytest.fixture(
    params=[
        pytest.param((), id="runner", marks=needs_image),
        pytest.param(AS_ROOT, id="root", marks=needs_image),
    ]
)
def container(cloud: FakeCloud, request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the image as its own user, and as root without new privileges."""
    with started(cloud, *request.param) as name:
        yield name


def inside(container: str, *command: str) -> str:
    """Run a command as the agent's user and return what it prints."""
    return docker("exec", "--user=agent", container, *command)


async def stop(container: str) -> int:
    """Stop the container as ECS does, and return its exit code: 137 if it had to be killed."""
    await asyncio.to_thread(docker, "stop", f"--time={STOP_SECONDS}", container)
    return int(docker("inspect", "--format={{.State.ExitCode}}", container))


async def done(cloud: FakeCloud, kind: str, args: Json, container: str) -> Json:
    """Run a command that must complete."""
    result = await cloud.result(await cloud.start(kind, args), 60)
    assert result["status"] == "completed", (result, docker("logs", container))
    return result


async def begin(
    cloud: FakeCloud,
    container: str,
    url: str,
    model: ModelStub,
    *commands: str,
    archive: Json | None = None,
) -> None:
    """Do what an attempt does before its first prompt: that of a wake-up, with an archive."""
    agent: Json = {"agent": AGENT, "sessionId": SESSION_ID, "mode": "code"}
    if AGENT != "demo":
        provider, secrets = model.provider(), {KEY_VARIABLE: KEY}
        agent |= {"model": MODEL, "provider": provider, "secrets": secrets}
    for kind, args in (
        ("disk", {"minFreeBytes": 1}),
        ("clone", clone_args(url, archive=archive)),
        *([] if archive else [("branch", {"branch": BRANCH})]),
        ("restore", restore_args() | {"agent": AGENT}),
        ("setup", setup_args(*commands)),
        ("agent", agent),
    ):
        await done(cloud, kind, args, container)


async def test_a_session_in_the_image_from_its_clone_to_its_end(
    cloud: FakeCloud, container: str, sample: str, model: ModelStub, store: ObjectStore
) -> None:
    tools = ("git", "git-lfs", "rg", "python3", "node", "npm", "npx")
    commands = ["id -u > who", " && ".join(f"{tool} --version" for tool in tools)]
    await begin(cloud, container, sample, model, *commands)
    assert inside(container, "cat", "/workspace/repo/who") == "10001"
    prompt = prompt_args(text="Light the lamp. " * 10)
    await cloud.start("prompt", prompt, name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("turn.ended"), 60)
    assert cloud.of("turn.ended")[0]["error"] is None
    assert len(cloud.of("agent.delta")) > 1
    if AGENT != "demo":
        said = [event["data"].get("text", "") for event in cloud.of("agent.event")]
        assert any(f"You said: {prompt['text'].strip()}" in text for text in said)
    processes = [line.split() for line in inside(container, "ps", "-eo", "pid=,uid=").splitlines()]
    assert {uid for pid, uid in processes if pid != "1"} == {"10000", "10001"}

    begun = time.monotonic()
    assert await stop(container) == 0
    assert time.monotonic() - begun < STOP_SECONDS / 3
    assert cloud.leavings == 1


async def test_the_work_is_saved_after_sigterm_and_put_back_in_another_container(
    cloud: FakeCloud, container: str, sample: str, model: ModelStub, store: ObjectStore
) -> None:
    cloud.on_leaving = lambda _: False
    private = "umask 077; mkdir new && echo unsaved > new/private.txt && id -u > new/who"
    await begin(cloud, container, sample, model, private)

    stopping = asyncio.create_task(stop(container))
    await cloud.until(lambda: cloud.leavings)
    made = await done(cloud, "archive", archive_args(agent=AGENT), container)
    await done(cloud, "upload", upload_args(store, made), container)
    assert not stopping.done()
    await cloud.let_go()
    assert await stopping == 0
    assert len(store.objects["work/base"]) == made["output"]["base"]["bytes"]

    async with fake_cloud() as next_cloud:
        with started(next_cloud) as other:
            archive = archive_ref(store, made)
            await begin(next_cloud, other, sample, model, archive=archive)
            found = inside(
                other, "cat", "/workspace/repo/new/private.txt", "/workspace/repo/new/who"
            )
            assert found.split() == ["unsaved", "10001"]
            assert await stop(other) == 0


@needs_image
async def test_a_cloud_that_does_not_answer_is_not_waited_for_until_the_kill(
    cloud: FakeCloud, sample: str, model: ModelStub, store: ObjectStore
) -> None:
    cloud.on_leaving = lambda _: False
    with started(cloud) as container:
        await begin(cloud, container, sample, model)
        assert await stop(container) == 0
    assert cloud.leavings == 1


async def test_the_runner_has_its_rights_and_what_it_starts_has_none(
    cloud: FakeCloud, container: str, sample: str
) -> None:
    await cloud.do("clone", clone_args(sample))
    await cloud.do("setup", setup_args("cat /proc/self/status > status"))

    def status(shell: str) -> dict[str, list[str]]:
        lines = inside(container, "sh", "-c", f"cat {shell}").splitlines()
        return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}

    runner, command = status("/proc/$(pgrep -P 1)/status"), status("/workspace/repo/status")
    assert (runner["Uid"], runner["Gid"], runner["Groups"]) == (["10000"] * 4, ["10000"] * 4, [])
    assert int(runner["CapEff"][0], 16) == sum(1 << bit for bit in RIGHTS.values())
    assert (command["Uid"], command["Gid"], command["Groups"]) == (["10001"] * 4, ["10001"] * 4, [])
    assert {int(command[f"Cap{kind}"][0], 16) for kind in ("Inh", "Prm", "Eff", "Amb")} == {0}
    assert command["NoNewPrivs"] == ["1"]


@needs_image
@pytest.mark.parametrize(
    "limits",
    [
        pytest.param((*LIMITS, "--security-opt=no-new-privileges"), id="no-new-privileges"),
        pytest.param([limit for limit in LIMITS if limit != "--cap-add=KILL"], id="without-KILL"),
    ],
)
def test_a_container_that_is_given_less_says_so_and_ends(limits: tuple[str, ...]) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        docker("run", "--rm", "--network=none", *limits, IMAGE)

    assert re.search(r"setpriv.*: Operation not permitted", failed.value.stderr)


@needs_image
def test_without_its_rights_the_runner_says_so_and_ends() -> None:
    python = ("--entrypoint=/opt/headstart/bin/python", IMAGE, "-I", "-m", "headstart_runner")
    settings = ("HEADSTART_URL=ws://x", f"HEADSTART_SESSION_ID={SESSION_ID}", "HEADSTART_ATTEMPT=1",
                f"HEADSTART_KEY={BOOTSTRAP_KEY}")  # fmt: skip
    environment = [f"--env={setting}" for setting in settings]
    with pytest.raises(subprocess.CalledProcessError) as failed:
        docker("run", "--rm", "--network=none", *environment, *python)

    assert failed.value.returncode == 78
    assert f"needs the capabilities {', '.join(RIGHTS)}" in failed.value.stderr


async def test_what_the_agent_runs_can_read_and_signal_nothing_of_the_runner(
    cloud: FakeCloud, container: str, sample: str
) -> None:
    await cloud.do("clone", clone_args(sample))
    shell = (
        "for p in /proc/[0-9]*; do cat $p/environ 2>/dev/null; done | tr '\\0' '\\n'; "
        "cat /var/lib/headstart/* ; touch /opt/headstart/x /usr/bin/x; find / -xdev -perm /6000"
    )
    uid = int(inside(container, "id", "-u", "runner"))
    nosy = nosing("/usr/bin/python3", uid, Path("/var/lib/headstart"))
    commands = (f"({shell}) > all.txt 2>&1 || true", f"{nosy} > seen.json")
    await done(cloud, "setup", setup_args(*commands), container)

    read = inside(container, "cat", "/workspace/repo/all.txt")
    assert "Permission denied" in read
    assert BOOTSTRAP_KEY not in read
    assert not re.search(r"HEADSTART_(KEY|URL|STATE_DIR|AGENT_UID)", read)
    assert not re.search(r"^/(usr|bin|sbin|opt).*$", read, re.MULTILINE)
    seen = json.loads(inside(container, "cat", "/workspace/repo/seen.json"))
    assert seen["processes"] >= 3, "the init, the runner and the command's own nanny"
    assert set(seen["found"].values()) <= {"PermissionError"}, seen["found"]


async def test_nothing_that_the_agent_writes_is_run_by_the_runner(
    cloud: FakeCloud, container: str, sample: str, model: ModelStub, store: ObjectStore
) -> None:
    marks = Path("/workspace/marks")
    plant = planting("/usr/bin/python3", marks, "..", ".", "/workspace/home")
    setup = f"mkdir --mode=1777 {marks} && {plant}"
    await begin(cloud, container, sample, model, setup)
    await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("turn.ended"), 60)
    made = await done(cloud, "archive", archive_args(agent=AGENT), container)
    await done(cloud, "upload", upload_args(store, made), container)

    left = inside(container, "find", str(marks), "-type", "f", "-printf", "%U %p\n").splitlines()
    assert {line.split()[0] for line in left} <= {"10001"}


async def test_nothing_of_the_image_is_the_agents_but_its_volumes(container: str) -> None:
    theirs = ("(", "-user", "agent", "-o", "-group", "agent", "-o", "-perm", "-o+w", ")")
    every = ("find", "/", "-xdev", "!", "-type", "l", "!", "-perm", "-1000")
    found = docker("exec", "--user=root", container, *every, *theirs)
    assert found.split() == ["/workspace"]


async def test_the_init_reaps_orphans_and_is_the_only_one(
    cloud: FakeCloud, container: str, sample: str
) -> None:
    await cloud.do("clone", clone_args(sample))
    await cloud.do("setup", setup_args("(setsid sleep 0.2 &) ; (setsid true &)"))

    def states() -> list[str]:
        return inside(container, "ps", "-eo", "stat=,comm=").splitlines()

    await eventually(lambda: not any(line.startswith("Z") for line in states()))
    assert sum("tini" in line for line in states()) == 1


def not_in_the_image() -> list[str]:
    """Return what can be imported here and not there: of neither the runner nor its tests."""

    def name_of(requirement: str) -> str:
        return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()

    pinned = (REPOSITORY / "requirements" / "sandbox.txt").read_text().splitlines()
    there = {name_of(line) for line in pinned if "==" in line}
    asked = ["hypothesis", "pytest"]
    while asked:
        there.add(name := asked.pop())
        needed = [name_of(line) for line in requires(name) or () if ";" not in line]
        asked += [name for name in needed if name not in there]
    return [
        module
        for module, names in packages_distributions().items()
        if not there.intersection(map(name_of, names)) and not module.startswith("headstart")
    ]


def test_the_runners_tests_find_in_the_image_what_they_import(tmp_path: Path) -> None:
    dockerfile = (REPOSITORY / "tests" / "image" / "Dockerfile").read_text()
    sent = re.findall(r"^!(.+)$", (REPOSITORY / ".dockerignore").read_text(), re.MULTILINE)
    for sources, place in re.findall(r"^COPY (.+) /opt/tests/(\S+)$", dockerfile, re.MULTILINE):
        for source in sources.split():
            assert any(Path(source).is_relative_to(folder) for folder in sent), source
            target = tmp_path / place
            if (REPOSITORY / source).is_dir():
                shutil.copytree(REPOSITORY / source, target)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / source, target)

    others = [str(REPOSITORY / folder) for folder in ("client", "docs", "local")]
    options = ["--collect-only", "-qq", "-p", "no:cacheprovider", "-p", "anyio", "tests/runner"]
    collect = (
        f"import sys; sys.path[:] = [entry for entry in sys.path if entry not in {others}]; "
        f"sys.path.insert(0, {str(tmp_path / 'local')!r}); "
        f"sys.modules.update(dict.fromkeys({not_in_the_image()})); "
        f"import pytest; sys.exit(pytest.main({options}))"
    )
    collected = subprocess.run(
        [sys.executable, "-B", "-c", collect],
        cwd=tmp_path / "src",
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert collected.returncode == 0, collected.stdout + collected.stderr


def test_the_sandbox_gets_the_versions_that_were_tested() -> None:
    def pins(name: str) -> set[str]:
        lines = (REPOSITORY / "requirements" / name).read_text().splitlines()
        return {line for line in lines if line and not line.startswith("#")}

    assert pins("sandbox.txt") <= pins("dev.txt")
