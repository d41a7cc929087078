"""What agents are told of repositories' own configuration, and of where to keep a session."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.config import Settings
from headstart.domain.steps import StepName
from tests.unit.helpers import begin, created, prepared_up_to

REQUIRED = {
    "HEADSTART_STACK": "s",
    "HEADSTART_TABLE": "t",
    "HEADSTART_STATE_MACHINE_ARN": "arn",
    "HEADSTART_STREAM_URL": "wss://x",
    "HEADSTART_SOCKET_MANAGEMENT_URL": "https://x",
}


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("step", [StepName.RESTORE, StepName.AGENT])
def test_import_and_server_are_told_the_same(
    ports: MemoryPorts, step: StepName, allowed: bool
) -> None:
    ports.policy = ports.policy.model_copy(update={"repository_config": allowed})
    session_id = created(ports, envVars={"HOME": "/workspace/data"})
    runner = prepared_up_to(ports, session_id, step)

    begin(ports, session_id, step)

    args = runner.frames()[-1]["args"]
    assert args["repositoryConfig"] is allowed
    assert args["env"] == {"HOME": "/workspace/data"}


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({}, False),
        ({"HEADSTART_REPOSITORY_CONFIG": "false"}, False),
        ({"HEADSTART_REPOSITORY_CONFIG": "true"}, True),
    ],
)
def test_a_repository_configures_agents_only_where_the_deployment_allows_it(
    given: dict[str, str], allowed: bool
) -> None:
    policy = Settings.from_environment({**REQUIRED, **given}).policy()

    assert policy.repository_config is allowed
