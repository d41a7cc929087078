"""What the clone's command tells of the agent, which gets ready beside it."""

from collections.abc import Callable

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import AgentStartFailed, ServiceUnavailable, StepError
from tests.envelopes import secrets
from tests.unit.attempts import S
from tests.unit.helpers import begin, created, prepared_up_to, token


def test_the_clone_brings_what_the_agents_own_step_will(ports: MemoryPorts) -> None:
    ports.secrets.variables = {"PROVIDER_KEY": "sk-1"}
    session_id = created(
        ports,
        envVars={"CI": "1"},
        mcpServers={"wiki": {"type": "local", "command": ["wiki"]}},
        appendSystemPrompt="Be brief.",
        encryptedSecrets=secrets("A"),
    )
    runner = prepared_up_to(ports, session_id, S.AGENT)
    begin(ports, session_id, S.AGENT)

    told = {frame["kind"]: frame["args"] for frame in runner.frames() if "kind" in frame}
    own = told["agent"]
    assert own["secrets"] == {"PROVIDER_KEY": "sk-1"}
    assert own["env"] == {"CI": "1"}
    assert own["title"]
    # The secrets that a clone brings are the session's, and it brings them once.
    assert told["clone"]["agent"] == {**own, "sealed": None}
    assert told["clone"]["sealed"] == own["sealed"]


def test_no_other_step_is_told_the_deployments_keys(ports: MemoryPorts) -> None:
    ports.secrets.variables = {"PROVIDER_KEY": "sk-1"}
    session_id = created(ports, setupCommands=["ls"])
    runner = prepared_up_to(ports, session_id, S.DELIVER)

    kinds = [frame["kind"] for frame in runner.frames() if "sk-1" in str(frame.get("args"))]
    assert kinds == ["clone", "agent"]


@pytest.mark.parametrize("error", [AgentStartFailed("no JSON"), ServiceUnavailable("throttled")])
def test_secrets_that_can_not_be_read_cost_no_clone(
    ports: MemoryPorts, error: StepError | ServiceUnavailable
) -> None:
    ports.secrets.read = _raising(error)  # type: ignore[method-assign]  (a failure of one moment)
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)

    assert runner.frames()[-1]["args"]["agent"] is None
    assert token(S.CLONE) not in ports.machine.answers


def _raising(error: Exception) -> Callable[[], dict[str, str]]:
    def read() -> dict[str, str]:
        raise error

    return read
