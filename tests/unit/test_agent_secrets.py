"""What agents get and nobody else: read just in time, sent in the frame, written nowhere."""

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from headstart.adapters.memory import MemoryPorts
from headstart.adapters.secrets import ManagedSecrets
from headstart.domain.errors import AgentStartFailed
from headstart.domain.steps import StepName
from tests.unit.helpers import begin, created, prepared_up_to

KEY = "sk-0123456789abcdef"
PROVIDER = {"anthropic": {"options": {"apiKey": "{env:PROVIDER_KEY}"}}}


class Manager:
    """Secrets Manager as far as it is asked."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[str] = []

    def get_secret_value(self, **request: str) -> dict[str, Any]:
        self.asked.append(request["SecretId"])
        if not self.text:
            raise EndpointConnectionError(endpoint_url="https://secretsmanager")
        return {"SecretString": self.text}


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def secrets_of(manager: Manager, arn: str = "arn:aws:secret", clock: Clock | None = None) -> Any:
    client: Any = manager
    return ManagedSecrets(lambda: client, arn, clock or Clock())


def test_the_agents_command_carries_provider_and_secrets_and_no_row_does(
    ports: MemoryPorts,
) -> None:
    ports.policy = ports.policy.model_copy(update={"provider": PROVIDER})
    ports.secrets.variables = {"PROVIDER_KEY": KEY}
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, StepName.AGENT)
    assert ports.secrets.reads == 1, "once, for the agent that gets ready beside the clone"

    begin(ports, session_id, StepName.AGENT)

    args = runner.frames()[-1]["args"]
    assert (args["provider"], args["secrets"]) == (PROVIDER, {"PROVIDER_KEY": KEY})
    rows = [row.to_json() for row in ports.store.commands(session_id)]
    stored = [rows, [event.to_json() for event in ports.store.event_log[session_id]]]
    assert KEY not in json.dumps(stored)


def test_a_runner_that_comes_back_gets_the_secrets_again(ports: MemoryPorts) -> None:
    ports.secrets.variables = {"PROVIDER_KEY": KEY}
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, StepName.AGENT)
    begin(ports, session_id, StepName.AGENT)
    runner.connection_id = "r2"

    runner.connect(runner.key)
    runner.hello()

    [agent] = [frame for frame in runner.frames() if frame.get("kind") == "agent"]
    assert agent["args"]["secrets"] == {"PROVIDER_KEY": KEY}


def test_a_secret_is_read_once_in_five_minutes() -> None:
    manager, clock = Manager(json.dumps({"PROVIDER_KEY": KEY})), Clock()
    secrets = secrets_of(manager, clock=clock)

    assert secrets.read() == secrets.read() == {"PROVIDER_KEY": KEY}
    clock.now += 299
    secrets.read()
    assert manager.asked == ["arn:aws:secret"]
    clock.now += 2
    manager.text = json.dumps({"PROVIDER_KEY": "rotated"})
    assert secrets.read() == {"PROVIDER_KEY": "rotated"}


def test_without_a_secret_nobody_is_asked() -> None:
    manager = Manager("")

    assert secrets_of(manager, arn="").read() == {}
    assert manager.asked == []


@pytest.mark.parametrize("text", [" ", KEY, json.dumps([KEY]), json.dumps({"PROVIDER_KEY": 1})])
def test_a_secret_that_is_not_variables_fails_without_being_quoted(text: str) -> None:
    with pytest.raises(AgentStartFailed) as caught:
        secrets_of(Manager(text)).read()

    assert KEY not in caught.value.reason


def test_what_was_read_serves_on_while_nothing_can_be_read_and_nonsense_does_not_pass() -> None:
    manager, clock = Manager(json.dumps({"PROVIDER_KEY": KEY})), Clock()
    secrets = secrets_of(manager, clock=clock)
    secrets.read()
    clock.now += 301
    manager.text = ""
    assert secrets.read() == {"PROVIDER_KEY": KEY}
    clock.now += 31
    manager.text = "nonsense"
    with pytest.raises(AgentStartFailed):
        secrets.read()
    # Who repairs it waits for nothing.
    manager.text = json.dumps({"PROVIDER_KEY": "another"})
    assert secrets.read() == {"PROVIDER_KEY": "another"}
