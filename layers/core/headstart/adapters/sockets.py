"""The way back to WebSocket peers: API Gateway's management API."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from headstart.adapters.aws import translated
from headstart.domain.errors import ConnectionGone

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

T = TypeVar("T")

AT_ONCE = 8
"""How many connections are served at a time; botocore keeps 10 connections of its own open."""


class ApiGatewaySockets:
    """The Sockets port."""

    def __init__(self, client: "ApiGatewayManagementApiClient") -> None:
        self._client = client

    def post(self, connection_id: str, text: str) -> None:
        """Send one message; raises ConnectionGone."""
        with translated():
            try:
                self._client.post_to_connection(ConnectionId=connection_id, Data=text.encode())
            except self._client.exceptions.GoneException as error:
                raise ConnectionGone() from error

    def close(self, connection_id: str) -> None:
        """Close a connection; one that is gone is fine."""
        with translated():
            try:
                self._client.delete_connection(ConnectionId=connection_id)
            except self._client.exceptions.GoneException:
                return

    def for_each(self, connection_ids: Sequence[str], do: Callable[[str], T]) -> list[T]:
        """Do something for connections, AT_ONCE at a time, and return what came of each, in order.

        It is done for all, whatever is raised for one, before this returns or raises the first of
        the errors; and for several on threads, which end here: Lambda freezes what a function
        leaves running.
        """
        if len(connection_ids) <= 1:
            return [do(connection_id) for connection_id in connection_ids]
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  only for several

        # Made when first looked at: two threads would make two, and miss each other's errors.
        _ = self._client.exceptions
        with ThreadPoolExecutor(min(AT_ONCE, len(connection_ids))) as threads:
            doing = [threads.submit(do, connection_id) for connection_id in connection_ids]
        return [done.result() for done in doing]
