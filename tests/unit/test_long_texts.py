"""Long texts and logs: kept piece by piece, each once, and told as they stand."""

from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain import long_texts
from headstart.domain.change import Change
from headstart.domain.errors import ChangeRefused, SessionNotFound, TextNotFound, ValidationFailed
from headstart.domain.life import writing
from headstart.domain.sandbox import SandboxStatus
from headstart.domain.steps import StepName
from headstart.usecases.texts import get_text, list_logs
from tests.unit.helpers import Runner, begin, connected, created, opened, running, types

REF = "txt_1"


def piece(offset: int, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "ref": REF, "writer": "w1", "offset": offset, "text": text, **more}


def texts_of(ports: MemoryPorts, session_id: str, ref: str = REF) -> tuple[str, dict[str, Any]]:
    """Return a text whole, page by page, and its last page."""
    said, cursor = "", None
    while True:
        page = get_text(ports, "alice", session_id, ref, cursor)
        for item in page["items"]:
            assert item["offset"] == len(said.encode())
            said += item["text"]
        if page["nextCursor"] in {None, cursor} or not page["complete"]:
            return said, page
        cursor = page["nextCursor"]


@pytest.fixture
def runner(ports: MemoryPorts) -> Runner:
    return connected(ports, created(ports))


def test_pieces_make_a_text_that_says_whether_it_is_whole(
    ports: MemoryPorts, runner: Runner
) -> None:
    runner.report(piece(0, "grüße"), piece(7, ", "))
    said, page = texts_of(ports, runner.session_id)
    assert said == "grüße, "
    assert (page["bytes"], page["complete"], page["truncated"]) == (9, False, False)
    later = get_text(ports, "alice", runner.session_id, REF, page["nextCursor"])
    assert later["items"] == []
    assert later["nextCursor"] == page["nextCursor"]
    runner.report(piece(9, "world", last=True))
    end = get_text(ports, "alice", runner.session_id, REF, page["nextCursor"])
    assert end["items"] == [{"offset": 9, "text": "world"}]
    assert (end["bytes"], end["complete"], end["nextCursor"]) == (14, True, None)


def test_viewers_are_told_nothing_of_pieces(ports: MemoryPorts, runner: Runner) -> None:
    before = types(ports, runner.session_id)
    runner.report(piece(0, "x" * 1000, last=True))
    assert types(ports, runner.session_id) == before


def test_a_piece_that_comes_twice_is_kept_once(ports: MemoryPorts, runner: Runner) -> None:
    runner.report(piece(0, "abc"))
    runner.repeat(piece(0, "abc"))
    runner.report(piece(0, "abc"), piece(3, "def", last=True), piece(3, "def", last=True))
    runner.report(piece(6, "late"))
    said, page = texts_of(ports, runner.session_id)
    assert (said, page["bytes"], page["truncated"]) == ("abcdef", 6, False)


def test_what_follows_a_hole_is_not_taken_for_what_was_in_it(
    ports: MemoryPorts, runner: Runner
) -> None:
    runner.report(piece(0, "abc"), piece(9, "xyz"))
    said, page = texts_of(ports, runner.session_id)
    assert said == "abc"
    assert page["complete"]
    assert page["truncated"]
    assert ("TextsTruncated", 1, {}) in ports.metrics.measured


def test_a_text_that_is_too_long_ends_and_says_so(
    ports: MemoryPorts, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "TEXT_BYTES", 10)
    runner.report(piece(0, "12345678"), piece(8, "ü"), piece(10, "!"), piece(11, "!"))
    said, page = texts_of(ports, runner.session_id)
    assert (said, page["complete"], page["truncated"]) == ("12345678ü", True, True)


def test_a_session_keeps_so_much_of_all_texts(
    ports: MemoryPorts, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "SESSION_TEXT_BYTES", 10)
    runner.report(piece(0, "12345678", last=True), {**piece(0, "abc"), "ref": "other"})
    assert texts_of(ports, runner.session_id)[1]["truncated"] is False
    said, page = texts_of(ports, runner.session_id, "other")
    assert (said, page["complete"], page["truncated"]) == ("", True, True)


def test_what_a_sandbox_was_writing_when_it_ended_is_truncated(
    ports: MemoryPorts, runner: Runner
) -> None:
    runner.report(piece(0, "half of"))
    change = opened(ports, runner.session_id)
    assert change.sandbox
    change.sandbox.status = SandboxStatus.STOPPED
    change.save(change.sandbox)
    ports.store.commit(change)
    said, page = texts_of(ports, runner.session_id)
    assert said == "half of"
    assert (page["complete"], page["truncated"], page["nextCursor"]) == (True, True, None)


def test_a_text_that_an_event_names_is_there_before_its_first_piece(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    turn = ports.store.session(session_id).active_turn
    assert turn
    data = {"kind": "text", "text": "ab", "textBytes": 4, "textRef": REF}
    runner.report({"type": "agent.event", "turnId": turn.turn_id, "data": data})
    said, page = texts_of(ports, session_id)
    assert (said, page["complete"], page["truncated"]) == ("", False, False)
    assert page["nextCursor"]
    runner.report(piece(0, "abcd", last=True))
    page = get_text(ports, "alice", session_id, REF, page["nextCursor"])
    assert page["items"] == [{"offset": 0, "text": "abcd"}]
    assert page["complete"]


def test_the_texts_of_an_input_and_of_a_failure_are_there_before_their_first_pieces(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    turn = ports.store.session(session_id).active_turn
    assert turn
    data = {"kind": "tool", "inputRef": "txt_in", "inputBytes": 9, "textRef": "txt_out"}
    error = {"code": "AgentRefused", "reason": "no", "textRef": "txt_why", "textBytes": 9}
    of_turn = {"turnId": turn.turn_id, "messageId": turn.message_id}
    runner.report(
        {"type": "agent.event", "turnId": turn.turn_id, "data": data},
        {"type": "turn.ended", **of_turn, "error": error},
    )
    for ref in ("txt_in", "txt_out", "txt_why"):
        assert texts_of(ports, session_id, ref)[1]["nextCursor"]
    [failed] = [e for e in ports.store.event_log[session_id] if e.type == "turn.failed"]
    assert failed.data == {**of_turn, **error}


@pytest.mark.parametrize("ref", ["..", ".", "", "a/b", 7, None])
def test_viewers_are_sent_to_no_text_that_can_not_be(ports: MemoryPorts, ref: object) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    turn = ports.store.session(session_id).active_turn
    assert turn
    odd = {"textRef": ref, "textBytes": 9, "inputRef": "txt_in", "inputBytes": 9}
    of_turn = {"turnId": turn.turn_id, "messageId": turn.message_id}
    error = {"code": "AgentRefused", "reason": "no"}
    reports = [{"type": "agent.event", "turnId": turn.turn_id, "data": {"kind": "tool", **odd}}]
    if isinstance(ref, str):
        error_told = {**error, "textRef": ref, "textBytes": 9}
        reports.append({"type": "turn.ended", **of_turn, "error": error_told})
    runner.report(*reports)

    told = {e.type: e.data for e in ports.store.event_log[session_id]}
    kept = {"kind": "tool", "inputRef": "txt_in", "inputBytes": 9}
    assert told["agent.event"] == {**kept, "truncated": True}
    if isinstance(ref, str):
        assert told["turn.failed"] == {**of_turn, **error}


@pytest.mark.parametrize(
    "ref", ["..", ".", ".a", "../x", "a#b", "a b", "", "é", "x" * 129, "ok\n", 7, None]
)
def test_an_odd_ref_is_no_text(ports: MemoryPorts, runner: Runner, ref: object) -> None:
    runner.report({**piece(0, "x"), "ref": ref}, piece(0, "good", last=True))
    with pytest.raises(TextNotFound):
        get_text(ports, "alice", runner.session_id, str(ref))
    assert texts_of(ports, runner.session_id)[0] == "good"


def test_a_text_is_its_owners(ports: MemoryPorts, runner: Runner) -> None:
    runner.report(piece(0, "secret", last=True))
    with pytest.raises(SessionNotFound):
        get_text(ports, "bob", runner.session_id, REF)
    with pytest.raises(SessionNotFound):
        list_logs(ports, "bob", runner.session_id)


@pytest.mark.parametrize("cursor", ["x", "IjEi", "InRyeSM5OTk5OTk5OTk5Ig=="])
def test_a_cursor_of_ones_own_making_is_refused(
    ports: MemoryPorts, runner: Runner, cursor: str
) -> None:
    runner.report(piece(0, "x"))
    with pytest.raises(ValidationFailed):
        get_text(ports, "alice", runner.session_id, REF, cursor)


def test_the_log_is_the_newest_tries(ports: MemoryPorts, runner: Runner) -> None:
    begin(ports, runner.session_id, StepName.DISK)
    ref = long_texts.log_ref(1, "setup")
    first = {**piece(0, "first try"), "ref": ref}
    runner.report(first)
    cursor = get_text(ports, "alice", runner.session_id, ref)["nextCursor"]
    runner.report({**first, "writer": "w2", "text": "second", "last": True})
    runner.report({**piece(9, " goes on"), "ref": ref})
    assert texts_of(ports, runner.session_id, ref)[0] == "second"
    again = get_text(ports, "alice", runner.session_id, ref, cursor)
    assert again["items"] == [{"offset": 0, "text": "second"}]


def test_logs_are_listed_in_the_order_of_steps(ports: MemoryPorts, runner: Runner) -> None:
    ports.store.sessions[runner.session_id].attempt_number = 10
    refs = ["log.10.clone", "log.2.setup", "log.2.clone", "log.x.setup", "log.1.dance", "txt_log."]
    runner.report(*({**piece(0, "said", last=True), "ref": ref} for ref in refs))
    logs = list_logs(ports, "alice", runner.session_id)["items"]
    assert [log["ref"] for log in logs] == ["log.2.clone", "log.2.setup", "log.10.clone"]
    assert logs[0] == {
        "attemptNumber": 2,
        "step": "clone",
        "ref": "log.2.clone",
        "bytes": 4,
        "complete": True,
        "truncated": False,
    }


@pytest.mark.parametrize(
    "ref", ["log.2.setup", "log.0.clone", "log.01.setup", "log.007.setup", f"log.{10**30}.setup"]
)
def test_a_log_that_no_attempt_can_have_written_is_not_listed(
    ports: MemoryPorts, runner: Runner, ref: str
) -> None:
    runner.report({**piece(0, "forged", last=True), "ref": ref})
    runner.report({**piece(0, "said", last=True), "ref": "log.1.setup"})
    logs = list_logs(ports, "alice", runner.session_id)["items"]
    assert [log["ref"] for log in logs] == ["log.1.setup"]


@pytest.mark.parametrize(
    "senseless", [{"offset": "nine"}, {"offset": -1}, {"text": 7}, {"last": {}}], ids=str
)
def test_a_piece_without_sense_is_a_hole_in_its_text(
    ports: MemoryPorts, runner: Runner, senseless: dict[str, Any]
) -> None:
    runner.report(piece(0, "beginning"), {**piece(9, "end", last=True), **senseless})
    said, page = texts_of(ports, runner.session_id)
    assert (said, page["complete"], page["truncated"]) == ("beginning", True, True)


def test_a_piece_that_can_not_be_written_ends_its_text(
    ports: MemoryPorts, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_piece = writing.take_piece

    def refuse(change: Change, found: long_texts.Piece) -> None:
        if found.text == "bad":
            raise ChangeRefused("it has no room")
        take_piece(change, found)

    monkeypatch.setattr(writing, "take_piece", refuse)
    pieces = [{**piece(0, "good", last=True), "ref": f"t{number}"} for number in range(3)]
    begun = [{**piece(0, "begun"), "ref": f"b{number}"} for number in range(3)]
    runner.report(*begun)
    ends = [{**piece(5, " bad", last=True), "ref": f"b{number}"} for number in range(3)]
    ends[1]["text"] = "bad"
    runner.report(*pieces, *ends)
    stands = {ref: texts_of(ports, runner.session_id, ref)[1] for ref in ("b0", "b1", "b2")}
    assert all(page["complete"] for page in stands.values())
    assert stands["b1"]["truncated"]
    assert texts_of(ports, runner.session_id, "t0")[0] == "good"


def test_ends_of_texts_that_are_too_many_hold_up_nothing(
    ports: MemoryPorts, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_piece = writing.take_piece

    def at_most_two(change: Change, found: long_texts.Piece) -> None:
        if sum(isinstance(row, long_texts.Text) for row in change.rows) == 2:
            raise ChangeRefused("it has no room")
        take_piece(change, found)

    monkeypatch.setattr(writing, "take_piece", at_most_two)
    runner.report(*({**piece(0, "said"), "ref": f"t{number}"} for number in range(9)))
    assert runner.frames()[-1] == {"type": "ack", "seq": runner.seq, "accepted": True}
    assert texts_of(ports, runner.session_id, "t0")[1]["truncated"]
