"""Who may talk to the embedded cloud: programs on this machine, and the pages it knows.

Listening on loopback keeps other machines out, not the pages of a browser on this one: any page may
send requests to 127.0.0.1, and a name of its own may resolve to it (DNS rebinding).
"""

from collections.abc import Collection, Iterable
from http.server import BaseHTTPRequestHandler

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_HTTP_PORT = 80

Headers = Iterable[tuple[str, str]]


def foreign_host(headers: Headers, port: int) -> str | None:
    """Return why a request for another name than ours is refused, None for one that isn't."""
    allowed = {f"{name}:{port}" for name in LOOPBACK_NAMES}
    if port == _HTTP_PORT:
        allowed |= set(LOOPBACK_NAMES)
    hosts = [value.lower() for value in _values(headers, "host")]
    if len(hosts) == 1 and hosts[0] in allowed:
        return None
    return f"The embedded cloud answers to {', '.join(sorted(allowed))} only."


def from_browser(headers: Headers) -> bool:
    """Say whether a browser sent a request.

    Each request that may read or change something has an Origin or Sec-Fetch-Site, or both
    ("Fetch Metadata Request Headers"): images and links have no Origin, and no page can take
    either header off.
    """
    given = list(headers)
    return bool(_values(given, "origin") or _values(given, "sec-fetch-site"))


def foreign_page(headers: Headers, origins: Collection[str] = ()) -> str | None:
    """Return why a browser's request is refused: its Origin is none of `origins`."""
    given = list(headers)
    if not from_browser(given):
        return None
    sent = _values(given, "origin")
    if len(sent) == 1 and sent[0] in origins:
        return None
    return "The embedded cloud answers programs and its own page, no other page of a browser."


def is_link(headers: Headers) -> bool:
    """Say whether a page of this machine sent its reader here; it can't read what comes."""
    given = list(headers)
    site, mode = _values(given, "sec-fetch-site"), _values(given, "sec-fetch-mode")
    return (site, mode) == (["same-site"], ["navigate"])


def _values(headers: Headers, name: str) -> list[str]:
    return [value.strip() for key, value in headers if key.lower() == name]


class GuardedHandler(BaseHTTPRequestHandler):
    """Answers 403 and one sentence to whoever `refusal` names a reason for."""

    def refusal(self, port: int) -> str | None:
        """Return why this request is refused; `port` is the one that it came to."""
        headers = self.headers.items()
        return foreign_host(headers, port) or foreign_page(headers)

    def parse_request(self) -> bool:
        """Read the head of a request; False where it has been answered already."""
        if not super().parse_request():
            return False
        reason = self.refusal(self.connection.getsockname()[1])
        if reason is None:
            return True
        # Its body is not read, so nothing else can come over this connection.
        self.close_connection = True
        body = f"{reason}\n".encode()
        self.send_response(403)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        return False
