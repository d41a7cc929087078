"""What leaves the runner: whatever an agent says, the cloud can read and keep it."""

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runner_kit import SESSION_ID

from headstart.domain.channel import (
    BATCH_BYTES,
    UP_FRAME,
    Ack,
    AgentDelta,
    AgentEvent,
    AgentSnapshot,
    CommandResult,
    ErrorInfo,
    InputRequested,
    InputResolved,
    Report,
    RunnerEvent,
    TurnEnded,
    TurnRetrying,
)
from headstart_runner.journal import Delivery, Journal
from headstart_runner.redaction import Redactor
from headstart_runner.uplink.patience import Patience
from headstart_runner.uplink.reporter import Reporter
from headstart_runner.wire import DEPTH

Item = RunnerEvent | CommandResult


def said(items: list[Item], *secrets: str) -> list[Report]:
    """Return the frames that carry these items, as the cloud reads them."""
    with TemporaryDirectory() as folder:
        journal, redactor = Journal(Path(folder)), Redactor()
        redactor.add(*secrets)
        try:
            return asyncio.run(_said(journal, redactor, items))
        finally:
            journal.close()


async def _said(journal: Journal, redactor: Redactor, items: list[Item]) -> list[Report]:
    reporter = Reporter(
        journal, redactor, session_id=SESSION_ID, batch_seconds=0, patience=Patience()
    )
    reporter.viewers = 1
    reports: list[Report] = []
    for item in items:
        if isinstance(item, TurnEnded):
            journal.put_delivery(Delivery(item.message_id, "a", item.turn_id, "c", "shown"))
        if isinstance(item, CommandResult):
            journal.begin_command(item.command_id, "{}")
            reporter.result(item)
        else:
            reporter.report(item)

    async def send(text: str) -> None:
        assert len(text.encode()) <= BATCH_BYTES
        frame = UP_FRAME.validate_python(json.loads(text, parse_constant=pytest.fail))
        assert isinstance(frame, Report)
        json.dumps(frame.to_json(), allow_nan=False).encode()
        frame.model_dump_json().encode()
        reports.append(frame)
        reporter.acknowledge(Ack(seq=frame.seq, accepted=True))

    pump = asyncio.create_task(reporter.pump(send))
    async with asyncio.timeout(20):
        await asyncio.wait(
            {pump, draining := asyncio.create_task(reporter.drained())},
            return_when=asyncio.FIRST_COMPLETED,
        )
    assert draining.done(), pump.exception()
    pump.cancel()
    return reports


def depth(value: Any) -> int:
    """Return how deep a value is nested, without recursion."""
    found, level = 0, [value]
    while level := [v for v in level if isinstance(v, dict | list)]:
        found += 1
        level = [i for v in level for i in (v.values() if isinstance(v, dict) else v)]
    return found


def nested(value: Any, times: int) -> Any:
    for number in range(times):
        value = [value] if number % 2 else {"in": value}
    return value


texts = st.builds(
    lambda text, times: text * times,
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.sampled_from([1, 1, 1, 50, 4_000]),
)
numbers = st.integers() | st.floats() | st.sampled_from([10**4000, -(10**400), 2**63])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)
values = st.builds(nested, values, st.sampled_from([0, 0, 1, DEPTH, 254, 600]))
objects = st.dictionaries(texts, values, max_size=4)
parts = st.builds(
    lambda part, more: {**more, **part},
    st.fixed_dictionaries({"partId": texts, "offset": st.just(0), "text": texts}),
    objects,
)
errors = st.none() | st.builds(lambda reason: ErrorInfo(code="Cancelled", reason=reason), texts)
items = st.one_of(
    st.builds(lambda data: AgentEvent(turn_id="t", data=data), objects),
    st.builds(
        lambda p, text: AgentDelta(turn_id="t", part_id=p, offset=0, text=text), texts, texts
    ),
    st.builds(lambda some: AgentSnapshot(turn_id="t", parts=some), st.lists(parts, max_size=3)),
    st.builds(lambda reason: TurnRetrying(turn_id="t", reason=reason), texts),
    st.builds(
        lambda request, body: InputRequested(
            turn_id="t", request_id=request, kind="question", body=body
        ),
        texts,
        objects,
    ),
    st.builds(lambda i: InputResolved(turn_id="t", request_id=i, outcome="answered"), texts),
    st.builds(
        lambda usage, error: TurnEnded(turn_id="t", message_id="m", usage=usage, error=error),
        objects,
        errors,
    ),
    st.builds(
        lambda output, error: CommandResult(
            command_id="c", status="completed", output=output, error=error
        ),
        objects,
        errors,
    ),
)


@settings(max_examples=40)
@given(st.lists(items, max_size=4))
def test_whatever_is_reported_is_a_frame_that_the_cloud_can_read(reported: list[Item]) -> None:
    reports = said(reported)

    events = [event for report in reports for event in report.events]
    results = [result for report in reports for result in report.results]
    for kind in (AgentEvent, InputRequested, InputResolved):
        assert sum(isinstance(e, kind) for e in events) == sum(
            isinstance(item, kind) for item in reported
        )
    assert len(results) == sum(isinstance(item, CommandResult) for item in reported)
    assert all(depth(item.to_json()) <= DEPTH for item in [*events, *results])


def test_what_no_reader_takes_is_replaced_and_the_rest_stays() -> None:
    data = {
        "kind": "tool",
        "half \ud83d": "whole 😀, half \udc00",
        "numbers": [1.5, float("nan"), float("-inf"), 10**400, 2**70, True],
        "deep": nested("bottom", 300),
        "shallow": nested("bottom", DEPTH - 2),
    }
    [report] = said([AgentEvent(turn_id="t", data=data)])
    [event] = report.events

    assert isinstance(event, AgentEvent)
    deep = event.data.pop("deep")
    assert event.data == {
        "kind": "tool",
        "half ?": "whole 😀, half ?",
        "numbers": [1.5, None, None, None, 2**70, True],
        "shallow": data["shallow"],
    }
    assert depth(deep) == DEPTH - 2
    assert "…" in json.dumps(deep, ensure_ascii=False)


def test_a_reason_has_no_escape_sequences_and_hides_no_secret_in_them() -> None:
    reason = "\x1b[31mE\x1b[0m: \x1b]0;title\x07no s3cr3t-\x1b[1mv4lue\x1b[m here\r\nbye\x00"
    error = ErrorInfo(code="SetupCommandFailed", reason=reason)
    [first, second, third] = [
        item
        for report in said(
            [
                TurnRetrying(turn_id="t", reason=reason),
                TurnEnded(turn_id="t", message_id="m", error=error),
                CommandResult(command_id="c", status="failed", error=error),
            ],
            "s3cr3t-v4lue",
        )
        for item in [*report.events, *report.results]
    ]

    assert isinstance(first, TurnRetrying)
    assert isinstance(second, TurnEnded) and second.error
    assert isinstance(third, CommandResult) and third.error
    for shown in (first.reason, second.error.reason, third.error.reason):
        assert shown == "E: no [redacted] here\nbye"


def test_a_secret_that_is_a_word_of_ours_changes_nothing_that_the_cloud_goes_by() -> None:
    error = ErrorInfo(code="Cancelled", reason="Cancelled, completed")
    result = CommandResult(
        command_id="1.setup.1", status="completed", output={"x": "completed"}, error=error
    )
    [report] = said([result], "completed", "1.setup.1", "Cancelled")

    assert report.results == [
        result.model_copy(
            update={
                "output": {"x": "[redacted]"},
                "error": ErrorInfo(code="Cancelled", reason="[redacted], [redacted]"),
            }
        )
    ]
