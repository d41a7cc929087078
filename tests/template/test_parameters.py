"""What a deployment may be given, and what is refused before anything is made."""

import re
from typing import Any

import pytest
from pydantic import TypeAdapter

from headstart.domain.access import AccessRule
from headstart_local.packaging import read_template
from tests.bench.prices import PRICES
from tests.template.test_sandbox import ROOT, TASK

TEMPLATE = read_template(ROOT / "template.yaml")
FARGATE = {
    "256": [512, 1024, 2048],
    "512": range(1024, 4096 + 1, 1024),
    "1024": range(2048, 8192 + 1, 1024),
    "2048": range(4096, 16384 + 1, 1024),
    "4096": range(8192, 30720 + 1, 1024),
    "8192": range(16384, 61440 + 1, 4096),
    "16384": range(32768, 122880 + 1, 8192),
}
"""The memory in MiB that goes with each CPU ("Task CPU and memory", Fargate's task definitions)."""


def true(condition: Any, values: dict[str, str]) -> bool:
    """Evaluate what rules are made of, as CloudFormation does."""
    [(function, arguments)] = condition.items()
    match function:
        case "Fn::Or":
            return any(true(argument, values) for argument in arguments)
        case "Fn::Not":
            return not true(arguments[0], values)
        case "Fn::Equals":
            return values[arguments[0]["Ref"]] == arguments[1]
        case "Fn::Contains":
            return values[arguments[1]["Ref"]] in arguments[0]
        case _:
            raise AssertionError(f"{function} is not known here")


def test_every_cpu_has_its_memories() -> None:
    assert set(TEMPLATE["Parameters"]["SandboxCpu"]["AllowedValues"]) == set(FARGATE)


@pytest.mark.parametrize("cpu", FARGATE)
def test_what_fargate_has_no_size_for_is_refused_before_anything_is_made(cpu: str) -> None:
    assertions = TEMPLATE["Rules"]["MemoryFitsCpu"]["Assertions"]
    passed = [
        memory
        for memory in range(0, 2 * 122880, 256)
        if all(
            true(item["Assert"], {"SandboxCpu": cpu, "SandboxMemory": str(memory)})
            for item in assertions
        )
    ]
    assert passed == list(FARGATE[cpu])


@pytest.mark.parametrize(
    ("rules", "is_taken"),
    [
        ("[]", True),
        ('[{"group": "*", "repositories": ["org/*"]}]', True),
        (
            '[{"group":"a b","repositories":["o/n","O/*"]},\n{"group":"c","repositories":["?/*"]}]',
            True,
        ),
        ("", False),
        ("{}", False),
        ('[{"group": "a"}]', False),
        ('[{"group": "", "repositories": ["o/n"]}]', False),
        ('[{"group": "a", "repositories": []}]', False),
        ('[{"group": "a", "repositories": ["o"]}]', False),
        ('[{"group": "a", "repositories": ["o/n/x"]}]', False),
        ('[{"group": "a", "repositories": ["o/n"]},]', False),
        (
            '[{"group": "a", "repositories": ["o/n"]} {"group": "b", "repositories": ["o/n"]}]',
            False,
        ),
    ],
)
def test_access_rules_that_no_function_could_read_are_refused_before_anything_is_made(
    rules: str, *, is_taken: bool
) -> None:
    pattern = TEMPLATE["Parameters"]["RepositoryAccess"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, rules)) is is_taken
    if is_taken:
        TypeAdapter(list[AccessRule]).validate_json(rules)


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({}, set()),
        ({"GitHubAppId": "1"}, {"AppNeedsKey"}),
        ({"GitHubAppKeyArn": "arn"}, {"KeyNeedsApp"}),
        ({"RepositoryAccess": "[{}]"}, {"AccessNeedsApp"}),
        ({"GitHubAppId": "1", "GitHubAppKeyArn": "arn", "RepositoryAccess": "[{}]"}, set()),
    ],
)
def test_an_app_has_a_key_and_rules_an_app(given: dict[str, str], refused: set[str]) -> None:
    values = {"GitHubAppId": "", "GitHubAppKeyArn": "", "RepositoryAccess": "[]", **given}
    rules = {
        name: TEMPLATE["Rules"][name] for name in ("AppNeedsKey", "KeyNeedsApp", "AccessNeedsApp")
    }
    found = {
        name
        for name, rule in rules.items()
        if true(rule["RuleCondition"], values)
        and not all(true(item["Assert"], values) for item in rule["Assertions"])
    }
    assert found == refused


def test_a_receipt_counts_all_that_a_container_of_the_default_size_costs() -> None:
    parameters = TEMPLATE["Parameters"]
    assert TASK["EphemeralStorage"]["SizeInGiB"] == {"Ref": "SandboxDisk"}
    hour = (
        int(parameters["SandboxCpu"]["Default"]) / 1024 * PRICES["Fargate vCPU-hours"]
        + int(parameters["SandboxMemory"]["Default"]) / 1024 * PRICES["Fargate GB-hours"]
        + (parameters["SandboxDisk"]["Default"] - 20) * PRICES["disk GB-hours above 20 GB"]
        + PRICES["public IPv4 hours"]
    )
    assert parameters["SandboxDollarsPerHour"]["Default"] == f"{hour:.4f}"


def test_a_deletion_is_outlived_for_as_long_as_somebody_chose() -> None:
    recovery = TEMPLATE["Resources"]["Table"]["Properties"]["PointInTimeRecoverySpecification"]
    assert recovery["RecoveryPeriodInDays"] == {"Ref": "RecoveryDays"}
    days = TEMPLATE["Parameters"]["RecoveryDays"]
    assert (days["MinValue"], days["MaxValue"]) == (1, 35)
