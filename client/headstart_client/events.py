"""One class for each type of event, so that `isinstance` and `match` tell them apart.

A class has what its type promises as attributes, as `shapes` reads it: whatever came, of the right
type. An event of a type that this client does not know stays an `Event`. `data` is what was sent.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, TypeVar, overload

from pydantic.alias_generators import to_camel

from headstart_client import models
from headstart_client.shapes import count, data_of, mapping, maybe, moment, words

T = TypeVar("T")


class _Said(Generic[T]):
    """An attribute of an event that stands in its data, by the same name in camelCase."""

    def __init__(self, read: Callable[[Any], T] | None = None) -> None:
        self._read = read
        self._name = ""

    def __set_name__(self, _: type, name: str) -> None:
        self._name = to_camel(name)

    @overload
    def __get__(self, event: None, _: type) -> "_Said[T]": ...
    @overload
    def __get__(self, event: models.Event, _: type) -> T: ...
    def __get__(self, event: models.Event | None, _: type) -> "T | _Said[T]":
        if event is None:
            return self
        value: T = data_of(event)[self._name]
        return self._read(value) if self._read else value


class _Known(models.Event):
    """An event of a type that this client knows."""


def _failure(value: Any) -> models.Failure:
    return models.Failure.model_validate(value)


class SessionSnapshot(_Known):
    """The session as it stands, for a viewer that subscribes; `session` reads the whole of it."""

    type: Literal["session.snapshot"] = "session.snapshot"
    title: ClassVar[_Said[str]] = _Said()
    status: ClassVar[_Said[str]] = _Said()
    last_event_id: ClassVar[_Said[int]] = _Said()

    @property
    def session(self) -> models.Session:
        """The same as `get` answers, but for long outputs, which are cut."""
        return models.Session.model_validate(self.data)


class SessionPreparing(_Known):
    """An attempt to prepare began."""

    type: Literal["session.preparing"] = "session.preparing"
    attempt_number: ClassVar[_Said[int]] = _Said()
    cause: ClassVar[_Said[str]] = _Said()


class Preparing(_Known):
    """How a step goes; volatile."""

    type: Literal["preparing"] = "preparing"
    attempt_number: ClassVar[_Said[int]] = _Said()
    revision: ClassVar[_Said[int]] = _Said()
    step: ClassVar[_Said[str]] = _Said()
    status: ClassVar[_Said[str]] = _Said()
    message: ClassVar[_Said[str | None]] = _Said()
    percent: ClassVar[_Said[int | None]] = _Said()
    elapsed_ms: ClassVar[_Said[float]] = _Said()
    eta_ms: ClassVar[_Said[float | None]] = _Said()
    output: ClassVar[_Said[str]] = _Said()


class SessionPrepared(_Known):
    """All is done, and the first message is held."""

    type: Literal["session.prepared"] = "session.prepared"
    receipt: ClassVar[_Said[dict[str, Any]]] = _Said()


class SessionReady(_Known):
    """The agent has the message that the attempt was for."""

    type: Literal["session.ready"] = "session.ready"
    receipt: ClassVar[_Said[dict[str, Any]]] = _Said()


class SessionFailed(_Known):
    """The attempt failed."""

    type: Literal["session.failed"] = "session.failed"
    attempt_number: ClassVar[_Said[int]] = _Said()
    failure: ClassVar[_Said[models.Failure]] = _Said(_failure)


class SessionAsleep(_Known):
    """The sandbox is gone; `saved` says whether the work was kept as it was last."""

    type: Literal["session.asleep"] = "session.asleep"
    reason: ClassVar[_Said[str]] = _Said()
    saved: ClassVar[_Said[bool | None]] = _Said()
    left_out: ClassVar[_Said[list[str]]] = _Said()


class SessionRenamed(_Known):
    """Somebody gave the session another title."""

    type: Literal["session.renamed"] = "session.renamed"
    title: ClassVar[_Said[str]] = _Said()


class SessionDeleted(_Known):
    """The session is gone; volatile, and the last."""

    type: Literal["session.deleted"] = "session.deleted"


class MessageQueued(_Known):
    """A message took its place; `text` is its beginning where there are `text_bytes`."""

    type: Literal["message.queued"] = "message.queued"
    message_id: ClassVar[_Said[str]] = _Said()
    position: ClassVar[_Said[int]] = _Said()
    text: ClassVar[_Said[str]] = _Said()
    text_bytes: ClassVar[_Said[int | None]] = _Said()


class MessageDelivered(_Known):
    """The agent shows the message."""

    type: Literal["message.delivered"] = "message.delivered"
    message_id: ClassVar[_Said[str]] = _Said()


class MessageHeld(_Known):
    """The message waits for a person, with all behind it."""

    type: Literal["message.held"] = "message.held"
    message_id: ClassVar[_Said[str]] = _Said()


class MessageFailed(_Known):
    """The message was not delivered, or that can't be known; it is kept."""

    type: Literal["message.failed"] = "message.failed"
    message_id: ClassVar[_Said[str]] = _Said()
    code: ClassVar[_Said[str]] = _Said()
    reason: ClassVar[_Said[str]] = _Said()


class MessageWithdrawn(_Known):
    """Somebody took the message back."""

    type: Literal["message.withdrawn"] = "message.withdrawn"
    message_id: ClassVar[_Said[str]] = _Said()


class TurnStarted(_Known):
    """The agent works on a message."""

    type: Literal["turn.started"] = "turn.started"
    message_id: ClassVar[_Said[str]] = _Said()


class TurnCompleted(_Known):
    """The agent finished; `usage` has tokens and cost."""

    type: Literal["turn.completed"] = "turn.completed"
    message_id: ClassVar[_Said[str]] = _Said()
    usage: ClassVar[_Said[dict[str, Any]]] = _Said()


class TurnFailed(_Known):
    """The turn ended with an error; of a long `reason` only the beginning is here, as of a text."""

    type: Literal["turn.failed"] = "turn.failed"
    message_id: ClassVar[_Said[str]] = _Said()
    code: ClassVar[_Said[str]] = _Said()
    reason: ClassVar[_Said[str]] = _Said()
    text_bytes: ClassVar[_Said[int | None]] = _Said()
    text_ref: ClassVar[_Said[str | None]] = _Said()


class TurnInterrupted(_Known):
    """A person stopped the turn."""

    type: Literal["turn.interrupted"] = "turn.interrupted"
    message_id: ClassVar[_Said[str]] = _Said()


class TurnRetrying(_Known):
    """The model's provider failed and the agent tries again; volatile."""

    type: Literal["turn.retrying"] = "turn.retrying"
    reason: ClassVar[_Said[str]] = _Said()


class InputRequested(_Known):
    """The agent asks, and waits."""

    type: Literal["input.requested"] = "input.requested"
    request_id: ClassVar[_Said[str]] = _Said()
    kind: ClassVar[_Said[str]] = _Said()
    body: ClassVar[_Said[dict[str, Any]]] = _Said()


class InputResolved(_Known):
    """What the agent asked was answered, rejected or withdrawn, or expired."""

    type: Literal["input.resolved"] = "input.resolved"
    request_id: ClassVar[_Said[str]] = _Said()
    outcome: ClassVar[_Said[str]] = _Said()


class AgentEvent(_Known):
    """A finished part of the answer, or how a tool goes.

    Of a long `text` or `output` only the beginning is here, if there is a `text_ref`: `text` of the
    client has all `text_bytes` of it; of a long `input` its JSON, by `input_ref`. `truncated` says
    that something is gone for good.
    """

    type: Literal["agent.event"] = "agent.event"
    part_id: ClassVar[_Said[str]] = _Said()
    message_id: ClassVar[_Said[str]] = _Said()
    kind: ClassVar[_Said[str | None]] = _Said()
    text: ClassVar[_Said[str | None]] = _Said()
    tool: ClassVar[_Said[str]] = _Said()
    title: ClassVar[_Said[str]] = _Said()
    status: ClassVar[_Said[str]] = _Said()
    input: ClassVar[_Said[dict[str, Any]]] = _Said()
    output: ClassVar[_Said[str]] = _Said()
    files: ClassVar[_Said[list[str]]] = _Said()
    text_bytes: ClassVar[_Said[int | None]] = _Said()
    text_ref: ClassVar[_Said[str | None]] = _Said()
    input_bytes: ClassVar[_Said[int | None]] = _Said()
    input_ref: ClassVar[_Said[str | None]] = _Said()
    truncated: ClassVar[_Said[bool]] = _Said()


class AgentDelta(_Known):
    """Text that an open part grew by, at an `offset` in characters; volatile."""

    type: Literal["agent.delta"] = "agent.delta"
    part_id: ClassVar[_Said[str]] = _Said()
    kind: ClassVar[_Said[str | None]] = _Said()
    offset: ClassVar[_Said[int]] = _Said()
    text: ClassVar[_Said[str]] = _Said()


class AgentSnapshot(_Known):
    """The open parts, for a viewer that joins in mid-answer; volatile."""

    type: Literal["agent.snapshot"] = "agent.snapshot"
    parts: ClassVar[_Said[list[dict[str, Any]]]] = _Said()


class WorkChanged(_Known):
    """How much is different from where the session's branch began."""

    type: Literal["work.changed"] = "work.changed"
    files: ClassVar[_Said[int]] = _Said()
    additions: ClassVar[_Said[int]] = _Said()
    deletions: ClassVar[_Said[int]] = _Said()


class WorkPublished(_Known):
    """The remote's branch is at this commit."""

    type: Literal["work.published"] = "work.published"
    branch: ClassVar[_Said[str]] = _Said()
    commit: ClassVar[_Said[str]] = _Said()
    url: ClassVar[_Said[str]] = _Said()
    pull_request: ClassVar[_Said[models.PullRequest | None]] = _Said(
        lambda value: models.PullRequest.model_validate(value) if value else None
    )
    note: ClassVar[_Said[str]] = _Said()


class WorkUnchanged(_Known):
    """There was nothing to publish."""

    type: Literal["work.unchanged"] = "work.unchanged"
    branch: ClassVar[_Said[str]] = _Said()
    commit: ClassVar[_Said[str]] = _Said()
    note: ClassVar[_Said[str]] = _Said()


class WorkPublishFailed(_Known):
    """The work, or its pull request, is not where it should be."""

    type: Literal["work.publish_failed"] = "work.publish_failed"
    code: ClassVar[_Said[str]] = _Said()
    reason: ClassVar[_Said[str]] = _Said()
    retryable: ClassVar[_Said[bool]] = _Said()


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
    reason: ClassVar[_Said[str]] = _Said()
    seconds: ClassVar[_Said[float]] = _Said()


TYPES: dict[str, type[_Known]] = {
    cls.model_fields["type"].default: cls for cls in _Known.__subclasses__()
}
"""Each type of event that this client knows, by its name."""


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
