"""What a deployment tells forms, and holds requests to."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.agents import MODES
from headstart.domain.errors import ValidationFailed
from headstart.usecases.read import get_defaults
from tests.unit.helpers import created


def test_without_parameters_it_is_all_that_headstart_knows(ports: MemoryPorts) -> None:
    found = get_defaults(ports)
    assert (found["agent"], found["mode"], found["model"]) == ("demo", "code", None)
    assert [agent["name"] for agent in found["agents"]] == ["demo", "kilo", "opencode"]
    assert {model for agent in found["agents"] for model in agent["models"]} == set()
    assert found["limits"] == {
        "activeSessions": ports.policy.active_sessions,
        "promptBytes": 100_000,
        "envVars": 50,
        "setupCommands": 20,
        "setupCommandCharacters": 10_000,
        "mcpServers": 20,
        "appendSystemPromptCharacters": 10_000,
        "bodyBytes": 262_144,
    }


def test_what_a_deployment_names_is_told(ports: MemoryPorts) -> None:
    policy = ports.policy
    policy.agents, policy.default_agent = ["demo", "kilo", "someone"], "kilo"
    policy.models, policy.default_model = ["b/x", "a/y"], "a/z"
    found = get_defaults(ports)
    assert (found["agent"], found["mode"], found["model"]) == ("kilo", "code", "a/z")
    assert found["agents"] == [
        {"name": "demo", "modes": ["code"], "models": []},
        {"name": "kilo", "modes": [*MODES["kilo"]], "models": ["a/y", "a/z", "b/x"]},
    ]


@pytest.mark.parametrize(("named", "asked"), [([], "nobody"), (["demo"], "opencode")])
def test_an_agent_that_no_sandbox_has_is_refused_at_once(
    ports: MemoryPorts, named: list[str], asked: str
) -> None:
    ports.policy.agents = named
    with pytest.raises(ValidationFailed, match="demo") as refused:
        created(ports, agent=asked)
    assert refused.value.errors[0]["loc"] == ["agent"]
    assert not ports.store.sessions


def test_a_default_that_is_not_there_is_told_as_well(ports: MemoryPorts) -> None:
    ports.policy.agents, ports.policy.default_agent = ["demo"], "kilo"
    with pytest.raises(ValidationFailed, match="demo"):
        created(ports)
    created(ports, agent="demo")


def test_a_mode_of_the_default_agent_is_not_asked_of_another(ports: MemoryPorts) -> None:
    ports.policy.default_agent, ports.policy.default_mode = "opencode", "plan"
    modes = {
        agent: ports.store.session(created(ports, agent=agent)).mode
        for agent in ("opencode", "kilo", "demo")
    }
    assert modes == {"opencode": "plan", "kilo": "code", "demo": "code"}
