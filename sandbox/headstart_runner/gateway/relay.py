"""A request passed on and its answer passed back, as they stream: nothing is kept of either."""

from collections.abc import AsyncIterator, Mapping

from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

_OF_THE_CONNECTION = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "host", "expect", "proxy-connection",
}  # fmt: skip
"""What is between two neighbours only (RFC 9110, 7.6.1)."""

CONNECT_SECONDS = 10


def upstream(resolver: AbstractResolver, *, silent_seconds: float) -> ClientSession:
    """Return a client that connects to where `resolver` says and nowhere else.

    It follows nothing, decodes nothing, remembers no cookies and obeys no proxy of the environment;
    a server that says nothing for `silent_seconds` is given up.
    """
    return ClientSession(
        connector=TCPConnector(resolver=resolver, ttl_dns_cache=0, limit=0),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=ClientTimeout(
            total=None, connect=None, sock_connect=CONNECT_SECONDS, sock_read=silent_seconds
        ),
    )


def forwarded(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the headers that are meant for the other end."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    dropped = _OF_THE_CONNECTION | named
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in dropped
    )


def exactly(url: str) -> URL:
    """Return an address that is sent as it is written; ValueError for one that would be changed."""
    made = URL(url, encoded=True)
    _, _, below = url.partition("://")
    host, slash, path = below.partition("/")
    if made.raw_path_qs != (slash + path or "/") or made.raw_authority != host or "@" in host:
        raise ValueError("is another address once it is sent")
    return made


async def body_of(request: web.Request) -> AsyncIterator[bytes]:
    """Yield a request's body as it comes."""
    async for piece in request.content.iter_any():
        yield piece


async def pass_back(
    request: web.Request,
    answer: ClientResponse,
    *,
    begun: bytes = b"",
    without: frozenset[str] = frozenset(),
) -> web.StreamResponse:
    """Answer a request with what its server answers, as it comes.

    `begun` is what of the body was read already; the headers `without`, in lower case, are kept.
    """
    headers = forwarded(answer.headers)
    for name in without:
        headers.popall(name, None)
    passed = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await passed.prepare(request)
    if begun:
        await passed.write(begun)
    async for piece in answer.content.iter_any():
        await passed.write(piece)
    await passed.write_eof()
    return passed
