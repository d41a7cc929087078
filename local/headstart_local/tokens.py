"""`headstart token`: prints a token for a user of the running embedded cloud."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions
import botocore.parsers
from botocore.config import Config

from headstart_local.reaching import DEFAULT_PORT, STACK, session

TOKEN_HOURS = 24
# The same for all, so that whoever asks at the same moment sets no other: it protects nothing here.
_PASSWORD = "Local-convenience-1"  # noqa: S105 - no secret
# A cloud that isn't there won't be there in a moment either.
_ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)


class NoCloudError(RuntimeError):
    """There is no embedded cloud at the address."""


class NoUrlError(ValueError):
    """What should be the embedded cloud's address is none."""


class NoUserPoolError(RuntimeError):
    """The cloud's users are somebody else's, so it can't make tokens for them."""


def issue(endpoint: str, sub: str, groups: Iterable[str] = ()) -> str:
    """Return an access token from the template's own user pool, good for a day.

    The user is made when there is none. Its `sub` is the name given, a local convenience: a real
    pool gives every user an id of its own. It joins `groups`, which are made where there are none.
    Raises NoCloudError, NoUserPoolError.
    """
    aws = session()
    try:
        pool, client_id = _pool(stack_at(endpoint))
        cognito: Any = aws.client("cognito-idp", endpoint_url=endpoint, config=_ONCE)
        # The template's client may allow neither this flow nor tokens that last a day of work.
        cognito.update_user_pool_client(
            UserPoolId=pool,
            ClientId=client_id,
            ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
            AccessTokenValidity=TOKEN_HOURS,
            TokenValidityUnits={"AccessToken": "hours"},
        )
        # A second token for the same user is as welcome as the first.
        with contextlib.suppress(cognito.exceptions.UsernameExistsException):
            cognito.admin_create_user(UserPoolId=pool, Username=sub)
        cognito.admin_set_user_password(
            UserPoolId=pool, Username=sub, Password=_PASSWORD, Permanent=True
        )
        for group in groups:
            with contextlib.suppress(cognito.exceptions.GroupExistsException):
                cognito.create_group(UserPoolId=pool, GroupName=group)
            cognito.admin_add_user_to_group(UserPoolId=pool, Username=sub, GroupName=group)
        answer = cognito.admin_initiate_auth(
            UserPoolId=pool,
            ClientId=client_id,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": sub, "PASSWORD": _PASSWORD},
        )
    except (botocore.exceptions.BotoCoreError, botocore.parsers.ResponseParserError) as error:
        raise NoCloudError(
            f"no embedded cloud answers at {endpoint}; start it: headstart up"
        ) from error
    return str(answer["AuthenticationResult"]["AccessToken"])


def stack_at(endpoint: str) -> dict[str, Any]:
    """Return what CloudFormation says of the stack of an embedded cloud; raises botocore's."""
    cloudformation: Any = session().client("cloudformation", endpoint_url=endpoint, config=_ONCE)
    found: dict[str, Any] = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    return found


def _pool(stack: dict[str, Any]) -> tuple[str, str]:
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    try:
        return outputs["UserPoolId"], outputs["UserPoolClientId"]
    except KeyError as error:
        raise NoUserPoolError(
            f"the stack has no output {error}, and so no users of its own to make a token for"
        ) from error


def endpoint_of(url: str) -> str:
    """Return the embedded cloud's address from any URL of it; raises NoUrlError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise NoUrlError(f"{url} is not a URL such as http://127.0.0.1:{DEFAULT_PORT}")
    return f"{parts.scheme}://{parts.netloc}"


def main(argv: list[str]) -> int:
    """Run `headstart token --sub NAME --group NAME`.

    Returns 1 without a cloud, 2 without an address of one.
    """
    parser = argparse.ArgumentParser(prog="headstart token", description=__doc__)
    parser.add_argument("--sub", default="demo", help="the user's name, and the token's subject")
    parser.add_argument(
        "--group", action="append", default=[], help="a group that the user joins, repeatable"
    )
    arguments = parser.parse_args(argv)
    url = os.environ.get("HEADSTART_URL", f"http://127.0.0.1:{DEFAULT_PORT}")
    try:
        token = issue(endpoint_of(url), arguments.sub, arguments.group)
    except NoUrlError as error:
        sys.stderr.write(f"headstart token: HEADSTART_URL: {error}\n")
        return 2
    except (NoCloudError, NoUserPoolError, botocore.exceptions.ClientError) as error:
        sys.stderr.write(f"headstart token: {error}\n")
        return 1
    sys.stdout.write(f"{token}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
