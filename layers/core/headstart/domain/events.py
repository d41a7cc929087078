"""What happened, as viewers see it: one class an event, nothing else to change for a new one."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from headstart.domain.failure import Failure
from headstart.domain.model import Model, Timestamp
from headstart.domain.receipt import Receipt
from headstart.domain.session import Cause
from headstart.domain.steps import StepName, StepStatus
from headstart.domain.work import PullRequest

TEXT_LIMIT = 8 * 1024
"""Bytes of a message's text that travel in `message.queued`; the whole is in GET …/messages."""


class Event(Model):
    """One event as sent and stored; `event_id` is None for a volatile one."""

    event_id: int | None
    session_id: str
    type: str
    timestamp: Timestamp
    turn_id: str | None = None
    data: dict[str, Any]

    @model_serializer(mode="wrap")
    def _without_absent_turn(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        body: dict[str, Any] = handler(self)
        if self.turn_id is None:
            body.pop("turnId", None)
            body.pop("turn_id", None)
        return body


class EventData(Model):
    """The data of one type of event; persisted unless it says otherwise."""

    type: ClassVar[str]
    persisted: ClassVar[bool] = True

    def event(
        self, session_id: str, now: datetime, event_id: int | None, turn_id: str | None = None
    ) -> Event:
        """Return the event that carries this data."""
        return Event(
            event_id=event_id,
            session_id=session_id,
            type=self.type,
            timestamp=now,
            turn_id=turn_id,
            data=self.model_dump(mode="json", by_alias=True, exclude_none=True),
        )


class SessionPreparing(EventData):
    """An attempt began."""

    type = "session.preparing"
    attempt_number: int
    cause: Cause


class Preparing(EventData):
    """How a step goes. A lower `attemptNumber` or `revision` than seen before is ignored."""

    type = "preparing"
    persisted = False
    attempt_number: int
    revision: int
    step: StepName
    status: StepStatus
    message: str | None = None
    percent: int | None = None
    elapsed_ms: int
    eta_ms: int | None = None
    output: str | None = None
    output_offset: int | None = None


class SessionRenamed(EventData):
    """A person gave the session a title, or another prompt, which it is named after."""

    type = "session.renamed"
    title: str


class SessionMoved(EventData):
    """A person corrected the repository's address, before anything was cloned."""

    type = "session.moved"
    git_url: str


class SessionPrepared(EventData):
    """Everything is done and the first message is held."""

    type = "session.prepared"
    receipt: Receipt


class SessionReady(EventData):
    """The agent has accepted the message this attempt was for."""

    type = "session.ready"
    receipt: Receipt


class SessionFailed(EventData):
    """The attempt failed; the first message is kept and nothing was initiated."""

    type = "session.failed"
    attempt_number: int
    failure: Failure


class SessionAsleep(EventData):
    """The container is gone; the next message wakes the session.

    `saved` says whether the work was kept as it was last; the `reason` says why not, and as of when
    it is kept. `leftOut` names files that are not in it, and why: 20 at most, then how many more.
    """

    type = "session.asleep"
    reason: str
    saved: bool = False
    left_out: list[str] = Field(default_factory=list)


class SessionDeleted(EventData):
    """The session is gone; its sockets close."""

    type = "session.deleted"
    persisted = False


class MessageQueued(EventData):
    """A message took its place in the queue; `text` is its first 8 KB.

    Where that is not all of it, `textBytes` says how much there is, in bytes of UTF-8: the whole is
    in `GET …/messages`.
    """

    type = "message.queued"
    message_id: str
    position: int
    text: str
    text_bytes: int | None = None


class MessageChanged(EventData):
    """A person gave the session another prompt, before the agent had the first.

    `text` and `textBytes` are as of a message that is queued.
    """

    type = "message.changed"
    message_id: str
    text: str
    text_bytes: int | None = None


class MessageWithdrawn(EventData):
    """The message left the queue, and is never delivered."""

    type = "message.withdrawn"
    message_id: str


class MessageDelivered(EventData):
    """The agent shows the message."""

    type = "message.delivered"
    message_id: str


class MessageFailed(EventData):
    """The message was not delivered, or it can't be known; it is kept."""

    type = "message.failed"
    message_id: str
    code: str
    reason: str


class MessageHeld(EventData):
    """The message waits, with all behind it, for a person: `initiate` or another message."""

    type = "message.held"
    message_id: str


class TurnStarted(EventData):
    """The agent works on a message."""

    type = "turn.started"
    turn_id: str
    message_id: str


class TurnCompleted(EventData):
    """The agent finished."""

    type = "turn.completed"
    turn_id: str
    message_id: str
    usage: dict[str, Any] = Field(default_factory=dict)


class TurnFailed(EventData):
    """The turn ended with an error.

    Of a long `reason` it has the beginning, `textBytes`, and `textRef` by which all of it is read.
    """

    type = "turn.failed"
    turn_id: str
    message_id: str
    code: str
    reason: str
    text_ref: str | None = None
    text_bytes: int | None = None


class TurnInterrupted(EventData):
    """A person stopped the turn."""

    type = "turn.interrupted"
    turn_id: str
    message_id: str


class TurnRetrying(EventData):
    """The model provider failed and the agent tries again."""

    type = "turn.retrying"
    persisted = False
    reason: str


class InputRequested(EventData):
    """The agent asks for a permission or an answer, and waits."""

    type = "input.requested"
    request_id: str
    kind: str
    body: dict[str, Any]


class InputResolved(EventData):
    """What the agent asked was answered, rejected, withdrawn, or expired.

    `answer` is what a person said, `reply` or `answers` as in the call, the ends of long texts left
    out: 8 KB in all. It is absent where the agent needed none, and where it is longer than that.
    """

    type = "input.resolved"
    request_id: str
    outcome: str
    answer: dict[str, Any] | None = None


class WorkChanged(EventData):
    """What is different from where the session's branch began: `GET …/changes` names the files.

    Lines of text files; told before the work is saved, each time it is another than before.
    """

    type = "work.changed"
    files: int
    additions: int
    deletions: int


class WorkPublished(EventData):
    """The remote was asked, and its branch is at this commit.

    `url` is a page about it, if there is one; `pullRequest` is `{number, url}`; `note` says what
    was not done, in words.
    """

    type = "work.published"
    branch: str
    commit: str
    url: str | None = None
    pull_request: PullRequest | None = None
    note: str | None = None


class WorkUnchanged(EventData):
    """There was nothing to publish: no commit that the remote has not; `commit` is what it has."""

    type = "work.unchanged"
    branch: str
    commit: str | None = None
    note: str | None = None


class WorkPublishFailed(EventData):
    """The work, or its pull request, is not where it should be; it is kept."""

    type = "work.publish_failed"
    code: str
    reason: str
    retryable: bool


class RunnerDisconnected(EventData):
    """The sandbox's connection dropped; it will reconnect by itself."""

    type = "runner.disconnected"
    persisted = False


class RunnerReconnected(EventData):
    """The sandbox is connected again."""

    type = "runner.reconnected"
    persisted = False


class _Passed(EventData):
    """Data the runner made and the cloud passes on as it is."""

    payload: dict[str, Any]

    def event(
        self, session_id: str, now: datetime, event_id: int | None, turn_id: str | None = None
    ) -> Event:
        """Return the event with the payload as its data."""
        return Event(
            event_id=event_id,
            session_id=session_id,
            type=self.type,
            timestamp=now,
            turn_id=turn_id,
            data=self.payload,
        )


class SessionSnapshot(_Passed):
    """The session as GET answers it, for a viewer that subscribes.

    Long outputs and long bodies of inputs are cut, the latter with `truncated`.
    """

    type = "session.snapshot"
    persisted = False


class AgentEvent(_Passed):
    """A finished part of the agent's answer, or the start of a tool.

    `kind` (text, reasoning, tool, patch, usage, error, other), `messageId`, `partId` and what the
    kind needs: `text`; `tool`, `status`, `title`, `input`, `output`; `files`. `exitCode` is how the
    command of a tool ended, where the agent tells: its `status` is `completed` with any. Of a long
    `text` or `output` it has the beginning, `textBytes`, and `textRef` by which all of it is read;
    of a long `input`, of which it has the beginnings of its texts, `inputBytes` and `inputRef` by
    which its JSON is read. `truncated` where something is gone.
    """

    type = "agent.event"


class AgentDelta(_Passed):
    """Text an open part grew by: `partId, offset, text`."""

    type = "agent.delta"
    persisted = False


class AgentSnapshot(_Passed):
    """The open `parts`, for a viewer that joins in mid-answer."""

    type = "agent.snapshot"
    persisted = False


def _concrete(cls: type[EventData]) -> list[type[EventData]]:
    children = [found for child in cls.__subclasses__() for found in _concrete(child)]
    return ([cls] if "type" in vars(cls) else []) + children


EVENT_TYPES: dict[str, type[EventData]] = {cls.type: cls for cls in _concrete(EventData)}
"""Every event there is, by type."""
