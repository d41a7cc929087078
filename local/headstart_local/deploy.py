"""Deploys a template to the embedded cloud through its CloudFormation API."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions

from headstart_local import packaging

ARTIFACTS = "headstart-artifacts"
DEPLOY_SECONDS = 60
_POLL_SECONDS = 0.05


class DeploymentError(RuntimeError):
    """The stack could not be created; names the resource and the reason."""


class RefusedError(DeploymentError):
    """CloudFormation refused the template or a parameter before it created anything."""


def check_names(given: Iterable[str], template: Mapping[str, Any]) -> None:
    """Raise RefusedError for parameters that a template lacks, in the words of CloudFormation."""
    declared = template.get("Parameters") or {}
    if unknown := [name for name in given if name not in declared]:
        raise RefusedError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")


def deploy(
    session: boto3.Session,
    endpoint: str,
    *,
    stack: str,
    template: dict[str, Any],
    base: Path,
    parameters: Mapping[str, str],
    offered: Mapping[str, str],
) -> dict[str, str]:
    """Create the stack and return its outputs.

    `parameters` must be the template's; what is `offered` is taken where the template has it.
    Raises DeploymentError.
    """
    s3 = session.client("s3", endpoint_url=endpoint)
    s3.create_bucket(Bucket=ARTIFACTS)

    def upload(name: str, archive: bytes) -> dict[str, str]:
        s3.put_object(Bucket=ARTIFACTS, Key=name, Body=archive)
        return {"Bucket": ARTIFACTS, "Key": name}

    declared = template.get("Parameters", {})
    taken = {key: value for key, value in offered.items() if key in declared}
    given = {**taken, **parameters}
    # The emulator's SAM transform sees defaults only, AWS's sees the values.
    for key in declared.keys() & given.keys():
        declared[key]["Default"] = given[key]
    try:
        body = packaging.package(template, base, upload)
    except (FileNotFoundError, KeyError) as error:
        raise DeploymentError(f"packaging: {error}") from error
    upload("template.json", body.encode())
    cloudformation: Any = session.client("cloudformation", endpoint_url=endpoint)
    try:
        # By URL, for a template in the body may have 51 200 bytes at most.
        cloudformation.create_stack(
            StackName=stack,
            TemplateURL=f"{endpoint}/{ARTIFACTS}/template.json",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in given.items()
            ],
        )
        attempts = int(DEPLOY_SECONDS / _POLL_SECONDS)
        waiter = cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=stack, WaiterConfig={"Delay": _POLL_SECONDS, "MaxAttempts": attempts})
    except botocore.exceptions.ClientError as error:
        raise _refusal(error) from error
    except botocore.exceptions.WaiterError as error:
        raise DeploymentError(_reason(cloudformation, stack) or str(error)) from error
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def _refusal(error: botocore.exceptions.ClientError) -> DeploymentError:
    told = error.response["Error"]
    if told["Code"] == "ValidationError":
        return RefusedError(told["Message"])
    return DeploymentError(str(error))


def _reason(cloudformation: Any, stack: str) -> str | None:
    try:
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    except botocore.exceptions.ClientError:
        return None
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    if not failed:
        return None
    first = failed[-1]
    resource, kind = first["LogicalResourceId"], first["ResourceType"]
    return f"{resource} ({kind}): {first.get('ResourceStatusReason', 'no reason given')}"
