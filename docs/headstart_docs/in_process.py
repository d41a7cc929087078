"""The HTTP API in one process: real handlers, API Gateway's events, ports of one's choice."""

import base64
import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote, urlsplit

from headstart.usecases.ports import Ports
from headstart_docs.operations import OPERATIONS, Operation

ROOT = Path(__file__).parents[2]
REQUEST_ID = "UcJ9fjmQjoEEMZg="
_TEXT_TYPES = re.compile(r"text/|application/(json|javascript|xml)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller gets."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)


def handler_module(function: str) -> ModuleType:
    """Return a function's module, loaded once."""
    name = f"headstart_docs_function_{function}"
    if name not in sys.modules:
        path = ROOT / "functions" / function / "app.py"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def find(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """Return the operation of a path as sent, and its parameters; None where there is none."""
    for operation in OPERATIONS:
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.path)
        match = re.fullmatch(pattern, path)
        if match and operation.method.upper() == method:
            return operation, {name: unquote(text) for name, text in match.groupdict().items()}
    return None


@dataclass(frozen=True, slots=True)
class Api:
    """The API to a caller that the authorizer let through; `owner` is the token's subject."""

    ports: Ports
    owner: str = "alice"

    def call(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request; a body of bytes goes as it is, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        event, operation = self._event(method, target, b"" if body is None else data, headers or {})
        if operation is None:
            return Answer(404, {"content-type": "application/json"}, '{"message":"Not Found"}')
        module = handler_module(operation.function)
        with patch.object(module, "services", lambda: self.ports, create=True):
            found = module.app.resolve(event, SimpleNamespace())
        answered = {name.lower(): str(value) for name, value in found["headers"].items()}
        return Answer(found["statusCode"], answered, found["body"])

    def _event(
        self, method: str, target: str, data: bytes, headers: dict[str, str]
    ) -> tuple[dict[str, Any], Operation | None]:
        parts = urlsplit(target)
        known = find(method, parts.path)
        operation, parameters = known or (None, {})
        sent = {"content-type": "application/json"} | {k.lower(): v for k, v in headers.items()}
        query: dict[str, str] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            query[name] = f"{query[name]},{value}" if name in query else value
        route = f"{method} {operation.path if operation else parts.path}"
        path = unquote(parts.path)
        event: dict[str, Any] = {
            "version": "2.0",
            "routeKey": route,
            "rawPath": path,
            "rawQueryString": parts.query,
            "headers": sent,
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "a1b2c3d4e5",
                "authorizer": {"jwt": {"claims": {"sub": self.owner}, "scopes": None}},
                "http": {"method": method, "path": path, "sourceIp": "203.0.113.10"},
                "requestId": REQUEST_ID,
                "routeKey": route,
                "stage": "$default",
            },
            "isBase64Encoded": False,
        }
        # API Gateway leaves out what is empty.
        if query:
            event["queryStringParameters"] = query
        if parameters:
            event["pathParameters"] = parameters
        if data:
            event |= _body(data, sent["content-type"])
        return event, operation


def _body(data: bytes, content_type: str) -> dict[str, Any]:
    """Return the body as API Gateway has it: text of a text type, anything else in base64."""
    if _TEXT_TYPES.match(content_type):
        try:
            return {"body": data.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass
    return {"body": base64.b64encode(data).decode(), "isBase64Encoded": True}
