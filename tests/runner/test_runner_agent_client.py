"""What an agent's server answers, whatever that is: what it means, or words, and never a crash."""

import json
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from agent_stub import agent_stub
from hypothesis import given
from hypothesis import strategies as st

from headstart_runner.agents import http, said
from headstart_runner.agents.http import AgentClient, AgentRefused, AgentSilent, AgentUnreachable
from headstart_runner.log import Oddities
from headstart_runner.redaction import Redactor

pytestmark = pytest.mark.anyio

STRANGE = [b"", b"no json", b"5", b"null", b'"text"', b"[" * 100_000, b'{"a":[1,', b"\xff\xfe"]

Ask = Callable[[AgentClient], Awaitable[Any]]
ASKED: dict[str, tuple[str, Ask]] = {
    "messages": ("/session/s/message", lambda client: client.messages("s")),
    "busy": ("/session/status", lambda client: client.busy("s")),
    "modes": ("/agent", lambda client: client.modes()),
    "asked": ("/permission", lambda client: client.asked()),
}


@pytest.mark.parametrize("body", STRANGE, ids=lambda body: repr(body[:12]))
@pytest.mark.parametrize("what", ASKED)
async def test_an_answer_without_sense_is_no_answer(what: str, body: bytes) -> None:
    path, ask = ASKED[what]
    async with agent_stub({path: body}) as (client, _):
        with pytest.raises(AgentSilent):
            await ask(client)


@pytest.mark.parametrize("body", [*STRANGE, b"[]"], ids=lambda body: repr(body[:12]))
async def test_a_server_that_says_nonsense_is_not_healthy(body: bytes) -> None:
    async with agent_stub({"/global/health": body}) as (client, _):
        assert await client.health() is None


async def test_who_asks_how_a_server_is_waits_as_long_as_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    real = AgentClient._stream

    def stream(self: AgentClient, *where: Any, **options: Any) -> Any:
        waited.append(options["timeout"])
        return real(self, *where, **options)

    monkeypatch.setattr(AgentClient, "_stream", stream)
    async with agent_stub({"/global/health": b'{"version": "1"}'}) as (client, _):
        assert await client.health(30.0) == "1"
    assert waited == [30.0]


async def test_no_authorities_are_read_for_a_server_on_the_same_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: pytest.fail("it reads them"))
    async with agent_stub({"/session/s/message": b"[]"}) as (client, _):
        assert await client.messages("s") == []


async def test_a_client_whose_server_was_stopped_reaches_nobody() -> None:
    async with agent_stub({}) as (client, _):
        await client.close()
        for _, ask in ASKED.values():
            with pytest.raises(AgentUnreachable):
                await ask(client)
        with pytest.raises(AgentUnreachable):
            await client.prompt("s", {})
        assert [event async for event in client.events()] == []


async def test_what_is_no_message_is_not_among_the_messages() -> None:
    good = {"info": {"id": "msg_1"}, "parts": 5}
    strange = [good, 5, None, [], {}, {"info": []}, {"info": {"id": 5}}]
    async with agent_stub({"/session/s/message": json.dumps(strange).encode()}) as (client, _):
        assert await client.messages("s") == [good]


async def test_a_status_of_another_kind_is_none() -> None:
    statuses = {"s": ["busy"], "t": {"type": "busy"}}
    async with agent_stub({"/session/status": json.dumps(statuses).encode()}) as (client, _):
        assert [await client.busy(name) for name in "stu"] == [False, True, False]


@pytest.mark.parametrize(
    ("session", "messages"), [(b"[]", b"[]"), (b"{}", b"{}"), (b"<html>", b"[]"), (b"{}", b"null")]
)
async def test_an_export_that_could_not_be_put_back_fails(session: bytes, messages: bytes) -> None:
    answers = {"/session/s": session, "/session/s/message": messages}
    async with agent_stub(answers) as (client, _):
        with pytest.raises(AgentSilent):
            await client.export("s", bytearray().extend)


async def test_an_export_is_copied_as_it_is() -> None:
    out = bytearray()
    answers = {"/session/s": b' {"id":"s"}', "/session/s/message": b"\n[]"}
    async with agent_stub(answers) as (client, _):
        await client.export("s", out.extend)

    assert json.loads(out) == {"info": {"id": "s"}, "messages": []}


async def test_more_than_can_be_read_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_MOST_BYTES", 1_000)
    answers = {"/agent": b"[" + b" " * 2_000 + b"]", "/session/s": b"x" * 10**7}
    async with agent_stub(answers) as (client, _):
        with pytest.raises(AgentSilent, match="is over"):
            await client.modes()
        await client.knows("s")


@pytest.mark.parametrize("length", range(270, 310, 3))
async def test_a_long_refusal_is_cut_where_the_redaction_sees_it(length: int) -> None:
    redactor = Redactor()
    redactor.add("hunter2hunter2")
    body = b"x" * length + b"hunter2hunter2 https://ada:pppppppp@host " + b"y" * 1_000
    async with agent_stub({"/session/s": (400, body)}) as (client, _):
        with pytest.raises(AgentRefused) as refused:
            await client.knows("s")

    said_ = redactor.text(str(refused.value))
    assert len(said_) < 350
    assert "hunt" not in said_
    assert "pp" not in said_


@pytest.mark.parametrize("request_id", ["x" * 100_000, "\ud800", "../../session/s/abort?a=b#c"])
async def test_whatever_a_request_is_called_it_is_answered_or_refused(request_id: str) -> None:
    async with agent_stub({}) as (client, stub):
        with pytest.raises(AgentRefused):
            await client.answer("permission", request_id, {"reply": "once"})
    assert all(path.startswith("/permission/") and path.count("/") == 3 for path in stub.asked)


async def test_a_silent_server_is_told_of_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_CALL_SECONDS", 0.05)
    # The kernel takes the connection, as it does for a process that is stopped.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = AgentClient(silent.getsockname()[1], "agent", "secret", Oddities(), Path("/repo"))
        with pytest.raises(AgentSilent, match="no answer in time"):
            await client.export("s", bytearray().extend)
        await client.close()


async def test_a_server_that_is_not_there_was_certainly_not_reached() -> None:
    async with agent_stub({}) as (client, _):
        pass
    client = AgentClient(1, "agent", "secret", Oddities(), Path("/repo"))
    with pytest.raises(AgentUnreachable):
        await client.prompt("s", {})
    await client.close()


async def test_the_events_are_read_past_everything_that_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(said, "LINE_BYTES", 1_000)
    good = 'data: {"type":"a","text":"two\u2028lines\x85 in one: \\ud83d\\ude00 \\\\ud800"}'
    lines = [
        b": a comment",
        b"data: 5",
        b"data: []",
        b"data: {",
        b"data: " + b"[" * 900,
        b'data: {"type":"' + b"x" * 2_000 + b'"}',
        b"event: x",
        good.encode() + b"\r",
        b'data: {"type":"b","n":[1e999,-1e999,NaN,' + b"9" * 500 + b',12],"\\ud800":"\\uDFFF!"}',
        b"data: \xff",
        b'data: {"type":"c"}',
        b'data: {"type":"never ended"}',
    ]
    async with agent_stub({"/event": b"\n".join(lines)}) as (client, stub):
        events = [event async for event in client.events()]

    assert [event["type"] for event in events] == ["a", "b", "c"]
    assert events[0]["text"] == "two\u2028lines\x85 in one: \U0001f600 \\ud800"
    assert events[1] == {"type": "b", "n": [None, None, None, None, 12], "\ufffd": "\ufffd!"}
    assert stub.oddities.counts == {
        "a line of the event stream is no event": 5,
        "a line of the event stream is too long": 1,
    }


@given(st.lists(st.binary(max_size=20), max_size=8), st.integers(1, 7))
def test_lines_are_what_line_feeds_end(pieces: list[bytes], size: int) -> None:
    text = b"".join(pieces)
    *whole, _ = text.split(b"\n")

    async def chunks() -> Any:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    async def read() -> list[bytes | None]:
        return [line async for line in said.lines(chunks())]

    coroutine = read()
    with pytest.raises(StopIteration) as done:  # nothing here ever waits
        coroutine.send(None)
    assert done.value.value == whole


@given(st.recursive(st.text(st.characters()), st.lists))
def test_what_is_read_can_always_be_written(value: Any) -> None:
    json.dumps(said.read(json.dumps(value).encode()), ensure_ascii=False).encode()


def test_an_oddity_is_logged_once_and_then_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    oddities = Oddities()
    with caplog.at_level(logging.WARNING):
        for _ in range(1_500):
            oddities.note("no event")
        for number in range(1_000):
            oddities.note(f"kind {number}")

    assert oddities.counts["no event"] == 1_500
    assert len(oddities.counts) == 50
    said_ = [r.getMessage() for r in caplog.records if "no event" in r.getMessage()]
    assert [line.split("so far ")[1] for line in said_] == [
        "1 times)", "10 times)", "100 times)", "1000 times)"
    ]  # fmt: skip
