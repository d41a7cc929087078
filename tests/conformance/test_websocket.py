"""WebSocket APIs: handshake, messages, @connections, the end."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import botocore.exceptions
import pytest
import websockets.exceptions
from websockets.sync.client import ClientConnection, connect

from headstart_local.patches import websocket
from tests.conformance.conftest import Probe

SECONDS = 5


@contextmanager
def opened(probe: Probe, **query: str) -> Iterator[ClientConnection]:
    url = f"{probe.cloud.websocket_url}?{urlencode(query)}" if query else probe.cloud.websocket_url
    with connect(url, additional_headers={"Authorization": "Bearer x"}) as client:
        yield client


def send(client: ClientConnection, **message: Any) -> None:
    client.send(json.dumps(message))


def receive(client: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(client.recv(SECONDS))
    return message


def bare_url(probe: Probe) -> str:
    return f"ws://127.0.0.1:{probe.cloud.port}/_aws/execute-api/{probe.cloud.outputs['BareWebSocketApi']}/live"


def management(probe: Probe) -> Any:
    url = probe.cloud.websocket_url.replace("ws://", "http://")
    return probe.cloud.client("apigatewaymanagementapi", url)


def test_connect_event(probe: Probe, unique: str) -> None:
    with opened(probe, id=unique, ticket="a b") as client:
        event = probe.item("connected", unique)["event"]
        send(client, action="echo")
        later = receive(client)["event"]
    assert event["headers"]["authorization"] == "Bearer x"
    assert event["queryStringParameters"] == {"id": unique, "ticket": "a b"}
    context = event["requestContext"]
    assert (context["routeKey"], context["eventType"]) == ("$connect", "CONNECT")
    assert context["stage"] == "live"
    assert context["apiId"] in probe.cloud.websocket_url
    assert abs(context["connectedAt"] / 1000 - time.time()) < SECONDS
    assert later["requestContext"]["connectionId"] == context["connectionId"]
    assert later["requestContext"]["eventType"] == "MESSAGE"


@pytest.mark.proves("websocket.sessions")
def test_connected_at_stays_the_same(probe: Probe, unique: str) -> None:
    with opened(probe, id=unique) as client:
        first = probe.item("connected", unique)["event"]["requestContext"]["connectedAt"]
        time.sleep(0.05)
        send(client, action="echo")
        assert receive(client)["event"]["requestContext"]["connectedAt"] == first


@pytest.mark.proves("websocket.sessions")
@pytest.mark.parametrize(("query", "status"), [({"status": "401"}, 401), ({"fail": "1"}, 502)])
def test_refused_handshake_tells_the_status(
    probe: Probe, query: dict[str, str], status: int
) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus) as raised, opened(probe, **query):
        pass
    assert raised.value.response.status_code == status


def test_no_post_inside_own_connect(probe: Probe, unique: str) -> None:
    with opened(probe, id=unique, post="1") as client:
        noted = probe.item("connected", unique)
        assert noted["error"] == "GoneException"
        with pytest.raises(TimeoutError):
            client.recv(0.1)


@pytest.mark.proves("websocket.sessions")
def test_messages_are_handled_in_parallel(probe: Probe) -> None:
    with opened(probe) as client:
        send(client, action="echo")
        receive(client)
        # The second may need a new worker first, hence the distance.
        for seconds in (1.5, 0.0):
            send(client, action="sleep", seconds=seconds)
        order = [receive(client)["order"]["seconds"] for _ in range(2)]
    assert order == [0.0, 1.5]


@pytest.mark.proves("websocket.sessions")
def test_body_of_a_route_is_not_sent(probe: Probe, unique: str) -> None:
    with opened(probe) as client:
        send(client, action="record", id=unique)
        assert probe.item("received", unique)
        with pytest.raises(TimeoutError):
            client.recv(0.1)


@pytest.mark.proves("websocket.sessions")
def test_error_of_a_function_is_not_told(probe: Probe) -> None:
    with opened(probe) as client:
        send(client, action="boom")
        frame = receive(client)
    assert frame.pop("connectionId")
    assert frame.pop("requestId")
    assert frame == {"message": "Internal server error"}


@pytest.mark.proves("websocket.sessions")
def test_frames_without_a_route(probe: Probe, unique: str) -> None:
    with connect(bare_url(probe)) as client:
        send(client, action="unheard-of")
        assert receive(client)["message"] == "Forbidden"
        send(client, action="record", id=unique)
        assert probe.item("received", unique)


@pytest.mark.proves("websocket.sessions")
@pytest.mark.parametrize("action", ["$connect", "$disconnect", "$default"])
def test_a_message_is_never_for_the_routes_of_the_connection(
    probe: Probe, unique: str, action: str
) -> None:
    with opened(probe) as client:
        send(client, action=action, id=unique)
        request = probe.item("received", unique)["event"]["requestContext"]
        assert (request["routeKey"], request["eventType"]) == ("$default", "MESSAGE")
        assert client.ping().wait(SECONDS)


@pytest.mark.proves("websocket.sessions")
@pytest.mark.parametrize("text", ["", "words", "[" * 20_000, '{"action":' * 3000, '"record"'])
def test_what_is_no_json_object_has_no_route_of_its_own(probe: Probe, text: str) -> None:
    with connect(bare_url(probe)) as client:
        client.send(text)
        assert receive(client)["message"] == "Forbidden"
        client.send(text)
        assert receive(client)["message"] == "Forbidden"


@pytest.mark.proves("websocket.sessions")
def test_a_binary_message_closes_the_connection(probe: Probe) -> None:
    with opened(probe) as client:
        client.send(b'{"action":"echo"}')
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as raised:
            client.recv(SECONDS)
    assert raised.value.rcvd is not None
    assert raised.value.rcvd.code == 1003


@pytest.mark.proves("cloudformation.api_deployments")
def test_api_without_auto_deploy_is_deployed(probe: Probe) -> None:
    with connect(bare_url(probe)) as client:
        assert client.ping().wait(SECONDS)


@pytest.mark.proves("websocket.sessions")
def test_connect_and_disconnect_do_not_fall_back_to_default(probe: Probe) -> None:
    gateway = probe.cloud.client("apigatewayv2")
    api = gateway.create_api(
        Name="d", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )
    source = probe.cloud.outputs["BareWebSocketApi"]
    integration = gateway.get_integrations(ApiId=source)["Items"][0]
    made = gateway.create_integration(
        ApiId=api["ApiId"],
        IntegrationType="AWS_PROXY",
        IntegrationUri=integration["IntegrationUri"],
    )
    gateway.create_route(
        ApiId=api["ApiId"], RouteKey="$default", Target=f"integrations/{made['IntegrationId']}"
    )
    gateway.create_stage(ApiId=api["ApiId"], StageName="live")
    url = f"ws://127.0.0.1:{probe.cloud.port}/_aws/execute-api/{api['ApiId']}/live"
    with connect(f"{url}?status=401") as client:
        assert client.ping().wait(SECONDS)


def test_posting_to_nobody_is_gone(probe: Probe) -> None:
    client = management(probe)
    with pytest.raises(client.exceptions.GoneException):
        client.post_to_connection(ConnectionId="L0SM9cOFvHcCIhw=", Data=b"x")


def test_posting_to_a_closed_connection_is_gone(probe: Probe, unique: str) -> None:
    with opened(probe, id=unique):
        event = probe.item("connected", unique)["event"]
    connection = event["requestContext"]["connectionId"]
    noted = probe.item("disconnected", connection)["event"]["requestContext"]
    assert (noted["eventType"], noted["routeKey"]) == ("DISCONNECT", "$disconnect")
    client = management(probe)
    with pytest.raises(client.exceptions.GoneException):
        client.post_to_connection(ConnectionId=connection, Data=b"x")


@pytest.mark.proves("websocket.connections")
def test_large_post_is_refused(probe: Probe, unique: str) -> None:
    with opened(probe, id=unique):
        connection = probe.item("connected", unique)["event"]["requestContext"]["connectionId"]
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            management(probe).post_to_connection(ConnectionId=connection, Data=b"x" * 131_073)
    assert raised.value.response["Error"]["Code"] == "PayloadTooLargeException"


@pytest.mark.proves("frames.frame_limit")
def test_frame_above_the_limit_closes_the_connection(probe: Probe) -> None:
    with opened(probe) as client:
        send(client, action="record", fill="x" * 32_768)
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as raised:
            client.recv(SECONDS)
    assert raised.value.rcvd is not None
    assert raised.value.rcvd.code == 1009


def test_frame_within_the_limit_arrives(probe: Probe, unique: str) -> None:
    with opened(probe) as client:
        send(client, action="record", id=unique, fill="x" * 32_600)
        assert probe.item("received", unique)


def test_fragmented_message_may_be_longer_than_a_frame(probe: Probe, unique: str) -> None:
    text = json.dumps({"action": "record", "id": unique, "fill": "x" * 60_000})
    with opened(probe) as client:
        client.send([text[:30_000], text[30_000:60_000], text[60_000:]])
        assert probe.item("received", unique)


@pytest.mark.proves("frames.frame_limit")
def test_a_message_above_its_limit_closes_the_connection(probe: Probe) -> None:
    with opened(probe) as client:
        client.send(["ü" * 15_000] * 5)
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as raised:
            client.recv(SECONDS)
    assert raised.value.rcvd is not None
    assert raised.value.rcvd.code == 1009


def test_a_flood_of_pings_keeps_nobody_waiting(probe: Probe) -> None:
    with opened(probe) as flooding, opened(probe) as client:
        for _ in range(5000):
            flooding.ping()
        send(client, action="echo")
        receive(client)
        assert flooding.ping().wait(SECONDS)


@pytest.mark.proves("websocket.sessions")
def test_a_client_that_reads_nothing_is_closed_and_not_kept_for(
    probe: Probe, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "MOST_WAITING", 5)
    monkeypatch.setattr(websocket, "LAST_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", probe.cloud.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        address = urlsplit(f"{probe.cloud.websocket_url}?{urlencode({'id': unique})}")
        head = (
            f"GET {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer x\r\n\r\n"
        )
        deaf.sendall(head.encode())
        assert deaf.recv(12).endswith(b"101")
        noted = probe.item("connected", unique)["event"]["requestContext"]["connectionId"]
        posts = 0
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            while posts < 1000:
                management(probe).post_to_connection(ConnectionId=noted, Data=b"x" * 120_000)
                posts += 1
    assert raised.value.response["Error"]["Code"] == "GoneException"


@pytest.mark.proves("websocket.sessions")
def test_delete_connection_closes_the_socket(probe: Probe, unique: str) -> None:
    with opened(probe, id=unique) as client:
        connection = probe.item("connected", unique)["event"]["requestContext"]["connectionId"]
        management(probe).delete_connection(ConnectionId=connection)
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            client.recv(SECONDS)
        assert probe.item("disconnected", connection)


def test_posts_before_a_delete_still_arrive(probe: Probe, unique: str) -> None:
    with opened(probe, id=unique) as client:
        connection = probe.item("connected", unique)["event"]["requestContext"]["connectionId"]
        for number in range(20):
            management(probe).post_to_connection(ConnectionId=connection, Data=f"{number}")
        management(probe).delete_connection(ConnectionId=connection)
        assert [client.recv(SECONDS) for _ in range(20)] == [str(n) for n in range(20)]


def test_a_function_may_close_its_own_connection(probe: Probe) -> None:
    with opened(probe) as client:
        send(client, action="close")
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            client.recv(SECONDS)


def test_twenty_viewers_at_once(probe: Probe) -> None:
    slowest: list[float] = []

    def view() -> None:
        with opened(probe) as client:
            start = time.monotonic()
            send(client, action="echo")
            receive(client)
            slowest.append(time.monotonic() - start)

    threads = [threading.Thread(target=view) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(slowest) == 20
