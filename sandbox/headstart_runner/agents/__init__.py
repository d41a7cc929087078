"""The agents the runner can drive: one module each, one entry here."""

import shutil

from headstart.domain.errors import AgentStartFailed, AgentUnavailable
from headstart_runner.agents.base import AgentAdapter
from headstart_runner.agents.demo import DemoAgent
from headstart_runner.agents.kilo import KiloAgent
from headstart_runner.agents.opencode import OpencodeAgent

AGENTS: dict[str, AgentAdapter] = {
    agent.name: agent for agent in (DemoAgent(), KiloAgent(), OpencodeAgent())
}


def find_agent(name: str, path: str) -> AgentAdapter:
    """Return an agent's adapter; AgentUnavailable for an unknown name."""
    try:
        return AGENTS[name]
    except KeyError:
        raise start_error(name, "Headstart knows no such agent", path) from None


def check_agent(name: str, path: str) -> None:
    """Make sure that an agent's program is there; raises AgentUnavailable."""
    program = find_agent(name, path).serve_command(0)[0]
    if not shutil.which(program, path=path):
        raise start_error(name, f"there is no {program} on its PATH", path)


def start_error(name: str, why: str, path: str) -> AgentStartFailed:
    """Return the error of an agent that can't be run; it names those whose programs are on PATH."""
    programs = {known: agent.serve_command(0)[0] for known, agent in AGENTS.items()}
    here = [known for known, program in programs.items() if shutil.which(program, path=path)]
    if name in here:
        return AgentStartFailed(f"{name} could not be started: {why}")
    return AgentUnavailable(
        f"This sandbox has no {name}, only {', '.join(here)}: {why}. Start a session with one of "
        "these, or have the deployment's image hold it"
    )
