"""Counts what a session uses: what the embedded cloud is asked for, and what is printed in it."""

import json
import math
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from headstart_local.patches import PatchContext

_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"}
_READ_BYTES = 4096
"""What one read unit reads ("Read/write capacity mode", DynamoDB Developer Guide)."""

_MESSAGE_BYTES = 32 * 1024
"""What API Gateway charges as one message ("Amazon API Gateway pricing")."""


Amounts = Any
"""A Counter by name, of parts of a unit too, which its type does not know."""


class Meter:
    """What was used since the last `reset`; `install` is a patch of the embedded cloud.

    What is asked with boto3 is not counted: no function has it, the benches have.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        self.calls: Counter[str] = Counter()
        self.units: Amounts = Counter()
        self.lambda_calls: Counter[str] = Counter()
        self.calls_out = 0
        self.log_bytes = 0
        self.series: set[str] = set()

    def install(self, context: PatchContext) -> None:
        """Stand between server and emulator, emulator and functions, containers and their log."""
        emulator = context.emulator
        stock_app, stock_invoke = emulator.app.app, context.workers.invoke
        stock_emit = emulator.ecs._emit_awslogs_event

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await self._request(stock_app, scope, receive, send)
            elif scope["type"] == "websocket":
                await stock_app(scope, self._noted(receive), send)
            else:
                await stock_app(scope, receive, send)

        def invoke(spec: Any, *arguments: Any) -> Any:
            name = spec.log_group.rpartition("/")[2]
            with self._lock:
                self.lambda_calls[name] += 1
            return stock_invoke(spec, *arguments)

        def emit(config: Any, line: str) -> Any:
            self.printed("sandbox", line)
            return stock_emit(config, line)

        emulator.app.app = app
        context.workers.invoke = invoke  # type: ignore[assignment,method-assign]
        emulator.ecs._emit_awslogs_event = emit

    def printed(self, function: str, line: str) -> None:
        """Take a line of a log: `on_log` of the cloud."""
        with self._lock:
            self.log_bytes += len(line.encode())
            self.series.update(_series(line))

    async def _request(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        if b"Boto3/" in headers.get(b"user-agent", b""):
            await app(scope, receive, send)
            return
        sent, answered = await _whole(receive), bytearray()
        if sent is None:
            return
        operation = headers.get(b"x-amz-target", b"").decode().partition(".")[2]
        asked = sent
        if operation in _WRITES:
            asked = json.dumps({**json.loads(sent), "ReturnConsumedCapacity": "TOTAL"}).encode()
            headers[b"content-length"] = str(len(asked)).encode()
            scope = {**scope, "headers": list(headers.items())}
        pending = [{"type": "http.request", "body": asked, "more_body": False}]

        async def replayed() -> Any:
            return pending.pop() if pending else await receive()

        async def noted_send(message: Any) -> None:
            answered.extend(message.get("body", b""))
            await send(message)

        await app(scope, replayed, noted_send)
        with self._lock:
            self._count(scope, headers, sent, bytes(answered))

    def _count(self, scope: Any, headers: Any, sent: bytes, answered: bytes) -> None:
        path, method = scope["path"], scope["method"]
        target = headers.get(b"x-amz-target", b"").decode()
        # What a sandbox asks has its signature in the address.
        self.calls_out += headers.get(b"authorization", b"").startswith(b"AWS4-")
        if target:
            service, _, operation = target.partition(".")
            self.calls[f"{service.split('_')[0]} {operation}"] += 1
            if service.startswith("DynamoDB"):
                self._dynamodb(operation, sent, answered)
        elif "/@connections/" in path:
            self.calls[f"WebSocket {method} @connections"] += 1
            if method == "POST":
                self._message(sent)
        elif "/_aws/execute-api/" in path:
            self.calls["HTTP API request"] += 1
            self.units["HTTP API requests"] += 1
        elif _is_s3(scope, headers):
            self._object(method, path, headers, sent, scope["query_string"])

    def _message(self, text: bytes) -> None:
        self.units["WebSocket messages"] += math.ceil(max(1, len(text)) / _MESSAGE_BYTES)

    def _object(self, method: str, path: str, headers: Any, sent: bytes, query: bytes) -> None:
        writes = method in {"PUT", "POST"} or b"list-type" in query
        name = "COPY" if b"x-amz-copy-source" in headers else method
        self.calls[f"S3 {name}"] += 1
        # DELETE is free ("Amazon S3 pricing"); that POST is, which deletes many, nobody says.
        if method != "DELETE":
            self.units["S3 writes and lists" if writes else "S3 reads"] += 1
        if method == "PUT" and "/archives/" in path:
            self.units["archive bytes"] += len(sent)

    def _dynamodb(self, operation: str, sent: bytes, answered: bytes) -> None:
        """Add request units: of writes the emulator knows the rows before and after."""
        answer = json.loads(answered or b"{}")
        if operation in _WRITES:
            consumed = answer.get("ConsumedCapacity", [])
            for part in consumed if isinstance(consumed, list) else [consumed]:
                self.units["write units"] += part["CapacityUnits"]
        else:
            self.units["read units"] += _read_units(operation, json.loads(sent), answer)

    def _noted(self, receive: Callable[..., Any]) -> Callable[..., Any]:
        async def noted() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive":
                text = message.get("text") or ""
                with self._lock:
                    self.calls[f"WebSocket message in: {_action(text)}"] += 1
                    self._message(text.encode())
            return message

        return noted


def _action(text: str) -> str:
    frame = json.loads(text)
    return str(frame.get("action", "part"))


def _series(line: str) -> list[str]:
    """Return the metrics of a line: each combination of name and dimensions costs by itself."""
    if '"_aws"' not in line:
        return []
    told = json.loads(line)
    found = []
    for directive in told["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            # The stack is the same in all.
            values = [str(told[name]) for name in sorted(names) if name != "Stack"]
            found += [" ".join([metric["Name"], *values]) for metric in directive["Metrics"]]
    return found


def _is_s3(scope: Any, headers: Any) -> bool:
    """Say whether a request is signed for S3, in its header or its address."""
    signed = headers.get(b"authorization", b"") + scope["query_string"].replace(b"%2F", b"/")
    return b"/s3/aws4_request" in signed


def _read_units(operation: str, request: Any, answer: Any) -> float:
    """Return the units of a read: a Query's rows are rounded up together, others one by one."""
    if operation == "BatchGetItem":
        [asked] = request["RequestItems"].values()
        found = [item for items in answer["Responses"].values() for item in items]
        missing = len(asked["Keys"]) - len(found)
        return sum(_rounded(row_bytes(item)) for item in found) + missing
    consistent = 1.0 if request.get("ConsistentRead") else 0.5
    if operation == "GetItem":
        return consistent * _rounded(row_bytes(answer.get("Item", {})))
    return consistent * _rounded(sum(row_bytes(item) for item in answer.get("Items", [])))


def _rounded(size: int) -> int:
    return max(1, math.ceil(size / _READ_BYTES))


def row_bytes(item: dict[str, dict[str, Any]]) -> int:
    """Return about how large a row is: names and values ("DynamoDB item sizes and formats")."""
    return sum(
        len(name.encode()) + len(str(text).encode())
        for name, value in item.items()
        for text in value.values()
    )


async def _whole(receive: Any) -> bytes | None:
    """Return a request's body, None where who sends it is killed at it."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body.extend(message.get("body", b""))
        if not message.get("more_body"):
            return bytes(body)
