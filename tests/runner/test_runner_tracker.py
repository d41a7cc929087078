"""What is read out of an agent's event stream."""

from typing import Any

import pytest
from talk_kit import answer, event

from headstart.domain.channel import AgentEvent
from headstart_runner.conversation.shapes import LINE_CHARACTERS, TEXT_CHARACTERS, free, text
from headstart_runner.conversation.tracker import TurnTracker
from headstart_runner.redaction import REDACTED, Redactor


def tracker() -> TurnTracker:
    tracked = TurnTracker("ses_1", "trn_1", "msg_u", Redactor())
    tracked.feed(event("message.updated", info={"id": "msg_u", "role": "user"}))
    return tracked


def test_trailing_events_of_an_earlier_turn_do_not_end_the_next() -> None:
    tracked = tracker()
    tracked.feed(event("session.idle"))
    old = {"id": "msg_o", "role": "assistant", "parentID": "msg_before", "finish": "stop"}
    tracked.feed(event("message.updated", info=old))
    assert not tracked.over
    tracked.feed(event("session.status", status={"type": "busy"}))
    tracked.feed(answer(finish="tool-calls"))
    assert not tracked.over
    tracked.feed(answer(finish="stop"))
    tracked.feed(event("session.status", status={"type": "idle"}))
    assert tracked.over
    assert tracked.error is None


def test_another_session_is_not_ours() -> None:
    tracked = tracker()
    other = answer(finish="stop")
    other["properties"]["sessionID"] = "ses_2"
    assert tracked.feed(other) is None
    tracked.feed(event("session.idle"))
    assert not tracked.over


def test_an_agents_own_progress_is_no_part_of_its_answer() -> None:
    tracked = tracker()
    tracked.feed(answer())
    part = {"id": "p1", "messageID": "msg_a", "type": "text", "text": "Initializing snapshot"}
    progress = {**part, "synthetic": True, "metadata": {"kilocode.lifecycle": "transient"}}

    assert tracked.feed(event("message.part.updated", part=progress)) == []
    assert tracked.snapshot() == tracked.close() == []


def test_an_answer_that_breaks_off_in_a_secret_does_not_show_its_beginning() -> None:
    redactor = Redactor()
    redactor.add("hunter2hunter2")
    tracked = TurnTracker("ses_1", "trn_1", "msg_u", redactor)
    tracked.feed(event("message.updated", info={"id": "msg_u", "role": "user"}))
    tracked.feed(answer())
    delta = {"messageID": "msg_a", "partID": "p1", "field": "text", "delta": "It is hunter2hunt"}
    tracked.feed(event("message.part.delta", **delta))

    [closed] = tracked.close()
    assert isinstance(closed, AgentEvent)
    assert closed.data["text"] == f"It is {REDACTED}"


@pytest.mark.parametrize("length", [TEXT_CHARACTERS - 9, LINE_CHARACTERS - 9])
def test_what_is_cut_of_a_text_is_cut_where_the_redaction_sees_it(length: int) -> None:
    redactor = Redactor()
    redactor.add("hunter2hunter2")
    said = "x" * length + "hunter2hunter2"

    assert "hunt" not in redactor.text(text(said, length + 9))
    assert "hunt" not in redactor.value(free({"a": ["y" * 199_900, said]}))["a"][1]


def test_a_long_answer_is_told_to_a_late_viewer_from_its_beginning() -> None:
    tracked = tracker()
    tracked.feed(answer())
    for number in range(2_000):
        delta = {
            "messageID": "msg_a",
            "partID": "p1",
            "field": "text",
            "delta": f"日本語 {number} ",
        }
        tracked.feed(event("message.part.delta", **delta))

    [part] = tracked.snapshot()
    assert part["offset"] == 0
    assert part["text"].startswith("日本語 0 日本語 1 ")
    assert part["text"].endswith(" 1999 ")


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"exit": 7}, 7),
        ({"exit": 0}, 0),
        ({"exit": None}, None),
        ({"exit": -1}, None),
        ([], None),
    ],
)
def test_a_tool_tells_how_its_command_ended(metadata: object, told: int | None) -> None:
    tracked = tracker()
    tracked.feed(answer())
    state = {"status": "completed", "input": {}, "output": "x", "metadata": metadata}
    part = {"id": "p1", "messageID": "msg_a", "type": "tool", "tool": "bash", "state": state}
    [event_of_tool] = tracked.feed(event("message.part.updated", part=part)) or []
    assert isinstance(event_of_tool, AgentEvent)
    assert event_of_tool.data.get("exitCode") == told


def test_a_removed_part_is_forgotten_and_an_open_one_is_closed() -> None:
    tracked = tracker()
    tracked.feed(answer())
    for part_id in ("p1", "p2"):
        part = {"id": part_id, "messageID": "msg_a", "type": "text", "text": "hello"}
        tracked.feed(event("message.part.updated", part=part))
    tracked.feed(event("message.part.removed", messageID="msg_a", partID="p1"))

    [closed] = tracked.close()
    assert closed.to_json()["data"]["partId"] == "p2"
    assert tracked.close() == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"name": "APIError", "data": {"message": "overloaded"}}, "ProviderUnavailable"),
        ({"name": "UnknownError", "data": {"message": "odd"}}, "AgentRefused"),
        ({"name": "ProviderModelNotFoundError", "data": {}}, "AgentRefused"),
        ({"name": "MessageAbortedError", "data": {}}, "Cancelled"),
    ],
)
def test_the_agents_errors_have_our_names(error: dict[str, Any], code: str) -> None:
    tracked = tracker()
    reports = tracked.feed(event("session.error", error=error))
    tracked.feed(answer(error=error))
    tracked.feed(event("session.idle"))

    assert tracked.over
    assert tracked.error is not None
    assert tracked.error.code == code
    assert [report.to_json()["data"]["kind"] for report in reports] == ["error"]


def test_a_provider_that_keeps_failing_is_told_once_a_reason() -> None:
    tracked = tracker()
    reports = []
    for reason in ("overloaded", "overloaded", "rate limited"):
        status = {"type": "retry", "attempt": 1, "message": reason}
        reports += tracked.feed(event("session.status", status=status))

    assert [report.to_json()["reason"] for report in reports] == ["overloaded", "rate limited"]
