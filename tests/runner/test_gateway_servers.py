"""The gateway before servers that move, are busy, or break; and who may come by its door."""

import asyncio
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import httpx
import pytest
from gateway_kit import Gate, Mint, a_repository, gate, posting
from runner_kit import BRANCH, eventually
from test_runner_git_servers import serving

from headstart.domain.errors import RepositoryAccessDenied
from headstart_local.git_server import Behaviour, GitServer, Reply
from headstart_runner.gateway import exchange
from headstart_runner.gateway import git as gateway_git
from headstart_runner.gateway.gateway import Gateway, Source, Watch
from headstart_runner.repository.git import Git

pytestmark = pytest.mark.anyio


# Servers that move, are busy, or break.


async def test_a_renamed_repository_is_followed_for_reading_and_writing(box: Gate) -> None:
    old = box.url.replace(box.repository, "old")
    box.server.reply = lambda asked: (
        Reply(301, {"Location": asked.path.replace("/old", f"/{box.repository}")})
        if asked.repository == "old"
        else None
    )
    box.mint.good["always"] = (box.repository, True)
    box.server.authorize = lambda user, password, repository, write: bool(password)
    async with gate(box.folder, box.server, box.mint, old) as moved:
        copy = await moved.cloned("moved")
        pushed = await moved.git("push", "origin", BRANCH, cwd=copy)

    assert pushed.code == 0, pushed.err
    assert box.has(f"refs/heads/{BRANCH}")
    assert old in (copy / ".git" / "config").read_text()


async def test_another_host_is_told_and_never_sent_a_credential(box: Gate, tmp_path: Path) -> None:
    with GitServer(tmp_path / "served") as elsewhere:
        box.server.reply = lambda asked: Reply(301, {"Location": elsewhere.base_url + asked.path})
        refused = await box.git("ls-remote", box.url)

    assert f"has moved to {elsewhere.url(box.repository)}.git" in refused.err
    assert elsewhere.asked == []


async def test_settings_of_the_user_take_no_credential_anywhere(box: Gate, tmp_path: Path) -> None:
    with GitServer(tmp_path / "served") as elsewhere:
        own = f"url.{elsewhere.base_url}/.insteadOf={box.server.base_url}/{box.repository[:4]}"
        nested = f"url.{elsewhere.base_url}/.insteadOf={box.door}"
        for setting in (own, nested):
            await box.git("-c", setting, "ls-remote", box.url)
            await box.git("-c", setting, "push", box.url, "HEAD:refs/heads/x")

    assert {asked.headers.get("Authorization") for asked in elsewhere.asked} == {None}


async def test_nobody_but_the_gateway_says_who_asks(box: Gate) -> None:
    box.mint.open_to.add(box.repository)
    mine = "http.extraHeader=Authorization: Basic bWluZQ=="
    assert (await box.git("-c", mine, "ls-remote", box.url)).code == 0

    assert {asked.headers.get("Authorization") for asked in box.server.asked} == {None}


async def test_a_proxy_for_the_world_is_not_one_for_the_door(box: Gate) -> None:
    nowhere = "http://127.0.0.1:9"
    listed = await box.git("ls-remote", box.url, http_proxy=nowhere, ALL_PROXY=nowhere)

    assert listed.code == 0, listed.err


async def test_a_busy_server_is_waited_for_and_who_waits_sees_it(
    box: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [Reply(429, {"Retry-After": "2"}), Reply(503, {"Retry-After": "3"})]
    waited: list[float] = []
    shown: list[str] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(exchange, "awake_sleep", wait)
    box.server.reply = lambda asked: answers.pop() if answers else None
    with box.gateway.watching(Watch(lambda message, _: shown.append(message), lambda: 10.0)):
        assert (await box.git("ls-remote", box.url)).code == 0

    assert waited == [3, 2]
    assert shown == ["127.0.0.1 asks to wait 3 s", "127.0.0.1 asks to wait 2 s"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(429, {"Retry-After": "61"}), "asks to wait 61 s, longer than the step may take"),
        (Reply(503), "failed: it answered with status 503"),
        (Reply(500, {}, b"<html>"), "failed: it answered with status 500"),
        (Reply(404), "There is no repository at "),
        (Reply(403), "asks for credentials"),
        (Reply(302, {"Location": "/login"}), "has moved: use its new address"),
        (Reply(200, {"Content-Type": "text/html"}, b"<html>"), "but not as a git repository"),
    ],
)
async def test_what_a_server_answers_is_said_in_words(box: Gate, reply: Reply, said: str) -> None:
    box.mint.gives = False
    box.server.reply = lambda asked: reply
    refused = await box.git("ls-remote", box.url)

    assert refused.code == 128
    assert "remote: " in refused.err
    assert said in refused.err


async def test_a_server_that_says_nothing_is_given_up(
    tmp_path: Path, server: GitServer, mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "SILENT_SECONDS", 0.5)
    url = a_repository(server, tmp_path / "scratch")
    mint.open_to.add(url.rpartition("/")[2].removesuffix(".git"))
    async with gate(tmp_path, server, mint, url) as box:
        server.behaviour = Behaviour(delay_seconds=60)
        refused = await box.git("ls-remote", url)

    assert "remote: The connection to 127.0.0.1 failed: no answer in time" in refused.err


async def test_an_answer_that_breaks_off_breaks_off_for_git_too(box: Gate) -> None:
    await box.cloned()
    box.server.behaviour = Behaviour(close_after_bytes=50)
    with box.gateway.watching(Watch(lambda message, _: None, lambda: 9.0)) as problem:
        broken = await box.git("clone", box.url, "again")
        why = problem(box.url)

    assert broken.code != 0
    assert why is not None
    assert why.reason == "The connection to 127.0.0.1 failed: it broke off"


# The door.


@pytest.mark.parametrize(
    "path",
    [
        "evil.example/org/name.git/info/refs?service=git-upload-pack",
        "{host}/org/name.git",
        "{host}/org/name.git/info/refs?service=git-upload-archive",
        "{host}/org/%2e%2e/secret.git/info/refs?service=git-upload-pack",
        "{host}/-/login",
    ],
)
async def test_the_door_opens_to_gits_own_requests_to_the_host_only(box: Gate, path: str) -> None:
    host = urlsplit(box.url).netloc
    address = box.gateway._door.address + "/git/" + path.format(host=host)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(address)

    assert answer.status_code == 403
    assert "this session's git reaches" in answer.text
    assert box.server.asked == []


class Early(BaseHTTPRequestHandler):
    """A server that refuses before it has read what it refuses."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.send_response(403)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "9")
        self.end_headers()
        self.wfile.write(b"Too large")
        while self.rfile.read1(65536):
            pass
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def test_a_refusal_in_the_middle_of_a_push_is_a_report_to_who_still_sends(
    tmp_path: Path, server: GitServer, mint: Mint, caplog: pytest.LogCaptureFixture
) -> None:
    command = f"{'1' * 40} {'2' * 40} refs/heads/{BRANCH}\0report-status".encode()

    async def body() -> AsyncIterator[bytes]:
        yield b"%04x%s0000" % (len(command) + 4, command)
        for _ in range(200):
            yield bytes(64 * 1024)

    with serving(Early) as address:
        async with gate(tmp_path, server, mint, f"{address}/org/name.git") as box:
            door = f"{box.door}org/name.git/git-receive-pack"
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                answer = await client.post(door, content=body(), headers=posting("receive"))

    assert answer.status_code == 200
    assert b"ng refs/heads/" in answer.content
    assert b"Too large" in answer.content
    assert "Error handling" not in caplog.text


class Silent(BaseHTTPRequestHandler):
    """A server that begins to answer before it has read anything, and never goes on."""

    protocol_version = "HTTP/1.1"
    received: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "9")
        self.end_headers()
        self.wfile.flush()
        self.received.append(0)
        while piece := self.rfile.read1(65536):
            self.received[-1] += len(piece)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def test_a_server_may_be_silent_while_a_push_comes_and_not_much_longer(
    tmp_path: Path, server: GitServer, mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "SILENT_SECONDS", 0.3)
    command = f"{'1' * 40} {'2' * 40} refs/heads/{BRANCH}\0report-status".encode()
    pieces = 6

    async def body() -> AsyncIterator[bytes]:
        yield b"%04x%s0000" % (len(command) + 4, command)
        for _ in range(pieces):
            yield bytes(1024 * 1024)
            # Longer than the server may be silent, of which only time itself is the measure.
            await asyncio.sleep(0.4)

    with serving(Silent) as address:
        async with gate(tmp_path, server, mint, f"{address}/org/name.git") as box:
            door = f"{box.door}org/name.git/git-receive-pack"
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.post(door, content=body(), headers=posting("receive"))

    assert Silent.received[-1] > pieces * 1024 * 1024


async def test_who_does_not_know_the_word_finds_nothing(box: Gate) -> None:
    address = box.door.replace(box.gateway._door.word, "guess" * 6)
    refused = await box.git("ls-remote", f"{address}{box.repository}.git")

    assert "not found" in refused.err
    assert box.server.asked == []


async def test_the_problem_of_a_repository_is_told_to_who_watches(box: Gate) -> None:
    box.mint.refuses = RepositoryAccessDenied("The rules give it to others")
    with box.gateway.watching(Watch(lambda message, _: None, lambda: 9.0)) as problem:
        await box.git("ls-remote", box.url)
        assert problem(box.url) == box.mint.refuses
        assert problem(f"{box.url}x") is None


async def test_an_opening_that_failed_is_begun_anew(
    box: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Gateway, source: Source) -> None:
        raise OSError("No space left on device")

    other = Source(box.url, "another", allow_private=True)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(Gateway, "_write_settings", full)
        await box.gateway.open(other)
    await box.gateway.open(other)

    assert (await box.git("ls-remote", box.url)).code == 0


async def test_it_closes_at_once_whatever_is_under_way(box: Gate) -> None:
    box.mint.open_to.add(box.repository)
    box.server.behaviour = Behaviour(delay_seconds=60)
    asking = asyncio.create_task(box.git("ls-remote", box.url))
    await eventually(lambda: box.server.asked)
    async with asyncio.timeout(5):
        await box.gateway.close()

    assert (await asking).code == 128


async def test_pushes_that_an_agent_keeps_open_hold_up_no_step(
    box: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_git, "_AT_ONCE", 1)
    await box.gateway.open(Source(box.url, "another", allow_private=True))
    door = urlsplit(box.door)
    path = f"{door.path}{box.repository}.git/git-receive-pack"
    _, slow = await asyncio.open_connection(door.hostname, door.port)
    slow.write(
        f"POST {path} HTTP/1.1\r\nHost: {door.netloc}\r\nContent-Length: 99\r\n"
        "Content-Type: application/x-git-receive-pack-request\r\n\r\n".encode()
    )
    await slow.drain()
    asking = asyncio.create_task(box.git("ls-remote", box.url))
    steps = Git(box.launcher, box.gateway)
    async with asyncio.timeout(20):
        assert (await steps.run("ls-remote", box.url, cwd=box.folder)).code == 0
    assert not asking.done()
    slow.close()
    assert (await asking).code == 0


async def test_what_opened_a_first_repository_does_not_open_it_beside_another(box: Gate) -> None:
    assert (await box.git("ls-remote", box.url)).code == 0
    # As for a session whose clone failed and that is about a stranger's repository since.
    box.mint.gives = False
    await box.gateway.open(Source(f"{box.url}x", "another", allow_private=True))
    assert (await box.git("ls-remote", box.url)).code != 0
    assert len(box.mint.given) == 1
