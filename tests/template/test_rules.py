"""Each of our own cfn-lint rules catches the template that breaks it, and passes ours."""

import textwrap
from pathlib import Path

import pytest
from cfnlint import ManualArgs
from cfnlint.api import lint_by_config

ROOT = Path(__file__).parents[2]
RULES = Path(__file__).parent / "rules"


Findings = dict[str, list[tuple[str, str]]]


def findings(*templates: Path) -> Findings:
    """Return what is found in each, by its name: id and message."""
    names = [str(template) for template in templates]
    arguments = ManualArgs(templates=names, regions=["eu-west-1"], append_rules=[str(RULES)])
    found: Findings = {template.stem: [] for template in templates}
    for item in lint_by_config(arguments):
        found[Path(item.filename).stem].append((item.rule.id, item.message))
    return found


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Return what our rules find in each case; all at once, as cfn-lint takes long to begin."""
    folder = tmp_path_factory.mktemp("cases")
    cases = {**{name: resources for name, (_, resources) in BROKEN.items()}, **SOUND}
    found = findings(*(written(folder / f"{name}.yaml", text) for name, text in cases.items()))
    return {name: [x for x in each if x[0].startswith("E91")] for name, each in found.items()}


def written(path: Path, resources: str) -> Path:
    head = 'AWSTemplateFormatVersion: "2010-09-09"\nTransform: AWS::Serverless-2016-10-31\n'
    path.write_text(f"{head}Resources:\n{textwrap.indent(textwrap.dedent(resources), '  ')}")
    return path


FUNCTION = """
Sweep:
  Type: AWS::Serverless::Function
  Properties:
    Runtime: python3.13
    Handler: app.lambda_handler
    InlineCode: "def lambda_handler(event, context): return {}"
    LoggingConfig: {LogGroup: !Ref Logs}
Logs:
  Type: AWS::Logs::LogGroup
  Properties: {RetentionInDays: 7}
"""
SCHEDULE = """
Sweep:
  Type: AWS::Serverless::Function
  Properties:
    Runtime: python3.13
    Handler: app.lambda_handler
    InlineCode: "def lambda_handler(event, context): return {}"
    LoggingConfig: {LogGroup: !Ref Logs}
    Events:
      Often:
        Type: ScheduleV2
        Properties: {ScheduleExpression: rate(1 minute)SCHEDULE_MORE}
    FUNCTION_MORE
Logs:
  Type: AWS::Logs::LogGroup
  Properties: {RetentionInDays: 7}
Failures:
  Type: AWS::SQS::Queue
  Properties: {MessageRetentionPeriod: 1209600}
"""
ALARM = """
FailuresAlarm:
  Type: AWS::CloudWatch::Alarm
  Properties:
    Namespace: AWS/SQS
    MetricName: ApproximateNumberOfMessagesVisible
    Dimensions: [{Name: QueueName, Value: !GetAtt Failures.QueueName}]
    Statistic: Maximum
    Period: 60
    EvaluationPeriods: 1
    Threshold: 0
    ComparisonOperator: GreaterThanThreshold
"""
QUEUE = ", DeadLetterConfig: {Arn: !GetAtt Failures.Arn}"
ON_FAILURE = (
    "EventInvokeConfig: {DestinationConfig: {OnFailure: "
    "{Type: SQS, Destination: !GetAtt Failures.Arn}}}"
)


def scheduled(schedule: str, function: str, more: str = "") -> str:
    return SCHEDULE.replace("SCHEDULE_MORE", schedule).replace("FUNCTION_MORE", function) + more


def machine(limits: str, state: str = "Clone") -> str:
    return f"""
    Machine:
      Type: AWS::Serverless::StateMachine
      Properties:
        Definition:
          StartAt: {state}
          States:
            {state}:
              Type: Task
              Resource: arn:aws:states:::lambda:invoke.waitForTaskToken
              Parameters: {{FunctionName: f, Payload: {{token.$: $$.Task.Token}}}}
              {limits}
              End: true
    """


def policy(statement: str) -> str:
    return f"""
    Policy:
      Type: AWS::IAM::ManagedPolicy
      Properties:
        PolicyDocument: {{Version: "2012-10-17", Statement: [{{Effect: Allow, {statement}}}]}}
    """


TASK = """
Task:
  Type: AWS::ECS::TaskDefinition
  Properties:
    ContainerDefinitions: [{Name: sandbox, Image: x}]
    MORE
"""
INLINE = 'Policies: [{Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: "*"}]}]'
BROKEN = {
    "no log group": ("E9101", FUNCTION.replace("    LoggingConfig: {LogGroup: !Ref Logs}\n", "")),
    "no retention": ("E9101", FUNCTION.replace("RetentionInDays: 7", "LogGroupName: logs")),
    "no dead letters": ("E9102", scheduled("", ON_FAILURE, ALARM)),
    "no destination": ("E9102", scheduled(QUEUE, "", ALARM)),
    "no alarm": ("E9102", scheduled(QUEUE, ON_FAILURE)),
    "no heartbeat": ("E9103", machine("TimeoutSeconds: 60")),
    "no time-out": ("E9103", machine("HeartbeatSeconds: 50")),
    "task role": ("E9104", TASK.replace("MORE", "TaskRoleArn: arn:aws:iam::123456789012:role/r")),
    "wildcard": ("E9105", policy('Action: ["dynamodb:GetItem"], Resource: "*"')),
    "one of several": (
        "E9105",
        policy('Action: ["ecr:GetAuthorizationToken", "ecs:StopTask"], Resource: ["*"]'),
    ),
    "wildcard of a function": ("E9105", FUNCTION.replace("Runtime:", f"{INLINE}\n    Runtime:")),
    "no condition": ("E9105", policy('Action: "ecs:ListTasks", Resource: "*"')),
}
SOUND = {
    "function": FUNCTION,
    "schedule": scheduled(QUEUE, ON_FAILURE, ALARM),
    "bounded": machine("TimeoutSeconds: 60\n              HeartbeatSeconds: 50"),
    "acquire": machine("TimeoutSeconds: 240", "AcquireSandbox"),
    "task": TASK.replace("MORE", "NetworkMode: awsvpc"),
    "known wildcard": policy('Action: "ecr:GetAuthorizationToken", Resource: "*"'),
    "denied": policy('Action: "ecr:GetAuthorizationToken", Resource: "*"').replace("Allow", "Deny"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_template_is_caught(case: str, ours: Findings) -> None:
    rule, _ = BROKEN[case]
    assert {found for found, _ in ours[case]} == {rule}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_template_passes(case: str, ours: Findings) -> None:
    assert ours[case] == []


@pytest.mark.long
def test_our_template_passes() -> None:
    assert findings(ROOT / "template.yaml") == {"template": []}
