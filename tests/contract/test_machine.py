"""The real state machine, whole, under moto: its states call our functions in this process."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto import mock_aws
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackEndpoint

from headstart.adapters.aws import make_client
from headstart.adapters.dynamodb import DynamoStore
from headstart.adapters.memory import MemoryPorts, MemorySandboxes, MemorySockets
from headstart.adapters.stepfunctions import StepFunctionsMachine
from headstart.domain.message import MessageStatus
from headstart.domain.requests import CreateSession
from headstart.domain.session import Status
from headstart.domain.steps import STEPS, StepName
from headstart.usecases.create import create_session
from headstart.usecases.inbox import receive
from headstart.usecases.ports import SandboxSpec
from headstart.usecases.prepare import (
    StepTask,
    error_of,
    fail_preparation,
    finish_preparation,
    run_step,
)
from headstart.usecases.watch import connect_runner
from tests.contract.conftest import table_definition

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0

Answers = dict[str, dict[str, Any]]


class Whole(MemoryPorts):
    """Table and machine on moto; the sandbox is a thread that answers commands from a list."""

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        dynamodb, machine = _one_at_a_time(make_client("dynamodb")), make_client("stepfunctions")
        dynamodb.create_table(**table_definition())
        text = (ROOT / "statemachine" / "preparation.asl.yaml").read_text()
        arn = machine.create_state_machine(
            name="preparation",
            definition=json.dumps(yaml.safe_load(_substituted(text))),
            roleArn="arn:aws:iam::123456789012:role/any",
        )["stateMachineArn"]
        self.states = machine
        self.store = DynamoStore(dynamodb, "headstart")  # type: ignore[assignment]
        self.machine = StepFunctionsMachine(machine, arn)  # type: ignore[assignment]
        self.arn = arn
        self.runner = ScriptedRunner(self, answers)
        self.sockets = self.runner
        self.sandboxes = StartsRunner(self.runner)

    def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        """Do what run_step and finish_preparation do with their events."""
        if "taskToken" in event:
            run_step(self, StepTask.model_validate(event))
        elif "error" in event:
            error = error_of(event["error"])
            fail_preparation(self, event["sessionId"], event["attemptNumber"], error)
            return {"code": error.code, "reason": error.reason}
        else:
            finish_preparation(self, event["sessionId"], event["attemptNumber"])
        return {}

    def result(self, session_id: str) -> dict[str, Any]:
        """Wait for the attempt's execution and return it."""
        arn = self.arn.replace(":stateMachine:", ":execution:") + f":{session_id}-1"
        paused = threading.Event()
        for _ in range(int(PATIENCE / 0.05)):
            execution: dict[str, Any] = self.states.describe_execution(executionArn=arn)
            if execution["status"] != "RUNNING":
                return execution
            paused.wait(0.05)
        pytest.fail("the execution never ended")


class ScriptedRunner(MemorySockets):
    """Answers each command kind as told, `completed` unless told otherwise."""

    def __init__(self, ports: Whole, answers: Answers) -> None:
        super().__init__()
        self.ports = ports
        self.answers = answers
        self.kinds: list[str] = []
        self.seq = 0

    def post(self, connection_id: str, text: str) -> None:
        """Answer a command from another thread, as a network would."""
        super().post(connection_id, text)
        frame = json.loads(text)
        if frame.get("type") == "command":
            self.kinds.append(frame["kind"])
            self.seq += 1
            answer = self.answers.get(frame["kind"], {"status": "completed"})
            result = {"commandId": frame["id"], **answer}
            body = {"action": "report", "seq": self.seq, "results": [result]}
            _later(lambda: receive(self.ports, connection_id, json.dumps(body)))


class StartsRunner(MemorySandboxes):
    """A provider whose sandboxes say hello."""

    def __init__(self, runner: ScriptedRunner) -> None:
        super().__init__()
        self.runner = runner

    def start(self, spec: SandboxSpec) -> str:
        """Start it."""
        ports = self.runner.ports

        def hello() -> None:
            connect_runner(ports, "r1", spec.session_id, spec.key)
            receive(ports, "r1", '{"action":"hello","attemptNumber":1,"process":"p"}')

        _later(hello)
        return super().start(spec)


def _one_at_a_time(client: Any) -> Any:
    """Make a client's calls one after another: a transaction that moto takes back would take back
    what another thread wrote meanwhile."""
    lock, call = threading.Lock(), client._make_api_call

    def locked(*arguments: Any) -> Any:
        with lock:
            return call(*arguments)

    client._make_api_call = locked
    return client


def _later(action: Callable[[], None]) -> None:
    threading.Thread(target=action, daemon=True).start()


def _substituted(text: str) -> str:
    function = "arn:aws:lambda:eu-west-1:123456789012:function:any"
    for name, value in {
        "Partition": "aws",
        "RunStepFunctionArn": function,
        "FinishPreparationFunctionArn": function,
    }.items():
        text = text.replace("${" + name + "}", value)
    return text


_setup_heartbeat = CallbackEndpoint.setup_heartbeat_endpoint


def _noticing_early_answers(endpoint: CallbackEndpoint, heartbeat_seconds: int) -> Any:
    """Wake a wait that begins after its answer came: moto would sleep through a heartbeat."""
    heartbeat = _setup_heartbeat(endpoint, heartbeat_seconds)
    if endpoint.get_outcome():
        heartbeat.notify()
    return heartbeat


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answers], Whole]]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    made: list[Whole] = []

    def invoke(_: object, __: str, ___: object, body: Any, *____: Any, **_____: Any) -> str:
        return json.dumps(made[0].invoke(json.loads(body)))

    monkeypatch.setattr(LambdaSimpleBackend, "invoke", invoke)
    monkeypatch.setattr(CallbackEndpoint, "setup_heartbeat_endpoint", _noticing_early_answers)
    config: Any = {
        "stepfunctions": {"execute_state_machine": True},
        "lambda": {"use_docker": False},
    }

    def make(answers: Answers) -> Whole:
        made.append(Whole(answers))
        return made[0]

    with mock_aws(config=config):
        yield make


def started(ports: Whole, **body: Any) -> str:
    defaults = {"prompt": "x", "github_repo": "org/name", "setup_commands": []}
    request = CreateSession(**{**defaults, **body})
    return str(create_session(ports, "alice", request, None)["sessionId"])


def test_the_machine_takes_a_session_to_running(whole: Callable[[Answers], Whole]) -> None:
    ports = whole({})
    session_id = started(ports)
    assert ports.result(session_id)["status"] == "SUCCEEDED"
    assert ports.store.session(session_id).status is Status.RUNNING
    done = [step.name.value for step in STEPS[1:-1] if step.name is not StepName.SETUP]
    assert ports.runner.kinds == [*done, "prompt"]
    [message] = ports.store.messages_page(session_id, 0, 100)[0]
    assert message.status is MessageStatus.DELIVERED


def test_the_machine_catches_a_failure_by_name(whole: Callable[[Answers], Whole]) -> None:
    error = {"code": "RepositoryNotFound", "reason": "no such repository", "retryable": True}
    ports = whole({"clone": {"status": "failed", "error": error}})
    session_id = started(ports)
    execution = ports.result(session_id)
    assert execution["status"] == "FAILED"
    assert execution["error"] == error["code"]
    session = ports.store.session(session_id)
    assert session.failure
    assert (session.failure.code, session.failure.step) == ("RepositoryNotFound", "clone")
    assert ports.runner.kinds == ["disk", "clone"]


def test_no_secret_and_no_prompt_is_in_the_execution(whole: Callable[[Answers], Whole]) -> None:
    ports = whole({})
    session_id = started(ports, prompt="the prompt itself", env_vars={"TOKEN": "hunter2hunter2"})
    execution = ports.result(session_id)
    history = ports.states.get_execution_history(executionArn=execution["executionArn"])
    text = json.dumps([execution, history], default=str)
    assert "the prompt itself" not in text
    assert "hunter2" not in text
    assert ports.sandboxes.specs
    assert all(spec.key not in text for spec in ports.sandboxes.specs.values())
