"""What whoever knows the door may write into a request: it is sent as it was judged, or not."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gateway_kit import Gate, a_repository
from hypothesis import given
from hypothesis import strategies as st
from runner_kit import BRANCH

from headstart_local.git_server import Asked, Reply
from headstart_runner.gateway import lfs
from headstart_runner.gateway.calls import call_of
from headstart_runner.gateway.pkt_lines import begins_as_fetch
from headstart_runner.gateway.relay import exactly

pytestmark = pytest.mark.anyio

TOKEN = "glpat-UNIQUEtoken0123456789"
SIGNS = "ab./%;#?\\~:@2eEfF35 \t\x0c\x00ü"
ENDS = ["git-upload-pack", "git-receive-pack", "info/lfs/objects/batch", "info/lfs/locks/verify"]


@pytest.fixture
def opened(box: Gate) -> Iterator[Gate]:
    box.vault._values = {"GIT_TOKEN": TOKEN}
    box.server.authorize = lambda user, password, repository, write: password == TOKEN
    yield box
    box.server.reply = lambda asked: None


async def raw(box: Gate, method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """Send a request that no client would write."""
    door = urlsplit(box.door)
    reader, writer = await asyncio.open_connection(door.hostname, door.port)
    lines = [f"{method} {door.path}{path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    lines += [f"Content-Length: {len(body)}", "", ""]
    writer.write("\r\n".join(lines).encode() + body)
    async with asyncio.timeout(20):
        said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


@given(
    path=st.text(SIGNS, max_size=20) | st.text(max_size=20),
    middle=st.sampled_from(["", "#", "?", ";", "%23", "%3f"]),
    begin=st.sampled_from(ENDS),
    end=st.sampled_from(ENDS),
)
def test_what_is_a_call_is_sent_exactly_as_it_was_judged(
    path: str, middle: str, begin: str, end: str
) -> None:
    for address in (f"/h/{path}/{end}", f"/h/o/{path}{begin}{middle}/{end}"):
        call = call_of("POST", address)
        if call is not None:
            assert exactly(f"http://h{call.path}/{call.rest}").raw_path_qs == address[2:]
            assert address.endswith(f"/{end}")
            assert not set("#?;\\") & set(call.path)


@pytest.mark.parametrize("url", ["http://h/a#b", "http://h/a\tb", "http://h#x/y", "http://u@h/a"])
def test_what_would_be_changed_is_not_sent(url: str) -> None:
    with pytest.raises(ValueError, match="another address"):
        exactly(url)


@pytest.mark.parametrize("sign", ["#", "%23", "?", ";", "%3B", "%0a", "%2f", "\\"])
async def test_no_sign_hides_a_push(opened: Gate, sign: str) -> None:
    path = urlsplit(opened.url).path[1:]
    main = opened.has("refs/heads/main")
    line = b"%s %s refs/heads/main\0report-status" % (main.encode(), b"0" * 40)
    body = b"%04x%s0000" % (len(line) + 4, line)
    kind = "Content-Type: application/x-git-receive-pack-request"
    said = await raw(opened, "POST", f"{path}/git-receive-pack{sign}/git-upload-pack", body, kind)

    assert said.startswith((b"HTTP/1.1 403", b"HTTP/1.1 404"))
    assert opened.has("refs/heads/main") == main
    assert opened.server.asked == []


@pytest.mark.parametrize("end", ["git-upload-pack", *ENDS[2:]])
@pytest.mark.parametrize("kind", ["application/json", "application/x-git-upload-pack-request"])
async def test_what_only_ends_like_gits_is_no_way_to_the_hosts_api(
    opened: Gate, end: str, kind: str
) -> None:
    def reply(asked: Asked) -> Reply | None:
        status = 200 if asked.password == TOKEN else 401
        return Reply(status, {}, b"{}") if asked.path.startswith("/api/") else None

    opened.server.reply = reply
    path = f"api/v1/repos/o/r/contents/x/{end}"
    batch = b'{"operation": "download", "objects": [], "content": "ZXZpbA==", "branch": "main"}'
    for body in (batch, b"0000"):
        await raw(opened, "POST", path, body, f"Content-Type: {kind}")
    await raw(opened, "GET", "api/v1/repos/o/r/HEAD")

    assert {
        (asked.method, asked.path.rpartition("/info/")[2]) for asked in opened.server.asked
    } <= {("GET", "refs?service=git-upload-pack")}


async def test_only_the_headers_of_git_are_passed_on(opened: Gate) -> None:
    path = f"{urlsplit(opened.url).path[1:]}/git-upload-pack"
    odd = ["X-HTTP-Method-Override: DELETE", "X-Original-URL: /api/v4/x", "Sudo: root"]
    kind = "Content-Type: application/x-git-upload-pack-request"
    await raw(opened, "POST", path, b"0000", kind, "Git-Protocol: version=2", *odd)

    headers = {name.lower() for name in opened.server.asked[-1].headers}
    assert "git-protocol" in headers
    assert not headers & {"x-http-method-override", "x-original-url", "sudo"}


async def test_a_submodule_of_the_host_is_read_all_the_same(opened: Gate, tmp_path: Path) -> None:
    other = a_repository(opened.server, tmp_path / "more", "library")
    cloned = await opened.git("clone", "--quiet", other, "library")

    assert cloned.code == 0, cloned.err


async def test_a_push_with_options_is_refused(opened: Gate) -> None:
    copy = await opened.cloned()
    await opened.git("config", "receive.advertisePushOptions", "true", cwd=opened.server.folder /
                     f"{opened.repository}.git")  # fmt: skip
    pushed = await opened.git("push", "-o", "repo.private=false", "origin", BRANCH, cwd=copy)

    assert "a push with options (git push -o) is not taken here" in pushed.err
    assert opened.has(f"refs/heads/{BRANCH}") == ""


@pytest.mark.parametrize("begun", [b"{}", b"", b"0000{}", b"0032have 1", b"command=fetch"])
def test_what_is_no_question_for_objects_is_known(begun: bytes) -> None:
    assert not begins_as_fetch(begun, "identity")
    assert not begins_as_fetch(b"0014command=ls-refs\n", "gzip")
    assert begins_as_fetch(b"0014command=ls-refs\n", "identity")


def test_a_batch_is_asked_in_our_words() -> None:
    asked = b'{"operation": "download", "Operation": "upload", "objects": [{"oid": "a", "size": 1, "Oid": "b"}]}'  # noqa: E501  (as it comes)
    batch = lfs.batch(asked)

    assert not batch.uploads
    assert json.loads(batch.body) == {
        "operation": "download",
        "transfers": ["basic"],
        "objects": [{"oid": "a", "size": 1}],
    }
    assert b"upload" not in batch.body


@pytest.mark.parametrize("kind", ["upload", "verify"])
def test_a_download_is_not_answered_with_an_upload(kind: str) -> None:
    actions: dict[str, Any] = {kind: {"href": "https://h/other"}}
    answer = json.dumps({"objects": [{"oid": "a", "size": 1, "actions": actions}]}).encode()
    with pytest.raises(lfs.NotABatch, match="was not asked"):
        lfs.Actions().keep(answer, "o/n", "https://h/o/n", [], str, uploads=False)
