"""What each call does in each status: one table, from which the docs and the tests are made."""

from enum import StrEnum

from headstart.domain.errors import HeadstartError, SessionBusy, SessionNotFound, WrongStatus
from headstart.domain.session import Session, Status


class Call(StrEnum):
    """The calls whose effect depends on the session's status."""

    READ = "GET, archive, changes, diff, wait, stream-ticket"
    PATCH = "PATCH"
    INITIATE = "initiate"
    MESSAGE = "messages"
    WITHDRAW = "DELETE messages"
    ANSWER = "inputs"
    INTERRUPT = "interrupt"
    PUBLISH = "publish"
    RETRY = "retry"
    DELETE = "DELETE"


class Effect(StrEnum):
    """What a call does."""

    ANSWER = "answers"
    CHANGE = "changes; after the first delivery the title only"
    RELEASE = "releases what is held"
    QUEUE = "queues"
    DISPATCH = "queues and delivers"
    WAKE = "queues and wakes"
    RELEASE_AND_WAKE = "releases what is held and wakes"
    WITHDRAW = "withdraws what waits"
    REPLY = "answers the agent"
    CANCEL = "cancels the attempt"
    ABORT = "stops the turn"
    PUBLISH = "publishes"
    PUBLISH_LATER = "publishes once the session is at rest"
    PUBLISH_AND_WAKE = "wakes and publishes"
    NOTHING = "nothing, harmlessly"
    NEW_ATTEMPT = "begins a new attempt"
    REMOVE = "removes everything"
    BUSY = "409 SessionBusy"
    CONFLICT = "409 WrongStatus"
    NOT_FOUND = "404 SessionNotFound"


_DEEDS = {
    Call.INITIATE: "Releasing what is held",
    Call.ANSWER: "Answering the agent",
    Call.RETRY: "Preparing again",
    Call.PUBLISH: "Publishing",
}
"""What people know those calls as that can be refused."""

_INSTEAD = {
    Call.INITIATE: "prepare it again first",
    Call.ANSWER: "the agent asks only while it works on a message",
    Call.RETRY: "only one that failed is prepared again; a message wakes one that is asleep",
    Call.PUBLISH: "prepare it again first",
}
"""What there is to do, or to know, in the statuses that refuse them."""

_E = Effect
_ORDER = (
    Status.PREPARING, Status.PREPARED, Status.READY, Status.RUNNING,
    Status.STOPPING, Status.ASLEEP, Status.FAILED, Status.DELETING,
)  # fmt: skip

_ROWS: dict[Call, tuple[Effect, ...]] = {
    Call.READ: (_E.ANSWER,) * 7 + (_E.NOT_FOUND,),
    Call.PATCH: (_E.CHANGE,) * 7 + (_E.NOT_FOUND,),
    Call.INITIATE: (
        _E.RELEASE, _E.RELEASE, _E.RELEASE, _E.RELEASE,
        _E.RELEASE, _E.RELEASE_AND_WAKE, _E.CONFLICT, _E.NOT_FOUND,
    ),
    Call.MESSAGE: (
        _E.QUEUE, _E.QUEUE, _E.DISPATCH, _E.QUEUE,
        _E.QUEUE, _E.WAKE, _E.QUEUE, _E.NOT_FOUND,
    ),
    Call.WITHDRAW: (_E.WITHDRAW,) * 7 + (_E.NOT_FOUND,),
    Call.ANSWER: (
        _E.CONFLICT, _E.CONFLICT, _E.CONFLICT, _E.REPLY,
        _E.CONFLICT, _E.CONFLICT, _E.CONFLICT, _E.NOT_FOUND,
    ),
    Call.INTERRUPT: (
        _E.CANCEL, _E.ABORT, _E.ABORT, _E.ABORT,
        _E.NOTHING, _E.NOTHING, _E.NOTHING, _E.NOT_FOUND,
    ),
    Call.PUBLISH: (
        _E.PUBLISH_LATER, _E.PUBLISH, _E.PUBLISH, _E.BUSY,
        _E.PUBLISH_LATER, _E.PUBLISH_AND_WAKE, _E.CONFLICT, _E.NOT_FOUND,
    ),
    Call.RETRY: (
        _E.CONFLICT, _E.CONFLICT, _E.CONFLICT, _E.CONFLICT,
        _E.CONFLICT, _E.CONFLICT, _E.NEW_ATTEMPT, _E.NOT_FOUND,
    ),
    Call.DELETE: (_E.REMOVE,) * 8,
}  # fmt: skip

EFFECTS: dict[tuple[Call, Status], Effect] = {
    (call, status): effect
    for call, row in _ROWS.items()
    for status, effect in zip(_ORDER, row, strict=True)
}


def effect_of(call: Call, status: Status) -> Effect:
    """Return what a call does; raises SessionNotFound or WrongStatus where it is refused."""
    effect = EFFECTS[call, status]
    refusal: HeadstartError | None = None
    if effect is Effect.NOT_FOUND:
        refusal = SessionNotFound()
    elif effect is Effect.CONFLICT:
        why = f"is not possible while the session is {status.value}"
        refusal = WrongStatus(f"{_DEEDS[call]} {why}: {_INSTEAD[call]}")
    elif effect is Effect.BUSY:
        refusal = SessionBusy(
            f"{_DEEDS[call]} is not possible while a turn is active: ask again when it has ended"
        )
    if refusal:
        raise refusal
    return effect


def require(session: Session, owner: str, call: Call) -> Effect:
    """Return what a call does to the owner's session; someone else's is SessionNotFound."""
    if session.owner != owner:
        raise SessionNotFound()
    return effect_of(call, session.status)
