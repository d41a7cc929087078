"""Making AWS clients, and turning what AWS refuses into our errors, in one place."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session, get_session

from headstart.domain.errors import ServiceUnavailable

_CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    user_agent_extra="headstart",
)

# By default URLs are signed by version 2 in the oldest regions, which leaves out the length, and
# name the global endpoint, which may redirect ("Download and upload objects with presigned URLs").
# A copy of 1 GB may be silent for longer than any other call.
_S3_CONFIG = _CONFIG.merge(
    Config(
        read_timeout=15,
        signature_version="s3v4",
        s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
    )
)


@cache
def _session() -> Session:
    return get_session()


def make_client(service: str, endpoint_url: str | None = None) -> Any:
    """Return a client with short timeouts and three tries; the adapters give it its type.

    botocore without boto3's resources on top: the same clients, sooner.
    """
    config = _S3_CONFIG if service == "s3" else _CONFIG
    return _session().create_client(service, config=config, endpoint_url=endpoint_url)


def error_code(error: ClientError) -> str:
    """Return the service's own code for an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def translated() -> Iterator[None]:
    """Turn whatever AWS raises inside into ServiceUnavailable; our own errors pass."""
    try:
        yield
    except ClientError as error:
        raise ServiceUnavailable(f"{error.operation_name}: {error_code(error)}") from error
    except BotoCoreError as error:
        raise ServiceUnavailable(type(error).__name__) from error
