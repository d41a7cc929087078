"""Git servers that are not as git would have them: plain files, addresses that have moved."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from fake_cloud import FakeCloud
from runner_kit import SAMPLE, Repositories, Sandbox, clone_args, git

from headstart_runner.gateway import exchange

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


class Page(BaseHTTPRequestHandler):
    """A web application: the same page, without an end of line, whatever is asked for."""

    body = b"<!doctype html><title>Lighthouse</title>"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Lines(Page):
    """The same, in lines."""

    body = b"<!doctype html>\n<title>Lighthouse</title>\n"


def stateless(bare: Path, spoil: Callable[[bytes], bytes]) -> type[BaseHTTPRequestHandler]:
    """Return a server of the first protocol that spoils what it says of itself."""

    class Stateless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listed = upload_pack(bare, b"", "--advertise-refs")
            service = b"001e# service=git-upload-pack\n0000"
            self._answer("advertisement", spoil(service + listed))

        def do_POST(self) -> None:
            said = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer("result", upload_pack(bare, said))

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Stateless


def busy(bare: Path, answers: list[tuple[int, str | None]]) -> type[BaseHTTPRequestHandler]:
    """Return a server that gives these statuses first, with what it says to Retry-After."""

    class Busy(stateless(bare, lambda listed: listed)):
        asked: ClassVar[list[float]] = []

        def do_GET(self) -> None:
            self.asked.append(time.monotonic())
            if not answers:
                super().do_GET()
                return
            status, after = answers.pop(0)
            self.send_response(status)
            if after:
                self.send_header("Retry-After", after)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Busy


def upload_pack(bare: Path, said: bytes, *options: str) -> bytes:
    command = ("git", "upload-pack", "--stateless-rpc", *options, str(bare))
    return subprocess.run(command, input=said, check=True, capture_output=True).stdout


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
    with serving(partial(Files, directory=str(bare.parent))) as address:
        url = f"{address}/{bare.name}"
        whole = await cloud.do("clone", clone_args(url, upstreamBranch="main"))
        settings = git("config", "--list", cwd=sandbox.repository)
        shallow = await cloud.do("clone", clone_args(url, depth=1), name="1.clone.2")

    assert whole["output"]["commit"] == git("rev-parse", "main", cwd=bare), whole
    assert whole["output"]["notes"] == ["127.0.0.1 can't leave out blobs, so all of them are here"]
    assert "promisor" not in settings
    assert shallow["output"]["commit"] == whole["output"]["commit"], shallow
    notes = ["127.0.0.1 gives whole histories only, so this one is whole"]
    assert shallow["output"]["notes"] == notes


@pytest.mark.parametrize(
    "more",
    [{}, {"depth": 1}, {"upstreamBranch": "main"}],
    ids=["whole", "shallow", "a branch"],
)
@pytest.mark.parametrize("page", [Page, Lines])
async def test_a_page_for_every_address_is_no_empty_repository(
    cloud: FakeCloud, sandbox: Sandbox, more: dict[str, Any], page: type[Page]
) -> None:
    with serving(page) as address:
        url = f"{address}/a.git"
        failed = await cloud.do("clone", clone_args(url, **more))

    assert failed["error"]["code"] == "NotARepository"
    reason = f"{url} answers, but not as a git repository: check the address"
    assert failed["error"]["reason"] == reason
    assert not sandbox.repository.exists()


@pytest.mark.parametrize("plain", [False, True], ids=["git", "plain files"])
async def test_a_default_branch_that_is_missing_is_told_with_those_that_there_are(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, plain: bool
) -> None:
    url = repositories.make("astray", SAMPLE)
    bare = bare_of(repositories, url)
    for number in range(6):
        git("branch", f"b{number}", "main", cwd=bare)
    git("symbolic-ref", "HEAD", "refs/heads/gone", cwd=bare)
    git("branch", "--move", "main", "trunk", cwd=bare)
    git("update-server-info", cwd=bare)
    with serving(partial(Files, directory=str(bare.parent))) as address:
        url = f"{address}/{bare.name}" if plain else url
        failed = await cloud.do("clone", clone_args(url))

    assert failed["error"]["code"] == "BranchNotFound"
    missing = f"{url} has no branch gone, with which a clone of it begins"
    if plain:
        missing = f"The default branch of {url} does not exist"
    there = "name one that it has: b0, b1, b2, b3, b4 or 2 more"
    assert failed["error"]["reason"] == f"{missing}; {there}"
    assert not sandbox.repository.exists()


async def test_a_server_that_gives_whole_histories_only_gives_one(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    bare = bare_of(repositories, repositories.make("deep", SAMPLE))
    server = stateless(bare, lambda listed: listed.replace(b" shallow ", b" shellow "))
    with serving(server) as address:
        cloned = await cloud.do("clone", clone_args(f"{address}/a.git"))

    assert cloned["status"] == "completed", cloned
    assert cloned["output"]["commit"] == git("rev-parse", "main", cwd=bare)


async def test_a_server_that_speaks_git_badly_is_quoted_and_no_broken_connection(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    bare = bare_of(repositories, repositories.make("garbled", SAMPLE))
    with serving(stateless(bare, lambda listed: listed[:34] + b"<html>")) as address:
        failed = await cloud.do("clone", clone_args(f"{address}/a.git"))

    assert failed["error"]["code"] == "CloneFailed"
    reason = failed["error"]["reason"]
    assert reason.startswith("127.0.0.1 does not speak git as it should: ")
    assert "bad line length character: <htm" in reason


async def test_a_repository_that_has_moved_elsewhere_is_not_followed_but_its_address_is_told(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    asked: list[str] = []
    where = sample.replace("//", "//ada:wrong-password@") + "/info/refs?service=git-upload-pack"
    with serving(redirect(where, asked)) as address:
        url = f"{address}/old.git"
        failed = await cloud.do("clone", clone_args(url))

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


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_asks_to_wait_is_left_alone_so_long(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, status: int
) -> None:
    server = busy(bare_of(repositories, repositories.make("busy", SAMPLE)), [(status, "1")] * 4)
    with serving(server) as address:
        cloned = await cloud.do("clone", clone_args(f"{address}/a.git"))

    assert cloned["status"] == "completed", cloned
    waits = [b - a for a, b in pairwise(server.asked[:4])]
    assert [wait >= 1 for wait in waits] == [True, True, True]
    said = {event["message"] for event in cloud.of("progress", commandId="1.clone.1")}
    assert "127.0.0.1 asks to wait 1 s" in said


async def test_a_server_is_waited_for_as_often_as_it_asks_to(
    cloud: FakeCloud,
    sandbox: Sandbox,
    repositories: Repositories,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(exchange, "awake_sleep", wait)
    server = busy(bare_of(repositories, repositories.make("busy", SAMPLE)), [(429, "2")] * 16)
    with serving(server) as address:
        cloned = await cloud.do("clone", clone_args(f"{address}/a.git"))

    assert cloned["status"] == "completed", cloned
    assert waited == [2] * 16


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("3600", "127.0.0.1 asks to wait 3600 s, longer than the step may take"),
        ("Fri, 01 Jan 2100 00:00:00 GMT", "s, longer than the step may take"),
        ("soon", "The connection to 127.0.0.1 failed: "),
        (None, "The connection to 127.0.0.1 failed: "),
    ],
)
async def test_a_server_that_asks_for_too_much_or_for_nothing_is_not_waited_for(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, after: str | None, said: str
) -> None:
    bare = bare_of(repositories, repositories.make("busy", SAMPLE))
    with serving(busy(bare, [(503, after)] * 9)) as address:
        failed = await cloud.do("clone", clone_args(f"{address}/a.git"))

    assert failed["error"]["code"] == "GitNetworkError"
    assert said in failed["error"]["reason"]


class Renamed(Files):
    """A server of plain files on which repositories have new names."""

    def do_GET(self) -> None:
        if "/old/" not in self.path:
            super().do_GET()
            return
        self.send_response(301)
        self.send_header("Location", self.path.replace("/old/", "/"))
        self.send_header("Content-Length", "0")
        self.end_headers()


async def test_a_repository_that_was_renamed_on_its_server_is_followed(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    bare = bare_of(repositories, repositories.make("renamed", SAMPLE))
    git("update-server-info", cwd=bare)
    with serving(partial(Renamed, directory=str(bare.parent))) as address:
        url = f"{address}/old/old/{bare.name}"
        cloned = await cloud.do("clone", clone_args(url))
        git("fetch", "--quiet", cwd=sandbox.repository)

    assert cloned["output"]["commit"] == git("rev-parse", "main", cwd=bare), cloned
    assert git("config", "remote.origin.url", cwd=sandbox.repository) == url


class Circle(Renamed):
    """A server that sends everybody to and fro."""

    names = ("/old/a.git", "/old/b.git")

    def do_GET(self) -> None:
        here, there = self.names if self.names[0] in self.path else self.names[::-1]
        self.send_response(301)
        self.send_header("Location", self.path.replace(here, there))
        self.send_header("Content-Length", "0")
        self.end_headers()


async def test_redirects_in_a_circle_come_to_an_end(cloud: FakeCloud, sandbox: Sandbox) -> None:
    with serving(Circle) as address:
        failed = await cloud.do("clone", clone_args(f"{address}/old/a.git"))

    assert failed["error"]["code"] == "RepositoryNotFound"
    assert failed["error"]["reason"].endswith("has moved: use its new address")


async def test_an_address_with_a_password_on_the_same_server_is_told_only_without(
    cloud: FakeCloud, sandbox: Sandbox
) -> None:
    where = "http://ada:pw@{host}/b.git"
    asked: set[str] = set()

    class Odd(Files):
        def do_GET(self) -> None:
            asked.add(self.path.partition("?")[0])
            self.send_response(301)
            self.send_header("Location", where.format(host=self.headers["Host"]) + "/info/refs")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Odd) as address:
        failed = await cloud.do("clone", clone_args(f"{address}/old.git"))

    assert "has moved to http://127.0.0.1" in failed["error"]["reason"]
    assert "pw" not in failed["error"]["reason"]
    assert asked == {"/old.git/info/refs"}


async def test_a_server_that_keeps_what_it_left_out_gives_it_whole(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    bare = bare_of(repositories, repositories.make("kept", SAMPLE))
    git("config", "uploadpack.allowFilter", "true", cwd=bare)
    with serving(stateless(bare, lambda listed: listed)) as address:
        cloned = await cloud.do("clone", clone_args(f"{address}/a.git"))

    assert cloned["output"]["commit"] == git("rev-parse", "main", cwd=bare), cloned
    notes = ["127.0.0.1 can't leave out blobs, so all of them are here"]
    assert cloned["output"]["notes"] == notes
    assert (sandbox.repository / "README.md").exists()
