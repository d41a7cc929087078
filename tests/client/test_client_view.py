"""What a person is shown, and when a watch is over."""

from datetime import UTC, datetime, timedelta

import pytest
from fake_headstart import FakeSession
from session_scripts import good_session, good_start, good_turn, preparing, receipt

from headstart_client.models import Event, Failure
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


QUEUED = ("message.queued", {"messageId": "msg_2", "position": 1, "text": "and now?"})
HELD = ("message.held", {"messageId": "msg_2"})
WAKE = ("session.preparing", {"attemptNumber": 2, "cause": "wake"})
ASLEEP = ("session.asleep", {"reason": "cancelled"})
UNKNOWN = ("message.failed", {"messageId": "msg_2", "code": "DeliveryUnknown", "reason": "r"})


def over(how: str, message: str = "msg_1", code: str = "") -> tuple[str, dict[str, str]]:
    """How a turn ended."""
    return f"turn.{how}", {"turnId": "t", "messageId": message, "code": code, "reason": "r"}


@pytest.mark.parametrize("awaited", [(), {"msg_2"}, {"msg_1", "msg_2"}])
@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([over("completed"), UNKNOWN], "DeliveryUnknown"),
        ([over("completed"), WAKE, UNKNOWN, ASLEEP], "DeliveryUnknown"),
        ([over("completed"), WAKE, ASLEEP, HELD], "Asleep"),
        ([over("interrupted"), HELD], "Interrupted"),
        ([over("failed", code="ProviderUnavailable"), HELD], "ProviderUnavailable"),
        ([over("completed"), HELD], None),
    ],
)
def test_a_message_that_waits_for_a_person_ends_the_watch_with_the_reason(events, code, awaited):
    view = seen(*good_session()[:-1], QUEUED, *events[:-1], awaited=awaited)
    assert view.outcome() is None
    feed(view, events[-1])
    outcome = view.outcome()
    assert outcome
    assert outcome.kind == "held"
    assert (outcome.failure and outcome.failure.code) == code


def test_a_delivery_that_was_taken_back_and_is_held_ends_the_watch():
    claimed = [{"messageId": "msg_2", "status": "delivering"}]
    turn = {"turnId": "t", "messageId": "msg_2"}
    session = FakeSession(status="ready", queue=claimed, active_turn=turn)
    view = feed(View({"msg_2"}), ("session.snapshot", session.view()), (CAUGHT_UP, {}))
    assert view.outcome() is None
    assert feed(view, HELD).outcome() == Outcome("held")


LOST = over("failed", code="SandboxStopped")
STOPPED = ("session.asleep", {"reason": "exit code 137"})
AGAIN = [STOPPED, WAKE, *good_turn("turn_2", "msg_2")[:2], ("session.ready", receipt(2))]


@pytest.mark.parametrize(
    ("awaited", "lost"), [((), False), ({"msg_2"}, False), ({"msg_1", "msg_2"}, True)]
)
def test_a_message_behind_a_turn_that_was_lost_is_followed_to_its_own_end(awaited, lost):
    view = seen(*good_session()[:-1], QUEUED, awaited=awaited)
    for event in [LOST, *AGAIN]:
        assert feed(view, event).outcome() is None
    feed(view, over("completed", "msg_2"))
    failure = Failure(code="SandboxStopped", reason="r")
    assert view.outcome() == (Outcome("turn", failure) if lost else Outcome("completed"))


def test_what_is_awaited_is_over_whatever_goes_on_behind_it():
    view = seen(*good_session()[:-1], QUEUED, awaited={"msg_1"})
    feed(view, LOST, *AGAIN)
    outcome = view.outcome()
    assert outcome
    assert (outcome.kind, outcome.failure.code) == ("turn", "SandboxStopped")


def test_a_turn_that_was_cut_off_by_sleep_ends_the_watch():
    view = seen(*good_session()[:-1], ASLEEP)
    assert view.outcome().failure.code == "Asleep"


def test_what_a_snapshot_shows_is_not_undone_by_the_replay_of_what_led_to_it():
    session = FakeSession(status="ready", queue=[{"messageId": "msg_2", "status": "queued"}])
    snapshot = {**session.view(), "lastEventId": 5}
    view = feed(View({"msg_2"}), ("session.snapshot", snapshot))
    view.apply(Event(type=HELD[0], data=HELD[1], event_id=5))
    assert feed(view, (CAUGHT_UP, {})).outcome() is None
    view.apply(Event(type=HELD[0], data=HELD[1], event_id=6))
    assert view.outcome() == Outcome("held")


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
