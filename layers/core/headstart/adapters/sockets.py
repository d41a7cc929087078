"""The way back to WebSocket peers: API Gateway's management API."""

from typing import TYPE_CHECKING

from headstart.adapters.aws import translated
from headstart.domain.errors import ConnectionGone

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient


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
