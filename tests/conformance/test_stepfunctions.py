"""Step Functions: starts, waits, time-outs, tokens and definitions."""

import json
import time
from typing import Any

import botocore.exceptions
import pytest

from headstart_local.patches import callbacks
from tests.conformance.conftest import Probe

WAIT = {"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 30, "End": True}}}


def one(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"StartAt": "A", "States": {"A": state, **more}}


def caught(name: str) -> dict[str, Any]:
    return {"Catch": [{"ErrorEquals": [name], "Next": "Caught"}]}


CAUGHT = {"Caught": {"Type": "Succeed"}}


def error_code(call: Any, **given: Any) -> str:
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(**given)
    return str(raised.value.response["Error"]["Code"])


def lambda_task(probe: Probe, payload: Any, **fields: Any) -> dict[str, Any]:
    parameters = {"FunctionName": probe.cloud.outputs["StepFunction"], "Payload": payload}
    resource = "arn:aws:states:::lambda:invoke"
    return {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True, **fields}


@pytest.mark.proves("executions.no_start_delay")
def test_starts_at_once(probe: Probe) -> None:
    machine = probe.machine(one({"Type": "Pass", "End": True}))
    times = []
    for _ in range(10):
        start = time.monotonic()
        probe.ended(probe.start(machine))
        times.append(time.monotonic() - start)
    assert min(times) < 0.14


def test_template_machine_runs(probe: Probe) -> None:
    ended = probe.ended(probe.start(probe.cloud.outputs["Machine"]))
    assert ended["status"] == "SUCCEEDED"
    assert json.loads(ended["output"])["greeting"] == "from the layer"


@pytest.mark.proves("lambda_.function_workers")
def test_catch_by_class_name(probe: Probe) -> None:
    task = lambda_task(probe, {"fail": "why"}, **caught("PickyError"))
    ended = probe.run(one(task, **CAUGHT))
    assert ended["status"] == "SUCCEEDED"
    assert json.loads(json.loads(ended["output"])["Cause"])["errorMessage"] == "why"


@pytest.mark.proves("executions.start_is_idempotent")
def test_start_is_idempotent_while_running(probe: Probe, unique: str) -> None:
    machine = probe.machine(WAIT)
    first = probe.start(machine, name=unique, input='{"a": 1}')
    assert probe.start(machine, name=unique, input='{"a": 1}') == first
    sfn = probe.cloud.client("stepfunctions")
    other = {"stateMachineArn": machine, "name": unique, "input": '{"a": 2}'}
    assert error_code(sfn.start_execution, **other) == "ExecutionAlreadyExists"
    sfn.stop_execution(executionArn=first)
    again = {**other, "input": '{"a": 1}'}
    assert error_code(sfn.start_execution, **again) == "ExecutionAlreadyExists"


@pytest.mark.proves("callbacks.token_waits")
def test_heartbeat_timeout(probe: Probe, unique: str) -> None:
    task = probe.token_task(unique, {}, HeartbeatSeconds=1, TimeoutSeconds=8)
    ended = probe.run(one({**task, **caught("States.HeartbeatTimeout")}, **CAUGHT))
    assert ended["status"] == "SUCCEEDED"


@pytest.mark.proves("callbacks.token_calls")
def test_heartbeats_keep_a_task_alive(
    probe: Probe, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(callbacks, "monotonic", lambda: now)
    machine = probe.machine(one(probe.token_task(unique, {}, HeartbeatSeconds=1)))
    execution = probe.start(machine)
    token = probe.task_token(unique)
    sfn = probe.cloud.client("stepfunctions")
    for _ in range(4):
        now += 0.75
        sfn.send_task_heartbeat(taskToken=token)
    sfn.send_task_success(taskToken=token, output='{"alive": true}')
    ended = probe.ended(execution)
    assert (ended["status"], ended["output"]) == ("SUCCEEDED", '{"alive": true}')


def test_task_timeout(probe: Probe, unique: str) -> None:
    task = probe.token_task(unique, {}, TimeoutSeconds=1)
    assert probe.run(one(task))["error"] == "States.Timeout"


@pytest.mark.proves("executions.machine_timeout")
def test_machine_timeout(probe: Probe) -> None:
    ended = probe.run({"TimeoutSeconds": 1, **WAIT})
    assert ended["status"] == "TIMED_OUT"


@pytest.mark.proves("callbacks.token_waits")
def test_error_of_the_function_fails_the_task_at_once(probe: Probe, unique: str) -> None:
    task = probe.token_task(unique, {"fail": "why"}, TimeoutSeconds=8)
    ended = probe.run(one({**task, **caught("PickyError")}, **CAUGHT))
    assert ended["status"] == "SUCCEEDED"


def test_failure_is_caught_by_its_name(probe: Probe, unique: str) -> None:
    machine = probe.machine(one({**probe.token_task(unique, {}), **caught("Ours")}, **CAUGHT))
    execution = probe.start(machine)
    probe.cloud.client("stepfunctions").send_task_failure(
        taskToken=probe.task_token(unique), error="Ours", cause="because"
    )
    ended = probe.ended(execution)
    assert json.loads(ended["output"]) == {"Error": "Ours", "Cause": "because"}


@pytest.mark.proves("callbacks.token_calls")
def test_codes_of_bad_tokens(probe: Probe, unique: str) -> None:
    sfn = probe.cloud.client("stepfunctions")
    assert error_code(sfn.send_task_heartbeat, taskToken="never issued") == "InvalidToken"
    execution = probe.start(probe.machine(one(probe.token_task(unique, {}))))
    token = probe.task_token(unique)
    bad = {"taskToken": token, "output": "not json"}
    assert error_code(sfn.send_task_success, **bad) == "InvalidOutput"
    sfn.send_task_success(taskToken=token, output="{}")
    probe.ended(execution)
    good = {"taskToken": token, "output": "{}"}
    assert error_code(sfn.send_task_success, **good) == "TaskTimedOut"
    assert error_code(sfn.send_task_heartbeat, taskToken=token) == "TaskTimedOut"
    assert error_code(sfn.send_task_failure, taskToken=token) == "TaskTimedOut"


@pytest.mark.proves("callbacks.token_for_each_try")
def test_each_try_has_its_token(probe: Probe, unique: str) -> None:
    retry = [{"ErrorEquals": ["Ours"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    execution = probe.start(probe.machine(one(probe.token_task(unique, {}, Retry=retry))))
    sfn = probe.cloud.client("stepfunctions")
    first = probe.task_token(unique)
    sfn.send_task_failure(taskToken=first, error="Ours")
    second = probe.task_token(unique, 1)
    late = {"taskToken": first, "output": '"late"'}
    assert error_code(sfn.send_task_success, **late) == "TaskTimedOut"
    sfn.send_task_success(taskToken=second, output='"second"')
    assert probe.ended(execution)["output"] == '"second"'


@pytest.mark.proves("executions.stop_ends_waits")
def test_stop_skips_catch_and_voids_the_token(probe: Probe, unique: str) -> None:
    task = {**probe.token_task(unique, {}), **caught("States.ALL")}
    execution = probe.start(probe.machine(one(task, **CAUGHT)))
    token = probe.task_token(unique)
    sfn = probe.cloud.client("stepfunctions")
    sfn.stop_execution(executionArn=execution, error="Cancelled", cause="by the user")
    ended = probe.ended(execution)
    assert (ended["status"], ended["error"]) == ("ABORTED", "Cancelled")
    answer = {"taskToken": token, "output": "{}"}
    assert error_code(sfn.send_task_success, **answer) == "TaskTimedOut"
    history = sfn.get_execution_history(executionArn=execution)["events"]
    assert history[-1]["type"] == "ExecutionAborted"


@pytest.mark.proves("executions.stop_ends_waits")
def test_stopped_stays_aborted_when_its_task_fails(probe: Probe) -> None:
    function = {"seconds": 1, "exit": False}
    state = lambda_task(probe, function, TimeoutSeconds=1)
    execution = probe.start(probe.machine(one(state)))
    probe.cloud.client("stepfunctions").stop_execution(executionArn=execution)
    time.sleep(1.3)
    assert probe.ended(execution)["status"] == "ABORTED"


@pytest.mark.proves("executions.stop_of_the_closed")
def test_stop_of_what_is_over_changes_nothing(probe: Probe) -> None:
    ended = probe.run(one({"Type": "Pass", "End": True}))
    sfn = probe.cloud.client("stepfunctions")
    answer = sfn.stop_execution(executionArn=ended["executionArn"], cause="late")
    assert answer["stopDate"] == ended["stopDate"]
    assert probe.ended(ended["executionArn"])["status"] == "SUCCEEDED"


@pytest.mark.proves("definitions.invalid_definitions_refused")
@pytest.mark.parametrize(
    "state",
    [
        {"Type": "Pass", "Next": "Nowhere"},
        {"Type": "Task", "Resource": "arn:x", "End": True, **caught("A")},
        {"Type": "Choice", "Choices": [], "Default": "Nowhere"},
        {"Type": "Task", "End": True},
        {"Type": "Pass"},
        {"Type": "Sleep", "End": True},
    ],
)
def test_invalid_definition_refused(probe: Probe, state: dict[str, Any]) -> None:
    given = {"name": "bad", "roleArn": "arn:aws:iam::000000000000:role/any"}
    create = probe.cloud.client("stepfunctions").create_state_machine
    assert error_code(create, definition=json.dumps(one(state)), **given) == "InvalidDefinition"


@pytest.mark.proves("definitions.missing_paths_fail")
@pytest.mark.parametrize("path", ["$.missing", "$.here.deeper", "$.list[3]", "$$.Nothing.Here"])
def test_path_to_nothing_fails(probe: Probe, path: str) -> None:
    state = {"Type": "Pass", "Parameters": {"deep": {"x.$": path}}, "End": True}
    ended = probe.run(one(state), '{"here": 1, "list": [1]}')
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")


def test_context_object(probe: Probe, unique: str) -> None:
    context = {
        "name.$": "$$.Execution.Name",
        "state.$": "$$.State.Name",
        "retries.$": "$$.State.RetryCount",
        "given.$": "$$.Execution.Input.a",
    }
    machine = probe.machine(one(lambda_task(probe, context, OutputPath="$.Payload.event")))
    ended = probe.ended(probe.start(machine, name=unique, input='{"a": 5}'))
    wanted = {"name": unique, "state": "A", "retries": 0, "given": 5}
    assert json.loads(ended["output"]) == wanted
