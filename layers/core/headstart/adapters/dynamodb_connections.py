"""Tickets on DynamoDB, and whose a connection is."""

from headstart.adapters import rows
from headstart.adapters.dynamodb_rows import StoredRows
from headstart.domain.connections import Connection, Ticket
from headstart.domain.session import Status


class StoredConnections(StoredRows):
    """The part of the Store port that is about who connects."""

    def put_ticket(self, ticket: Ticket) -> None:
        """Write a ticket."""
        self._table.put(rows.ticket_item(ticket))

    def ticket(self, ticket_hash: str) -> Ticket | None:
        """Return a ticket."""
        item = self._table.get(f"TICKET#{ticket_hash}", "TICKET")
        return rows.decode(item, Ticket) if item else None

    def let_in(self, connection: Connection) -> bool:
        """Write whose a connection is, while its session is there; False when it is not."""
        writes = self._table.writes()
        writes.require(
            rows.key(rows.session_pk(connection.session_id), "SESSION"),
            "attribute_exists(pk) AND #status <> :deleting",
            {"#status": "status"},
            {":deleting": {"S": Status.DELETING.value}},
        )
        writes.put(rows.connection_item(connection))
        return self._table.transact_if(writes)

    def connection(self, connection_id: str) -> Connection | None:
        """Return whose a connection is."""
        place = rows.connection_key(connection_id)
        item = self._table.get(place["pk"]["S"], place["sk"]["S"])
        return rows.decode(item, Connection) if item else None

    def remove_connection(self, connection_id: str) -> Connection | None:
        """Forget whose a connection was; returns it if it was known."""
        item = self._table.delete(rows.connection_key(connection_id))
        return rows.decode(item, Connection) if item else None
