"""Git LFS by way of the gateway: git-lfs itself where it is, and what it sends."""

import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_kit import Gate, Mint, gate
from runner_kit import SAMPLE, Repositories
from test_runner_git_servers import bare_of, serving, stateless

from headstart_local.git_server import GitServer
from headstart_runner.gateway.exchange import basic

pytestmark = pytest.mark.anyio

STORAGE = "RemoteAuth storage-secret-0123456789"
CONTENT = b"what is large\n" * 5000
OID = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Storage:
    """A host that keeps large files itself, behind a header of its own, as GitLab does."""

    mint: Mint
    contents: dict[str, bytes] = field(default_factory=dict)
    verified: list[str] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def handler(self, bare: Path) -> type[BaseHTTPRequestHandler]:
        """Return the server."""
        storage = self

        class Large(stateless(bare, lambda listed: listed)):
            def do_GET(self) -> None:
                if not self._opened():
                    return
                if "/storage/" in self.path:
                    self._say(200, storage.contents[self.path.rpartition("/")[2]])
                else:
                    super().do_GET()

            def do_PUT(self) -> None:
                if self._opened():
                    storage.contents[self.path.rpartition("/")[2]] = self._body()
                    self._say(200, b"")

            def do_POST(self) -> None:
                if not self._opened():
                    return
                if self.path.endswith("/batch"):
                    asked = json.loads(self._body())
                    self._say(200, json.dumps(self._batch(asked)).encode())
                elif self.path.endswith("/verify/"):
                    storage.verified.append(json.loads(self._body())["oid"])
                    self._say(200, b"{}")
                elif self.path.endswith("/locks/verify"):
                    self._body()
                    self._say(404, b"{}")
                else:
                    super().do_POST()

            def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
                host = f"http://{self.headers['Host']}"
                header = {"Authorization": STORAGE}
                for one in asked["objects"]:
                    stored = {"href": f"{host}/storage/{one['oid']}", "header": header}
                    verify = {"href": f"{host}/storage/verify/", "header": header}
                    if asked["operation"] == "download":
                        one["actions"] = {"download": stored}
                    elif one["oid"] not in storage.contents:
                        one["actions"] = {"upload": stored, "verify": verify}
                return {"transfer": "basic", "objects": asked["objects"]}

            def _opened(self) -> bool:
                said = self.headers.get("Authorization", "")
                storage.seen.append((self.path, said))
                wanted = {STORAGE} if "/storage/" in self.path else storage.passwords()
                if said in wanted:
                    return True
                self._body()
                self._say(401, b"")
                return False

            def _body(self) -> bytes:
                return bytes(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def _say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.git-lfs+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Large

    def passwords(self) -> set[str]:
        """Return the headers that open the repository."""
        given = self.mint.given
        return {f"Basic {basic(credential)}" for credential in given}


@pytest.fixture
def storage() -> Storage:
    return Storage(Mint())


@pytest.fixture
def address(storage: Storage, repositories: Repositories) -> Iterator[str]:
    bare = bare_of(repositories, repositories.make("large", SAMPLE))
    with serving(storage.handler(bare)) as running:
        yield f"{running}/org/large.git"


@pytest.fixture
async def box(
    tmp_path: Path, git_server: GitServer, storage: Storage, address: str
) -> AsyncIterator[Gate]:
    async with gate(tmp_path, git_server, storage.mint, address) as opened:
        yield opened


def door(box: Gate, call: str) -> str:
    return f"{box.gateway._address}org/large.git/info/lfs/{call}"


async def ask(box: Gate, operation: str, call: str = "objects/batch") -> httpx.Response:
    body = {"operation": operation, "objects": [{"oid": OID, "size": len(CONTENT)}]}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(door(box, call), json=body)


async def test_a_content_goes_up_and_comes_down_without_what_opens_the_storage(
    box: Gate, storage: Storage
) -> None:
    up = await ask(box, "upload")
    actions = up.json()["objects"][0]["actions"]
    async with httpx.AsyncClient(trust_env=False) as client:
        sent = await client.put(actions["upload"]["href"], content=CONTENT)
        told = await client.post(actions["verify"]["href"], json={"oid": OID})
        wrong = await client.post(actions["upload"]["href"], content=CONTENT)
        down = await ask(box, "download")
        action = down.json()["objects"][0]["actions"]["download"]
        got = await client.get(action["href"])
        gone = await client.get(door(box, "actions/guess"))

    assert (sent.status_code, told.status_code, got.content) == (200, 200, CONTENT)
    assert storage.verified == [OID]
    assert (wrong.status_code, gone.status_code) == (403, 403)
    assert "ask again" in gone.json()["message"]
    for answer in (up, down):
        assert "secret" not in answer.text
        assert "Authorization" not in answer.text
    assert [write for _, _, write in storage.mint.asked] == [True, False]


async def test_a_host_without_locks_has_none(box: Gate) -> None:
    answer = await ask(box, "download", "locks/verify")

    assert (answer.status_code, answer.json()) == (200, {"ours": [], "theirs": []})


async def test_files_are_sent_to_the_sessions_repository_only(box: Gate, storage: Storage) -> None:
    other = door(box, "objects/batch").replace("org/large", "org/other")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(other, json={"operation": "upload", "objects": []})
        odd = await client.post(door(box, "objects/batch"), content=b"[]")

    assert answer.status_code == 403
    assert "may send files to" in answer.json()["message"]
    assert odd.status_code == 403
    assert "makes no sense" in odd.json()["message"]
    assert storage.seen == []


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="needs git-lfs")
async def test_git_lfs_itself_sends_and_gets_by_the_door(box: Gate, storage: Storage) -> None:
    copy = box.folder / "copy"
    steps: list[tuple[str, ...]] = [
        ("clone", "--quiet", box.url, str(copy)),
        ("-C", str(copy), "lfs", "install", "--local"),
        ("-C", str(copy), "lfs", "track", "*.bin"),
    ]
    for step in steps:
        done = await box.git(*step)
        assert done.code == 0, done.err
    (copy / "a.bin").write_bytes(CONTENT)
    await box.git("add", ".", cwd=copy)
    await box.git("commit", "--quiet", "--message=Large", cwd=copy)
    pushed = await box.git("lfs", "push", "origin", "main", cwd=copy)
    assert pushed.code == 0, pushed.err
    assert storage.contents == {OID: CONTENT}
    assert storage.verified == [OID]

    shutil.rmtree(copy / ".git" / "lfs")
    (copy / "a.bin").unlink()
    pulled = await box.git("lfs", "fetch", "origin", "main", cwd=copy)
    await box.git("lfs", "checkout", cwd=copy)
    assert pulled.code == 0, pulled.err
    assert (copy / "a.bin").read_bytes() == CONTENT
    settings = (copy / ".git" / "config").read_text()
    assert box.gateway._door.word not in settings
    traced = await box.git("lfs", "fetch", cwd=copy, GIT_TRACE="2", GIT_CURL_VERBOSE="1")
    assert "UNIQUEtoken" not in traced.err
    assert "storage-secret" not in traced.err
