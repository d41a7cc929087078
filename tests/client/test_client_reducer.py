"""The reducer: whatever a network does, a viewer ends with exactly what happened, in order."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_client.reducer import CAUGHT_UP, Reducer
from headstart_client.view import Part

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())


def reduce(after: int, steps: list[dict[str, Any]]) -> list[Any]:
    """Drive the reducer through a script; web_check.mjs answers the same for JavaScript."""
    reducer = Reducer(after)
    answers: list[Any] = []
    for step in steps:
        if "frame" not in step:
            answers.append(reducer.subscribe()["after"])
            continue
        events, again = reducer.feed(step["frame"])
        applied = [event.event_id or event.type for event in events]
        answers.append([applied, again, reducer.after, reducer.deleted])
    return answers


@pytest.mark.parametrize("vector", VECTORS["reducer"], ids=lambda v: v["name"])
def test_the_protocol_by_example(vector):
    answers = reduce(vector["after"], vector["steps"])
    for step, answer in zip(vector["steps"], answers, strict=True):
        if "frame" in step:
            assert answer[:2] == [step["apply"], step["again"]]
            assert answer[3] == step.get("deleted", False)
        else:
            assert answer == step["subscribe"]


@pytest.mark.parametrize("vector", VECTORS["parts"], ids=lambda v: v["name"])
def test_an_answer_is_put_together_from_deltas(vector):
    part = Part()
    for offset, text in vector["deltas"]:
        part.grow(offset, text)
    if "final" in vector:
        part.settle({"text": vector["final"]})
    if "late" in vector:
        part.grow(*vector["late"])
    assert part.text == vector["text"]


class Cloud:
    """A server and a network at their worst; `log` is what happened, `applied` what was seen."""

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.log: list[dict[str, Any]] = []
        self.reducer = Reducer()
        self.applied: list[int] = []
        self.progress: list[tuple[int, int]] = []
        self.ended: set[int] = set()
        self.caught_up_wrongly = False
        self.wire: list[dict[str, Any]] = []
        self.timer: float | None = None
        self.attempt = 1

    def happen(self, kind: str) -> None:
        data: dict[str, Any] = {"attemptNumber": self.attempt}
        event_id = None
        if kind == "preparing":
            data["revision"] = len(self.log)
        else:
            event_id = len(self.log) + 1
            if kind == "session.preparing":
                self.attempt += 1
                data["attemptNumber"] = self.attempt
        event = {"eventId": event_id, "type": kind, "data": data}
        if event_id:
            self.log.append(event)
        self.wire.append({"type": "events", "events": [event]})

    def connect(self) -> None:
        self.wire.clear()
        self.timer = None
        self.subscribe()

    def subscribe(self) -> None:
        after = self.reducer.subscribe()["after"]
        page = self.log[after : after + self.page_size]
        through = after + len(page)
        if page:
            self.wire.append({"type": "events", "events": page})
        more = through < len(self.log)
        self.wire.append({"type": "replayed", "through": through, "more": more})

    def ping(self) -> None:
        self.wire.append({"type": "pong", "lastEventId": len(self.log)})

    def deliver(self, index: int) -> None:
        if self.wire:
            self.take(self.wire.pop(index % len(self.wire)))

    def duplicate(self, index: int) -> None:
        if self.wire:
            self.wire.append(self.wire[index % len(self.wire)])

    def lose(self, index: int) -> None:
        if self.wire:
            self.wire.pop(index % len(self.wire))

    def elapse(self) -> None:
        if self.timer is not None:
            self.timer = None
            if self.reducer.incomplete:
                self.subscribe()

    def take(self, frame: dict[str, Any]) -> None:
        events, again = self.reducer.feed(frame)
        if again is not None:
            self.timer = again
        for event in events:
            if event.event_id:
                self.applied.append(event.event_id)
                if event.type == "session.failed":
                    self.ended.add(event.data["attemptNumber"])
            elif event.type == "preparing":
                assert event.data["attemptNumber"] not in self.ended
                self.progress.append((event.data["attemptNumber"], event.data["revision"]))
            else:
                assert event.type == CAUGHT_UP
                assert not self.reducer.incomplete

    def settle(self) -> None:
        """From here on nothing is lost, and time passes."""
        self.ping()
        for _ in range(10 * len(self.log) + 100):
            if self.wire:
                self.deliver(0)
            elif self.timer is not None:
                self.elapse()
            else:
                return
        raise AssertionError("the viewer asks for ever")


INDEX = st.integers(0, 50)
ACTIONS = st.one_of(
    st.tuples(
        st.just("happen"),
        st.sampled_from(["turn.started", "session.preparing", "session.failed", "preparing"]),
    ),
    st.tuples(st.sampled_from(["deliver", "duplicate", "lose"]), INDEX),
    st.tuples(st.sampled_from(["connect", "ping", "elapse"])),
)


@given(
    page_size=st.integers(1, 5),
    actions=st.lists(ACTIONS, max_size=80),
    ends_with_drop=st.booleans(),
)
def test_a_viewer_ends_with_exactly_the_persisted_events_in_order(
    page_size, actions, ends_with_drop
):
    cloud = Cloud(page_size)
    cloud.connect()
    for name, *arguments in actions:
        getattr(cloud, name)(*arguments)
        assert cloud.applied == list(range(1, len(cloud.applied) + 1))
        assert cloud.applied == list(range(1, cloud.reducer.after + 1))
    if ends_with_drop:
        cloud.connect()
    cloud.settle()
    assert cloud.applied == list(range(1, len(cloud.log) + 1))
    assert cloud.progress == sorted(cloud.progress)
