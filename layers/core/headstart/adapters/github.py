"""A GitHub App: tokens that open one repository for an hour.

"Generating a JSON Web Token (JWT) for a GitHub App" and "REST API endpoints for GitHub Apps"
(docs.github.com) have the calls, and which statuses they answer.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import urllib3
from pydantic import BaseModel, Field, ValidationError

from headstart.domain.errors import (
    AppNotInstalled,
    GitHubUnavailable,
    RepositoryAccessDenied,
    ServiceUnavailable,
)
from headstart.usecases.ports import RepositoryToken

_CONNECT_SECONDS = 3.0
_READ_SECONDS = 5.0
_ALL_SECONDS = 12.0
"""All calls for one token: the function that asks has 20 s, and what waits for it asks again."""
_TRIES = 2
_ANSWER_BYTES = 256 * 1024
_WORDS = 200

# Their clock may be behind ours, and refuses what was issued later or lasts for over ten minutes.
_ISSUED_BEFORE_SECONDS = 60
_JWT_SECONDS = 540
_JWT_MARGIN_SECONDS = 120

_LEVELS = {"read": 1, "write": 2, "admin": 3}
_DONE = {200, 201}
_MOVED = {301, 302, 307, 308}
_LIMITED = {403, 429}

_B = TypeVar("_B", bound=BaseModel)


class _App(BaseModel):
    html_url: str


class _Installation(BaseModel):
    id: int
    permissions: dict[str, str] = Field(default_factory=dict)
    suspended_at: str | None = None
    html_url: str = ""

    def may(self, permission: str, level: str) -> bool:
        """Say whether the App was given a permission here."""
        return _LEVELS.get(self.permissions.get(permission, ""), 0) >= _LEVELS[level]


class _Repository(BaseModel):
    full_name: str


class _Token(BaseModel):
    token: str
    expires_at: datetime
    repositories: list[_Repository] = Field(min_length=1, max_length=1)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def read(self, model: type[_B]) -> _B:
        """Return what it says; raises GitHubUnavailable, without a word of what may be a token."""
        if self.status not in _DONE:
            raise GitHubUnavailable(f"GitHub's API refuses: {self.message}")
        try:
            return model.model_validate_json(self.body)
        except ValidationError:
            raise GitHubUnavailable(
                f"GitHub answered {self.status} with what can't be understood"
            ) from None

    @property
    def message(self) -> str:
        """What GitHub says of an error."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        said = found.get("message") if isinstance(found, dict) else None
        return said[:_WORDS] if isinstance(said, str) else f"status {self.status}"


class GitHubApp:
    """The GitHub port: one App, and `api`, the address of the API it belongs to."""

    def __init__(
        self,
        app_id: str,
        api: str,
        sign: Callable[[bytes], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app_id, self._api, self._sign, self._clock = app_id, api, sign, clock
        self._http = urllib3.PoolManager(num_pools=1, retries=False)
        self._jwt = ""
        self._jwt_until = 0.0
        self._install_url = ""

    def token(self, repository: str, *, write: bool) -> RepositoryToken:
        """Return a new token for one repository: to read it, or to write to it.

        Who may write may open pull requests too, where the App may: a branch can be pushed all the
        same where it may not.
        Raises AppNotInstalled with where to install it, RepositoryAccessDenied for permissions that
        the App was not given, GitHubUnavailable for all that may be otherwise later.
        """
        calls = _Calls(self, time.monotonic() + _ALL_SECONDS)
        installation, number = self._installation(calls, repository)
        permissions = {"contents": "write" if write else "read"}
        _require(installation, repository, permissions)
        if write and installation.may("pull_requests", "write"):
            permissions["pull_requests"] = "write"
        name = repository.partition("/")[2]
        which = {"repositories": [name]} if number is None else {"repository_ids": [number]}
        path = f"/app/installations/{installation.id}/access_tokens"
        answer = calls.post(path, {"permissions": permissions, **which})
        if answer.status == 404:
            raise self._not_installed(calls, repository)
        if answer.status in {403, 422}:
            raise RepositoryAccessDenied(
                f"GitHub gives its App no token for {repository}: {answer.message}"
            )
        given = answer.read(_Token)
        return RepositoryToken(
            repository=given.repositories[0].full_name,
            value=given.token,
            expires_at=given.expires_at,
        )

    def _installation(self, calls: "_Calls", repository: str) -> tuple[_Installation, int | None]:
        """Return where the App is installed for a repository, with its number if it has moved."""
        answer, number = calls.get(f"/repos/{repository}/installation"), None
        if answer.status in _MOVED:
            # Nowhere but to the number of the repository, which GitHub names it by then.
            pattern = rf"{re.escape(self._api)}(/repositories/(\d+)/installation)"
            moved = re.fullmatch(pattern, answer.headers.get("location", ""))
            if moved is None:
                raise GitHubUnavailable(f"GitHub says that {repository} has moved, and not where")
            answer, number = calls.get(moved[1]), int(moved[2])
        if answer.status == 404:
            raise self._not_installed(calls, repository)
        return answer.read(_Installation), number

    def _not_installed(self, calls: "_Calls", repository: str) -> AppNotInstalled:
        if not self._install_url:
            answer = calls.get("/app")
            if answer.status == 404:
                raise GitHubUnavailable(f"GitHub knows no App of the id {self._app_id}")
            self._install_url = f"{answer.read(_App).html_url}/installations/new"
        return AppNotInstalled(
            f"The GitHub App is not installed for {repository}, or there is no such repository. "
            f"Install it at {self._install_url} and retry"
        )

    def request(self, method: str, path: str, body: object, seconds: float) -> _Answer:
        """Make one call; raises urllib3's errors, and GitHubUnavailable for what is not signed."""
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self._signed()}",
            "User-Agent": "headstart",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        response = self._http.request(
            method,
            f"{self._api}{path}",
            body=None if body is None else json.dumps(body).encode(),
            headers=headers,
            redirect=False,
            preload_content=False,
            timeout=urllib3.Timeout(
                connect=min(_CONNECT_SECONDS, seconds), read=min(_READ_SECONDS, seconds)
            ),
        )
        content = response.read(_ANSWER_BYTES)
        if len(content) < _ANSWER_BYTES:
            response.release_conn()
        else:
            response.close()
        if response.status == 401:
            self._jwt_until = 0.0
        return _Answer(response.status, response.headers, content)

    def _signed(self) -> str:
        """Return a JWT that says for a few minutes yet that this is the App."""
        now = self._clock()
        if now >= self._jwt_until:
            claims = {
                "iat": int(now) - _ISSUED_BEFORE_SECONDS,
                "exp": int(now) + _JWT_SECONDS,
                "iss": self._app_id,
            }
            said = f"{_encoded({'alg': 'RS256', 'typ': 'JWT'})}.{_encoded(claims)}"
            try:
                signature = self._sign(said.encode())
            except ServiceUnavailable as error:
                raise GitHubUnavailable(
                    f"The deployment can't sign as its GitHub App ({error.reason})"
                ) from error
            self._jwt = f"{said}.{_base64(signature)}"
            self._jwt_until = now + _JWT_SECONDS - _JWT_MARGIN_SECONDS
        return self._jwt


class _Calls:
    """The calls for one token, each tried twice at most, and all of them by a deadline."""

    def __init__(self, app: GitHubApp, deadline: float) -> None:
        self._app, self._deadline = app, deadline

    def get(self, path: str) -> _Answer:
        return self._call("GET", path, None)

    def post(self, path: str, body: object) -> _Answer:
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: object) -> _Answer:
        said = "in time"
        for _ in range(_TRIES):
            left = self._deadline - time.monotonic()
            if left <= 0:
                break
            try:
                answer = self._app.request(method, path, body, left)
            except urllib3.exceptions.HTTPError as error:
                said = f"({type(error).__name__})"
                continue
            if answer.status < 500:
                _refuse_what_may_pass(answer)
                return answer
            said = f"(status {answer.status})"
        raise GitHubUnavailable(f"GitHub's API does not answer {said}; try again")


def _require(installation: _Installation, repository: str, permissions: Mapping[str, str]) -> None:
    owner = repository.partition("/")[0]
    if installation.suspended_at:
        raise AppNotInstalled(
            f"The GitHub App's installation at {owner} is suspended. Lift that at "
            f"{installation.html_url} and retry"
        )
    lacking = [
        f"{name}: {level}"
        for name, level in permissions.items()
        if not installation.may(name, level)
    ]
    if lacking:
        raise RepositoryAccessDenied(
            f"The GitHub App lacks a permission at {owner}: {', '.join(lacking)}. Give it to "
            f"the App, and have {owner} accept it"
        )


def _refuse_what_may_pass(answer: _Answer) -> None:
    if answer.status == 401:
        raise GitHubUnavailable(
            "GitHub does not know who asks: GitHubAppId and the key of GitHubAppKeyArn must be of "
            f"one App ({answer.message})"
        )
    if answer.status in _LIMITED:
        when = _when(answer)
        if when or answer.status == 429:
            raise GitHubUnavailable(f"GitHub's API has had enough calls; try again {when}".strip())


def _when(answer: _Answer) -> str:
    """Say when a limit ends, as "Rate limits for the REST API" has it; "" for no such answer."""
    after = answer.headers.get("retry-after", "")
    if after.isascii() and after.isdigit():
        return f"in {after[:9]} s"
    reset = answer.headers.get("x-ratelimit-reset", "")[:12]
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
        return f"at {datetime.fromtimestamp(int(reset), UTC):%H:%M:%S} UTC"
    return ""


def _encoded(part: Mapping[str, Any]) -> str:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
