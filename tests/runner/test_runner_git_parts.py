"""What is beside a repository: submodules and the contents of large files."""

import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from runner_kit import SAMPLE, Repositories, Sandbox, clone_args, git, started
from test_runner_git_servers import bare_of, serving, stateless

from headstart_runner.repository import clone, submodules
from headstart_runner.repository.words import some

pytestmark = pytest.mark.anyio


def with_submodules(repositories: Repositories, name: str, modules: dict[str, str]) -> str:
    """Make a repository with a submodule of each URL, at the commit of the sample beside it."""
    url = repositories.make(name, SAMPLE)
    bare = bare_of(repositories, url)
    lines = [
        f'[submodule "{path}"]\n\tpath = {path}\n\turl = {address}\n'
        for path, address in modules.items()
    ]
    work = bare.parent / f"{bare.name}-work"
    git("clone", "--quiet", str(bare), str(work), cwd=bare.parent)
    (work / ".gitmodules").write_text("".join(lines))
    for path, address in modules.items():
        there = bare.parent / address.rpartition("/")[2]
        commit = git("rev-parse", "main", cwd=there if there.exists() else bare)
        git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}", cwd=work)
    git("add", ".gitmodules", cwd=work)
    git("commit", "--quiet", "--message=Parts", cwd=work)
    git("push", "--quiet", "--no-verify", "origin", "HEAD", cwd=work)
    return url


async def test_submodules_are_named_where_nobody_asked_for_them(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    library = repositories.make("library", {"lib.py": "1\n"})
    url = with_submodules(repositories, "uses", {f"vendor/{n}": library for n in range(7)})
    cloned = await cloud.do("clone", clone_args(url))

    named = "vendor/0, vendor/1, vendor/2, vendor/3, vendor/4 and 2 more"
    notes = [f"7 submodules are not fetched: {named} (clone.submodules fetches them)"]
    assert cloned["output"]["notes"] == notes


async def test_submodules_come_with_their_own_from_where_the_repository_could(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    library = repositories.make("library", {"lib.py": "1\n"})
    beside = f"../{library.rpartition('/')[2]}"
    middle = with_submodules(repositories, "middle", {"inner": beside})
    other = library.replace("127.0.0.1", "localhost")
    modules = {
        "parts/mid*": f"../{middle.rpartition('/')[2]}",
        "ssh": "git@github.com:org/name.git",
        "other": other,
        "metadata": "https://169.254.169.254/a.git",
        "parts/mid!": "../gone.git",
    }
    url = with_submodules(repositories, "outer", modules)
    cloned = await cloud.do("clone", clone_args(url, submodules=True))
    repository = sandbox.repository

    assert cloned["status"] == "completed", cloned
    assert (repository / "parts/mid*/inner/lib.py").read_text() == "1\n"
    assert git("status", "--porcelain", cwd=repository) == ""
    why = {note.split()[2]: note for note in cloned["output"]["notes"]}
    assert {*why} == {"ssh", "other", "metadata", "parts/mid!"}
    assert "must be an https URL" in why["ssh"]
    assert "must be an https URL" in why["other"]
    assert "must not point to a private address" in why["metadata"]
    assert "There is no repository at" in why["parts/mid!"]


async def test_a_repository_that_is_its_own_submodule_comes_to_an_end(
    cloud: FakeCloud,
    sandbox: Sandbox,
    repositories: Repositories,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submodules, "_DEEPEST", 2)
    name = repositories.make("self", SAMPLE)
    bare = bare_of(repositories, name)
    work = bare.parent / f"{bare.name}-own"
    git("clone", "--quiet", str(bare), str(work), cwd=bare.parent)
    (work / ".gitmodules").write_text(f'[submodule "s"]\n\tpath = s\n\turl = ../{bare.name}\n')
    git("add", ".gitmodules", cwd=work)
    tip = git("rev-parse", "main", cwd=bare)
    for number in range(4):
        git("update-index", "--add", "--cacheinfo", f"160000,{tip},s", cwd=work)
        git("commit", "--quiet", f"--message={number}", cwd=work)
        tip = git("rev-parse", "HEAD", cwd=work)
    git("push", "--quiet", "--no-verify", "origin", "HEAD", cwd=work)
    cloned = await cloud.do("clone", clone_args(name, submodules=True))

    assert cloned["output"]["notes"] == ["1 submodule is not fetched: s (they lie too deep)"]


# Git LFS.

CONTENT = b"what is large\n" * 100
OID = hashlib.sha256(CONTENT).hexdigest()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize {len(CONTENT)}\n"
FILES = {
    ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    "a.bin": POINTER,
    "größer.bin": POINTER,
    "ours.bin": "no pointer\n",
    "about.txt": POINTER,
}


FAILS = '[ "$1" = version ] || {{ echo "error: {}" >&2; exit 2; }}'


def tool(folder: Path, script: str) -> str:
    """Return a PATH on which git-lfs is a script of ours."""
    folder.mkdir(mode=0o755)
    (folder / "git-lfs").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git-lfs").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture(
    params=["exit 1", '[ "$1" = version ] || { echo "error: no such host" >&2; exit 2; }']
)
async def script(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def with_tool(cloud: FakeCloud, tmp_path: Path, script: str) -> AsyncIterator[Sandbox]:
    async with started(cloud, tmp_path, path=tool(tmp_path / "tools", script)) as box:
        yield box


async def test_pointers_to_large_files_are_named_with_the_reason(
    cloud: FakeCloud, with_tool: Sandbox, repositories: Repositories, script: str
) -> None:
    cloned = await cloud.do("clone", clone_args(repositories.make("large", FILES)))

    why = "git-lfs is not in this sandbox's image"
    if script != "exit 1":
        why = "their contents could not be fetched: no such host"
    notes = [f"2 files are Git LFS pointers: a.bin, größer.bin ({why})"]
    assert cloned["output"]["notes"] == notes


@pytest.mark.parametrize("script", [FAILS.format("write: no space left on device")])
async def test_large_files_that_there_is_no_room_for_are_a_full_disk(
    cloud: FakeCloud, with_tool: Sandbox, repositories: Repositories, script: str
) -> None:
    failed = await cloud.do("clone", clone_args(repositories.make("large", FILES)))

    assert failed["error"]["code"] == "DiskFull"


def large_files(bare: Path) -> type[BaseHTTPRequestHandler]:
    """Return a git server that has the contents of large files, too (Git LFS's batch API)."""

    class Large(stateless(bare, lambda listed: listed)):
        def do_POST(self) -> None:
            if not self.path.endswith("/info/lfs/objects/batch"):
                super().do_POST()
                return
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            href = f"http://{self.headers['Host']}/content"
            objects = [{**one, "actions": {"download": {"href": href}}} for one in asked["objects"]]
            self._say("application/vnd.git-lfs+json", json.dumps({"objects": objects}).encode())

        def do_GET(self) -> None:
            if self.path == "/content":
                self._say("application/octet-stream", CONTENT)
            else:
                super().do_GET()

        def _say(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Large


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="needs git-lfs")
async def test_the_contents_of_large_files_are_fetched(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    # What is not as it should be, git-lfs itself would change.
    files = {name: text for name, text in FILES.items() if name not in {"about.txt", "ours.bin"}}
    with serving(large_files(bare_of(repositories, repositories.make("large", files)))) as address:
        cloned = await cloud.do("clone", clone_args(f"{address}/a.git"))
    repository = sandbox.repository

    assert "LFS" not in str(cloned["output"]["notes"]), cloned
    assert (repository / "a.bin").read_bytes() == CONTENT
    assert (repository / "größer.bin").read_bytes() == CONTENT
    assert git("status", "--porcelain", cwd=repository) == ""


async def test_many_notes_are_as_many_as_can_be_read(
    cloud: FakeCloud,
    sandbox: Sandbox,
    repositories: Repositories,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clone, "_MOST_NOTES", 1)
    url = with_submodules(repositories, "many", {f"m{n}": "git@h:a.git" for n in range(3)})
    cloned = await cloud.do("clone", clone_args(url, submodules=True))

    first, rest = cloned["output"]["notes"]
    assert first.startswith("The submodule m0 is not fetched: ")
    assert rest == "And 2 more of that kind"


def test_odd_and_many_names_stand_in_one_line() -> None:
    names = ["a\nb", "\x1b[31mred", "x" * 300, *map(str, range(7))]

    assert some(names, "and") == f"a b, red, {'x' * 97}…, 0, 1 and 5 more"
    assert some(["a"], "or") == "a"
