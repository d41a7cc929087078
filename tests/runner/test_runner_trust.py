"""What the runner stands on is out of the agent's reach: what it looks at, and when it imports."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from fake_cloud import BOOTSTRAP_KEY, RESUME_KEY, FakeCloud
from object_store import ObjectStore
from runner_kit import SESSION_ID, clone_args, prepare, prompt_args, setup_args
from test_runner_vault import sealed
from work_kit import done, restore_args, save

from headstart_runner.trust import mistrusted

pytestmark = pytest.mark.anyio

SOMEBODY = 54321


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("open/file", "open"),
        ("link/file", "open"),
        ("around/file", "open"),
        ("link to nothing", "open"),
        ("closed/file", "closed/file"),
        ("sticky/file", None),
        ("sticky/new", "sticky"),
        ("sticky", "sticky"),
        ("closed/new", None),
        ("closed/here/../file", "closed/file"),
        ("closed/here", None),
        ("loop", "loop"),
    ],
)
def test_a_way_to_change_a_path_is_found_over_folders_links_and_owners(
    tmp_path: Path, path: str, where: str | None
) -> None:
    for name, mode in {"open": 0o777, "closed": 0o755, "sticky": 0o1777}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
        (tmp_path / name / "file").touch()
    (tmp_path / "closed" / "file").chmod(0o666)
    (tmp_path / "closed" / "here").mkdir()
    (tmp_path / "link").symlink_to("open")
    (tmp_path / "around").symlink_to("closed/here/../../link")
    (tmp_path / "link to nothing").symlink_to(tmp_path / "open" / "nothing")
    (tmp_path / "loop").symlink_to("loop")

    found = mistrusted(SOMEBODY, tmp_path / path, {})

    mine = [problem for problem in found if str(tmp_path) in problem]
    assert [problem.rpartition(" may change ")[2] for problem in mine] == [
        str(tmp_path / place) for place in [where] if place
    ]


TELLING_OF_IMPORTS = """
import os, runpy, sys
from headstart_runner import trust

looks, stock = 0, trust.mistrusted

def look(*arguments):
    global looks
    # From the beginning of the last look on: what comes in the middle may have been missed.
    looks += 1
    return stock(*arguments)

def tell(event, args):
    if event == "subprocess.Popen" and looks < 2:
        os.write({log}, b"started too early\\n")
    # What is None among the modules is not looked for.
    if event == "import" and looks > 1 and sys.modules.get(args[0], tell) is not None:
        os.write({log}, args[0].encode() + b"\\n")

trust.mistrusted = look
sys.addaudithook(tell)
runpy.run_module("headstart_runner", run_name="__main__", alter_sys=True)
"""
"""A runner that names what it imports once it has looked at what it has imported."""


async def test_nothing_is_imported_after_the_last_look_and_nothing_started_before(
    cloud: FakeCloud, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HEADSTART_URL": cloud.url,
        "HEADSTART_SESSION_ID": SESSION_ID,
        "HEADSTART_KEY": BOOTSTRAP_KEY,
        "HEADSTART_ATTEMPT": "1",
        "HEADSTART_WORKSPACE": str(tmp_path / "workspace"),
        "HEADSTART_STATE_DIR": str(tmp_path / "state"),
    }
    with (tmp_path / "imports").open("wb") as log:
        runner = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", TELLING_OF_IMPORTS.format(log=log.fileno())),
            env=environment,
            pass_fds=[log.fileno()],
        )
    try:
        await prepare(cloud, sample)
        opened = {**setup_args("echo grüße"), "sealed": sealed({"TOKEN": "lantern-of-the-quay"})}
        await done(cloud, "setup", opened)
        await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
        await cloud.turn_ended("trn_1")
        saved = await save(cloud, store)
        other = clone_args(sample, upstreamBranch="main", archive=saved)
        await done(cloud, "clone", other, name="2.clone")
        await done(cloud, "restore", restore_args(), name="2.restore")
        await cloud.do("setup", setup_args("exit 3"), name="2.setup")
        await cloud.drop()
        await cloud.connected()
    finally:
        runner.terminate()
        await runner.wait()

    assert RESUME_KEY in cloud.keys_used
    assert (tmp_path / "imports").read_text().split() == []
