"""A bucket of a few lines on loopback: what S3 checks of a presigned PUT, and how it fails."""

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIGNATURE = "X-Amz-Signature=0123456789abcdef"


class ObjectStore:
    """Keeps what it is sent; `failures` are the statuses of the next answers, 0 hangs up."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.failures: list[int] = []
        self.asked = 0
        self.holding: threading.Event | None = None
        store = self

        class Handler(_Handler):
            bucket = store

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def url(self, key: str) -> str:
        """Return what stands for a presigned URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{key}?{SIGNATURE}"

    @contextmanager
    def running(self) -> "Iterator[ObjectStore]":
        """Serve for the length of the block."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            if self.holding:
                self.holding.set()
            self._server.shutdown()
            thread.join(5)
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: ObjectStore

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _fails(self) -> bool:
        self.bucket.asked += 1
        if self.bucket.holding:
            self.bucket.holding.wait(30)
        if not self.bucket.failures:
            return False
        if status := self.bucket.failures.pop(0):
            self._answer(status)
        self.close_connection = True
        return True

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._fails():
            return
        assert "Transfer-Encoding" not in self.headers
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if self.headers["x-amz-checksum-sha256"] != digest:
            self._answer(400)
            return
        self.bucket.objects[self.path.strip("/").partition("?")[0]] = body
        self._answer(200)

    def do_GET(self) -> None:
        if self._fails():
            return
        body = self.bucket.objects.get(self.path.strip("/").partition("?")[0])
        self._answer(404) if body is None else self._answer(200, body)
