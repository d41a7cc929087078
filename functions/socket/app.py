"""The WebSocket API: who may connect, who left, and what they say."""

from typing import TYPE_CHECKING, Any

from headstart.bootstrap import Event, Services, entry
from headstart.domain.errors import TicketRefused
from headstart.usecases import inbox, watch

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@entry
def lambda_handler(event: Event, _: "LambdaContext", services: Services) -> Any:
    request = event["requestContext"]
    connection_id = request["connectionId"]
    # Not by the route: its name may be what a peer wrote into a frame.
    match request["eventType"]:
        case "CONNECT":
            return _connect(event, connection_id, services)
        case "DISCONNECT":
            watch.disconnect(services, connection_id)
        case _:
            inbox.receive(services, connection_id, event.get("body") or "")
    return {"statusCode": 200}


def _connect(event: Event, connection_id: str, services: Services) -> dict[str, int]:
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    scheme, _, key = headers.get("authorization", "").partition(" ")
    ticket = (event.get("queryStringParameters") or {}).get("ticket")
    if not (key or ticket):
        # Anybody may come this far: what costs a read takes at least a guess.
        return {"statusCode": TicketRefused.status}
    try:
        if scheme.lower() == "bearer":
            session = headers.get("x-headstart-session", "")
            watch.connect_runner(services, connection_id, session, key)
        else:
            watch.connect_viewer(services, connection_id, ticket or "")
    except TicketRefused as error:
        return {"statusCode": error.status}
    return {"statusCode": 200}
