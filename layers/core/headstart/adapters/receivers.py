"""Calling receivers over HTTP: what a session's owner named is not trusted with anything of ours.

The name is looked up once, and the connection goes to an address that was checked, with the
certificate checked for the name. Nothing is followed, no proxy is asked, and one clock runs for it
all: a receiver that says a byte at a time gets no longer than one that says nothing.
"""

import http.client
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cache
from urllib.parse import SplitResult, urlsplit

from headstart.domain.addresses import is_public
from headstart.domain.callbacks import (
    EXCHANGE_TIME,
    PAUSE,
    check_callback_url,
    is_allowed_target,
    origin_of,
)
from headstart.domain.errors import CallbackFailed, CallbackTimedOut

_PORTS = {"http": 80, "https": 443}
_ADDRESSES = 4
"""How many of a name's addresses are tried."""

_PAUSES = 1000
"""How many receivers that hung are remembered; more than these have nobody held up by them."""

Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Return a name's addresses; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


@cache
def default_context() -> ssl.SSLContext:
    """Return what checks certificates, by the system's authorities."""
    return ssl.create_default_context()


class HttpReceivers:
    """The Receivers port; remembers for a minute who hung, so that all others get their turn."""

    def __init__(
        self,
        allowed: list[str],
        *,
        resolve: Resolve = resolve,
        context: Callable[[], ssl.SSLContext] = default_context,
        seconds: float = EXCHANGE_TIME.total_seconds(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._context = context
        self._seconds = seconds
        self._monotonic = monotonic
        self._paused: dict[tuple[str, str], float] = {}

    def post(self, owner: str, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Return the status that a receiver answers; raises CallbackFailed."""
        try:
            check_callback_url(url, self._allowed)
        except ValueError as error:
            raise CallbackFailed(f"The receiver's address {error}") from error
        with self._pausing((owner, origin_of(url))):
            return self._exchange(url, headers, body)

    @contextmanager
    def _pausing(self, receiver: tuple[str, str]) -> Iterator[None]:
        """Ask nobody who hung within the last minute; an owner's receiver pauses for them alone."""
        if self._paused.get(receiver, 0) > self._monotonic():
            raise CallbackTimedOut("The receiver did not answer in time a moment ago")
        try:
            yield
        except TimeoutError as error:
            if len(self._paused) >= _PAUSES:
                self._paused.clear()
            self._paused[receiver] = self._monotonic() + PAUSE.total_seconds()
            raise CallbackTimedOut() from error
        except (OSError, http.client.HTTPException) as error:
            # By kind: the words of an error may quote what the receiver said.
            raise CallbackFailed(f"The receiver was not reached: {_kind(error)}") from error
        self._paused.pop(receiver, None)

    def _exchange(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        end = self._monotonic() + self._seconds
        addresses = self._addresses(host, port, end)
        if not is_allowed_target(url, self._allowed) and not all(map(is_public, addresses)):
            raise CallbackFailed("The receiver's name is at an address that is not public")
        with (
            closing(self._connect(addresses, port, end)) as plain,
            _deadline(plain, end - self._monotonic()),
        ):
            return self._ask(plain, parts, headers, body)

    def _addresses(self, host: str, port: int, end: float) -> list[str]:
        """Look a name up, no longer than there is time: the system's own call knows no limit."""
        answers: queue.Queue[list[str] | OSError] = queue.Queue()

        def look() -> None:
            try:
                answers.put(self._resolve(host, port))
            except (OSError, UnicodeError) as error:
                answers.put(error if isinstance(error, OSError) else OSError("no name"))

        threading.Thread(target=look, daemon=True).start()
        try:
            found = answers.get(timeout=max(0.0, end - self._monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(found, OSError):
            raise found
        return found

    def _connect(self, addresses: list[str], port: int, end: float) -> socket.socket:
        failure: OSError = OSError("no address")
        for address in addresses[:_ADDRESSES]:
            left = end - self._monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                return socket.create_connection((address, port), timeout=left)
            except OSError as error:
                failure = error
        raise failure

    def _ask(
        self, plain: socket.socket, parts: SplitResult, headers: Mapping[str, str], body: bytes
    ) -> int:
        connection = http.client.HTTPConnection(parts.netloc)
        connection.sock = plain
        if parts.scheme == "https":
            connection.sock = self._context().wrap_socket(plain, server_hostname=parts.hostname)
        with closing(connection):
            target = parts.path or "/"
            connection.request(
                "POST",
                f"{target}?{parts.query}" if parts.query else target,
                body,
                {"Host": parts.netloc, **headers, "Connection": "close"},
            )
            # What else it says is read by nobody.
            return connection.getresponse().status


@contextmanager
def _deadline(plain: socket.socket, seconds: float) -> Iterator[None]:
    """Cut a connection off when time is over, whatever is being waited for on it."""
    # The socket itself is taken over, and closed, by whoever speaks TLS on it.
    handle = plain.dup()
    over = threading.Event()

    def cut() -> None:
        over.set()
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, seconds), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if over.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
        timer.join()
        handle.close()
    if over.is_set():
        # What was cut off in the middle of an answer looks like a shorter one.
        raise TimeoutError


def _kind(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        # OpenSSL's own words, of which none are the receiver's.
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection"
    return "it speaks no HTTP" if isinstance(error, http.client.HTTPException) else "no connection"
