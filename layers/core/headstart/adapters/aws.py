"""Making AWS clients, and turning what AWS refuses into our errors, in one place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from headstart.domain.errors import ServiceUnavailable

if TYPE_CHECKING:
    from botocore.session import Session as BotocoreSession

_CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    user_agent_extra="headstart",
)


def make_client(session: "BotocoreSession", service: str, endpoint_url: str | None = None) -> Any:
    """Return a client with short timeouts and three tries; the adapters give it its type."""
    return session.create_client(service, config=_CONFIG, endpoint_url=endpoint_url)


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
