"""What was asked for of a session reaches the step that it is for."""

from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.steps import StepName
from tests.unit.helpers import begin, created, prepared_up_to

ASKED = [
    ({"upstreamBranch": "dev"}, StepName.CLONE, "upstreamBranch"),
    ({"envVars": {"A": "1"}}, StepName.RESTORE, "env"),
    ({"setupCommands": ["make"]}, StepName.SETUP, "commands"),
    ({"envVars": {"A": "1"}}, StepName.AGENT, "env"),
    ({"mcpServers": {"docs": {"type": "local"}}}, StepName.AGENT, "mcpServers"),
    ({"appendSystemPrompt": "Be brief."}, StepName.AGENT, "appendSystemPrompt"),
]


@pytest.mark.parametrize("is_counted", [True, False])
@pytest.mark.parametrize(("given", "step", "argument"), ASKED)
def test_a_step_is_told_what_is_for_it(
    ports: MemoryPorts, given: dict[str, Any], step: StepName, argument: str, is_counted: bool
) -> None:
    session_id = created(ports, **given)
    runner = prepared_up_to(ports, session_id, step)
    if not is_counted:
        # As earlier versions wrote it.
        ports.store.sets[session_id].session.counts = {}
    begin(ports, session_id, step)
    assert runner.frames()[-1]["args"][argument] == next(iter(given.values()))


def test_the_clone_is_told_what_may_be_pushed(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, StepName.CLONE)
    begin(ports, session_id, StepName.CLONE)

    session = ports.store.sets[session_id].session
    assert runner.frames()[-1]["args"]["branch"] == session.branch
