"""How a request becomes HTTP and a reply or failure comes of it: the same for both clients."""

import json
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any

import httpx

from headstart_client.errors import HeadstartError, TransportFailed
from headstart_client.requests import Reply, Request
from headstart_client.tokens import bare

Token = str | Callable[[], str]
"""A bearer token, or what returns the current one: asked before each request, as tokens expire."""

WAIT_SECONDS = 25
"""How long one long poll may take; API Gateway ends any request after 30 s."""

TIMEOUT = httpx.Timeout(10.0, read=WAIT_SECONDS + 10.0)

WHOLE_SECONDS = 60.0
"""How long all of a request may take: the timeouts begin anew with each byte that comes."""

FAILURES = (httpx.RequestError, httpx.InvalidURL, TimeoutError)
"""What keeps a request from its answer."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL)

_IN_WORDS: dict[type[Exception], str] = {
    httpx.ReadTimeout: "it does not answer",
    httpx.WriteTimeout: "it does not take the request",
    httpx.ConnectTimeout: "it does not take the connection",
    TimeoutError: "its answer does not come to an end",
}


@cache
def authorities() -> ssl.SSLContext:
    """Return what certificates are checked against; read once, as it takes longer than a call."""
    return httpx.create_ssl_context()


def trusted(url: str) -> ssl.SSLContext:
    """Return what the certificate of an address is checked against; where none comes, nobody."""
    return authorities() if url[:5].lower() == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def in_words(error: Exception) -> str:
    """Return what went wrong, also of those failures that httpx has no words for."""
    return _IN_WORDS.get(type(error)) or str(error) or type(error).__name__


def parsed(content: bytes) -> Any:
    """Return what JSON says, None where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


class Http:
    """How a request becomes HTTP and a reply or failure comes of it: the same for both clients."""

    def __init__(self, url: str, token: Token) -> None:
        self._url = url.rstrip("/") + "/"
        self._token = token

    @property
    def url(self) -> str:
        """The API's address, with a slash at its end."""
        return self._url

    def token(self) -> str:
        """Return the token that the next request is sent with."""
        return bare(self._token if isinstance(self._token, str) else self._token())

    def _arguments(self, request: Request) -> dict[str, Any]:
        token = self.token()
        # httpx's own words for it name a codec, or look like a lost connection.
        if not (token.isascii() and token.isprintable()):
            raise HeadstartError("The token can't be one: it has a line break or is not ASCII")
        headers = {"authorization": f"Bearer {token}"}
        if request.idempotency_key:
            headers["idempotency-key"] = request.idempotency_key
        return {
            "method": request.method,
            "url": self._url + request.path,
            "params": dict(request.params),
            "headers": headers,
            "json": request.body,
        }

    @staticmethod
    def _reply(response: httpx.Response, content: bytes) -> Reply:
        wait = response.headers.get("retry-after", "")
        token = response.request.headers.get("authorization", "").removeprefix("Bearer ")
        seconds = float(wait) if wait.isdecimal() else None
        return Reply(response.status_code, parsed(content), seconds, token)

    @staticmethod
    def _failure(error: Exception) -> TransportFailed:
        sent = not isinstance(error, _NOT_SENT)
        silent = isinstance(error, httpx.ReadTimeout | TimeoutError)
        return TransportFailed(in_words(error), sent=sent, silent=silent)
