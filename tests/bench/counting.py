"""Counts what a session uses: every request to the embedded cloud, every frame and invocation."""

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from headstart_local.patches import PatchContext

_WRITES = {"PutItem": 1, "UpdateItem": 1, "DeleteItem": 1, "TransactWriteItems": 2}
"""Write request units a kilobyte; a transaction's count twice ("Read/write capacity mode")."""

_WRITE_BYTES, _READ_BYTES = 1024, 4096


class Meter:
    """What was used since the last `reset`; `install` is a patch of the embedded cloud."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        self.calls: Counter[str] = Counter()
        self.lambda_calls: Counter[str] = Counter()
        self.lambda_ms: Counter[str] = Counter()
        self.units: Counter[str] = Counter()

    def install(self, context: PatchContext) -> None:
        """Stand between the server and the emulator, and between the emulator and its functions."""
        stock_app, stock_invoke = context.emulator.app.app, context.workers.invoke

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await self._request(stock_app, scope, receive, send)
            elif scope["type"] == "websocket":
                await stock_app(scope, self._noted(receive), self._noted(send))
            else:
                await stock_app(scope, receive, send)

        def invoke(spec: Any, *arguments: Any) -> Any:
            begun = time.perf_counter()
            try:
                return stock_invoke(spec, *arguments)
            finally:
                name = spec.name.rpartition("-")[0].removeprefix("headstart-") or spec.name
                with self._lock:
                    self.lambda_calls[name] += 1
                    self.lambda_ms[name] += round((time.perf_counter() - begun) * 1000)

        context.emulator.app.app = app
        context.workers.invoke = invoke  # type: ignore[method-assign]

    async def _request(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        sent, answered = bytearray(), bytearray()

        async def noted_receive() -> Any:
            message = await receive()
            sent.extend(message.get("body", b""))
            return message

        async def noted_send(message: Any) -> None:
            answered.extend(message.get("body", b""))
            await send(message)

        await app(scope, noted_receive, noted_send)
        with self._lock:
            self._count(scope, bytes(sent), len(answered))

    def _count(self, scope: Any, body: bytes, answered: int) -> None:
        headers = dict(scope["headers"])
        target = headers.get(b"x-amz-target", b"").decode()
        path = scope["path"]
        if target:
            service, _, operation = target.partition(".")
            self.calls[f"{service.split('_')[0]} {operation}"] += 1
            if service.startswith("DynamoDB"):
                self._dynamodb(operation, body, answered)
        elif "/@connections/" in path:
            self.calls[f"WebSocket {scope['method']} @connections"] += 1
            self.units["WebSocket messages"] += math.ceil(max(1, len(body)) / 32768)
        elif "/_aws/execute-api/" in path:
            self.calls["HTTP API request"] += 1
            self.units["HTTP API requests"] += 1

    def _dynamodb(self, operation: str, body: bytes, answered: int) -> None:
        """Add request units by size of the JSON, which is a little more than DynamoDB counts."""
        if operation in _WRITES:
            request = json.loads(body)
            items = request.get("TransactItems") or [request]
            for item in items:
                size = len(json.dumps(item))
                self.units["write units"] += _WRITES[operation] * math.ceil(size / _WRITE_BYTES)
                # A session's row is in two indexes; the due one moves with nearly every write.
                self.units["write units"] += 2 if '"dueAt"' in json.dumps(item) else 0
        elif operation == "BatchWriteItem":
            for requests in json.loads(body)["RequestItems"].values():
                self.units["write units"] += len(requests)
        else:
            self.units["read units"] += math.ceil(max(1, answered) / _READ_BYTES)

    def _noted(self, stock: Callable[..., Any]) -> Callable[..., Any]:
        async def noted(*arguments: Any) -> Any:
            result = await stock(*arguments)
            message = arguments[0] if arguments else result
            if message["type"] == "websocket.receive":
                with self._lock:
                    self.calls["WebSocket message in"] += 1
                    self.units["WebSocket messages"] += 1
            return result

        return noted
