"""Long texts on their way: whole, in order, and in nobody's way."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talk_kit import answer, event
from text_kit import Said, texts_of

from headstart.domain.channel import (
    BATCH_BYTES,
    Ack,
    AgentDelta,
    AgentEvent,
    CommandResult,
    ErrorInfo,
    TurnEnded,
)
from headstart.domain.long_texts import TEXT_BYTES
from headstart_runner import wire
from headstart_runner.conversation import tracker
from headstart_runner.conversation.tracker import TurnTracker
from headstart_runner.journal import Delivery, Journal
from headstart_runner.redaction import Redactor
from headstart_runner.uplink import texts
from headstart_runner.uplink.patience import Patience
from headstart_runner.uplink.reporter import Reporter
from headstart_runner.uplink.spool import ITEM_BYTES, Spool
from headstart_runner.uplink.texts import PIECE_BYTES, Log, Pieces, Writing

ANSWER = "\n".join(f"{n:5d} the quick brown fox jumps over the lazy dog, twice and thrice" for n in
                   range(5000)) + "\nthat was it: 389 000 characters, or so"  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    found = Journal(tmp_path)
    yield found
    found.close()


@pytest.fixture
def spool(journal: Journal) -> Spool:
    return Spool(journal, lambda: 0.0)


def part(text: str, **more: Any) -> AgentEvent:
    data = {"kind": "text", "messageId": "m", "partId": "p", "text": text, **more}
    return AgentEvent(turn_id="t", data=data)


def begun() -> TurnTracker:
    tracked = TurnTracker("ses_1", "trn_1", "msg_u", Redactor())
    tracked.feed(event("message.updated", info={"id": "msg_u", "role": "user"}))
    tracked.feed(answer())
    return tracked


def batches(spool: Spool) -> Iterator[list[dict[str, Any]]]:
    while entries := spool.take().entries:
        assert sum(map(wire.size, entries)) <= ITEM_BYTES < BATCH_BYTES
        yield entries


def events(spool: Spool) -> list[dict[str, Any]]:
    return [entry["event"] for batch in batches(spool) for entry in batch if "event" in entry]


def told(found: list[dict[str, Any]]) -> tuple[dict[str, Any], Said | None]:
    """Return the data of the one event, and the text that it refers to."""
    [data] = [event["data"] for event in found if event["type"] == "agent.event"]
    return data, texts_of(found).get(data.get("textRef", ""))


def test_a_long_answer_is_told_by_its_beginning_and_sent_whole(spool: Spool) -> None:
    spool.add_event(part(ANSWER))
    data, said = told(events(spool))
    assert said
    assert (said.text, said.ended, said.truncated) == (ANSWER, True, False)
    assert data["textBytes"] == len(ANSWER.encode()) > 330_000
    assert ANSWER.startswith(data["text"])
    assert len(data["text"]) > 20_000
    assert "truncated" not in data


def test_what_fits_is_told_as_it_is(spool: Spool) -> None:
    spool.add_event(part("x" * 20_000))
    data, said = told(events(spool))
    assert data == part("x" * 20_000).data
    assert said is None


@pytest.mark.parametrize("dies_at", ["spool", "end_turn"])
def test_whoever_dies_in_the_middle_leaves_no_name_of_a_text_that_never_comes(
    journal: Journal, spool: Spool, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as deadly:
        deadly.setattr(journal, dies_at, die)
        with pytest.raises(SystemExit):
            if dies_at == "spool":
                spool.add_event(part(ANSWER))
            else:
                error = ErrorInfo(code="AgentRefused", reason=ANSWER, retryable=False)
                spool.add_turn_end(TurnEnded(turn_id="t", message_id="m", error=error))
    [said] = texts_of(events(Spool(journal, lambda: 0.0))).values()
    assert (said.text, said.ended) == (ANSWER, True)


def tool(given: dict[str, Any], output: str | None = None) -> AgentEvent:
    more = {} if output is None else {"output": output}
    return AgentEvent(turn_id="t", data={"kind": "tool", "partId": "p", "input": given, **more})


@pytest.mark.parametrize("output", ["done", "o" * 1_000_000])
@pytest.mark.parametrize(
    "given",
    [
        {"content": "i" * 90_000, "path": "a"},
        {"edits": [{"old": "o" * 900, "new": "ü" * 900} for _ in range(50)]},
        {str(number): number for number in range(5000)},
    ],
)
def test_a_long_input_is_sent_whole_whatever_its_output(
    spool: Spool, given: dict[str, Any], output: str
) -> None:
    spool.add_event(tool(given, output))
    found = events(spool)
    data, said = told(found)
    whole = texts_of(found)[data["inputRef"]]
    assert json.loads(whole.text) == given
    assert (whole.ended, whole.truncated) == (True, False)
    assert data["inputBytes"] == len(whole.text.encode())
    assert data["input"].keys() <= given.keys()
    assert wire.size(data["input"]) > 3000
    assert "truncated" not in data
    if output == "done":
        assert data["output"] == output
        assert said is None
    else:
        assert len(data["output"]) > 3000
        assert said
        assert said.text == output


def test_an_input_is_sent_once_for_the_start_and_the_end_of_its_tool(spool: Spool) -> None:
    given = {"content": "i" * 90_000}
    spool.add_event(tool(given))
    spool.add_event(tool(given, "done"))
    found = events(spool)
    refs = {event["data"]["inputRef"] for event in found if event["type"] == "agent.event"}
    assert refs == texts_of(found).keys()
    assert len(refs) == 1


def test_an_input_that_there_was_no_room_for_is_sent_the_next_time(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(texts, "WAITING_BYTES", 10_000)
        spool.add_event(tool({"content": "i" * 90_000}))
    spool.add_event(tool({"content": "i" * 90_000}, "done"))
    assert [said.truncated for said in texts_of(events(spool)).values()] == [True, False]


def test_what_a_turn_failed_with_is_told_by_its_beginning_and_sent_whole(
    journal: Journal, spool: Spool
) -> None:
    journal.put_delivery(Delivery("m", "msg_a", "t", "c", "shown"))
    reason = "The agent gave up: " + "line of a trace\n" * 9000
    ended = TurnEnded(
        turn_id="t", message_id="m", error=ErrorInfo(code="AgentRefused", reason=reason)
    )
    assert spool.add_turn_end(ended)
    assert not spool.add_turn_end(ended)
    found = events(spool)
    [error] = [event["error"] for event in found if event["type"] == "turn.ended"]
    [(ref, said)] = texts_of(found).items()
    assert (said.text, said.ended, said.truncated) == (reason, True, False)
    assert (error["textRef"], error["textBytes"]) == (ref, len(reason))
    assert reason.startswith(error["reason"])
    assert len(error["reason"]) > 20_000


@pytest.mark.parametrize(
    ("given", "gone"), [({str(n): "x" for n in range(3000)}, False), ([1] * 30_000, True)]
)
def test_an_input_says_that_something_of_it_is_gone_only_where_it_is(
    given: Any, gone: bool
) -> None:
    tracked = begun()
    state = {"status": "running", "input": {"all": given}}
    body = {"id": "p1", "messageID": "msg_a", "type": "tool", "tool": "t", "state": state}
    [said] = tracked.feed(event("message.part.updated", part=body)) or []
    assert isinstance(said, AgentEvent)
    assert ("truncated" in said.data) is gone
    assert (said.data["input"]["all"] == given) is not gone


def test_an_error_of_megabytes_is_read_whole() -> None:
    whole = "x" * 3_000_000
    told_ = begun().feed(event("session.error", error={"name": "E", "data": {"message": whole}}))
    assert isinstance(told_, list)
    [said] = told_
    assert isinstance(said, AgentEvent)
    assert (said.data["kind"], said.data["text"]) == ("error", whole)


@settings(max_examples=30, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(["text", "reasoning", "tool", "error"]),
    st.integers(0, 30_000),
)
def test_any_long_text_comes_whole(tmp_path_factory: Any, seed: str, kind: str, times: int) -> None:
    found = Journal(tmp_path_factory.mktemp("journal"))
    spool, name = Spool(found, lambda: 0.0), "output" if kind == "tool" else "text"
    whole = seed * times
    spool.add_event(AgentEvent(turn_id="t", data={"kind": kind, "partId": "p", name: whole}))
    data, said = told(events(spool))
    found.close()
    assert (said.text if said else data[name]) == whole
    assert "truncated" not in data
    if said:
        assert data["textBytes"] == len(whole.encode())


def test_a_result_and_the_end_of_a_turn_overtake_what_is_long(spool: Spool) -> None:
    spool.add_event(part("x" * TEXT_BYTES))
    spool.take()
    spool.add_result(CommandResult(command_id="c", status="completed"))
    assert any("result" in entry for entry in spool.take().entries)


def test_what_comes_all_the_time_leaves_room_for_texts(spool: Spool) -> None:
    spool.viewers = 1
    spool.add_event(part("x" * 200_000))
    taken: list[dict[str, Any]] = []
    for number in range(40):
        spool.add_volatile(AgentDelta(turn_id="t", part_id="q", offset=9 * number, text="a" * 999))
        taken += [entry["event"] for entry in spool.take().entries]
    _, said = told(taken)
    assert said
    assert said.ended
    assert len([event for event in taken if event["type"] == "agent.delta"]) >= 20


@pytest.mark.parametrize("over", [0, 1])
def test_of_a_text_without_end_so_much_is_sent(spool: Spool, over: int) -> None:
    whole = "é" * (TEXT_BYTES // 2) + "x" * over
    spool.add_event(part(whole))
    data, said = told(events(spool))
    assert said
    assert data["textBytes"] == TEXT_BYTES + over
    assert said.ended
    assert said.truncated is bool(over)
    assert whole.startswith(said.text)
    assert len(said.text.encode()) > TEXT_BYTES - 2 * PIECE_BYTES


def test_what_waits_is_bounded(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "WAITING_BYTES", 100_000)
    pieces = Pieces(journal)
    for number in range(3):
        writing = Writing(pieces, f"txt_{number}")
        writing.write("x" * 70_000)
        writing.end()
    assert pieces.bytes < 100_000 + 2 * ITEM_BYTES
    found = texts_of(entry["event"] for _, entry in journal.spooled())
    assert [(said.ended, said.truncated) for said in found.values()] == [
        (True, False),
        (True, True),
        (True, True),
    ]


def test_a_report_has_no_more_pieces_than_a_transaction_takes(spool: Spool) -> None:
    writing = Writing(spool.pieces, "log.1.setup")
    for _ in range(100):
        writing.write("a line\n")
    found = list(batches(spool))
    assert max(map(len, found)) <= 40
    said = texts_of(entry["event"] for batch in found for entry in batch)["log.1.setup"]
    assert said.text == "a line\n" * 100


def test_the_next_runner_sends_what_is_there_and_says_that_there_was_more(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    spool = Spool(first, lambda: 0.0)
    Writing(spool.pieces, "log.1.setup").write("x" * 60_000)
    spool.add_event(part(ANSWER))
    sent = spool.take()
    first.begin_batch(1, "frame", sent.places)
    first.close()
    second = Journal(tmp_path)
    found = [entry["event"] for entry in sent.entries] + events(Spool(second, lambda: 0.0))
    second.close()
    _, said = told(found)
    assert said
    assert said.text == ANSWER
    log = texts_of(found)["log.1.setup"]
    assert (log.text, log.ended, log.truncated) == ("x" * 60_000, True, True)


async def said_in_batches(journal: Journal, dropped: set[int]) -> list[Any]:
    """Return what the cloud took of a log of three pieces, but for the batches that it dropped."""
    reporter = Reporter(
        journal, Redactor(), session_id="ses_1", batch_seconds=0, patience=Patience()
    )
    taken: list[Any] = []

    async def send(frame: str) -> None:
        batch = json.loads(frame)
        accepted = batch["seq"] not in dropped
        taken.extend(batch["events"] if accepted else [])
        reporter.acknowledge(Ack(seq=batch["seq"], accepted=accepted))

    log = reporter.log("1.setup.1")
    log.write("x" * 3 * PIECE_BYTES)
    log.end()
    pump = asyncio.create_task(reporter.pump(send))
    async with asyncio.timeout(20):
        await reporter.drained(texts=True)
    pump.cancel()
    return taken


@pytest.mark.anyio
@pytest.mark.parametrize("dropped", [{1}, {2}, {3}, {1, 2, 3}])
async def test_a_batch_that_the_cloud_dropped_leaves_no_text_open(
    journal: Journal, dropped: set[int]
) -> None:
    *_, end = await said_in_batches(journal, dropped)
    assert (end["ref"], end["last"], end["truncated"]) == ("log.1.setup", True, True)
    # Another try may have begun the log anew since: only who begins is at 0.
    assert end["offset"] > 0
    assert journal.open_texts() == []


@pytest.mark.anyio
async def test_an_end_that_is_dropped_by_itself_is_not_said_for_ever(journal: Journal) -> None:
    assert await said_in_batches(journal, set(range(1, 100))) == []


@pytest.mark.anyio
@pytest.mark.parametrize("before", [0, PIECE_BYTES - 8, 3 * PIECE_BYTES - 3])
async def test_a_secret_across_a_border_is_not_told(journal: Journal, before: int) -> None:
    redactor, secret = Redactor(), "hunter2-hunter2"
    redactor.add(secret)
    pieces = Pieces(journal)
    log = Log(pieces, redactor, "1.setup.1")
    whole = "x" * before + secret + "y" * PIECE_BYTES
    for start in range(0, len(whole), 7):
        log.write(whole[start : start + 7])
    log.end()
    said = texts_of(entry["event"] for _, entry in journal.spooled())["log.1.setup"]
    assert said.text == whole.replace(secret, "[redacted]")


@pytest.mark.anyio
async def test_a_secret_across_the_pieces_of_an_answer_is_not_told(journal: Journal) -> None:
    redactor, secret = Redactor(), "hunter2-hunter2"
    redactor.add(secret)
    reporter = Reporter(journal, redactor, session_id="ses_1", batch_seconds=0, patience=Patience())
    whole = "".join("x" * (997 + number) + secret for number in range(200))
    reporter.report(part(whole))
    _, said = told([entry["event"] for _, entry in journal.spooled()])
    assert said
    assert said.text == whole.replace(secret, "[redacted]")


@pytest.mark.anyio
@pytest.mark.parametrize("command_id", ["arc_1.archive.1", "msg_1.prompt.1", "1.setup", "x"])
async def test_what_is_no_step_has_no_log(journal: Journal, command_id: str) -> None:
    pieces = Pieces(journal)
    log = Log(pieces, Redactor(), command_id)
    log.line("hello")
    log.end()
    assert len(pieces) == 0


@pytest.mark.anyio
async def test_a_step_that_prints_nothing_has_no_log_but_after_a_try_that_did(
    journal: Journal,
) -> None:
    pieces = Pieces(journal)
    Log(pieces, Redactor(), "1.setup.1").end()
    assert len(pieces) == 0
    log = Log(pieces, Redactor(), "1.setup.2")
    log.end()
    log.write("too late")
    [(_, entry)] = journal.spooled()
    assert (entry["event"]["text"], entry["event"]["last"]) == ("", True)


@pytest.mark.anyio
async def test_a_trickle_is_sent_before_the_step_is_over(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "LOG_SECONDS", 0.01)
    pieces, added = Pieces(journal), asyncio.Event()
    pieces.added = added.set
    log = Log(pieces, Redactor(), "1.setup.1")
    log.write("working…\n")
    async with asyncio.timeout(10):
        await added.wait()
    assert texts_of(e["event"] for _, e in journal.spooled())["log.1.setup"].text == "working…\n"


def test_an_answer_of_which_a_part_was_not_kept_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "_OPEN_CHARACTERS", 10)
    tracked = begun()
    for delta in ("12345678", "90123"):
        said = {"messageID": "msg_a", "partID": "p1", "field": "text", "delta": delta}
        tracked.feed(event("message.part.delta", **said))
    [closing] = tracked.close()
    assert isinstance(closing, AgentEvent)
    assert closing.data["text"] == "12345678"
    assert closing.data["truncated"] is True


def test_an_answer_of_megabytes_is_read_whole() -> None:
    tracked = begun()
    whole = "x" * 3_000_000
    body = {"id": "p1", "messageID": "msg_a", "type": "text", "text": whole, "time": {"end": 1}}
    [told_] = tracked.feed(event("message.part.updated", part=body)) or []
    assert isinstance(told_, AgentEvent)
    assert told_.data["text"] == whole
