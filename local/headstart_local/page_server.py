"""The web server of the page: its folder, and what draws text on it, on a loopback port."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from headstart_local.guard import GuardedHandler, foreign_host

_STOP_SECONDS = 10.0
_FRESH_SECONDS = 5
VENDOR = Path(__file__).parents[2] / ".cache" / "web" / "vendor"
"""Where `make page` puts what is not ours; it need not be there."""


class _Handler(GuardedHandler, SimpleHTTPRequestHandler):
    """Serves the folder, kept for a moment only, and silently."""

    server: "PageServer"

    def refusal(self, port: int) -> str | None:
        """Refuse other names only: anybody may read these files, and nothing happens by it."""
        return foreign_host(self.headers.items(), port)

    def end_headers(self) -> None:
        # The page asks for its modules twice, and must see their next state when it is loaded next.
        self.send_header("Cache-Control", f"max-age={_FRESH_SECONDS}")
        self.send_header("Content-Security-Policy", self.server.policy)
        super().end_headers()

    def translate_path(self, path: str) -> str:
        """Take what is not ours from a folder of its own."""
        theirs = path.startswith("/vendor/")
        self.directory = str(self.server.vendor if theirs else self.server.folder)
        return super().translate_path(path.removeprefix("/vendor") if theirs else path)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Say nothing: standard output is for the one line."""


class PageServer(ThreadingHTTPServer):
    """Serves a folder from `serving` on; its port is taken before, so that others can name it."""

    daemon_threads = True

    def __init__(self, folder: Path, vendor: Path = VENDOR) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.vendor = folder, vendor
        self.policy = ""

    @property
    def origin(self) -> str:
        """The page's origin, as browsers send it."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def serving(self, connects: Sequence[str]) -> Iterator[None]:
        """Serve while entered; the page may connect to its own origin and to these URLs' alone.

        The page's own policy holds as well, so this can only narrow it.
        """
        self.policy = f"connect-src 'self' {' '.join(connects)}; frame-ancestors 'none'"
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join(_STOP_SECONDS)
