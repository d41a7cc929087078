"""The machine's graph, and its agreement with the step list in the code."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from headstart.domain import errors
from headstart.domain.steps import HEARTBEAT_INTERVAL, STEPS, Step

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "statemachine" / "preparation.asl.yaml").read_text()
MACHINE: dict[str, Any] = yaml.safe_load(TEXT)
STATES: dict[str, dict[str, Any]] = MACHINE["States"]
SERVICE_ERRORS = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    # A worker that died or ran out of time: run_step continues what it had begun.
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Sandbox.Timedout",
}


def targets(state: dict[str, Any]) -> list[str]:
    caught = [catch["Next"] for catch in state.get("Catch", [])]
    return caught + ([state["Next"]] if "Next" in state else [])


def test_every_target_exists_and_every_state_is_reached() -> None:
    reached, waiting = set(), [MACHINE["StartAt"]]
    while waiting:
        name = waiting.pop()
        assert name in STATES
        if name not in reached:
            reached.add(name)
            waiting += targets(STATES[name])
    assert reached == set(STATES)


def test_every_state_ends_or_goes_on() -> None:
    for name, state in STATES.items():
        ways = ("Next" in state) + ("End" in state) + (state["Type"] in {"Fail", "Succeed"})
        assert ways == 1, name


def test_the_steps_are_those_of_the_code_in_their_order() -> None:
    order, name = [], MACHINE["StartAt"]
    while name != "FinishPreparation":
        order.append((name, STATES[name]["Parameters"]["Payload"]["step"]))
        name = STATES[name]["Next"]
    assert order == [(step.state, step.name.value) for step in STEPS]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.state)
def test_a_step_waits_with_the_limits_of_the_code(step: Step) -> None:
    state = STATES[step.state]
    assert state["Resource"].endswith(":lambda:invoke.waitForTaskToken")
    assert state["TimeoutSeconds"] == step.timeout
    assert state.get("HeartbeatSeconds") == step.heartbeat
    assert step.heartbeat is None or step.heartbeat > 2 * HEARTBEAT_INTERVAL
    assert state["ResultPath"] is None


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.state)
def test_a_step_is_retried_as_the_code_says_and_always_for_the_service(step: Step) -> None:
    service, *own = STATES[step.state]["Retry"]
    assert set(service["ErrorEquals"]) == {*SERVICE_ERRORS, "ServiceUnavailable", "Conflict"}
    assert {e: r["MaxAttempts"] for r in own for e in r["ErrorEquals"]} == dict(step.retries)


@pytest.mark.parametrize("name", [n for n, s in STATES.items() if s["Type"] == "Task"])
def test_every_wait_is_bounded_and_every_failure_is_caught(name: str) -> None:
    state = STATES[name]
    assert state["TimeoutSeconds"] > 0
    if name != "FailPreparation":
        *superseded, rest = state["Catch"]
        assert rest == {
            "ErrorEquals": ["States.ALL"],
            "ResultPath": "$.error",
            "Next": "FailPreparation",
        }
        steps = {step.state for step in STEPS}
        quiet = {"ErrorEquals": ["AttemptSuperseded"], "Next": "Superseded"}
        assert superseded == ([quiet] if name in steps else [])


def test_the_machine_outlasts_all_tries_of_its_steps() -> None:
    # A machine that runs out of time catches nothing, and nobody could say why it ended.
    tries = {step.name: 1 + sum(number for _, number in step.retries) for step in STEPS}
    assert MACHINE["TimeoutSeconds"] > sum(step.timeout * tries[step.name] for step in STEPS)


def test_only_ids_enter_a_state() -> None:
    for name, state in STATES.items():
        payload = state.get("Parameters", {}).get("Payload", {})
        allowed = {"sessionId.$", "attemptNumber.$", "step", "taskToken.$", "error.$"}
        assert set(payload) <= allowed, name


def test_errors_named_in_the_machine_are_classes() -> None:
    rules = [r for s in STATES.values() for r in (*s.get("Retry", []), *s.get("Catch", []))]
    named = {error for rule in rules for error in rule["ErrorEquals"]}
    ours = {name for name in named if "." not in name}
    assert all(issubclass(getattr(errors, name), errors.HeadstartError) for name in ours)


def test_every_substitution_is_given_by_the_template_and_used() -> None:
    used = set(re.findall(r"\$\{(\w+)\}", TEXT))
    template = (ROOT / "template.yaml").read_text()
    block = template.split("DefinitionSubstitutions:")[1].split("Tracing:")[0]
    assert set(re.findall(r"^\s+(\w+):", block, re.MULTILINE)) == used
