"""What the tests of conversations share: events as an agent's stream has them."""

from typing import Any

Posts = list[dict[str, Any]]
"""What was posted to the agent."""


def event(kind: str, **properties: Any) -> dict[str, Any]:
    return {"type": kind, "properties": {"sessionID": "ses_1", **properties}}


def answer(**fields: Any) -> dict[str, Any]:
    info = {"id": "msg_a", "role": "assistant", "parentID": "msg_u", **fields}
    return event("message.updated", info=info)
