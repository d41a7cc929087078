"""A runner and its agent as two users, as in the image: what one writes, the other never runs."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from hostile_kit import nosing, planting
from image_kit import Container
from object_store import ObjectStore
from runner_kit import (
    BRANCH,
    SESSION_ID,
    Repositories,
    agent_args,
    clone_args,
    eventually,
    nanny_of,
    processes,
    prompt_args,
    setup_args,
)
from work_kit import archive_args, done, restore_args, save

from headstart_runner.config import RIGHTS

pytestmark = pytest.mark.anyio


async def test_nothing_that_the_agent_writes_is_run_by_the_runner(
    cloud: FakeCloud, container: Container, sample: str, store: ObjectStore
) -> None:
    marks = container.root / "marks"
    marks.mkdir()
    marks.chmod(0o1777)
    places = ("..", ".", container.workspace / "home", container.temporary)
    container.start()
    await done(cloud, "clone", clone_args(sample))
    await done(cloud, "setup", setup_args(planting(container.python, marks, *places)))
    await done(cloud, "restore", restore_args())
    await done(cloud, "agent", agent_args())
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.turn_ended("trn_1")
    saved = await save(cloud, store)

    before = await cloud.connected()
    container.kill()
    container.start()
    await cloud.connected_anew(before)
    await done(cloud, "agent", agent_args(CI="1"), name="2.agent")
    other = clone_args(sample, upstreamBranch="main", archive=saved)
    await done(cloud, "clone", other, name="2.clone")
    await done(cloud, "restore", restore_args(), name="2.restore")
    status, said = await asyncio.to_thread(container.end)

    assert status == 0, said
    assert (container.workspace / "certifi.py").stat().st_uid == container.agent_uid
    assert {mark.stat().st_uid for mark in marks.iterdir()} <= {container.agent_uid}


async def test_what_the_agent_runs_can_read_nothing_of_the_runner(
    cloud: FakeCloud, container: Container, sample: str
) -> None:
    container.start()
    await done(cloud, "clone", clone_args(sample))
    places = (container.state, container.site_packages, "/")
    nosy = nosing(container.python, container.runner_uid, *places)
    await done(cloud, "setup", setup_args(f"{nosy} > seen.json"))

    seen = json.loads((container.repository / "seen.json").read_text())
    assert seen["processes"] >= 2, "the runner and the command's own nanny"
    assert set(seen["found"].values()) <= {"PermissionError"}, seen["found"]


async def test_what_a_command_hands_on_is_read_with_its_own_rights(
    cloud: FakeCloud, container: Container, sample: str
) -> None:
    container.start()
    await done(cloud, "clone", clone_args(sample))
    secret = container.state / "secret"
    secret.write_text("STOLEN=1\n")
    secret.chmod(0o600)
    os.chown(secret, container.runner_uid, container.runner_uid)
    steal = f'ln -sf {secret} "$HEADSTART_ENV"; echo "export MINE=1" >> ~/.profile'
    steal_all = f"rm -r ~/.headstart/setup; ln -s {container.state} ~/.headstart/setup"
    await done(cloud, "setup", setup_args(steal, "env > seen", steal_all))
    await done(cloud, "restore", {"agent": "demo", "sessionId": SESSION_ID, "title": ""})
    await done(cloud, "agent", agent_args())

    seen = (container.repository / "seen").read_text()
    assert "MINE=1" in seen
    assert "USER=agent" in seen
    assert "STOLEN" not in seen
    assert secret.exists()


async def test_the_runner_has_the_images_rights_and_what_it_starts_none(
    cloud: FakeCloud, container: Container, sample: str
) -> None:
    container.start()
    await done(cloud, "clone", clone_args(sample))
    await done(cloud, "setup", setup_args("cat /proc/self/status > status"))

    def status(file: Path) -> dict[str, list[str]]:
        lines = (line.partition(":") for line in file.read_text().splitlines())
        return {name: value.split() for name, _, value in lines}

    runner = status(Path(f"/proc/{container.pid}/status"))
    command = status(container.repository / "status")
    assert runner["Uid"] == [str(container.runner_uid)] * 4
    assert int(runner["CapEff"][0], 16) == sum(1 << bit for bit in RIGHTS.values())
    assert command["Uid"] == [str(container.agent_uid)] * 4
    assert {int(command[f"Cap{kind}"][0], 16) for kind in ("Inh", "Prm", "Eff", "Amb")} == {0}


async def test_what_it_starts_dies_with_its_nanny_without_the_runner(
    cloud: FakeCloud, container: Container, sample: str
) -> None:
    container.start()
    await done(cloud, "clone", clone_args(sample))
    await cloud.start("setup", setup_args("exec sleep 65.4"))
    await eventually(lambda: processes("sleep 65.4"))
    [command] = processes("sleep 65.4")
    os.kill(container.pid, signal.SIGSTOP)
    os.kill(nanny_of(command), signal.SIGKILL)
    await eventually(lambda: not processes("sleep 65.4"))
    os.kill(container.pid, signal.SIGCONT)

    assert (await cloud.result("1.setup.1"))["status"] == "failed"


async def test_it_starts_nowhere_where_the_agent_could_change_what_it_imports_or_reads(
    container: Container,
) -> None:
    theirs = container.workspace / "theirs"
    theirs.mkdir()
    os.chown(theirs, container.agent_uid, container.agent_uid)
    inside = theirs / "inside"
    inside.mkdir()
    link = container.root / "link"
    link.symlink_to(inside)

    def said(**how: object) -> str:
        container.start(**how)  # type: ignore[arg-type]
        assert container.process is not None
        _, error = container.process.communicate(timeout=20)
        assert container.process.returncode == 78, error
        return error

    blame = f"uid {container.agent_uid}, which runs the agent, may change {container.workspace}"
    assert f"the working directory is {container.workspace}, and {blame}" in said(
        cwd=container.workspace
    )
    assert "start it with python -I" in said(without="-I")
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "OPENSSL_CONF"):
        assert f"the variable {name} is {link}" in said(**{name: str(link)})
    assert f"the home directory is {link}" in said(HOME=str(link))
    assert f"the home directory is {container.temporary}" in said(HOME=str(container.temporary))
    state = str(theirs / "new")
    assert f"the state directory is {state}" in said(HEADSTART_STATE_DIR=state)
    os.chown(container.site_packages / "headstart.pth", container.agent_uid, -1)
    assert "a list of places of modules is " in said()
    os.chown(container.site_packages, -1, container.agent_uid)
    container.site_packages.chmod(0o775)
    assert "a place of modules is " in said()


async def test_the_work_is_told_and_published_with_the_agents_rights(
    cloud: FakeCloud, container: Container, repositories: Repositories
) -> None:
    url = repositories.make("users", {"a.txt": "a\n"})
    container.start()
    cloned = await done(cloud, "clone", clone_args(url, branch=BRANCH))
    await done(cloud, "branch", {"branch": BRANCH})
    secret = container.state / "secret"
    secret.write_text("STOLEN\n")
    secret.chmod(0o600)
    os.chown(secret, container.runner_uid, container.runner_uid)
    hook = "id -u > mark; cat"
    steal = f"ln -s {secret} stolen; echo '*.txt filter=nosy' > .gitattributes"
    await done(cloud, "setup", setup_args(f"git config filter.nosy.clean '{hook}'; {steal}"))
    (container.repository / "a.txt").write_text("b\n")
    began = {"commit": cloned["output"]["commit"], "branch": "main"}
    told = await done(cloud, "archive", archive_args(began=began))
    assert told["output"]["diff"]
    args = {
        "gitUrl": url, "branch": BRANCH, "began": began, "author": "A <a@b.c>",
        "sessionId": SESSION_ID, "title": "T", "allowPrivate": True,
    }  # fmt: skip
    published = await done(cloud, "publish", args)
    assert published["output"]["commit"]
    # What the repository had run was the agent's, and no link led further than its name.
    assert (container.repository / "mark").read_text().strip() == str(container.agent_uid)
    [diff] = (container.state / "archives").glob("*.diff")
    assert "STOLEN" not in diff.read_text()
    assert f"+{secret}" in diff.read_text()
    owners = {path.lstat().st_uid for path in container.repository.rglob("*")}
    assert owners == {container.agent_uid}
