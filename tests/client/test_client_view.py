"""What a person is shown, and when a watch is over."""

from datetime import UTC, datetime, timedelta

import pytest
from fake_headstart import FakeSession
from session_scripts import good_session, good_start, good_turn, preparing, receipt

from headstart_client.models import Event
from headstart_client.reducer import CAUGHT_UP
from headstart_client.view import Outcome, View

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def feed(view: View, *events) -> View:
    for kind, data in events:
        view.apply(Event(type=kind, data=data, timestamp=START + timedelta(seconds=9)))
    return view


def seen(*events, awaited=()) -> View:
    return feed(View(set(awaited), clock=lambda: 50.0), (CAUGHT_UP, {}), *events)


def test_a_turn_that_ends_before_the_preparation_is_not_the_end_yet():
    turn = good_turn()
    view = seen(*good_start(), *turn)
    assert view.outcome() is None
    feed(view, ("session.ready", receipt()))
    assert view.outcome() == Outcome("completed")


@pytest.mark.parametrize("cut", range(1, len(good_session())))
def test_no_moment_of_a_good_session_looks_like_its_end(cut):
    assert seen(*good_session()[:cut]).outcome() is None


def test_nothing_is_over_before_everything_was_seen():
    view = feed(View(), *good_session())
    assert view.outcome() is None
    feed(view, (CAUGHT_UP, {}))
    assert view.outcome() == Outcome("completed")
    feed(view, ("client.reconnecting", {"reason": "x", "seconds": 1}))
    assert view.outcome() is None


@pytest.mark.parametrize(
    ("events", "code"),
    [
        (
            [("message.failed", {"messageId": "msg_2", "code": "DeliveryUnknown", "reason": "r"})],
            "DeliveryUnknown",
        ),
        (
            [
                ("turn.started", {"turnId": "t", "messageId": "msg_2"}),
                ("session.asleep", {"reason": "the sandbox stopped"}),
            ],
            "Asleep",
        ),
        (
            [
                ("session.preparing", {"attemptNumber": 2, "cause": "wake"}),
                ("session.asleep", {"reason": "cancelled"}),
            ],
            "Asleep",
        ),
    ],
)
def test_a_message_that_will_not_be_answered_ends_the_watch(events, code):
    queued = ("message.queued", {"messageId": "msg_2", "position": 1, "text": "and now?"})
    view = seen(*good_session(), queued)
    assert view.outcome() is None
    feed(view, *events)
    outcome = view.outcome()
    assert outcome
    assert outcome.kind == "turn"
    assert outcome.failure.code == code


def test_a_new_message_wipes_out_the_failure_of_the_one_before():
    failed = ("turn.failed", {"turnId": "t", "messageId": "m", "code": "X", "reason": "r"})
    view = seen(*good_session(), failed)
    assert view.outcome().kind == "turn"
    feed(view, ("message.queued", {"messageId": "msg_2", "position": 1, "text": "again"}))
    assert view.outcome() is None


def test_a_held_message_is_waited_for_only_by_who_released_it():
    held = [*good_start(), ("session.prepared", receipt())]
    assert seen(*held).outcome() == Outcome("prepared")
    assert seen(*held, awaited={"msg_1"}).outcome() is None


def test_a_message_behind_a_held_one_is_waited_for_until_somebody_releases_both():
    held = [{"messageId": "msg_1", "status": "held"}, {"messageId": "msg_2", "status": "queued"}]
    snapshot = ("session.snapshot", FakeSession(status="ready", queue=held).view())
    view = feed(View({"msg_2"}), snapshot, (CAUGHT_UP, {}))
    assert view.outcome() == Outcome("held")
    feed(view, *good_turn())
    assert view.outcome() is None


def test_an_older_snapshot_does_not_take_steps_back():
    view = seen(preparing(5, "clone", "running", 700, percent=40))
    session = FakeSession(revision=4, steps={"clone": {"status": "running", "percent": 10}})
    session.steps["sandbox"] = {
        "status": "completed",
        "startedAt": "2026-01-02T03:04:05.000Z",
        "endedAt": "2026-01-02T03:04:07.500Z",
    }
    feed(view, ("session.snapshot", session.view()))
    assert view.steps["clone"].percent == 40
    assert (view.steps["sandbox"].status, view.steps["sandbox"].elapsed) == ("completed", 2.5)


def test_a_step_that_runs_in_a_snapshot_ticks_on_from_its_start():
    running = {"status": "running", "startedAt": "2026-01-02T03:04:10.000Z"}
    session = FakeSession(revision=4, steps={"clone": running})
    view = seen(("session.snapshot", session.view()))
    assert view.steps["clone"].seconds(50.0) == 4.0
    assert view.steps["clone"].seconds(53.0) == 7.0


def test_a_lost_frame_leaves_no_earlier_step_running():
    view = seen(preparing(1, "clone", "running"), preparing(4, "setup", "running"))
    assert view.steps["clone"].status == "completed"


def test_a_new_attempt_starts_with_a_clean_list():
    view = seen(*good_session(), ("session.preparing", {"attemptNumber": 2, "cause": "wake"}))
    assert {step.status for step in view.steps.values()} == {"pending"}
    assert view.receipt is None


def test_a_step_this_client_does_not_know_is_shown_at_the_end():
    view = seen(preparing(1, "polish", "running"))
    assert list(view.steps)[-1] == "polish"


def test_the_first_word_is_text_and_not_a_tool_or_a_thought():
    times = iter(range(100))
    view = View(clock=lambda: next(times))
    thought = {"kind": "reasoning", "partId": "r", "text": "hm"}
    feed(view, *good_turn()[:4], ("agent.event", thought))
    assert view.answered_at is None
    feed(view, *good_turn()[4:6])
    assert view.answered_at == 0
