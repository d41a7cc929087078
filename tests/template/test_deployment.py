"""What a deployment makes of the template, by SAM's own translator."""

import copy
from typing import Any

import pytest
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from headstart_local.packaging import read_template
from tests.template.test_sandbox import ROOT

LAMBDA_VERSION = "AWS::Lambda::Version"
# Beside its own, SAM gives a role two: for logs and for X-Ray ("IAM quotas": 10 a role).
MANAGED_POLICIES = 10 - 2
DESCRIPTION_CHARACTERS = 256
TOO_LONG = {"ProviderConfig", "GitHubUrl"}
"""For these there is the parameter Release."""
OF_OTHERS = {"ProviderSecretArn", "RepositoryAgentConfig", "CapacityProvider", "AssignPublicIp"}
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


def test_the_version_of_the_http_api_function_tells_its_parameters_apart() -> None:
    read = template()
    [version] = versions(resources := translated(read))
    description = resources[version]["Properties"]["Description"]["Fn::Sub"]
    variables = read["Globals"]["Function"]["Environment"]["Variables"].values()
    parameters = {value.get("Ref") for value in variables} & set(read["Parameters"])
    told = {name for name in parameters if f"${{{name}}}" in description}
    assert parameters - told == TOO_LONG | OF_OTHERS
    assert "${Release}" in description
    longest = sum(int(read["Parameters"][name].get("MaxLength", 8)) + 1 for name in told)
    assert longest + read["Parameters"]["Release"]["MaxLength"] <= DESCRIPTION_CHARACTERS


def test_old_versions_are_not_kept() -> None:
    [version] = versions(resources := translated(template()))
    assert resources[version]["DeletionPolicy"] == "Delete"


def test_no_function_has_more_policies_than_a_role_may_have() -> None:
    for name, made in template()["Resources"].items():
        if made["Type"] == "AWS::Serverless::Function":
            assert len(made["Properties"].get("Policies", [])) <= MANAGED_POLICIES, name
