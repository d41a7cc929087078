"""Git servers that are not as git would have them: plain files, addresses that have moved."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from fake_cloud import FakeCloud
from runner_kit import SAMPLE, Repositories, Sandbox, clone_args, git

pytestmark = pytest.mark.anyio


@contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler] | partial[BaseHTTPRequestHandler],
) -> Iterator[str]:
    """Run a server of our own and return its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Files(SimpleHTTPRequestHandler):
    """A server that has never heard of git."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def redirect(location: str, asked: list[str]) -> type[BaseHTTPRequestHandler]:
    """Return what sends everybody elsewhere, and notes what was asked for."""

    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(301)
            self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Redirect


def bare_of(repositories: Repositories, url: str) -> Path:
    return repositories.server.folder / url.rpartition("/")[2]


def commit_file(bare: Path, name: str) -> None:
    """Give the branch a file that no work tree could have."""
    entry = f"100644 blob {git('rev-parse', 'main:README.md', cwd=bare)}\t{name}\n"
    made = subprocess.run(
        ["git", "mktree"], cwd=bare, input=entry, check=True, capture_output=True, text=True
    )
    commit = git("commit-tree", made.stdout.strip(), "-m", "An odd name", cwd=bare)
    git("update-ref", "refs/heads/main", commit, cwd=bare)


async def test_a_server_of_plain_files_gives_the_whole_history(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    bare = bare_of(repositories, repositories.make("files", SAMPLE))
    git("update-server-info", cwd=bare)
    base = git("rev-parse", "main", cwd=bare)
    with serving(partial(Files, directory=str(bare.parent))) as address:
        url = f"{address}/{bare.name}"
        cloned = await cloud.do("clone", clone_args(url, upstreamBranch="main"))
        woken = await cloud.do("clone", clone_args(url, baseCommit=base), name="1.clone.2")
        gone = await cloud.do("clone", clone_args(url, baseCommit="1" * 40), name="1.clone.3")

    assert cloned["status"] == "completed", cloned
    assert woken["status"] == "completed", woken
    assert cloned["output"]["commit"] == woken["output"]["commit"] == base
    assert gone["error"]["code"] == "SnapshotBaseMissing"


@pytest.mark.parametrize("base", [None, "1" * 40])
async def test_a_repository_that_has_moved_is_not_followed_but_its_address_is_told(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, base: str | None
) -> None:
    asked: list[str] = []
    where = sample.replace("//", "//ada:wrong-password@") + "/info/refs?service=git-upload-pack"
    with serving(redirect(where, asked)) as address:
        url = f"{address}/old.git"
        failed = await cloud.do("clone", clone_args(url, baseCommit=base))

    assert failed["error"]["code"] == "RepositoryNotFound"
    assert failed["error"]["reason"] == f"{url} has moved to {sample}"
    assert set(asked) == {"/old.git/info/refs?service=git-upload-pack"}


@pytest.mark.parametrize(
    "where", ["/login?next=x", "ftp://elsewhere/a.git/info/refs", "http://[x/info/refs"]
)
async def test_a_redirect_that_names_no_repository_is_not_taken_for_its_address(
    cloud: FakeCloud, sandbox: Sandbox, where: str
) -> None:
    with serving(redirect(where, [])) as address:
        url = f"{address}/old.git"
        failed = await cloud.do("clone", clone_args(url))

    assert failed["error"]["reason"] == f"{url} has moved: use its new address"


@pytest.mark.parametrize("name", ["TLS timed out " + "x" * 300, "GIT~1"])
async def test_a_file_that_can_not_be_written_is_named_whatever_advice_follows(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, name: str
) -> None:
    url = repositories.make("odd", SAMPLE)
    bare = bare_of(repositories, url)
    commit_file(bare, name)
    failed = await cloud.do("clone", clone_args(url))

    assert failed["error"]["code"] == "CloneFailed"
    reason = failed["error"]["reason"]
    assert reason.startswith(f"The files of {url} could not be written: ")
    assert name[:50] in reason
    assert "git restore" not in reason
