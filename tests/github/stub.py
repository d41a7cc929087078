"""The server: GitHub's API under `/api/v3`, as GitHub Enterprise Server has it, and git beside it.

What a git server behind it must ask is `authorize`.
"""

import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.github import pulls
from tests.github.app import App, Installation, Json, Refusal, Repositories, Repository, Token

API = "/api/v3"
_DOCUMENTED = "https://docs.github.com/rest"
_JOIN_SECONDS = 5.0
_CHUNK = 64 * 1024
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Call:
    """One request to the API and how it was answered; git's are not among them."""

    method: str
    path: str
    status: int


@dataclass
class Fault:
    """What the next calls whose path matches get instead; `status` None is a hang."""

    status: int | None
    path: str = ""
    times: int = 1
    message: str = "Server Error"
    headers: dict[str, str] = field(default_factory=dict)


class GitHubStub:
    """Serves while it is entered. `git` is where requests that are not for the API go, if anywhere.

    Repositories are added and the App is installed while it runs, or before.
    """

    def __init__(
        self,
        key: rsa.RSAPublicKey,
        *,
        app_id: str = "4711",
        git: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.repositories = Repositories()
        self.app = App(app_id, key, self.repositories, clock)
        self.git = git
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.stopping = threading.Event()
        self._lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"stub": self})
        self._httpd = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """What `GitHubUrl` would be."""
        return f"http://127.0.0.1:{self._httpd.server_address[1]}"

    @property
    def install_url(self) -> str:
        """Where people install the App."""
        return f"{self.url}/github-apps/{self.app.slug}/installations/new"

    def __enter__(self) -> "GitHubStub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._httpd.shutdown()
        self._thread.join(_JOIN_SECONDS)
        self._httpd.server_close()

    def add(self, name: str, **more: Any) -> Repository:
        """Make a repository, private unless said otherwise."""
        return self.repositories.add(name, **more)

    def install(self, account: str, **more: Any) -> Installation:
        """Install the App in an account."""
        return self.app.install(account, **more)

    def count(self, path: str, method: str | None = None) -> int:
        """Return how many calls there were to paths in which this is found."""
        return sum(1 for c in self.calls if re.search(path, c.path) and method in (None, c.method))

    def authorize(self, user: str, password: str, repository: str, write: bool) -> bool:
        """Say what git's server would: whether a user may fetch from, or push to, a repository.

        `repository` is `org/name`, with or without `.git`.
        """
        try:
            found, _ = self.repositories.named(repository.strip("/").removesuffix(".git"))
        except Refusal:
            return False
        if not password:
            return not (found.private or write)
        token = self.app.token(password) if user == "x-access-token" else None
        return token is not None and token.may(found, "contents", "write" if write else "read")

    # What the handler needs.

    def fault(self, path: str) -> Fault | None:
        """Return what goes wrong with this call."""
        with self._lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def answer(
        self, method: str, path: str, query: dict[str, str], bearer: str, body: Json
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, body and headers for one call."""
        with self._lock:
            if path == "/app" or re.match(r"/app/", path) or path.endswith("/installation"):
                self.app.check_jwt(bearer)
                return self._of_app(method, path, body)
            return self._of_repository(method, path, query, bearer, body)

    def _of_app(self, method: str, path: str, body: Json) -> tuple[int, Any, dict[str, str]]:
        if (method, path) == ("GET", "/app"):
            slug = self.app.slug
            html_url = f"{self.url}/github-apps/{slug}"
            return 200, {"id": int(self.app.app_id), "slug": slug, "html_url": html_url}, {}
        if method == "GET" and (
            match := re.fullmatch(r"/repos/([^/]+/[^/]+)/(installation)", path)
        ):
            repository, current = self.repositories.named(match[1])
            if not current:
                return self._moved(301, repository, match[2])
            return 200, self._installation(repository), {}
        if method == "GET" and (match := re.fullmatch(r"/repositories/(\d+)/installation", path)):
            return 200, self._installation(self.repositories.numbered(int(match[1]))), {}
        if method == "POST" and (
            match := re.fullmatch(r"/app/installations/(\d+)/access_tokens", path)
        ):
            value, token = self.app.give_token(int(match[1]), body)
            return 201, _shown(value, token), {}
        raise Refusal(404, "Not Found")

    def _installation(self, repository: Repository) -> Json:
        found = self.app.of_repository(repository)
        return {
            "id": found.id,
            "account": {"login": found.account},
            "repository_selection": "all" if found.repositories is None else "selected",
            "access_tokens_url": f"{self.url}{API}/app/installations/{found.id}/access_tokens",
            "html_url": f"{self.url}{found.page}",
            "app_id": int(self.app.app_id),
            "permissions": found.permissions,
            "suspended_at": "2026-01-01T00:00:00Z" if found.suspended else None,
        }

    def _of_repository(
        self, method: str, path: str, query: dict[str, str], bearer: str, body: Json
    ) -> tuple[int, Any, dict[str, str]]:
        token = self.app.token(bearer)
        if token is None:
            raise Refusal(401, "Bad credentials" if bearer else "Requires authentication")
        if match := re.fullmatch(r"/repos/([^/]+/[^/]+)(?:/(.*))?", path):
            repository, current = self.repositories.named(match[1])
        elif match := re.fullmatch(r"/repositories/(\d+)(?:/(.*))?", path):
            repository, current = self.repositories.numbered(int(match[1])), True
        else:
            raise Refusal(404, "Not Found")
        if repository.private and not token.may(repository, "metadata", "read"):
            raise Refusal(404, "Not Found")
        rest = match[2] or ""
        if not current:
            return self._moved(301 if method == "GET" else 307, repository, rest)
        if rest == "" and method == "GET":
            return 200, _described(repository, self.url), {}
        if method != "GET" and repository.archived:
            raise Refusal(403, "Repository was archived so is read-only.")
        if not token.may(repository, "pull_requests", "read" if method == "GET" else "write"):
            raise Refusal(403, "Resource not accessible by integration")
        return self._of_pulls(f"{method} {rest}", query, repository, body)

    def _of_pulls(
        self, call: str, query: dict[str, str], repository: Repository, body: Json
    ) -> tuple[int, Any, dict[str, str]]:
        if call == "GET pulls":
            return 200, pulls.listed(repository, query), {}
        if call == "POST pulls":
            return 201, pulls.create(repository, self.url, body), {}
        if match := re.fullmatch(r"GET pulls/(\d+)", call):
            return 200, pulls.get(repository, int(match[1])), {}
        if match := re.fullmatch(r"PATCH pulls/(\d+)", call):
            return 200, pulls.update(repository, int(match[1]), body), {}
        raise Refusal(404, "Not Found")

    def _moved(
        self, status: int, repository: Repository, rest: str
    ) -> tuple[int, Any, dict[str, str]]:
        url = f"{self.url}{API}/repositories/{repository.id}/{rest}".rstrip("/")
        said = "Moved Permanently" if status == 301 else "Temporary Redirect"
        return status, {"message": said, "url": url}, {"Location": url}


def _shown(value: str, token: Token) -> Json:
    expires = datetime.fromtimestamp(token.expires_at, UTC)
    return {
        "token": value,
        "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "permissions": token.permissions,
        "repository_selection": "selected",
        "repositories": [{"id": r.id, "full_name": r.name} for r in token.repositories],
    }


def _described(repository: Repository, url: str) -> Json:
    return {
        "id": repository.id,
        "name": repository.name.partition("/")[2],
        "full_name": repository.name,
        "private": repository.private,
        "archived": repository.archived,
        "default_branch": repository.default_branch,
        "html_url": f"{url}/{repository.name}",
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 300
    stub: GitHubStub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Say nothing."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        if not parts.path.startswith(f"{API}/"):
            self._pass_on()
            return
        path = parts.path.removeprefix(API)
        sent = b"".join(self._body())
        fault = self.stub.fault(path)
        if fault is not None and fault.status is None:
            self.close_connection = True
            self.stub.stopping.wait(self.timeout)
            return
        if fault is not None and fault.status is not None:
            status, answer, headers = (
                fault.status,
                _error(fault.status, fault.message),
                fault.headers,
            )
        else:
            status, answer, headers = self._answer(path, dict(parse_qsl(parts.query)), sent)
        self.stub.calls.append(Call(self.command, path, status))
        self._send(status, answer, headers)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = do_HEAD = _serve

    def _answer(
        self, path: str, query: dict[str, str], sent: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
        try:
            if not self.headers.get("User-Agent"):
                raise Refusal(403, "Request forbidden by administrative rules.")
            if bearer and scheme.lower() not in ("bearer", "token"):
                raise Refusal(401, "Bad credentials")
            body = json.loads(sent) if sent else {}
            return self.stub.answer(self.command, path, query, bearer, body)
        except ValueError:
            return 400, _error(400, "Problems parsing JSON"), {}
        except Refusal as refusal:
            return refusal.status, _error(refusal.status, refusal.message, **refusal.more), {}

    def _send(self, status: int, answer: Any, headers: dict[str, str]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        for name, value in {"x-ratelimit-remaining": "4999", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left and (chunk := self.rfile.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk

    def _pass_on(self) -> None:
        """Have the git server answer, as it comes."""
        if self.stub.git is None:
            self._send(404, _error(404, "Not Found"), {})
            return
        parts = urlsplit(self.stub.git)
        headers = {n: v for n, v in self.headers.items() if n.lower() not in {*_HOP, "host"}}
        behind = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout)
        try:
            body = self._body() if self.command == "POST" else None
            behind.request(self.command, self.path, body, headers, encode_chunked=body is not None)
            answer = behind.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while piece := answer.read1(_CHUNK):
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        except (OSError, http.client.HTTPException):
            self.close_connection = True
        finally:
            behind.close()


def _error(status: int, message: str, **more: Any) -> Json:
    return {"message": message, **more, "documentation_url": _DOCUMENTED, "status": str(status)}
