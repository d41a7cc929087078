"""Model providers behind the door: each request gets its provider's key on the way, and no other.

The agent knows a placeholder instead of a key. In the headers of a request, where the placeholder
stands, the key is put in its place; the request then goes to that provider's own address and
nowhere else. What the provider answers is passed back as it comes.
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from aiohttp import ClientError, ClientResponse, web
from multidict import CIMultiDict

from headstart.domain.errors import StepError
from headstart.domain.repository import has_dot_segments
from headstart_runner.gateway.relay import body_of, exactly, forwarded, pass_back, upstream
from headstart_runner.gateway.resolver import CheckedResolver
from headstart_runner.gateway.routes import Route, Traffic
from headstart_runner.log import Oddities, logger

_MOST_AT_ONCE = 64
_SILENT_SECONDS = 300
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
"""TRACE would have a server tell what it was sent (RFC 9110, 9.3.8), the key with it."""
_PATH = re.compile(
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%(?!7[Ff]|[01])[0-9A-Fa-f]{2})*)?(?:\?[!$-\[\]-~]*)?"
)
"""RFC 3986's path (3.3), without escapes of controls; and of a query, where SDKs are not as strict,
all but spaces, quotes, `#` and backslashes. So nobody on the way ends or changes it."""

_REROUTING = ("X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method",
              "X-Method-Override")  # fmt: skip
"""By which some servers take a request for another than it is."""

_KEY_HEADERS = {"authorization", "api-key", "x-api-key", "x-goog-api-key"}
"""Where SDKs send a key, as all of a value or behind its scheme. A key that an agent may have put
anywhere else is one that a server shows it again, in an error or a header of its answer."""

_REDIRECTS = {301, 302, 303, 307, 308}
_ADDED_BY_CLIENT = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What aiohttp would say for an agent that doesn't."""


class Models:
    """The handler of the door; `traffic` is what went to each provider so far."""

    def __init__(self) -> None:
        self._routes: Mapping[str, Route] = {}
        self._under_way = 0
        self._oddities = Oddities()
        self._clients = {
            named: upstream(CheckedResolver(allow_private=named), silent_seconds=_SILENT_SECONDS)
            for named in (False, True)
        }
        self.traffic: dict[str, Traffic] = {}

    def lead(self, routes: Mapping[str, Route]) -> None:
        """Lead to these providers from now on, and to no other."""
        self._routes = routes

    async def close(self) -> None:
        """Break off what is under way, and log what went to whom."""
        self._routes = {}
        for client in self._clients.values():
            await client.close()
        for provider, told in self.traffic.items():
            logger.info(
                "the model provider %s had %d requests: %d bytes there, %d back",
                *(provider, told.requests, told.sent, told.received),
            )

    async def answer(self, request: web.Request, rest: str) -> web.StreamResponse:
        """Pass a request on; `rest` is its provider, and what follows that provider's address."""
        name = re.match(r"/?([^/?]*)", rest)
        provider, path = (unquote(name[1]), rest[name.end() :]) if name else ("", "")
        route = self._routes.get(provider)
        if route is None:
            return _refusal(404, "No provider of the deployment has that name")
        if request.method not in _METHODS:
            return _refusal(405, f"{request.method} is nothing that a model is asked with")
        if not _stays(path):
            return _refusal(400, "The path leads out of the provider's address, or may do so")
        headers = _stamped(_asked(request.headers), route)
        if headers is None:
            return _refusal(403, "No header holds this provider's placeholder of this sandbox")
        if self._under_way >= _MOST_AT_ONCE:
            return _refusal(429, f"{_MOST_AT_ONCE} requests to models are under way already")
        self._under_way += 1
        try:
            return await self._pass_on(request, provider, route, path, headers)
        finally:
            self._under_way -= 1

    async def _pass_on(
        self,
        request: web.Request,
        provider: str,
        route: Route,
        path: str,
        headers: CIMultiDict[str],
    ) -> web.StreamResponse:
        told = self.traffic.setdefault(provider, Traffic())
        told.requests += 1
        answer: ClientResponse | None = None
        try:
            answer = await self._clients[route.named].request(
                request.method,
                exactly(route.base + path),
                headers=headers,
                data=body_of(request) if request.body_exists else None,
                allow_redirects=False,
                skip_auto_headers=_ADDED_BY_CLIENT,
            )
            if answer.status in _REDIRECTS:
                # The key would go along.
                there = _host(answer.headers.get("Location", ""))
                return _refusal(502, f"The provider redirects to {there}, and is not followed")
            return await pass_back(request, answer)
        except (ClientError, TimeoutError, OSError, ValueError, StepError) as error:
            if answer is None:
                return _refusal(502, f"The provider can't be reached: {_in_words(error)}")
            # Cut off, not ended: nobody must take it for the whole answer.
            if request.transport is not None:
                request.transport.abort()
            self._oddities.note(f"an answer of {provider} broke off: {type(error).__name__}")
            return web.Response()
        finally:
            told.sent += request.content.total_bytes
            if answer is not None:
                told.received += answer.content.total_bytes
                answer.close()


def _stamped(headers: CIMultiDict[str], route: Route) -> CIMultiDict[str] | None:
    """Return headers with keys in their placeholders' places, None where there is none."""
    stamped: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        stamped.add(name, _with_key(name.lower(), value, route))
    return None if stamped == headers else stamped


def _with_key(name: str, value: str, route: Route) -> str:
    """Return a header's value with the key, where it is one for keys and has nothing else."""
    scheme, space, last = value.rpartition(" ")
    for placeholder, key in route.keys.items():
        if name in route.headers:
            value = value.replace(placeholder, key)
        elif name in _KEY_HEADERS and last == placeholder and " " not in scheme:
            return f"{scheme}{space}{key}"
    return value


def _stays(path: str) -> bool:
    """Return whether a path is below its provider's address for all who read it."""
    return bool(_PATH.fullmatch(path)) and not has_dot_segments(path.partition("?")[0])


def _asked(headers: Mapping[str, str]) -> CIMultiDict[str]:
    sent = forwarded(headers)
    for name in _REROUTING:
        sent.popall(name, None)
    return sent


def _host(location: str) -> str:
    try:
        return urlsplit(location).hostname or "another path"
    except ValueError:
        return "nowhere"


def _refusal(status: int, sentence: str) -> web.Response:
    """Return an error in the shape in which OpenAI, Anthropic and Google tell theirs."""
    error = {"type": "headstart_gateway", "message": sentence, "code": status}
    return web.json_response({"type": "error", "error": error}, status=status, dumps=json.dumps)


def _in_words(error: Exception) -> str:
    return "it said nothing in time" if isinstance(error, TimeoutError) else str(error)
