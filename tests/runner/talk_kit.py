"""What the tests of conversations share: an agent's events, and doors before its calls."""

import asyncio
from typing import Any

import pytest
from runner_kit import prompt_args

from headstart.domain.channel import RunnerEvent
from headstart.domain.command_args import PromptArgs
from headstart_runner.agents.http import AgentClient, AgentSilent
from headstart_runner.conversation.turn import Turn
from headstart_runner.redaction import Redactor

Posts = list[dict[str, Any]]
"""What was posted to the agent."""


def event(kind: str, **properties: Any) -> dict[str, Any]:
    return {"type": kind, "properties": {"sessionID": "ses_1", **properties}}


def answer(**fields: Any) -> dict[str, Any]:
    info = {"id": "msg_a", "role": "assistant", "parentID": "msg_u", **fields}
    return event("message.updated", info=info)


def released(reported: list[RunnerEvent], client: AgentClient | None = None) -> Turn:
    """Return the turn of message `msg_u` in session `ses_1`, which reports to a list."""

    async def connect() -> AgentClient:
        if client is None:
            raise AgentSilent("nobody")
        return client

    turn = Turn(
        PromptArgs.model_validate(prompt_args() | {"sessionId": "ses_1"}),
        agent_message_id="msg_u",
        command_id="c",
        redactor=Redactor(),
        report=reported.append,
        connect=connect,
    )
    turn.release()
    return turn


class Door:
    """Where a call waits until it is opened; what comes after that goes straight through."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        self.reached.set()
        await self.opened.wait()


def hold(monkeypatch: pytest.MonkeyPatch, call: str, *, answered: bool = False) -> Door:
    """Let a call to the agent wait at a door: before it is made, or once it is `answered`."""
    door, real = Door(), getattr(AgentClient, call)

    async def held(self: AgentClient, *arguments: Any) -> Any:
        if not answered:
            await door.passed()
        result = await real(self, *arguments)
        if answered:
            await door.passed()
        return result

    monkeypatch.setattr(AgentClient, call, held)
    return door
