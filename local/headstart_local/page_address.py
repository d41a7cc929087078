"""Where the page of a running embedded cloud is, for `headstart open`."""

import botocore.exceptions
import botocore.parsers

from headstart_local.tokens import NoUrlError, endpoint_of, stack_at


def page_beside(url: str) -> str | None:
    """Return the address of the page that came up with an API, None where there is none."""
    try:
        stack = stack_at(endpoint_of(url))
    except (
        NoUrlError,
        botocore.exceptions.BotoCoreError,
        botocore.exceptions.ClientError,
        botocore.parsers.ResponseParserError,
    ):
        return None
    given = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}
    # `headstart up` lets its own page in before all others.
    origin = given.get("AllowedOrigins", "").split(",")[0]
    return f"{origin}/" if origin else None
