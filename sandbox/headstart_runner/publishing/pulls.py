"""Pull requests by GitHub's REST API (docs.github.com, "REST API endpoints for pull requests")."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from headstart.domain.command_args import PullRequestArgs
from headstart.domain.errors import (
    PullRequestClosed,
    PullRequestFailed,
    StepError,
)
from headstart.domain.work import PullRequest
from headstart_runner.authorities import authorities
from headstart_runner.gateway.credentials import Credential, Credentials
from headstart_runner.log import logger
from headstart_runner.wire import cut_text

_TIMEOUT = httpx.Timeout(20, connect=5)
_TRIES = 2
_BEGIN, _END = "<!-- headstart -->", "<!-- /headstart -->"
_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_SAID_BYTES = 400
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_MOVED = {301, 307, 308}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a pull request is about: a branch of a repository, and what there is to say of it."""

    git_url: str
    branch: str
    text: str

    @property
    def host(self) -> str:
        """The host as the repository's address has it, with its port if it names one."""
        return urlsplit(self.git_url).netloc

    @property
    def repository(self) -> str:
        """`org/name`."""
        return repository_of(self.git_url)


def _path(repository: str) -> str:
    owner, _, name = repository.rpartition("/")
    return f"/repos/{quote(owner.rpartition('/')[2], safe='')}/{quote(name, safe='')}"


def repository_of(git_url: str) -> str:
    """Return a repository's path on its host, as credentials are asked for by."""
    return urlsplit(git_url).path.strip("/").removesuffix(".git")


class Pulls:
    """The pull requests of one repository; raises PullRequestFailed, PullRequestClosed."""

    def __init__(self, api: str, subject: Subject, credentials: Credentials | None) -> None:
        self._api = api.rstrip("/")
        self._subject = subject
        self._credentials = credentials
        self._path = _path(subject.repository)
        self.notes: list[str] = []

    async def have(self, wanted: PullRequestArgs) -> PullRequest:
        """Bring the session's pull request up to date, or open it; `notes` say what is not so."""
        async with httpx.AsyncClient(
            timeout=_TIMEOUT, trust_env=False, verify=authorities()
        ) as client:
            found = wanted.number and await self._known(client, wanted.number)
            if found:
                return await self._update(client, found, wanted)
            # As it is called now: another owner's name finds none.
            repository = await self._ask(client, "GET", self._path)
            said = repository if isinstance(repository, dict) else {}
            name = str(said.get("full_name") or self._subject.repository)
            self._path = _path(name)
            base = wanted.base or str(said.get("default_branch"))
            head = f"{name.rpartition('/')[0]}:{self._subject.branch}"
            if found := await self._open(client, head, base):
                return await self._update(client, found, wanted)
            try:
                return await self._create(client, wanted, base)
            except PullRequestFailed as error:
                if "already exists" not in error.reason.lower():
                    raise
                # Since the look, or GitHub's list was behind.
                found = await self._open(client, head, base)
                if found is None:
                    raise
                return await self._update(client, found, wanted)

    async def _known(self, client: httpx.AsyncClient, number: int) -> dict[str, Any] | None:
        """Return the one that the session has, None where there is no such any more."""
        pull = await self._ask(client, "GET", f"{self._path}/pulls/{number}", may_lack=True)
        if not isinstance(pull, dict):
            return None
        if pull.get("state") == "open":
            return pull
        how = "merged" if pull.get("merged") else "closed"
        raise PullRequestClosed(
            f"Pull request #{number} was {how}: the commits are on the branch, and publishing "
            "again opens another"
        )

    async def _open(self, client: httpx.AsyncClient, head: str, base: str) -> dict[str, Any] | None:
        """Return the open one between two branches: to others the branch is people's to ask."""
        query = {"head": head, "base": base, "state": "open"}
        listed = await self._ask(client, "GET", f"{self._path}/pulls", params=query)
        pulls = listed if isinstance(listed, list) else []
        return next((pull for pull in pulls if isinstance(pull, dict)), None)

    async def _create(
        self, client: httpx.AsyncClient, wanted: PullRequestArgs, base: str
    ) -> PullRequest:
        body = {
            "title": wanted.title,
            "body": _ours(self._subject.text),
            "head": self._subject.branch,
            "base": base,
            "draft": wanted.draft,
        }
        try:
            made = await self._ask(client, "POST", f"{self._path}/pulls", json=body)
        except PullRequestFailed as error:
            if not wanted.draft or "draft" not in error.reason.lower():
                raise
            # Some plans of GitHub's have no drafts.
            self.notes.append("the pull request is no draft: the repository has none")
            plain = {**body, "draft": False}
            made = await self._ask(client, "POST", f"{self._path}/pulls", json=plain)
        return _pull_request(made)

    async def _update(
        self, client: httpx.AsyncClient, found: dict[str, Any], wanted: PullRequestArgs
    ) -> PullRequest:
        """Write our part of its text anew: what people wrote around it, and its title, stay."""
        opened, body = _pull_request(found), str(found.get("body") or "")
        self._compare(found, wanted)
        changes = {}
        text = anew(body, self._subject.text)
        if text != body:
            changes["body"] = text
        if wanted.named and found.get("title") != wanted.title:
            changes["title"] = wanted.title
        if changes:
            await self._ask(client, "PATCH", f"{self._path}/pulls/{opened.number}", json=changes)
        return opened

    def _compare(self, found: dict[str, Any], wanted: PullRequestArgs) -> None:
        """Note what was asked for and is otherwise: that is people's to change once it is open."""
        base = found.get("base")
        into = base.get("ref") if isinstance(base, dict) else None
        which = f"pull request #{found.get('number')}"
        if wanted.base and into and into != wanted.base:
            self.notes.append(f"{which} stays one into {cut_text(str(into), _SAID_BYTES)}")
        if not wanted.draft and found.get("draft"):
            self.notes.append(f"{which} stays a draft, until a person says it is ready")

    async def _ask(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        *,
        may_lack: bool = False,
        **more: Any,
    ) -> Any:
        """Call the API, once more with another credential where that was refused.

        None for what is not there, if that may be.
        """
        url = f"{self._api}{path}"
        for number in range(1, _TRIES + 1):
            credential = await self._credential()
            answer = await self._send(client, method, url, credential, **more)
            target = answer.headers.get("Location", "")
            if answer.status_code in _MOVED and target.startswith(f"{self._api}/"):
                # The repository was renamed; on the API's own host only.
                answer = await self._send(client, method, target, credential, **more)
            if answer.status_code == _UNAUTHORIZED and number < _TRIES and self._credentials:
                self._credentials.forget(credential)
                continue
            if may_lack and answer.status_code == _NOT_FOUND:
                return None
            return _judged(answer)
        raise PullRequestFailed("GitHub took no credential")

    async def _send(
        self, client: httpx.AsyncClient, method: str, url: str, credential: Credential, **more: Any
    ) -> httpx.Response:
        headers = {**_HEADERS, "Authorization": f"Bearer {credential.password}"}
        try:
            return await client.request(method, url, headers=headers, **more)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            # Without a cause: its words may hold the request.
            said = type(error).__name__
            logger.info("GitHub's API did not answer: %s", said)
            raise PullRequestFailed(f"GitHub's API did not answer ({said})") from None

    async def _credential(self) -> Credential:
        if self._credentials is None:
            raise PullRequestFailed(_NO_CREDENTIAL)
        try:
            found = await self._credentials.get(
                self._subject.host, self._subject.repository, write=True
            )
        except StepError as error:
            raise PullRequestFailed(error.reason) from error
        if found is None:
            raise PullRequestFailed(_NO_CREDENTIAL)
        return found


_NO_CREDENTIAL = "There is no credential for GitHub's API: the App, or the session's GIT_TOKEN"


def _ours(text: str) -> str:
    return f"{_BEGIN}\n{text}\n{_END}"


def anew(body: str, text: str) -> str:
    """Return a body with our part of it anew, as it is where it has none."""
    before, _, rest = body.partition(_BEGIN)
    _, ended, after = rest.rpartition(_END)
    return f"{before}{_ours(text)}{after}" if ended else body


def _pull_request(said: Any) -> PullRequest:
    """Return the pull request that an answer is about."""
    number, url = (said.get("number"), said.get("html_url")) if isinstance(said, dict) else (0, "")
    if type(number) is not int or not str(url).startswith(("https://", "http://")):
        raise PullRequestFailed("GitHub's answer makes no sense")
    return PullRequest(number=number, url=str(url))


def _judged(answer: httpx.Response) -> Any:
    """Return what was answered; raises PullRequestFailed in GitHub's words."""
    try:
        said = answer.json()
    except ValueError:
        said = None
    if answer.is_success:
        return said
    words = _words(said) or f"status {answer.status_code}"
    match answer.status_code:
        case 403 | 429 if answer.headers.get("x-ratelimit-remaining") == "0":
            raise PullRequestFailed(f"GitHub wants to be asked later: {words}")
        case 401 | 403:
            raise PullRequestFailed(
                f"GitHub refused the pull request: {words}; the credential needs the permission to "
                "write pull requests"
            )
        case 404:
            raise PullRequestFailed("GitHub shows this credential no such repository")
    raise PullRequestFailed(f"GitHub refused the pull request: {words}")


def _words(said: Any) -> str:
    """Return what an error of GitHub's says, its parts included."""
    if not isinstance(said, dict):
        return ""
    parts = [said.get("message")]
    for error in said.get("errors") or []:
        if isinstance(error, dict):
            field = " ".join(str(error[k]) for k in ("field", "code") if error.get(k))
            parts.append(error.get("message") or field)
        else:
            parts.append(error)
    return cut_text(": ".join(str(part) for part in parts if part), _SAID_BYTES)
