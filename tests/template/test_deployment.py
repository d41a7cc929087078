"""What a deployment makes of the template, by SAM's own translator."""

import copy
import json
import re
from typing import Any

import pytest
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from headstart.domain.steps import STEP_BY_NAME, StepName
from headstart_local.packaging import read_template
from tests.template.test_sandbox import ROOT

LAMBDA_VERSION = "AWS::Lambda::Version"
# Beside its own, SAM gives a role two: for logs and for X-Ray ("IAM quotas": 10 a role). Two more
# are left for what an organisation attaches to every role.
MANAGED_POLICIES = 10 - 2 - 2
DESCRIPTION_CHARACTERS = 256
NO_ROOM = {
    "Agents",
    "CommitAuthor",
    "Callbacks",
    "AllowedCallbackTargets",
    "AllowedGitSources",
    "RepositoryAccess",
    "GroupsClaim",
    "GitHubUrl",
    "Models",
    "Secrets",
    "WebSocketUrl",
    "WebSocketManagementUrl",
}
"""For these there is the parameter Release: the description has no room for them."""
OF_OTHERS = {
    "ProviderSecretArn",
    "RepositoryAgentConfig",
    "PreparedTreeDays",
    "PreparedTreesGB",
    "CapacityProvider",
    "AssignPublicIp",
    "SubnetIds",
    "SecurityGroupIds",
}
"""These matter to functions without versions only."""

Template = dict[str, Any]


@pytest.fixture(autouse=True)
def _region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


def template() -> Template:
    """Return the template as `sam package` leaves it: code is in a bucket."""
    read: Template = copy.deepcopy(read_template(ROOT / "template.yaml"))
    for resource in read["Resources"].values():
        properties = resource.get("Properties", {})
        for name in {"CodeUri", "ContentUri", "DefinitionUri"} & set(properties):
            properties[name] = f"s3://artifacts/{properties[name]}"
    return read


def translated(read: Template, **parameters: Any) -> Template:
    defaults = {name: p["Default"] for name, p in read["Parameters"].items() if "Default" in p}
    translator = Translator({}, Parser())
    made: Template = translator.translate(copy.deepcopy(read), {**defaults, **parameters})
    return made["Resources"]


def versions(resources: Template) -> set[str]:
    return {name for name, made in resources.items() if made["Type"] == LAMBDA_VERSION}


def test_new_code_in_the_layer_is_a_new_version_of_the_http_api_function() -> None:
    before, changed = template(), template()
    changed["Resources"]["CoreLayer"]["Properties"]["ContentUri"] = "s3://artifacts/newer"
    [old], [new] = versions(translated(before)), versions(translated(changed))
    assert old != new


def named_in(read: Template, value: Any) -> set[str]:
    """Return the parameters that a value is made of, however deep, and those of its conditions."""
    found: set[str] = set()
    if isinstance(value, list):
        found = set().union(*(named_in(read, item) for item in value))
    elif isinstance(value, dict):
        for key, item in value.items():
            found |= named_in(read, item)
            if key == "Ref":
                found.add(item)
            elif key == "Fn::Sub":
                found |= set(re.findall(r"\$\{(\w+)\}", str(item)))
            elif key == "Fn::If":
                found |= named_in(read, read["Conditions"][item[0]])
    return found & set(read["Parameters"])


def longest(parameter: Template) -> int:
    """Return how many characters a parameter's value has at most."""
    if allowed := parameter.get("AllowedValues"):
        return max(len(str(value)) for value in allowed)
    return int(
        parameter["MaxLength"] if "MaxLength" in parameter else len(str(parameter["MaxValue"]))
    )


def test_the_version_of_the_http_api_function_tells_its_parameters_apart() -> None:
    read = template()
    [version] = versions(resources := translated(read))
    description = resources[version]["Properties"]["Description"]["Fn::Sub"]
    configured = {
        name: resources["HttpApiFunction"]["Properties"][name]
        for name in ("Environment", "SnapStart", "MemorySize", "Timeout")
    }
    parameters = named_in(read, configured)
    told = {name for name in parameters if f"${{{name}}}" in description}
    assert {"SnapStart", "Release"} < told
    assert parameters - told == NO_ROOM | OF_OTHERS
    characters = sum(longest(read["Parameters"][name]) for name in told) + len(told) - 1
    assert characters <= DESCRIPTION_CHARACTERS


def test_who_needs_another_release_is_told_so() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    for text in (template()["Parameters"]["Release"]["Description"], page):
        assert {name for name in NO_ROOM if name not in text} == set()


def test_another_release_changes_the_function_itself_too() -> None:
    # Else Lambda has nothing new to publish, and the deployment fails.
    function = translated(template())["HttpApiFunction"]["Properties"]
    assert function["Environment"]["Variables"]["HEADSTART_RELEASE"] == {"Ref": "Release"}


def test_the_longest_environment_leaves_room_for_addresses() -> None:
    """Names and values have 4 KB together ("Lambda quotas"); what CloudFormation puts in for a
    resource, and a list of subnets, is a hundred characters and often less."""
    read, room = template(), 4096
    resources = translated(read)
    for name, made in read["Resources"].items():
        if made["Type"] != "AWS::Serverless::Function":
            continue
        taken = 0
        for key, value in resources[name]["Properties"]["Environment"]["Variables"].items():
            parameters = [read["Parameters"][one] for one in named_in(read, value)]
            bounded = [
                one for one in parameters if {"MaxLength", "MaxValue", "AllowedValues"} & set(one)
            ]
            taken += len(key) + (sum(map(longest, bounded)) if bounded else 60)
        assert taken <= room - 64, (name, taken)


def test_old_versions_are_not_kept() -> None:
    [version] = versions(resources := translated(template()))
    assert resources[version]["DeletionPolicy"] == "Delete"


def test_no_function_has_more_policies_than_a_role_may_have() -> None:
    for name, made in template()["Resources"].items():
        if made["Type"] == "AWS::Serverless::Function":
            policies = made["Properties"]["Policies"]
            assert len([policy for policy in policies if "Ref" in policy]) <= MANAGED_POLICIES, name


def test_nobody_can_knock_as_fast_as_the_stream_may_be() -> None:
    stages = [
        made["Properties"]
        for made in translated(template()).values()
        if made["Type"] == "AWS::ApiGatewayV2::Stage" and made["Properties"]["StageName"] == "live"
    ]
    [stage] = stages
    # Anybody on the internet reaches $connect; the rest is for those who were let in.
    knocks = stage["RouteSettings"]["$connect"]
    assert knocks["ThrottlingRateLimit"] <= 50
    assert knocks["ThrottlingBurstLimit"] <= 100


def test_no_run_of_the_janitor_comes_back_when_another_is_due() -> None:
    [config] = [
        made["Properties"]
        for name, made in translated(template()).items()
        if made["Type"] == "AWS::Lambda::EventInvokeConfig" and name.startswith("Janitor")
    ]
    assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (0, 60)


def alarms() -> list[Template]:
    return [
        made["Properties"]
        for made in template()["Resources"].values()
        if made["Type"] == "AWS::CloudWatch::Alarm"
    ]


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
@pytest.mark.parametrize("function", ["SocketFunction", "RunStepFunction"])
def test_what_no_caller_is_answered_by_rings_when_it_fails(function: str, metric: str) -> None:
    watched = [alarm["Dimensions"] for alarm in alarms() if alarm["MetricName"] == metric]
    assert [{"Name": "FunctionName", "Value": {"Ref": function}}] in watched


def test_our_own_metrics_are_told_apart_by_their_stack() -> None:
    variables = template()["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["HEADSTART_STACK"] == {"Ref": "AWS::StackName"}
    ours = [alarm for alarm in alarms() if alarm["Namespace"] == "Headstart"]
    assert {alarm["MetricName"] for alarm in ours} == {
        "ArchivesFailed", "CredentialsFailed", "InfrastructureFailures", "SecretsKeyFailures",
    }  # fmt: skip
    for alarm in ours:
        assert {"Name": "Stack", "Value": {"Ref": "AWS::StackName"}} in alarm["Dimensions"]


CLONE_TRIES = 1 + dict(STEP_BY_NAME[StepName.CLONE].retries)["GitHubUnavailable"]


@pytest.mark.parametrize(
    ("metric", "once"),
    [("ArchivesFailed", 1), ("CredentialsFailed", CLONE_TRIES), ("InfrastructureFailures", 1)],
)
def test_what_fails_twice_in_an_hour_rings_and_once_does_not(metric: str, once: int) -> None:
    [alarm] = [alarm for alarm in alarms() if alarm["MetricName"] == metric]
    assert (alarm["Statistic"], alarm["Period"], alarm["EvaluationPeriods"]) == ("Sum", 3600, 1)
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", once)
    assert alarm["TreatMissingData"] == "notBreaching"


def test_what_runs_all_the_time_is_not_traced() -> None:
    resources = translated(template())
    for name in ("SocketFunction", "JanitorFunction"):
        assert resources[name]["Properties"]["TracingConfig"] == {"Mode": "PassThrough"}
    assert resources["SocketFunction"]["Properties"]["LoggingConfig"]["SystemLogLevel"] == "WARN"


def test_who_takes_what_all_share_can_be_found_in_the_access_log() -> None:
    api = template()["Resources"]["HttpApi"]["Properties"]
    line = json.loads(api["AccessLogSettings"]["Format"])
    assert line["user"] == "$context.authorizer.claims.sub"
    # No variable that may hold a token or a ticket.
    assert not re.search(r"quer|header|rawPath|\$context\.path", str(line))
