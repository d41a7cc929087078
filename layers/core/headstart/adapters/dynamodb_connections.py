"""Tickets and connections on DynamoDB."""

from headstart.adapters import rows
from headstart.adapters.dynamodb_rows import StoredRows
from headstart.adapters.transaction import Cancelled
from headstart.domain.connections import Connection, Ticket
from headstart.domain.errors import Conflict


class StoredConnections(StoredRows):
    """The part of the Store port that is about who connects."""

    def put_ticket(self, ticket: Ticket) -> None:
        """Write a ticket."""
        self._table.put(rows.ticket_item(ticket))

    def ticket(self, ticket_hash: str) -> Ticket | None:
        """Return a ticket."""
        item = self._table.get(f"TICKET#{ticket_hash}", "TICKET")
        return rows.decode(item, Ticket) if item else None

    def put_connection(self, connection: Connection) -> None:
        """Write a connection that is opening."""
        writes = self._table.writes()
        for item in rows.connection_items(connection):
            writes.put(item)
        self._table.transact_at_last(writes)

    def open_connection(self, connection: Connection) -> bool:
        """Open a connection and burn its ticket, together or not at all."""
        connection.is_open = True
        writes = self._table.writes()
        for item in rows.connection_items(connection):
            writes.put(item)
        if connection.role.value == "viewer":
            writes.delete(
                rows.key(f"TICKET#{connection.credential}", "TICKET"), "attribute_exists(pk)"
            )
        try:
            self._table.transact(writes)
        except Cancelled as cancelled:
            connection.is_open = False
            if "ConditionalCheckFailed" in cancelled.codes:
                return False
            raise Conflict("the connection is being changed") from None
        return True

    def connection(self, connection_id: str) -> Connection | None:
        """Return a connection."""
        item = self._table.get(f"CONNECTION#{connection_id}", "CONNECTION")
        return rows.decode(item, Connection) if item else None

    def connections(self, session_id: str) -> list[Connection]:
        """Return a session's connections."""
        return self._readable(self._children(session_id, "CONNECTION#"), Connection)

    def remove_connection(self, connection: Connection) -> None:
        """Forget a connection."""
        writes = self._table.writes()
        for key in rows.connection_keys(connection):
            writes.delete(key)
        self._table.transact_at_last(writes)
