"""What the agents' tests share: a prepared sandbox with any of the registered agents in it."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from fake_cloud import FakeCloud, Json
from model_stub import KEY, KEY_VARIABLE, MODEL, ModelStub
from runner_kit import SESSION_ID, Sandbox, clone_args, prompt_args

from headstart.domain.command_args import RestoreArgs
from headstart_runner.agents import AGENTS

PATIENCE = 60.0
"""Seconds a turn of a real agent may take on a busy machine."""


def wanted() -> list[str]:
    """Return the agents to test: the one in AGENT, or all."""
    return [os.environ["AGENT"]] if os.environ.get("AGENT") else sorted(AGENTS)


def installed(name: str) -> bool:
    """Return whether an agent's program is on PATH."""
    return shutil.which(AGENTS[name].serve_command(1)[0]) is not None


class AgentBox:
    """A sandbox, the cloud it talks to, and its agent."""

    def __init__(self, agent: str, cloud: FakeCloud, sandbox: Sandbox, model: ModelStub) -> None:
        self.agent = agent
        self.cloud = cloud
        self.sandbox = sandbox
        self.model = model

    def agent_args(self, **more: Any) -> Json:
        """Return the arguments that start the agent on the stub of a model."""
        args = {
            "agent": self.agent,
            "sessionId": SESSION_ID,
            "mode": "code",
            "title": "Lighthouse",
            "env": {"DEMO_AGENT_SECONDS": "0.2"},
        }
        if self.agent != "demo":
            provider, secrets = self.model.provider(), {KEY_VARIABLE: KEY}
            args |= {"model": MODEL, "provider": provider, "secrets": secrets}
        return {**args, **more}

    def restore_args(self, agent: Json) -> Json:
        """Return the arguments that import the session for an agent started with those."""
        same = {name: agent[name] for name in ("env", "repositoryConfig") if name in agent}
        return {"agent": self.agent, "sessionId": SESSION_ID, "title": "Lighthouse", **same}

    async def prepare(self, git_url: str, **more: Any) -> None:
        """Do what an attempt does before the first delivery."""
        agent = self.agent_args(**more)
        for kind, args in (
            ("clone", clone_args(git_url, agent=agent)),
            ("restore", self.restore_args(agent)),
            ("agent", agent),
        ):
            await self.succeed(kind, args)

    async def slow_down(self) -> None:
        """Let the demo agent take its time; the others' model is told to, if it does not anyway."""
        if self.agent == "demo":
            slow = self.agent_args(env={"DEMO_AGENT_SECONDS": "3"})
            await self.succeed("agent", slow, "1.agent.slow")

    async def begin(self, kind: str, args: Json, name: str = "") -> Json:
        """Run a command to its end, whatever that is."""
        return await self.cloud.result(await self.cloud.start(kind, args, name=name), PATIENCE)

    async def succeed(self, kind: str, args: Json, name: str = "") -> Json:
        """Run a command that has to succeed, and return what it answers."""
        result = await self.begin(kind, args, name)
        assert result["status"] == "completed", result
        output: Json = result["output"]
        return output

    async def prompt(self, number: int, text: str) -> Json:
        """Deliver a message and return the end of its turn."""
        await self.deliver(number, text)
        return await self.ended(number)

    async def deliver(self, number: int, text: str) -> str:
        """Deliver a message and return the id that the agent has it under."""
        output = await self.succeed("prompt", prompt_args(number, text), f"msg_{number}.prompt")
        return str(output["agentMessageId"])

    async def ended(self, number: int) -> Json:
        """Wait for the end of a turn."""
        turn_id = f"trn_{number}"
        await self.cloud.until(lambda: self.cloud.of("turn.ended", turnId=turn_id), PATIENCE)
        [ended] = self.cloud.of("turn.ended", turnId=turn_id)
        return ended

    async def asked(self, number: int) -> Json:
        """Wait for what an agent asks in a turn, the one thing."""
        turn_id = f"trn_{number}"
        await self.cloud.until(lambda: self.cloud.of("input.requested", turnId=turn_id), PATIENCE)
        [request] = self.cloud.of("input.requested", turnId=turn_id)
        return request

    async def answer(self, request: Json, answer: Json) -> None:
        """Answer what an agent asked."""
        args = {"requestId": request["requestId"], "answer": answer}
        await self.succeed("input", args, f"{request['requestId']}.answer")

    def parts(self, number: int, kind: str) -> list[Json]:
        """Return the parts of an answer of one kind."""
        events = self.cloud.of("agent.event", turnId=f"trn_{number}")
        return [event["data"] for event in events if event["data"]["kind"] == kind]

    def said(self, number: int) -> str:
        """Return the text of an answer."""
        return "\n".join(part["text"] for part in self.parts(number, "text"))

    def export(self) -> Json:
        """Return the session as the agent's own command line exports it, beside its server."""
        adapter = AGENTS[self.agent]
        restore = RestoreArgs(agent=self.agent, session_id=SESSION_ID, title="")
        program = adapter.serve_command(1)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.sandbox.config.home),
            **adapter.environment(restore, "", {}, ""),
        }
        done = subprocess.run(
            [*program[: program.index("serve")], "export", SESSION_ID],
            cwd=self.sandbox.repository,
            env=environment,
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        )
        exported: Json = json.loads(done.stdout)
        return exported

    def leftovers(self) -> list[Path]:
        """Return the import files that were not removed."""
        return list(Path(tempfile.gettempdir()).glob("headstart-*.json"))
