"""Calling receivers, over real sockets: what one can do to who calls it."""

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headstart.adapters import receivers
from headstart.adapters.receivers import HttpReceivers
from headstart.domain.errors import CallbackFailed

SECONDS = 0.5
"""What a call may take in these tests, instead of ten."""

ANYWHERE = ["http://*:*", "https://*:*"]
Say = Callable[[socket.socket], None]


class Receiver:
    """A server that does one thing with every connection, and keeps what it was sent."""

    def __init__(self, say: Say, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self._say, self._tls = say, tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(10)
            with suppress(OSError), connection:
                spoken = connection
                if self._tls:
                    spoken = self._tls.wrap_socket(connection, server_side=True)
                with spoken:
                    self.requests.append(_request(spoken))
                    self._say(spoken)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def _request(connection: socket.socket) -> bytes:
    read = b""
    while b"\r\n\r\n" not in read:
        read += connection.recv(65536)
    head, _, body = read.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def receiving(say: Say, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver(say, tls)
    try:
        yield receiver
    finally:
        receiver.close()


def answering(text: str) -> Say:
    return lambda connection: connection.sendall(text.encode())


def hang(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.recv(1)


def drip(text: bytes) -> Say:
    def say(connection: socket.socket) -> None:
        for byte in text * 100:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    return say


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b"x" * 1_000_000)


def caller(**more: object) -> HttpReceivers:
    return HttpReceivers(**{"allowed": ANYWHERE, "seconds": SECONDS, **more})  # type: ignore[arg-type]


def post(receivers: HttpReceivers, url: str, owner: str = "alice") -> int:
    return receivers.post(owner, url, {"x-mine": "1", "webhook-id": "ses_1"}, b"{}")


@pytest.mark.parametrize("status", [200, 204, 301, 410, 500])
def test_what_a_receiver_answers_is_told_and_followed_nowhere(status: int) -> None:
    text = f"HTTP/1.1 {status} So\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with receiving(answering(text)) as receiver:
        assert post(caller(), receiver.url + "/a?b=c") == status
    [request] = receiver.requests
    head, body = request.split(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /a?b=c HTTP/1.1"
    assert f"Host: 127.0.0.1:{receiver.port}".encode() in head
    assert b"x-mine: 1" in head
    assert b"Connection: close" in head
    assert body == b"{}"


@pytest.mark.parametrize(
    "say",
    [
        hang,
        drip(b"x"),
        drip(b"HTTP/1.1 200 OK\r\n"),
        lambda c: (c.sendall(b"HTTP/1.1 200 OK\r\n"), drip(b"a: b\r\n")(c)),
        drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["says nothing", "no HTTP", "a slow line", "slow headers", "goes on"],
)
def test_a_receiver_has_its_time_and_no_more(say: Say) -> None:
    with receiving(say) as receiver:
        began = time.monotonic()
        with pytest.raises(CallbackFailed, match=r"in time|no HTTP"):
            post(caller(), receiver.url)
        assert time.monotonic() - began < 8 * SECONDS


def test_an_answer_without_an_end_is_not_read() -> None:
    with receiving(flood) as receiver:
        began = time.monotonic()
        assert post(caller(), receiver.url) == 200
        assert time.monotonic() - began < 8 * SECONDS


@pytest.mark.parametrize(
    "text", ["", "nonsense\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 " + "x" * 70_000]
)
def test_what_is_no_answer_is_a_failure(text: str) -> None:
    with receiving(answering(text)) as receiver, pytest.raises(CallbackFailed) as failed:
        post(caller(), receiver.url)
    assert "nonsense" not in failed.value.reason


def test_nobody_there_and_no_such_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(CallbackFailed, match="refused the connection"):
        post(caller(), f"http://127.0.0.1:{port}")

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror("no")

    with pytest.raises(CallbackFailed, match="name is not known"):
        post(caller(resolve=unknown), "http://nowhere.test")


def test_a_name_server_that_hangs_costs_no_more_than_the_time() -> None:
    released = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        released.wait(10)
        return []

    began = time.monotonic()
    with pytest.raises(CallbackFailed, match="in time"):
        post(caller(resolve=slow), "http://slow.test")
    assert time.monotonic() - began < 8 * SECONDS
    released.set()


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["::1"],
        ["fd00:ec2::254"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["8.8.8.8", "127.0.0.1"],
        [],
    ],
)
def test_a_name_at_a_private_address_is_never_connected_to(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []
    monkeypatch.setattr(receivers.socket, "create_connection", lambda *a, **_: tried.append(a))
    with pytest.raises(CallbackFailed, match=r"not public|no connection"):
        post(caller(allowed=[], resolve=lambda *_: addresses), "https://rebinding.test")
    assert tried == []


def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that is public when it is checked and private when it is used is looked up once."""
    answers = [["8.8.8.8"], ["127.0.0.1"]]
    tried: list[object] = []

    def connect(address: object, **_: object) -> socket.socket:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(receivers.socket, "create_connection", connect)
    with pytest.raises(CallbackFailed, match="refused"):
        post(caller(allowed=[], resolve=lambda *_: answers.pop(0)), "https://rebinding.test")
    assert tried == [("8.8.8.8", 443)]
    assert len(answers) == 1


def test_what_the_deployment_allows_no_more_is_not_called() -> None:
    with receiving(answering("HTTP/1.1 200 OK\r\n\r\n")) as receiver:
        with pytest.raises(CallbackFailed, match="must be an https URL"):
            post(caller(allowed=[]), receiver.url)
        assert receiver.requests == []


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(answering("HTTP/1.1 200 OK\r\n\r\n")) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert post(caller(), receiver.url) == 200


def test_who_hung_is_paused_for_its_owner_alone() -> None:
    now = [0.0]
    with receiving(hang) as dead, receiving(answering("HTTP/1.1 200 OK\r\n\r\n")) as other:
        calling = caller(monotonic=lambda: now[0])
        with pytest.raises(CallbackFailed, match=r"in time$"):
            post(calling, dead.url + "/1")
        with pytest.raises(CallbackFailed, match="a moment ago"):
            post(calling, dead.url + "/2")
        assert len(dead.requests) == 1
        assert post(calling, other.url) == 200
        with pytest.raises(CallbackFailed, match=r"in time$"):
            post(calling, dead.url, owner="bob")
        now[0] += 61
        with pytest.raises(CallbackFailed, match=r"in time$"):
            post(calling, dead.url)
        assert len(dead.requests) == 3


# Over TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return an authority's certificate, and one of hooks.test with its key."""
    folder = tmp_path_factory.mktemp("tls")
    now = dt.datetime.now(dt.UTC)

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def certificate(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
        )

    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    # Python 3.13 asks for all that RFC 5280 does: both name the authority's key, and it may sign.
    itself = x509.SubjectKeyIdentifier.from_public_key(root.public_key())
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    others = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    others += ("key_agreement", "crl_sign", "encipher_only", "decipher_only")
    signs = x509.KeyUsage(key_cert_sign=True, **dict.fromkeys(others, False))
    signed = (
        certificate("authority", root)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(itself, critical=False)
        .add_extension(signs, critical=True)
        .sign(root, hashes.SHA256())
    )
    leaf = (
        certificate("hooks.test", own)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.test")]), critical=False)
        .add_extension(signer, critical=False)
        .sign(root, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(signed.public_bytes(pem))
    key = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "own.pem").write_bytes(key + leaf.public_bytes(pem))
    return folder / "authority.pem", folder / "own.pem"


def test_the_certificate_is_checked_for_the_name_though_the_address_is_called(
    authority: tuple[Path, Path],
) -> None:
    root, own = authority
    seen: list[object] = []
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(own)
    serving.sni_callback = lambda _, name, __: seen.append(name)
    trusting = ssl.create_default_context(cafile=str(root))
    calling = caller(resolve=lambda *_: ["127.0.0.1"], context=lambda: trusting, seconds=5)
    with receiving(answering("HTTP/1.1 204 No\r\n\r\n"), serving) as receiver:
        assert post(calling, f"https://hooks.test:{receiver.port}/") == 204
        with pytest.raises(CallbackFailed, match="not valid: Hostname mismatch"):
            post(calling, f"https://other.test:{receiver.port}/")
        # Not by an authority that the system knows.
        stranger = caller(resolve=lambda *_: ["127.0.0.1"], seconds=5)
        with pytest.raises(CallbackFailed, match="not valid: unable to get local issuer"):
            post(stranger, f"https://hooks.test:{receiver.port}/")
    assert seen == ["hooks.test", "other.test", "hooks.test"]
    assert len(receiver.requests) == 1


def test_a_handshake_has_no_more_time_than_all_else() -> None:
    """A server that speaks no TLS, a byte at a time: the socket is the library's by then."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(CallbackFailed, match="in time"):
            post(caller(), url)
        assert time.monotonic() - began < 8 * SECONDS
