"""Callbacks: for what a receiver is called, with what, how often, and when no more."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from headstart.adapters.memory import MemoryPorts
from headstart.domain.callbacks import (
    CALLED_FOR,
    TRIES,
)
from headstart.domain.errors import (
    CallbackFailed,
    CallbackTimedOut,
    ServiceUnavailable,
    ValidationFailed,
)
from headstart.domain.events import EVENT_TYPES
from headstart.domain.requests import PatchSession, PublishSession
from headstart.domain.session import CallbackStatus
from headstart.domain.steps import StepName
from headstart.usecases import callbacks, deliver, janitor
from headstart.usecases.delete import delete_session
from headstart.usecases.read import get_session
from headstart.usecases.talk import interrupt, patch_session, publish
from tests.unit.archives import last, save
from tests.unit.helpers import Runner, begin_sleep, created, prepared_up_to, running, turn_ended

URL = "https://hooks.test/here"
TARGET = {"url": URL, "headers": {"Authorization": "Bearer mine"}}


def called(ports: MemoryPorts) -> list[dict[str, Any]]:
    """Return the bodies of all calls."""
    return [json.loads(body) for _, _, body in ports.receivers.told]


def drain(ports: MemoryPorts) -> None:
    """Deliver what is in the queue; what is not taken stays there."""
    for session_id, event_id in list(ports.callback_queue.waiting):
        if deliver.take(ports, session_id, event_id, tries=1, receipt=str(event_id)):
            ports.callback_queue.waiting.remove((session_id, event_id))


def turned(ports: MemoryPorts, **target: Any) -> tuple[str, Runner]:
    """Return a session with a receiver and one completed turn, of which nothing was told yet."""
    session_id = created(ports, callbackTarget={**TARGET, **target})
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    return session_id, runner


def callback(ports: MemoryPorts, session_id: str) -> Any:
    return get_session(ports, "alice", session_id)["callback"]


def test_every_type_is_an_event_there_is() -> None:
    assert all(EVENT_TYPES[kind].persisted for kind in CALLED_FOR)


def test_a_session_is_told_from_ready_to_asleep(ports: MemoryPorts) -> None:
    session_id, runner = turned(ports)
    save(ports, runner)
    begin_sleep(ports, session_id)
    save(ports, runner)
    drain(ports)
    told = called(ports)
    assert [body["type"] for body in told] == ["session.ready", "turn.completed", "session.asleep"]
    log = {event.event_id: event for event in ports.store.event_log[session_id]}
    for body in told:
        event = log[body["data"]["eventId"]]
        assert body["data"]["sessionId"] == session_id
        assert body["data"].items() >= event.data.items()
    assert told[1]["data"]["turnId"] == log[told[1]["data"]["eventId"]].turn_id
    assert ports.callback_queue.waiting == []
    assert janitor.send_due(ports) == 0


def test_a_failure_is_told_with_its_code_and_reason(ports: MemoryPorts) -> None:
    session_id = created(ports, callbackTarget=TARGET)
    prepared_up_to(ports, session_id, StepName.CLONE)
    interrupt(ports, "alice", session_id)
    drain(ports)
    [body] = called(ports)
    assert body["type"] == "session.failed"
    assert body["data"]["failure"]["code"] == "Cancelled"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": "published", "commit": "c" * 40}, "work.published"),
        ({"status": "unchanged"}, "work.unchanged"),
        ({"status": "nonsense"}, "work.publish_failed"),
    ],
)
def test_every_end_of_publishing_is_told(
    ports: MemoryPorts, answer: dict[str, Any], told: str
) -> None:
    session_id, runner = turned(ports)
    publish(ports, "alice", session_id, PublishSession())
    runner.complete(last(runner, "publish")["id"], **answer)
    drain(ports)
    assert called(ports)[-1]["type"] == told


def test_a_session_without_a_receiver_leaves_nothing(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    assert ports.callback_queue.waiting == []
    assert not [sk for sk in ports.store.rows[session_id] if sk.startswith("CALLBACKS")]
    assert callback(ports, session_id) is None


def test_a_call_has_the_callers_headers_and_a_signature_that_the_standards_library_takes(
    ports: MemoryPorts,
) -> None:
    old, new = b"o" * 24, b"n" * 32
    ports.signing.known = [new, old]
    session_id, _ = turned(ports)
    # The library compares with its own clock.
    ports.clock.now = datetime.now(ports.clock.now.tzinfo)
    drain(ports)
    url, headers, body = ports.receivers.told[-1]
    assert url == URL
    assert headers["authorization"] == "Bearer mine"
    event_id = json.loads(body)["data"]["eventId"]
    assert headers["webhook-id"] == f"{session_id}_{event_id}"
    for secret in (old, new):
        known = Webhook("whsec_" + base64.b64encode(secret).decode())
        assert known.verify(body, headers)["data"]["sessionId"] == session_id
    with pytest.raises(WebhookVerificationError):
        Webhook(base64.b64encode(b"x" * 24).decode()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        known.verify(body + b" ", headers)


@pytest.mark.parametrize("answer", [500, 404, 301, 302, 100, CallbackFailed("no connection")])
def test_whatever_is_no_success_is_tried_again(
    ports: MemoryPorts, answer: int | CallbackFailed
) -> None:
    session_id, _ = turned(ports)
    waiting = list(ports.callback_queue.waiting)
    ports.receivers.answers = [answer, answer]
    drain(ports)
    assert ports.callback_queue.waiting == waiting
    assert all(4 <= delay.total_seconds() <= 6 for delay in ports.callback_queue.put_offs.values())
    drain(ports)
    assert ports.callback_queue.waiting == []
    assert callback(ports, session_id) == {"status": "active", "failure": None}


def test_a_receiver_that_is_gone_is_called_no_more(ports: MemoryPorts) -> None:
    session_id, runner = turned(ports)
    ports.receivers.answers = [410]
    drain(ports)
    assert len(called(ports)) == 1
    assert ports.callback_queue.waiting == []
    shown = callback(ports, session_id)
    assert shown["status"] == "stopped"
    assert shown["failure"]["code"] == "CallbackGone"
    save(ports, runner)
    begin_sleep(ports, session_id)
    save(ports, runner)
    assert ports.callback_queue.waiting == []


def test_a_receiver_of_before_stops_nothing_for_the_one_of_now(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = created(ports, callbackTarget=TARGET, autoInitiate=False)
    prepared_up_to(ports, session_id, StepName.DELIVER)
    deliver.change(ports, session_id, lambda c: c.emit(EVENT_TYPES["turn.failed"](
        turn_id="t", message_id="m", code="c", reason="r")))  # fmt: skip
    other = {"url": "https://other.test/", "headers": {}}

    def gone(*_: object) -> int:
        request = PatchSession.model_validate({"callbackTarget": other})
        patch_session(ports, "alice", session_id, request)
        return 410

    monkeypatch.setattr(ports.receivers, "post", gone)
    drain(ports)
    assert callback(ports, session_id) == {"status": "active", "failure": None}


def test_a_patch_names_another_receiver_none_or_one_after_it_stopped(ports: MemoryPorts) -> None:
    session_id = created(ports, callbackTarget=TARGET, autoInitiate=False)
    prepared_up_to(ports, session_id, StepName.CLONE)

    def patch(target: Any) -> Any:
        request = PatchSession.model_validate({"callbackTarget": target})
        patch_session(ports, "alice", session_id, request)
        return callback(ports, session_id)

    assert patch(None) is None
    assert patch({"url": "https://b.test"}) == {"status": "active", "failure": None}
    session = ports.store.sets[session_id].session
    assert session.callback
    session.callback.status = CallbackStatus.STOPPED
    assert patch({"url": "https://b.test"})["status"] == "active"
    with pytest.raises(ValidationFailed):
        patch({"url": "https://10.0.0.1/"})
    assert ports.store.config(session_id).callback_target == {
        "url": "https://b.test",
        "headers": {},
    }


def test_what_is_given_up_shows_until_it_is_brought_back_itself(ports: MemoryPorts) -> None:
    session_id, _ = turned(ports)
    (_, first), (_, second) = ports.callback_queue.waiting
    ports.receivers.answers = [503]
    assert not deliver.take(ports, session_id, first, tries=TRIES, receipt="last")
    assert ports.callback_queue.put_offs["last"] < timedelta(seconds=5)
    failure = callback(ports, session_id)["failure"]
    assert (failure["code"], failure["retryable"]) == ("CallbackFailed", True)
    assert f"event {first} was given up" in failure["reason"]
    assert "503" in failure["reason"]
    assert deliver.take(ports, session_id, second, tries=1, receipt="r")
    assert callback(ports, session_id)["failure"] == failure
    assert deliver.take(ports, session_id, first, tries=1, receipt="r")
    assert callback(ports, session_id) == {"status": "active", "failure": None}


def test_what_an_earlier_version_gave_up_goes_with_any(ports: MemoryPorts) -> None:
    session_id, _ = turned(ports)
    (_, first), (_, second) = ports.callback_queue.waiting
    ports.receivers.answers = [503]
    deliver.take(ports, session_id, first, tries=TRIES, receipt="last")
    row = ports.store.sets[session_id].session.callback
    assert row
    row.given_up = None
    deliver.take(ports, session_id, second, tries=1, receipt="r")
    assert callback(ports, session_id)["failure"] is None


def test_with_a_session_go_its_callbacks(ports: MemoryPorts) -> None:
    session_id, _ = turned(ports)
    delete_session(ports, "alice", session_id)
    drain(ports)
    assert ports.receivers.told == []
    assert ports.callback_queue.waiting == []


def test_what_was_never_an_event_is_done(ports: MemoryPorts) -> None:
    session_id, _ = turned(ports)
    assert deliver.deliver(ports, session_id, 999, 1) is None
    assert deliver.deliver(ports, "ses_none", 1, 1) is None
    assert ports.receivers.told == []


def test_a_queue_that_is_away_holds_up_nothing_and_the_janitor_comes_back(
    ports: MemoryPorts,
) -> None:
    ports.callback_queue.down = ServiceUnavailable("SendMessageBatch")
    session_id, runner = turned(ports)
    assert runner.frames()[-1]["type"] == "ack"
    ports.clock.advance(minutes=2)
    runner.beat()
    janitor.run(ports)
    assert [name for name, *_ in ports.metrics.measured].count("JanitorErrors") == 1
    ports.callback_queue.down = None
    janitor.run(ports)
    drain(ports)
    assert [body["type"] for body in called(ports)] == ["session.ready", "turn.completed"]
    assert not [sk for sk in ports.store.rows[session_id] if sk.startswith("CALLBACKS")]


def test_one_that_can_not_be_sent_holds_up_no_other(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports.callback_queue.down = ServiceUnavailable("SendMessageBatch")
    bad, _ = turned(ports)
    good = created(ports, callbackTarget=TARGET)
    prepared_up_to(ports, good, StepName.CLONE)
    interrupt(ports, "alice", good)
    ports.callback_queue.down = None
    put = ports.callback_queue.put

    def refuse_one(owner: str, session_id: str, event_ids: Any) -> None:
        if session_id == bad:
            raise ServiceUnavailable("a message")
        put(owner, session_id, event_ids)

    monkeypatch.setattr(ports.callback_queue, "put", refuse_one)
    ports.clock.advance(minutes=2)
    with pytest.raises(ServiceUnavailable):
        callbacks.send_due(ports)
    assert {session_id for session_id, _ in ports.callback_queue.waiting} == {good}


def test_a_deployment_without_callbacks_says_so(ports: MemoryPorts) -> None:
    ports.policy.callbacks = False
    with pytest.raises(ValidationFailed) as refused:
        created(ports, callbackTarget=TARGET)
    assert refused.value.errors[0]["loc"] == ["callbackTarget", "url"]
    assert "no callbacks" in refused.value.reason


def test_a_receiver_that_hangs_has_a_minute(ports: MemoryPorts) -> None:
    turned(ports)
    ports.receivers.answers = [CallbackTimedOut(), CallbackTimedOut()]
    drain(ports)
    assert all(
        48 <= delay.total_seconds() <= 72 for delay in ports.callback_queue.put_offs.values()
    )


def test_without_a_secret_to_sign_with_a_call_is_put_off_and_its_end_is_told(
    ports: MemoryPorts,
) -> None:
    session_id, _ = turned(ports)
    ports.signing.down = ServiceUnavailable(
        "the callbacks' secret can't sign: the secret is 7 bytes"
    )
    [_, (_, event_id)] = ports.callback_queue.waiting
    for tries, seconds in ((1, 5), (4, 600), (TRIES - 1, 28800)):
        with pytest.raises(ServiceUnavailable):
            deliver.take(ports, session_id, event_id, tries=tries, receipt="r")
        delay = ports.callback_queue.put_offs["r"].total_seconds()
        assert 0.8 * seconds <= delay <= 1.2 * seconds
    assert callback(ports, session_id)["failure"] is None

    with pytest.raises(ServiceUnavailable):
        deliver.take(ports, session_id, event_id, tries=TRIES, receipt="r")
    failure = callback(ports, session_id)["failure"]
    assert failure["code"] == "CallbackFailed"
    assert failure["reason"] == (
        f"The callback of event {event_id} was given up: The deployment's secret can't sign"
    )
    ports.signing.down = None
    assert deliver.take(ports, session_id, event_id, tries=1, receipt="r")
    assert callback(ports, session_id)["failure"] is None


def test_a_table_that_is_away_puts_a_call_off_too(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> Any:
        raise ServiceUnavailable("GetItem")

    session_id, _ = turned(ports)
    monkeypatch.setattr(ports.store, "session", away)
    with pytest.raises(ServiceUnavailable):
        deliver.take(ports, session_id, 1, tries=2, receipt="r")
    assert 24 <= ports.callback_queue.put_offs["r"].total_seconds() <= 36
