"""Callbacks on their way out of the queue: one call of one receiver for one event."""

import logging
import random
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from headstart.domain.callbacks import TRIES, callback_id, next_try, payload, signed_headers
from headstart.domain.change import CONFIG
from headstart.domain.errors import (
    CallbackFailed,
    CallbackGone,
    CallbackTimedOut,
    HeadstartError,
    ServiceUnavailable,
    SessionNotFound,
)
from headstart.domain.events import Event
from headstart.domain.life import calling
from headstart.domain.life.progress import milliseconds
from headstart.domain.session import CallbackStatus, Session, SessionConfig, Status
from headstart.usecases.change import change
from headstart.usecases.ports import Ports

_log = logging.getLogger(__name__)

_CAN_NOT_SIGN = "The deployment's secret can't sign"
"""What a session's owner is told of it: the rest is the operator's, and in the log."""


class Call(NamedTuple):
    """Whom to call, and for what."""

    session: Session
    target: dict[str, Any]
    event: Event


def take(ports: Ports, session_id: str, event_id: int, *, tries: int, receipt: str) -> bool:
    """Deliver what the queue gave for the n-th time; False where it stays there for another try.

    After the last one the queue itself moves it to the dead letters. Raises ServiceUnavailable, for
    an operator to see, with the message put off like any other that was not taken.
    """
    try:
        again = deliver(ports, session_id, event_id, tries)
    except ServiceUnavailable:
        ports.callback_queue.put_off(receipt, _next_try(tries))
        raise
    if again is not None:
        ports.callback_queue.put_off(receipt, again)
    return again is None


def deliver(ports: Ports, session_id: str, event_id: int, tries: int) -> timedelta | None:
    """Call a session's receiver for an event; returns when to try again, None when it is done.

    It is done, too, where nobody is to be called any more: the session was deleted, has no receiver
    now, or one that wants no more. Raises ServiceUnavailable.
    """
    ports.identify(session_id)
    call = _wanted(ports, session_id, event_id)
    if call is None:
        return None
    try:
        error = _call(ports, call)
    except ServiceUnavailable:
        if tries >= TRIES:
            _note(ports, call, _given_up(call, _CAN_NOT_SIGN))
        raise
    if error is None:
        ports.metrics.count("CallbacksDelivered")
        if call.session.callback and call.session.callback.misses(event_id):
            change(ports, session_id, partial(calling.taken, event_id=event_id))
        return None
    ports.metrics.count("CallbacksFailed")
    _log.info("a callback was not taken: %s", error.reason, extra={"event_id": event_id})
    gone, hung = isinstance(error, CallbackGone), isinstance(error, CallbackTimedOut)
    if gone:
        _note(ports, call, error)
        return None
    if tries >= TRIES:
        _note(ports, call, _given_up(call, error.reason))
    return _next_try(tries, hung=hung)


def _next_try(tries: int, *, hung: bool = False) -> timedelta:
    return next_try(tries, random.random(), hung=hung)  # noqa: S311  jitter is no secret


def _given_up(call: Call, why: str) -> CallbackFailed:
    return CallbackFailed(f"The callback of event {call.event.event_id} was given up: {why}")


def _note(ports: Ports, call: Call, error: HeadstartError) -> None:
    """Have the session say why a callback did not arrive, unless it is gone."""
    event_id = call.event.event_id or 0
    note = partial(calling.not_taken, target=call.target, event_id=event_id, error=error)
    with suppress(SessionNotFound):
        change(ports, call.session.session_id, note, lambda _: [CONFIG])


def _wanted(ports: Ports, session_id: str, event_id: int) -> Call | None:
    try:
        session = ports.store.session(session_id)
    except SessionNotFound:
        return None
    callback = session.callback
    is_called = callback is not None and callback.status is CallbackStatus.ACTIVE
    if session.status is Status.DELETING or not is_called:
        return None
    config = ports.store.named(session_id, [CONFIG])[CONFIG]
    target = config.callback_target if isinstance(config, SessionConfig) else None
    events, _ = ports.store.events_after(session_id, event_id - 1, 1)
    if target is None or not events or events[0].event_id != event_id:
        return None
    return Call(session, target, events[0])


def _call(ports: Ports, call: Call) -> HeadstartError | None:
    """Call a receiver once; returns why it did not take the callback, None when it did.

    Raises ServiceUnavailable where there is nothing to sign with.
    """
    now, body = ports.clock(), payload(call.event)
    name = callback_id(call.session.session_id, call.event.event_id or 0)
    try:
        headers = {
            "user-agent": "headstart",
            **{key.lower(): value for key, value in call.target["headers"].items()},
            "content-type": "application/json",
            **signed_headers(name, now, body, ports.signing.secrets(now)),
        }
        status = ports.receivers.post(call.session.owner, call.target["url"], headers, body)
    except CallbackFailed as error:
        return error
    finally:
        ports.metrics.milliseconds("CallbackTime", milliseconds(now, ports.clock()))
    if status == 410:
        return CallbackGone()
    return None if 200 <= status < 300 else CallbackFailed(f"The receiver answered {status}")
