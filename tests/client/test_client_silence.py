"""Servers that say nothing, too little or something else: each command ends, and says so."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from fake_headstart import SESSION_ID, FakeSession, Reply

from headstart_client import Headstart, TransportFailed, cli, commands


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address where the system takes connections, and nobody reads them."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/stage"
        monkeypatch.setenv("HEADSTART_URL", url)
        monkeypatch.setenv("HEADSTART_TOKEN", "token")
        monkeypatch.setenv("HEADSTART_PAGE", "http://127.0.0.1:1/")
        short = httpx.Timeout(5.0, read=0.05)
        monkeypatch.setattr("headstart_client.calls.TIMEOUT", short)
        monkeypatch.setattr("headstart_client.commands.checks.HEALTH_SECONDS", 0.05)
        monkeypatch.setattr("headstart_client.requests.RETRY_BASE", 0.0)
        monkeypatch.setattr("headstart_client.requests.RETRY_CAP", 0.0)
        yield url


@pytest.fixture(
    params=[b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"]
)
def dripping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address where an answer begins, and goes on by a byte at a time."""

    class Drip(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.sendall(request.param)
                while True:
                    self.request.sendall(b"x")
                    time.sleep(0.02)

    monkeypatch.setattr("headstart_client.calls.WHOLE_SECONDS", 0.2)
    monkeypatch.setattr("headstart_client.requests.TRIES_IN_SILENCE", 1)
    monkeypatch.setenv("HEADSTART_TOKEN", "token")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drip) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/stage"
        monkeypatch.setenv("HEADSTART_URL", url)
        yield url
        server.shutdown()


COMMANDS = [
    ["run", "x", "--repo", "o/n"],
    ["follow", SESSION_ID],
    ["send", SESSION_ID, "x"],
    ["initiate", SESSION_ID],
    ["retry", SESSION_ID],
    ["stop", SESSION_ID],
    ["answer", SESSION_ID, "per_1", "--reply", "once"],
    ["withdraw", SESSION_ID, "msg_1"],
    ["ls"],
    ["show", SESSION_ID],
    ["logs", SESSION_ID],
    ["logs", SESSION_ID, "--follow"],
    ["diff", SESSION_ID],
    ["publish", SESSION_ID],
    ["archive", SESSION_ID],
    ["open", SESSION_ID],
    ["rename", SESSION_ID, "x"],
    ["rm", SESSION_ID],
    ["show", "ses_01"],
]


CHANGING = {"run", "rename", "rm"}
"""Those whose first request could have been heeded, although nobody answered."""

UNREACHED = "The API at {} can't be reached"


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: "_".join(words[:1] + words[2:3]))
def test_each_command_ends_with_one_sentence(silent, capsys, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    told = "No answer came from the API at {}" if arguments[0] in CHANGING else UNREACHED
    assert err.startswith(f"headstart: {told.format(silent)} (it does not answer): ")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200),
        Reply(200, []),
        Reply(200, "Welcome"),
        Reply(200, {"x": 1}),
        Reply(200, b"no gzip", {"content-encoding": "gzip"}),
        Reply(200, b"<html>Welcome to our hotel</html>"),
        Reply(302, {}, {"location": "https://portal.example.com/"}),
    ],
    ids=["nothing", "list", "text", "object", "undecodable", "page", "elsewhere"],
)
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: "_".join(words[:1] + words[2:3]))
@pytest.mark.usefixtures("environment")
def test_what_is_no_headstart_is_told_and_nothing_is_done(
    cloud, capsys, monkeypatch, reply, arguments
):
    monkeypatch.setenv("HEADSTART_PAGE", "http://127.0.0.1:1/")
    monkeypatch.setattr("headstart_client.requests.TRIES", 1)
    cloud.add(FakeSession())
    cloud.answer = lambda _: reply
    assert cli.main(arguments) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    if "content-encoding" in reply.headers:
        told = "No answer came from the API at {}" if arguments[0] in CHANGING else UNREACHED
        assert err.startswith(f"headstart: {told.format(cloud.url)} (Error -3 ")
        return
    assert err.startswith(f"headstart: At {cloud.url}, what answers there is no Headstart ")
    assert "set HEADSTART_URL to the API's whole address" in err


def test_each_command_of_the_api_is_tried():
    assert {words[0] for words in COMMANDS} == set(commands.COMMANDS) - {"doctor"}


def test_an_answer_without_an_end_is_left(dripping, capsys):
    assert cli.main(["ls"]) == 1
    assert "can't be reached (its answer does not come to an end): " in capsys.readouterr().err
    with Headstart(dripping, "token") as client, pytest.raises(TransportFailed) as failed:
        client.get(SESSION_ID)
    assert (failed.value.sent, failed.value.silent) == (True, True)


@pytest.mark.parametrize(
    "dripping", [b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"], indirect=True
)
def test_an_answer_that_was_given_up_keeps_no_thread(dripping):
    before = set(threading.enumerate())
    with Headstart(dripping, "token") as client:
        with pytest.raises(TransportFailed):
            client.get(SESSION_ID)
        for thread in set(threading.enumerate()) - before:
            if thread.name == "headstart-request":
                thread.join(10)
                assert not thread.is_alive()


def test_the_doctor_says_what_does_not_answer(silent, capsys):
    assert cli.main(["doctor"]) == 1
    out, _ = capsys.readouterr()
    assert f"✗ API: {silent}/ can't be reached" in out
    assert "(it does not answer)" in out


@pytest.mark.parametrize(("seconds", "told"), [(0.0, True), (60.0, False)])
def test_who_waits_for_an_api_that_says_nothing_is_told(silent, capsys, monkeypatch, seconds, told):
    monkeypatch.setattr(commands, "SLOW_SECONDS", seconds)
    assert cli.main(["ls"]) == 1
    said = "The API has not answered yet; Ctrl-C ends the wait\n"
    assert (said in capsys.readouterr().err) is told
