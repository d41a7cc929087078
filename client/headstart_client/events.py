"""One class for each type of event, so that `isinstance` and `match` tell them apart.

A class has what its type promises as attributes, as `shapes` reads it: whatever came, of the right
type. An event of a type that this client does not know stays an `Event`. `data` is what was sent.
"""

from typing import Any, ClassVar, Literal

from headstart_client import models
from headstart_client.attributes import Said
from headstart_client.shapes import (
    ANSWER,
    COUNTED,
    FAILURE,
    INPUT,
    PUBLICATION,
    PULL_REQUEST,
    RECEIPT,
    STATE,
    Shape,
    count,
    flag,
    many,
    mapping,
    maybe,
    moment,
    number,
    percent,
    shaped,
    words,
)


class _Known(models.Event):
    """An event of a type that this client knows; `_more` is read of its data without attributes."""

    _more: ClassVar[dict[str, Shape]] = {}

    @classmethod
    def _shape(cls) -> dict[str, Shape]:
        said = [one for one in vars(cls).values() if isinstance(one, Said)]
        return {**cls._more, **{one.name: one.shape for one in said}}


class SessionSnapshot(_Known):
    """The session as it stands, for a viewer that subscribes; `session` reads the whole of it."""

    type: Literal["session.snapshot"] = "session.snapshot"
    title: ClassVar = Said(words)
    status: ClassVar = Said(words)
    last_event_id: ClassVar = Said(count)
    _more: ClassVar = {
        "repository": {"gitUrl": words, "branch": words},
        "counts": {"setupCommands": maybe(count)},
        "attempt": {"number": count, "revision": count, "steps": [STATE]},
        "failure": maybe(FAILURE),
        "queue": [{"messageId": words, "status": words}],
        "activeTurn": maybe({"turnId": words}),
        "pendingInputs": [INPUT],
        "leftOut": many,
        "changes": maybe(COUNTED),
        "publication": maybe(PUBLICATION),
    }

    @property
    def session(self) -> models.Session:
        """The same as `get` answers, but for long outputs, which are cut."""
        return models.Session.model_validate(self.data)


class SessionPreparing(_Known):
    """An attempt to prepare began."""

    type: Literal["session.preparing"] = "session.preparing"
    attempt_number: ClassVar = Said(count)
    cause: ClassVar = Said(words)


class Preparing(_Known):
    """How a step goes; volatile."""

    type: Literal["preparing"] = "preparing"
    attempt_number: ClassVar = Said(count)
    revision: ClassVar = Said(count)
    step: ClassVar = Said(words)
    status: ClassVar = Said(words)
    message: ClassVar = Said(maybe(words))
    percent: ClassVar = Said(maybe(percent))
    elapsed_ms: ClassVar = Said(number)
    eta_ms: ClassVar = Said(maybe(number))
    output: ClassVar = Said(words)


class SessionPrepared(_Known):
    """All is done, and the first message is held."""

    type: Literal["session.prepared"] = "session.prepared"
    receipt: ClassVar = Said(RECEIPT)


class SessionReady(_Known):
    """The agent has the message that the attempt was for."""

    type: Literal["session.ready"] = "session.ready"
    receipt: ClassVar = Said(RECEIPT)


class SessionFailed(_Known):
    """The attempt failed."""

    type: Literal["session.failed"] = "session.failed"
    attempt_number: ClassVar = Said(count)
    failure: ClassVar = Said(FAILURE, models.Failure.model_validate)


class SessionAsleep(_Known):
    """The sandbox is gone; `saved` says whether the work was kept as it was last."""

    type: Literal["session.asleep"] = "session.asleep"
    reason: ClassVar = Said(words)
    saved: ClassVar = Said(maybe(flag))
    left_out: ClassVar = Said(many)


class SessionRenamed(_Known):
    """Somebody gave the session another title."""

    type: Literal["session.renamed"] = "session.renamed"
    title: ClassVar = Said(words)


class SessionMoved(_Known):
    """Somebody corrected the address of the session's repository."""

    type: Literal["session.moved"] = "session.moved"
    git_url: ClassVar = Said(words)


class SessionDeleted(_Known):
    """The session is gone; volatile, and the last."""

    type: Literal["session.deleted"] = "session.deleted"


class MessageQueued(_Known):
    """A message took its place; `text` is its beginning where there are `text_bytes`."""

    type: Literal["message.queued"] = "message.queued"
    message_id: ClassVar = Said(words)
    position: ClassVar = Said(count)
    text: ClassVar = Said(words)
    text_bytes: ClassVar = Said(maybe(count))


class MessageChanged(_Known):
    """Somebody gave the session another prompt; `text` is as of a message that is queued."""

    type: Literal["message.changed"] = "message.changed"
    message_id: ClassVar = Said(words)
    text: ClassVar = Said(words)
    text_bytes: ClassVar = Said(maybe(count))


class MessageDelivered(_Known):
    """The agent shows the message."""

    type: Literal["message.delivered"] = "message.delivered"
    message_id: ClassVar = Said(words)


class MessageHeld(_Known):
    """The message waits for a person, with all behind it."""

    type: Literal["message.held"] = "message.held"
    message_id: ClassVar = Said(words)


class MessageFailed(_Known):
    """The message was not delivered, or that can't be known; it is kept."""

    type: Literal["message.failed"] = "message.failed"
    message_id: ClassVar = Said(words)
    code: ClassVar = Said(words)
    reason: ClassVar = Said(words)


class MessageWithdrawn(_Known):
    """Somebody took the message back."""

    type: Literal["message.withdrawn"] = "message.withdrawn"
    message_id: ClassVar = Said(words)


class TurnStarted(_Known):
    """The agent works on a message."""

    type: Literal["turn.started"] = "turn.started"
    message_id: ClassVar = Said(words)
    _more: ClassVar = {"turnId": words}


class TurnCompleted(_Known):
    """The agent finished; `usage` has tokens and cost."""

    type: Literal["turn.completed"] = "turn.completed"
    message_id: ClassVar = Said(words)
    usage: ClassVar = Said(mapping)


class TurnFailed(_Known):
    """The turn ended with an error; of a long `reason` only the beginning is here, as of a text."""

    type: Literal["turn.failed"] = "turn.failed"
    message_id: ClassVar = Said(words)
    code: ClassVar = Said(words)
    reason: ClassVar = Said(words)
    text_bytes: ClassVar = Said(maybe(count))
    text_ref: ClassVar = Said(maybe(words))


class TurnInterrupted(_Known):
    """A person stopped the turn."""

    type: Literal["turn.interrupted"] = "turn.interrupted"
    message_id: ClassVar = Said(words)


class TurnRetrying(_Known):
    """The model's provider failed and the agent tries again; volatile."""

    type: Literal["turn.retrying"] = "turn.retrying"
    reason: ClassVar = Said(words)


class InputRequested(_Known):
    """The agent asks, and waits."""

    type: Literal["input.requested"] = "input.requested"
    request_id: ClassVar = Said(words)
    kind: ClassVar = Said(words)
    body: ClassVar = Said(mapping)


class InputResolved(_Known):
    """What the agent asked was answered, rejected or withdrawn, or expired.

    `answer` is what a person said, `reply` or `answers`; None where nobody did, or it was too long.
    """

    type: Literal["input.resolved"] = "input.resolved"
    request_id: ClassVar = Said(words)
    outcome: ClassVar = Said(words)
    answer: ClassVar = Said(maybe(ANSWER))


class AgentEvent(_Known):
    """A finished part of the answer, or how a tool goes.

    Of a long `text` or `output` only the beginning is here, if there is a `text_ref`: `text` of the
    client has all `text_bytes` of it; of a long `input` its JSON, by `input_ref`. `truncated` says
    that something is gone for good. `exit_code` is a command's, None where the agent tells none.
    """

    type: Literal["agent.event"] = "agent.event"
    part_id: ClassVar = Said(words)
    message_id: ClassVar = Said(words)
    kind: ClassVar = Said(maybe(words))
    text: ClassVar = Said(maybe(words))
    tool: ClassVar = Said(words)
    title: ClassVar = Said(words)
    status: ClassVar = Said(words)
    input: ClassVar = Said(mapping)
    output: ClassVar = Said(words)
    exit_code: ClassVar = Said(maybe(count))
    files: ClassVar = Said(many)
    text_bytes: ClassVar = Said(maybe(count))
    text_ref: ClassVar = Said(maybe(words))
    input_bytes: ClassVar = Said(maybe(count))
    input_ref: ClassVar = Said(maybe(words))
    truncated: ClassVar = Said(flag)


class AgentDelta(_Known):
    """Text that an open part grew by, at an `offset` in characters; volatile."""

    type: Literal["agent.delta"] = "agent.delta"
    part_id: ClassVar = Said(words)
    kind: ClassVar = Said(maybe(words))
    offset: ClassVar = Said(count)
    text: ClassVar = Said(words)


class AgentSnapshot(_Known):
    """The open parts, for a viewer that joins in mid-answer; volatile."""

    type: Literal["agent.snapshot"] = "agent.snapshot"
    parts: ClassVar = Said([{"partId": words, "kind": maybe(words), "text": words}])


class WorkChanged(_Known):
    """How much is different from where the session's branch began."""

    type: Literal["work.changed"] = "work.changed"
    files: ClassVar = Said(count)
    additions: ClassVar = Said(count)
    deletions: ClassVar = Said(count)


class WorkPublished(_Known):
    """The remote's branch is at this commit."""

    type: Literal["work.published"] = "work.published"
    branch: ClassVar = Said(words)
    commit: ClassVar = Said(words)
    url: ClassVar = Said(words)
    pull_request: ClassVar = Said(
        maybe(PULL_REQUEST),
        lambda value: models.PullRequest.model_validate(value) if value else None,
    )
    note: ClassVar = Said(words)


class WorkUnchanged(_Known):
    """There was nothing to publish."""

    type: Literal["work.unchanged"] = "work.unchanged"
    branch: ClassVar = Said(words)
    commit: ClassVar = Said(words)
    note: ClassVar = Said(words)


class WorkPublishFailed(_Known):
    """The work, or its pull request, is not where it should be."""

    type: Literal["work.publish_failed"] = "work.publish_failed"
    code: ClassVar = Said(words)
    reason: ClassVar = Said(words)
    retryable: ClassVar = Said(flag)


class RunnerDisconnected(_Known):
    """The sandbox's connection dropped; it comes back by itself; volatile."""

    type: Literal["runner.disconnected"] = "runner.disconnected"


class RunnerReconnected(_Known):
    """The sandbox is connected again; volatile."""

    type: Literal["runner.reconnected"] = "runner.reconnected"


class CaughtUp(_Known):
    """Of the client's own: all that had happened is told."""

    type: Literal["client.caught_up"] = "client.caught_up"


class Reconnecting(_Known):
    """Of the client's own: the connection broke, and the next comes in so many `seconds`."""

    type: Literal["client.reconnecting"] = "client.reconnecting"
    reason: ClassVar = Said(words)
    seconds: ClassVar = Said(number)


TYPES: dict[str, type[_Known]] = {
    cls.model_fields["type"].default: cls for cls in _Known.__subclasses__()
}
"""Each type of event that this client knows, by its name."""

DATA: dict[str, dict[str, Shape]] = {kind: cls._shape() for kind, cls in TYPES.items()}
"""What is read of an event's data, by its type; of any other type, nothing."""


def data_of(event: models.Event) -> dict[str, Any]:
    """Return what an event's data says, of the types that its type promises."""
    data: dict[str, Any] = shaped(DATA.get(event.type, {}), event.data)
    return data


def made(kind: str, **fields: Any) -> models.Event:
    """Return an event of the class for its type, unchecked: fields are of the right types."""
    return TYPES.get(kind, models.Event).model_construct(type=kind, **fields)


def event_of(raw: Any) -> models.Event | None:
    """Return an event as it came, None for what can't be one; its data is kept untouched."""
    given = mapping(raw)
    event_id = given.get("eventId")
    if not isinstance(raw, dict) or (event_id is not None and not count(event_id)):
        return None
    return made(
        words(given.get("type")),
        event_id=event_id,
        session_id=words(given.get("sessionId")),
        timestamp=moment(given.get("timestamp")),
        turn_id=maybe(words)(given.get("turnId")),
        data=mapping(given.get("data")),
    )
