"""What becomes of a session's callbacks: whom to call, for which events, and when no more."""

from typing import Any

from headstart.domain.callbacks import CALLED_FOR, SEND_CHECK, DueCallbacks, check_callback_url
from headstart.domain.change import CONFIG, Change
from headstart.domain.errands import SendCallbacks
from headstart.domain.errors import CallbackGone, HeadstartError, ValidationFailed
from headstart.domain.failure import Failure
from headstart.domain.policy import Policy
from headstart.domain.session import Callback, CallbackStatus, Session, SessionConfig


def set_target(session: Session, config: SessionConfig, policy: Policy) -> None:
    """Have a session's receiver be called, or nobody; raises ValidationFailed."""
    target = config.callback_target
    if target is not None:
        try:
            if not policy.callbacks:
                raise ValueError("this deployment makes no callbacks")
            check_callback_url(str(target["url"]), policy.allowed_callback_targets)
        except ValueError as error:
            raise ValidationFailed(
                [{"loc": ["callbackTarget", "url"], "msg": str(error)}]
            ) from error
    session.callback = None if target is None else Callback()


def call_back(change: Change) -> None:
    """Have the receiver called for what happened in a change, by a row that goes with it."""
    callback = change.session.callback
    if callback is None or callback.status is not CallbackStatus.ACTIVE:
        return
    ids = [e.event_id for e in change.persisted_events if e.event_id and e.type in CALLED_FOR]
    if ids:
        due_at = change.now + SEND_CHECK
        change.save(DueCallbacks(owner=change.session.owner, event_ids=ids, due_at=due_at))
        change.then(SendCallbacks(tuple(ids)))


def not_taken(change: Change, target: dict[str, Any], event_id: int, error: HeadstartError) -> None:
    """Note that a callback was given up, and stop all further ones if the receiver said so.

    Unless the session has another receiver by now.
    """
    config = change.get(CONFIG, SessionConfig)
    callback = change.session.callback
    if callback is None or config is None or config.callback_target != target:
        return
    gone = isinstance(error, CallbackGone)
    status = CallbackStatus.STOPPED if gone else callback.status
    failure = Failure(code=error.code, reason=error.reason, retryable=error.retryable)
    change.session.callback = Callback(status=status, failure=failure, given_up=event_id)


def taken(change: Change, event_id: int) -> None:
    """Note that a callback was taken after all; one that was given up alone is not."""
    callback = change.session.callback
    if callback is not None and callback.misses(event_id):
        callback.failure = callback.given_up = None
