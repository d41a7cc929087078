"""How the demo agent asks: a prompt with "ask me" in it lets people see permissions and questions.

"ask me a question" asks one to choose, any other "ask me" asks for a permission.
"""

import asyncio
from typing import Any

from headstart_demo_agent.store import Json

_OPTIONS = (
    ("Read the code", "Begin with what is there."),
    ("Write a test", "Begin with what should be there."),
)


class Questions:
    """What waits for an answer, by request id."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, Json, asyncio.Future[Json]]] = {}

    def listed(self, kind: str) -> list[Json]:
        """Return the open requests of a kind."""
        return [properties for known, properties, _ in self._open.values() if known == kind]

    def ask(self, kind: str, properties: Json) -> asyncio.Future[Json]:
        """Return what will hold the answer's body, empty for a rejection."""
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        request_id = properties["id"]
        self._open[request_id] = (kind, properties, future)
        future.add_done_callback(lambda _: self._open.pop(request_id, None))
        return future

    def reply(self, kind: str, request_id: str, body: Json) -> Json | None:
        """Answer a request and return its properties, None where nothing is asked."""
        known, properties, future = self._open.get(request_id, ("", {}, None))
        if future is None or known != kind or future.done():
            return None
        future.set_result(body)
        return properties


def wanted(text: str) -> str | None:
    """Return which kind of request a prompt wants to see."""
    lower = text.lower()
    if "ask me a question" in lower:
        return "question"
    return "permission" if "ask me" in lower else None


def request(kind: str, session_id: str, request_id: str) -> Json:
    """Return what is asked, as opencode puts it."""
    common: dict[str, Any] = {"id": request_id, "sessionID": session_id}
    if kind == "permission":
        command = "git log"
        return {**common, "permission": "bash", "patterns": [command],
                "metadata": {"command": command}, "always": [command]}  # fmt: skip
    options = [{"label": label, "description": why} for label, why in _OPTIONS]
    asked = {"question": "Where should I begin?", "header": "Begin", "options": options}
    return {**common, "questions": [asked]}


def told(kind: str, answer: Json) -> str:
    """Return what the answer to the prompt says about the person's answer."""
    if kind == "permission":
        reply = answer.get("reply", "reject")
        return {
            "once": "You allowed it this once.",
            "always": "You allowed it from now on.",
        }.get(reply, "You did not allow it, so I only read.")
    chosen = [label for labels in answer.get("answers") or [] for label in labels]
    return f"You chose: {', '.join(chosen)}." if chosen else "You chose nothing, so I choose."
