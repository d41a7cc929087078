"""The agents the runner can drive: one module each, one entry here."""

from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents.base import AgentAdapter
from headstart_runner.agents.demo import DemoAgent
from headstart_runner.agents.kilo import KiloAgent
from headstart_runner.agents.opencode import OpencodeAgent

AGENTS: dict[str, AgentAdapter] = {
    agent.name: agent for agent in (DemoAgent(), KiloAgent(), OpencodeAgent())
}


def find_agent(name: str) -> AgentAdapter:
    """Return an agent's adapter; AgentStartFailed for an unknown name."""
    try:
        return AGENTS[name]
    except KeyError:
        known = ", ".join(sorted(AGENTS))
        raise AgentStartFailed(f"There is no agent {name}: this sandbox has {known}") from None
