"""Whatever an event or a frame holds, taking it in and drawing it never raises."""

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from test_client_reducer import VECTORS

from headstart_client import advice
from headstart_client.events import DATA, data_of
from headstart_client.live import LiveScreen
from headstart_client.models import Event, Failure
from headstart_client.receipts import receipt
from headstart_client.reducer import Reducer
from headstart_client.screen import JsonScreen, LineScreen
from headstart_client.shapes import PERMISSION, QUESTIONS, Shape
from headstart_client.view import View

# What is read, what drives a terminal, rich's markup, and times that no other zone has.
SAID = [
    "running",
    "completed",
    "skipped",
    "text",
    "tool",
    "permission",
    "[/red]",
    "\x1b[2J",
    "\ud800",
]
TIMES = ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05", "0001-01-01T00:00:00+23:59"]
TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=8) | st.sampled_from(
    [*SAID, *TIMES]
)
NUMBERS = st.integers() | st.floats() | st.just(10**400) | st.integers(0, 3)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


def nearly(shape: Shape) -> st.SearchStrategy[Any]:
    """Values as a shape wants them, but for anything anywhere."""
    if isinstance(shape, dict):
        fields = {name: nearly(inner) for name, inner in shape.items()}
        return mostly(st.fixed_dictionaries({}, optional=fields))
    return mostly(st.lists(nearly(shape[0]), max_size=3) if isinstance(shape, list) else LEAVES)


def mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(right, right, right, JSON)


INPUT = st.fixed_dictionaries(
    {
        "requestId": TEXTS,
        "kind": st.sampled_from(["permission", "question"]) | JSON,
        "body": nearly(PERMISSION) | nearly(QUESTIONS) | JSON,
    }
)
ATTEMPT = DATA["session.snapshot"]["attempt"]
SNAPSHOT = nearly(DATA["session.snapshot"]) | st.fixed_dictionaries(
    {"attempt": nearly(ATTEMPT), "pendingInputs": st.lists(INPUT, max_size=2)}
)
SPECIAL = {"input.requested": INPUT, "session.snapshot": SNAPSHOT}


def events_of(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    data = SPECIAL.get(kind, st.nothing()) | nearly(DATA.get(kind, {}))
    return st.fixed_dictionaries(
        {"type": st.just(kind) | JSON, "data": data},
        optional={"eventId": st.integers(1, 5) | JSON, "sessionId": JSON, "timestamp": JSON},
    )


EVENTS = (
    st.sampled_from([*sorted(DATA), "client.caught_up", "new.in.2027"]).flatmap(events_of) | JSON
)
FRAMES = st.fixed_dictionaries(
    {"type": st.sampled_from(["events", "replayed", "pong"]) | JSON},
    optional={
        "events": st.lists(EVENTS, max_size=6) | JSON,
        "through": JSON,
        "more": JSON,
        "lastEventId": JSON,
    },
)


class Watcher:
    """All that `follow` does with frames, on all three screens."""

    def __init__(self) -> None:
        self.reducer = Reducer()
        self.view = View()
        self.papers = [io.StringIO() for _ in range(3)]
        consoles = [Console(file=paper, width=80, force_terminal=False) for paper in self.papers]
        self.live = LiveScreen(consoles[2])
        self.screens = [JsonScreen(consoles[0]), LineScreen(consoles[1]), self.live]

    def take(self, frame: Any) -> None:
        events, _ = self.reducer.feed(frame)
        for event in events:
            self.show(event)

    def show(self, event: Event) -> None:
        self.view.apply(event)
        for screen in self.screens:
            screen.show(event, self.view)
        Console(file=io.StringIO(), width=80).print(self.live._display(self.view))

    def close(self) -> str:
        for screen in self.screens:
            screen.close()
        receipt(Console(file=self.papers[1]), self.view, 1.0, 2.0)
        outcome = self.view.outcome()
        if outcome and outcome.failure:
            advice.on_turn(outcome.failure, "ses_1")
            advice.on_preparation(outcome.failure, None)
        # What a terminal in UTF-8 could not be sent would raise here.
        return "".join(paper.getvalue() for paper in self.papers).encode().decode()


@settings(max_examples=12)
@given(st.lists(FRAMES, max_size=4))
def test_no_frame_and_no_event_can_stop_a_viewer(frames):
    watcher = Watcher()
    try:
        for frame in frames:
            watcher.take(frame)
    finally:
        shown = watcher.close()
    assert "\x1b[" not in shown.replace("\x1b[?25", "")


@pytest.mark.parametrize("kind", [*DATA, "new.in.2027"])
@settings(max_examples=12)
@given(data=st.data())
def test_each_type_may_hold_anything(kind, data):
    watcher = Watcher()
    raw = data.draw(events_of(kind))
    try:
        for event_id in (1, 2):
            event = {**raw, "type": kind, "eventId": event_id}
            watcher.take({"type": "events", "events": [event]})
    finally:
        watcher.close()
    assert watcher.reducer.after == 2


def test_times_and_names_that_libraries_take_amiss():
    watcher = Watcher()
    step = {"step": "[/red]", "status": "skipped"}
    at = {"timestamp": "0001-01-01T00:00:00+23:59"}
    ready = {**at, "eventId": 1, "type": "session.ready", "data": {"receipt": {"steps": [step]}}}
    watcher.take({"type": "events", "events": [ready]})
    assert "[/red]" in watcher.close()


@pytest.mark.parametrize("vector", VECTORS["shapes"], ids=lambda v: v["name"])
def test_what_is_odd_is_empty_or_told(vector):
    event = Event.model_construct(type=vector["type"], data=vector["data"])
    read = json.loads(json.dumps(data_of(event), default=str))
    # This client reads more than the page does.
    assert read | vector["shaped"] == read


def shown(*events: tuple[str, dict[str, Any]]) -> list[str]:
    """Return the lines that a log gets of some events."""
    watcher = Watcher()
    for kind, data in events:
        watcher.show(Event(type=kind, data=data))
    watcher.close()
    return watcher.papers[1].getvalue().splitlines()


def test_odd_tools_and_patches_are_shown_with_what_they_have():
    assert shown(
        ("agent.event", {"kind": "tool", "partId": "a", "tool": None, "title": {"x": 1}}),
        ("agent.event", {"kind": "patch", "partId": "b", "files": 5}),
        ("agent.event", {"kind": "patch", "partId": "c"}),
    ) == ['▸ tool {"x":1}', "▸ changed 5", "▸ changed"]


def test_a_command_that_failed_does_not_look_like_one_that_did_not():
    ended = {"kind": "tool", "tool": "bash", "status": "completed"}
    assert shown(
        ("agent.event", {**ended, "partId": "a", "title": "make", "exitCode": 7}),
        ("agent.event", {**ended, "partId": "b", "title": "ls", "exitCode": 0}),
    ) == ["✗ bash make (exit 7)", "▸ bash ls"]


def test_a_failure_of_half_characters_can_be_told():
    failure = Failure.model_validate({"code": "X", "reason": "a\ufffd"})
    assert "a\ufffd" in advice.on_turn(failure, None)
