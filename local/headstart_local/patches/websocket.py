"""WebSocket APIs: the session of one connection, and the @connections calls on it."""

import asyncio
import base64
import json
import os
import time
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from headstart_local.patches.context import PatchContext

# "Amazon API Gateway quotas": idle connection timeout, connection duration, message payload.
IDLE_SECONDS = 10 * 60
LIFETIME_SECONDS = 2 * 60 * 60
MAX_MESSAGE_BYTES = 128 * 1024
GOING_AWAY, NORMAL, NO_BINARY = 1001, 1000, 1003
MOST_WAITING = 1000
"""Frames that may wait for a client that does not read; how many AWS keeps it doesn't tell."""

LAST_SECONDS = 5.0
"""How long what was posted before the end may take to go out."""
_OF_THE_CONNECTION = {"$connect", "$disconnect"}


class Session:
    """One client on a WebSocket API, from the handshake to $disconnect."""

    def __init__(self, context: PatchContext, api_id: str, stage: str, scope: Any) -> None:
        self._emulator = context.emulator
        self._gateway = context.emulator.apigateway
        self._api_id = api_id
        self._stage = stage
        self._headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self._query = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
        self._source = (scope.get("client") or ("127.0.0.1",))[0]
        # Base64 with its padding, as AWS's are: ids that need escaping in URLs.
        self.id = base64.urlsafe_b64encode(os.urandom(11)).decode()
        self._connected_at = int(time.time() * 1000)
        self._last_active = time.monotonic()
        self._closing = asyncio.Event()
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._messages: set[asyncio.Task[None]] = set()

    async def run(self, receive: Any, send: Any) -> None:
        """Serve the connection; the handshake has been received."""
        status = await self._connect()
        if not 200 <= status < 300:
            await self._refuse(status, send)
            return
        await send({"type": "websocket.accept"})
        record = {"apiId": self._api_id, "session": self, "close_event": self._closing}
        self._gateway._ws_connections[self.id] = record
        sending = asyncio.create_task(self._send_outbox(send))
        try:
            reason = await self._receive_messages(receive)
        finally:
            self._gateway._ws_connections.pop(self.id, None)
            sending.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                # What was posted before the end was accepted, so it goes out before the close.
                while not self._outbox.empty():
                    await send({"type": "websocket.send", "text": self._outbox.get_nowait()})
                await send({"type": "websocket.close", "code": reason})
        await self._call("$disconnect", "DISCONNECT", uuid4().hex)

    def post(self, text: str) -> None:
        """Queue a frame for the client; one that reads none is closed once a thousand wait."""
        self._last_active = time.monotonic()
        if self._outbox.qsize() >= MOST_WAITING:
            self.close()
        else:
            self._outbox.put_nowait(text)

    def close(self) -> None:
        """Close the socket from the server's side."""
        self._closing.set()

    def described(self) -> dict[str, Any]:
        """Return what GetConnection shows."""
        connected = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._connected_at / 1000))
        identity = {"sourceIp": self._source, "userAgent": self._headers.get("user-agent", "")}
        return {"connectedAt": connected, "lastActiveAt": connected, "identity": identity}

    async def _connect(self) -> int:
        if self._route("$connect") is None:
            return 200
        extra = {
            "headers": self._headers,
            "multiValueHeaders": {name: [value] for name, value in self._headers.items()},
        }
        if self._query:
            extra["queryStringParameters"] = {
                name: values[-1] for name, values in self._query.items()
            }
            extra["multiValueQueryStringParameters"] = self._query
        answer = await self._call("$connect", "CONNECT", uuid4().hex, extra=extra)
        if "error" in answer:
            return 502
        body = answer.get("body")
        return int(body.get("statusCode", 502)) if isinstance(body, dict) else 502

    async def _refuse(self, status: int, send: Any) -> None:
        names = {401: "Unauthorized", 403: "Forbidden", 410: "Gone"}
        message = names.get(status, "Internal server error" if status >= 500 else "Forbidden")
        body = {"message": message, "connectionId": self.id, "requestId": uuid4().hex}
        headers = [(b"content-type", b"application/json")]
        start = {"type": "websocket.http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": json.dumps(body).encode()})

    async def _receive_messages(self, receive: Any) -> int:
        closing = asyncio.create_task(self._closing.wait())
        receiving = asyncio.create_task(receive())
        opened = time.monotonic()
        try:
            while True:
                now = time.monotonic()
                left = min(self._last_active + IDLE_SECONDS, opened + LIFETIME_SECONDS) - now
                if left <= 0:
                    return GOING_AWAY
                tasks = {closing, receiving}
                await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    message = receiving.result()
                    if message["type"] == "websocket.disconnect":
                        return NORMAL
                    if message.get("text") is None:
                        return NO_BINARY
                    self._last_active = time.monotonic()
                    self._start_message(message["text"])
                    receiving = asyncio.create_task(receive())
                elif closing.done():
                    return NORMAL
        finally:
            closing.cancel()
            receiving.cancel()

    def _start_message(self, text: str) -> None:
        task = asyncio.create_task(self._message(text))
        self._messages.add(task)
        task.add_done_callback(self._messages.discard)

    async def _message(self, text: str) -> None:
        route = self._selected(text)
        request_id = uuid4().hex
        if route is None:
            self._report("Forbidden", request_id)
            return
        answer = await self._call(route["routeKey"], "MESSAGE", request_id, body=text)
        if "error" in answer:
            self._report("Internal server error", request_id)

    def _selected(self, text: str) -> dict[str, Any] | None:
        expression = self._gateway._apis[self._api_id].get("routeSelectionExpression", "")
        try:
            key = self._gateway._evaluate_route_selection(expression, text)
        except RecursionError:
            # Nothing that nests so deep is read as JSON by anybody.
            key = "$default"
        own = None if key in _OF_THE_CONNECTION else self._route(key)
        return own or self._route("$default")

    def _report(self, message: str, request_id: str) -> None:
        error = {"message": message, "connectionId": self.id, "requestId": request_id}
        self.post(json.dumps(error))

    async def _send_outbox(self, send: Any) -> None:
        while True:
            await send({"type": "websocket.send", "text": await self._outbox.get()})

    def _route(self, key: str) -> dict[str, Any] | None:
        routes = self._gateway._routes.get(self._api_id, {}).values()
        return next((route for route in routes if route.get("routeKey") == key), None)

    async def _call(
        self,
        route_key: str,
        event_type: str,
        request_id: str,
        body: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Invoke a route's function; `{}` where there is no such route."""
        route = self._route(route_key)
        if route is None:
            return {}
        integration_id = route["target"].rpartition("/")[2]
        integration = self._gateway._integrations[self._api_id][integration_id]
        service = self._emulator.lambda_service
        reference = self._gateway._extract_lambda_ref_from_integration_uri(
            integration["integrationUri"]
        )
        function, config, _ = service._get_func_record_for_ref(reference)
        if not function or not config:
            return {"error": True}
        event = {
            **(extra or {}),
            "requestContext": self._request_context(route_key, event_type, request_id),
            "isBase64Encoded": False,
        }
        if body is not None:
            event["body"] = body
        record = service._execution_record_for_config(function, config)
        execute = service._execute_function_with_config_scope
        answer: dict[str, Any] = await self._gateway.run_reentrant(execute, record, event)
        return {"error": True} if answer.get("error") else {"body": answer.get("body")}

    def _request_context(self, key: str, event_type: str, request_id: str) -> dict[str, Any]:
        now = time.time()
        context = {
            "routeKey": key,
            "eventType": event_type,
            "extendedRequestId": request_id,
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "requestTimeEpoch": int(now * 1000),
            "messageDirection": "IN",
            "stage": self._stage,
            "connectedAt": self._connected_at,
            "identity": {
                "sourceIp": self._source,
                "userAgent": self._headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "domainName": f"{self._api_id}.execute-api.{self._emulator.responses.get_region()}"
            ".amazonaws.com",
            "connectionId": self.id,
            "apiId": self._api_id,
        }
        if event_type == "MESSAGE":
            context["messageId"] = request_id
        if event_type == "DISCONNECT":
            context |= {"disconnectStatusCode": 1005, "disconnectReason": ""}
        return context


def sessions(context: PatchContext) -> None:
    """Serve WebSocket connections as API Gateway does.

    Messages of a connection are handled at the same time; a route without a RouteResponse sends
    nothing back; an error of the function is told in the gateway's own words; $connect and
    $disconnect never fall back to $default, and no message is for them, whatever it selects; what
    is no JSON is for $default; a binary message closes the connection with 1003; a refused $connect
    answers the handshake with the function's status ("Working with WebSocket APIs": routes,
    connections, binary media types, two-way communication).
    """
    gateway = context.emulator.apigateway

    async def handle(
        scope: Any, receive: Any, send: Any, api_id: str, path_override: str | None = None
    ) -> None:
        await receive()
        stage = (path_override or scope["path"]).strip("/").partition("/")[0]
        with context.emulator.scope():
            if gateway._api_protocol(api_id) != "WEBSOCKET" or stage not in gateway._stages[api_id]:
                await send({"type": "websocket.close"})
                return
            await Session(context, api_id, stage, scope).run(receive, send)

    gateway.handle_websocket = handle


def connections(context: PatchContext) -> None:
    """Serve PostToConnection, GetConnection and DeleteConnection.

    GoneException (410) for a connection that isn't open, which it isn't yet in its own $connect;
    PayloadTooLargeException above 128 KB ("Use @connections commands", API reference).
    """
    gateway = context.emulator.apigateway

    def error(status: int, name: str) -> Any:
        headers = {"Content-Type": "application/json", "x-amzn-ErrorType": name}
        return status, headers, json.dumps({"message": name}).encode()

    async def handle(method: str, api_id: str, *rest: Any) -> Any:
        _, connection_id, body, _ = rest
        record = gateway._ws_connections.get(connection_id)
        if not record or record["apiId"] != api_id:
            return error(410, "GoneException")
        session: Session = record["session"]
        if method == "POST":
            if len(body) > MAX_MESSAGE_BYTES:
                return error(413, "PayloadTooLargeException")
            session.post(body.decode(errors="replace"))
            return 200, {}, b""
        if method == "DELETE":
            del gateway._ws_connections[connection_id]
            session.close()
            return 204, {}, b""
        return 200, {"Content-Type": "application/json"}, json.dumps(session.described()).encode()

    gateway.handle_connections_api = handle
