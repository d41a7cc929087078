"""CloudFormation: the parameters that it takes."""

import json
from typing import Any

import botocore.exceptions
import pytest

from tests.conformance.conftest import Probe

TEMPLATE = {
    "Parameters": {
        "Size": {"Type": "String", "Default": "s", "AllowedValues": ["s", "l"]},
        "Code": {"Type": "String", "Default": "ab", "AllowedPattern": "[a-z]+", "MaxLength": 3},
        "Disk": {"Type": "Number", "Default": 30, "MinValue": 21, "MaxValue": 200},
    },
    "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
}


def given(name: str, **parameters: str) -> dict[str, Any]:
    items = [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()]
    return {"StackName": name, "TemplateBody": json.dumps(TEMPLATE), "Parameters": items}


def refusal(call: Any, **request: Any) -> str:
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(**request)
    assert raised.value.response["Error"]["Code"] == "ValidationError"
    return str(raised.value.response["Error"]["Message"])


@pytest.mark.proves("cloudformation.unknown_parameters_refused")
def test_parameters_that_the_template_does_not_have_are_refused(probe: Probe, unique: str) -> None:
    cloudformation = probe.cloud.client("cloudformation")
    name = f"s-{unique}"
    said = "Parameters: [Dsik, Nope] do not exist in the template"
    asked = given(name, Size="l", Dsik="30", Nope="1")
    assert refusal(cloudformation.create_stack, **asked) == said
    changes = {**asked, "ChangeSetName": "c", "ChangeSetType": "CREATE"}
    assert refusal(cloudformation.create_change_set, **changes) == said
    cloudformation.create_stack(**given(name, Size="l"))
    assert refusal(cloudformation.update_stack, **asked) == said


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"Size": "m"}, "Size"),
        ({"Code": "A"}, "Code"),
        ({"Code": "abcd"}, "Code"),
        ({"Disk": "20"}, "Disk"),
        ({"Disk": "201"}, "Disk"),
        ({"Disk": "much"}, "Disk"),
    ],
)
def test_values_outside_their_limits_are_refused(
    probe: Probe, unique: str, parameters: dict[str, str], named: str
) -> None:
    create = probe.cloud.client("cloudformation").create_stack
    assert named in refusal(create, **given(f"s-{unique}", **parameters))


@pytest.mark.proves("cloudformation.time_to_live")
def test_a_table_has_the_time_to_live_of_its_template(probe: Probe) -> None:
    name = probe.cloud.outputs["TableName"]
    described = probe.cloud.client("dynamodb").describe_time_to_live(TableName=name)
    told = described["TimeToLiveDescription"]
    assert told == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
