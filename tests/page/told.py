"""What happens in a session, told as the events that come of it, in short."""

from typing import Any

from session_scripts import good_start, good_turn, preparing, receipt

Event = tuple[str, dict[str, Any]]

RUNNING: list[Event] = [
    *good_start("first"),
    *good_turn()[:2],
    preparing(17, "deliver", "completed", 60),
    ("session.ready", receipt()),
]
"""A session whose agent has begun to work on its first message."""


def queued(number: int, text: str, **more: Any) -> Event:
    return "message.queued", {"messageId": f"msg_{number}", "position": number, "text": text} | more


def held(number: int) -> Event:
    return "message.held", {"messageId": f"msg_{number}"}


def started(number: int) -> Event:
    return "turn.started", {"turnId": f"turn_{number}", "messageId": f"msg_{number}"}


def ended(number: int, how: str = "completed", **more: Any) -> Event:
    ids = {"turnId": f"turn_{number}", "messageId": f"msg_{number}"}
    return f"turn.{how}", ids | more


def asleep(reason: str = "It was idle", saved: bool = True) -> Event:
    return "session.asleep", {"reason": reason, "saved": saved, "leftOut": []}


def written(part: str, offset: int, text: str) -> Event:
    """Return what the agent is about to say, a piece of it."""
    return "agent.delta", {"partId": part, "offset": offset, "text": text}


def said(part: str, text: str, **more: Any) -> Event:
    return _part("text", part, text=text, **more)


def erred(part: str, text: str, **more: Any) -> Event:
    return _part("error", part, text=text, **more)


def used(part: str, tool: str, status: str, **more: Any) -> Event:
    return _part("tool", part, tool=tool, status=status, **more)


def _part(kind: str, part: str, **more: Any) -> Event:
    return "agent.event", {"kind": kind, "messageId": "m", "partId": part} | more


def failed(step: str, code: str, reason: str, *, retryable: bool = True) -> Event:
    failure = {"step": step, "code": code, "reason": reason, "retryable": retryable}
    return "session.failed", {"attemptNumber": 1, "failure": failure}


def asked_permission(request: str) -> Event:
    body = {"title": "bash", "patterns": ["git log"]}
    return "input.requested", {"requestId": request, "kind": "permission", "body": body}


def asked_question(request: str) -> Event:
    options = [
        {"label": "The code", "description": "Begin with what is there."},
        {"label": "A test", "description": "Begin with what should be there."},
    ]
    body = {"questions": [{"question": "Where should I begin?", "options": options}]}
    return "input.requested", {"requestId": request, "kind": "question", "body": body}


PREPARED = [*good_start()[:-1], ("session.prepared", receipt()), held(1)]
"""A session whose prompt waits for a person."""

FAILED = [*good_start()[:12], failed("setup", "SetupFailed", "npm ci: exit code 1")]

ASKING = [*RUNNING, asked_question("q"), asked_permission("p")]

STOPPED = [*RUNNING, queued(2, "second"), ended(1, "interrupted"), held(2)]
"""A session whose turn was stopped, with another message behind it."""

QUEUE = [*RUNNING, queued(2, "second"), queued(3, "third")]
"""A session that is at work, with two messages behind it."""
