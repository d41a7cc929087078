"""Headstart's own rules for its template: `cfn-lint -a tests/template/rules -t template.yaml`.

cfn-lint reads SAM's resources as they are written, with Globals merged in.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from cfnlint.rules import CloudFormationLintRule, RuleMatch
from cfnlint.template import Template

Found = Iterator[RuleMatch]

FUNCTION = "AWS::Serverless::Function"
ASYNCHRONOUS_EVENTS = {"Schedule", "ScheduleV2", "EventBridgeRule", "CloudWatchEvent"}
"""SAM's events behind which Lambda invokes a function asynchronously."""

WITHOUT_RESOURCE = {
    # "Actions, resources, and condition keys for Amazon Elastic Container Registry".
    "ecr:GetAuthorizationToken",
    # "…for Amazon CloudWatch Logs", and "Logging using CloudWatch Logs" of Step Functions.
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
    # "…for Amazon Elastic Container Service": container instances only; see NEED_CONDITION.
    "ecs:ListTasks",
}
"""What AWS's Service Authorization Reference lists without a resource type that could be named."""

NEED_CONDITION = {"ecs:ListTasks": "ecs:cluster"}
"""Actions that have no resource to name, but a condition that narrows them."""


def _properties(cfn: Template, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in cfn.get_resources([kind]).items():
        yield name, resource.get("Properties") or {}


def _target(value: Any) -> str:
    """Return the logical id that a Ref or GetAtt points at, "" for anything else."""
    if isinstance(value, dict):
        if isinstance(reference := value.get("Ref"), str):
            return reference
        attribute = value.get("Fn::GetAtt")
        if isinstance(attribute, str):
            return attribute.partition(".")[0]
        if isinstance(attribute, list) and attribute:
            return str(attribute[0])
    return ""


def _path(name: str, *more: str) -> list[str]:
    return ["Resources", name, "Properties", *more]


class LogGroups(CloudFormationLintRule):
    """Without a group of the stack's own, Lambda makes one that keeps everything for ever."""

    id = "E9101"
    shortdesc = "Logs go to a group of this stack, for a time that somebody chose"
    description = "Every function names a log group, and every log group a retention"
    tags = ("logs",)

    def match(self, cfn: Template) -> Found:
        """Return what breaks the rule."""
        groups = dict(_properties(cfn, "AWS::Logs::LogGroup"))
        for name, group in groups.items():
            if "RetentionInDays" not in group:
                yield RuleMatch(_path(name), f"{name} keeps logs for ever")
        for name, function in _properties(cfn, FUNCTION):
            if _target((function.get("LoggingConfig") or {}).get("LogGroup")) not in groups:
                yield RuleMatch(_path(name), f"{name} names no log group of this template")


class AsynchronousFailures(CloudFormationLintRule):
    """What nobody waits for fails silently, unless it ends in a queue that somebody watches."""

    id = "E9102"
    shortdesc = "What is asynchronous has a queue for its failures, and the queue an alarm"
    description = "Schedules, EventBridge rules and the functions they invoke"
    tags = ("lambda", "events", "sqs")

    def match(self, cfn: Template) -> Found:
        """Return what breaks the rule."""
        watched = _watched_queues(cfn)
        for name, function in _properties(cfn, FUNCTION):
            events = [
                (event, (body or {}).get("Properties") or {})
                for event, body in (function.get("Events") or {}).items()
                if (body or {}).get("Type") in ASYNCHRONOUS_EVENTS
            ]
            invoke = function.get("EventInvokeConfig")
            ends = [
                (f"{name}.{event}", (body.get("DeadLetterConfig") or {}).get("Arn"))
                for event, body in events
            ]
            if events or invoke is not None:
                destinations = (invoke or {}).get("DestinationConfig") or {}
                on_failure = (destinations.get("OnFailure") or {}).get("Destination")
                ends.append((f"{name}.EventInvokeConfig", on_failure))
            for what, queue in ends:
                if not _target(queue):
                    yield RuleMatch(_path(name), f"{what} has no queue for its failures")
                elif _target(queue) not in watched:
                    yield RuleMatch(_path(name), f"{what} fails into a queue without an alarm")


def _watched_queues(cfn: Template) -> set[str]:
    return {
        _target(dimension.get("Value"))
        for _, alarm in _properties(cfn, "AWS::CloudWatch::Alarm")
        if alarm.get("MetricName") == "ApproximateNumberOfMessagesVisible"
        for dimension in alarm.get("Dimensions") or []
    }


class BoundedWaits(CloudFormationLintRule):
    """A task that nobody answers ends with its limits, not with the year that AWS allows."""

    id = "E9103"
    shortdesc = "Every state that waits for a token has a time-out and a heartbeat"
    description = "AcquireSandbox has no heartbeat: nobody can beat before the sandbox is there"
    tags = ("stepfunctions",)

    def match(self, cfn: Template) -> Found:
        """Return what breaks the rule."""
        for name, machine in _properties(cfn, "AWS::Serverless::StateMachine"):
            definition = machine.get("Definition")
            if definition is None:
                path = Path(cfn.filename or "").parent / str(machine.get("DefinitionUri"))
                definition = yaml.safe_load(path.read_text())
            for state_name, state in _states(definition):
                if str(state.get("Resource", "")).endswith(".waitForTaskToken"):
                    for limit in _missing_limits(state_name, state):
                        yield RuleMatch(_path(name), f"{state_name} waits without {limit}")


def _states(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in (definition.get("States") or {}).items():
        yield name, state
        nested = [*(state.get("Branches") or []), state.get("ItemProcessor") or {}]
        for inner in nested:
            yield from _states(inner)


def _missing_limits(name: str, state: dict[str, Any]) -> list[str]:
    limits = ["TimeoutSeconds"] + (["HeartbeatSeconds"] if name != "AcquireSandbox" else [])
    return [limit for limit in limits if limit not in state]


class TaskWithoutRole(CloudFormationLintRule):
    """A sandbox runs code that nobody has read: it gets no credentials."""

    id = "E9104"
    shortdesc = "Task definitions have no TaskRoleArn"
    description = "What has a task role hands its credentials to whatever runs inside"
    tags = ("ecs",)

    def match(self, cfn: Template) -> Found:
        """Return what breaks the rule."""
        for name, task in _properties(cfn, "AWS::ECS::TaskDefinition"):
            if "TaskRoleArn" in task:
                yield RuleMatch(_path(name, "TaskRoleArn"), f"{name} gives a sandbox credentials")


class NamedResources(CloudFormationLintRule):
    """`Resource: "*"` is for actions that AWS lists without a resource, and for nothing else."""

    id = "E9105"
    shortdesc = "Policies name their resources"
    description = "Wildcards only for the actions in WITHOUT_RESOURCE, each with its source"
    tags = ("iam",)

    def match(self, cfn: Template) -> Found:
        """Return what breaks the rule."""
        for name, statement in _statements(cfn):
            resources = _as_list(statement.get("Resource"))
            if statement.get("Effect") != "Allow" or "*" not in resources:
                continue
            for action in _as_list(statement.get("Action")):
                if action not in WITHOUT_RESOURCE:
                    yield RuleMatch(_path(name), f"{action} on every resource there is")
                elif (key := NEED_CONDITION.get(action)) and key not in str(
                    statement.get("Condition")
                ):
                    yield RuleMatch(_path(name), f"{action} without a condition on {key}")


def _statements(cfn: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    documents: list[tuple[str, Any]] = []
    for name, policy in _properties(cfn, "AWS::IAM::ManagedPolicy"):
        documents.append((name, policy.get("PolicyDocument")))
    for name, role in _properties(cfn, "AWS::IAM::Role"):
        documents += [(name, policy.get("PolicyDocument")) for policy in role.get("Policies") or []]
    for kind in (FUNCTION, "AWS::Serverless::StateMachine"):
        for name, properties in _properties(cfn, kind):
            documents += [(name, policy) for policy in _as_list(properties.get("Policies"))]
    for name, document in documents:
        if isinstance(document, dict):
            for statement in _as_list(document.get("Statement")):
                yield name, statement


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
