"""The stub of GitHub: it lets nobody in whom GitHub would not, and says so in GitHub's words."""

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from headstart_local import sample_repo
from headstart_local.git_server import GitServer
from tests.github import Fault, GitHubStub, app_key, pulls

KEY = app_key()
WRITE = {"contents": "write", "pull_requests": "write"}


def jwt(key: rsa.RSAPrivateKey = KEY, alg: str = "RS256", **claims: Any) -> str:
    now = int(time.time())
    said = {"iat": now - 60, "exp": now + 540, "iss": "4711", **claims}
    parts = [json.dumps(part).encode() for part in ({"alg": alg, "typ": "JWT"}, said)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@pytest.fixture
def github() -> Iterator[GitHubStub]:
    with GitHubStub(KEY.public_key()) as stub:
        stub.add("eng/api")
        stub.add("eng/web")
        stub.add("eng/site", private=False)
        yield stub


@pytest.fixture
def http(github: GitHubStub) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{github.url}/api/v3") as client:
        yield client


def asked(http: httpx.Client, method: str, path: str, token: str, **more: Any) -> httpx.Response:
    return http.request(method, path, headers={"Authorization": f"Bearer {token}"}, **more)


def token_of(http: httpx.Client, installation: int, **body: Any) -> httpx.Response:
    return asked(http, "POST", f"/app/installations/{installation}/access_tokens", jwt(), json=body)


@pytest.mark.parametrize(
    ("signed", "status", "words"),
    [
        (lambda now: jwt(app_key()), 401, "could not be decoded"),
        (lambda now: jwt(alg="none"), 401, "could not be decoded"),
        (lambda now: jwt(iss="4712"), 404, "Integration not found"),
        (lambda now: jwt(exp=now - 1), 401, "'exp'"),
        (lambda now: jwt(exp=now + 700), 401, "too far in the future"),
        (lambda now: jwt(iat=now + 60), 401, "'iat'"),
        (lambda now: jwt(iat=now - 60.5), 401, "'iat'"),
        (lambda now: "nonsense", 401, "could not be decoded"),
    ],
)
def test_who_is_not_the_app(
    http: httpx.Client, signed: Callable[[int], str], status: int, words: str
) -> None:
    answer = asked(http, "GET", "/app", signed(int(time.time())))
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text


def test_the_app_and_where_it_is(github: GitHubStub, http: httpx.Client) -> None:
    assert asked(http, "GET", "/app", jwt()).json()["html_url"] in github.install_url
    assert asked(http, "GET", "/repos/eng/api/installation", jwt()).status_code == 404
    made = github.install("eng", repositories={"eng/api"})
    assert asked(http, "GET", "/repos/Eng/API/installation", jwt()).json()["id"] == made.id
    assert asked(http, "GET", "/repos/eng/web/installation", jwt()).status_code == 404
    github.repositories.rename("eng/api", "eng/core")
    moved = asked(http, "GET", "/repos/eng/api/installation", jwt())
    assert moved.status_code == 301
    assert asked(http, "GET", moved.headers["Location"], jwt()).status_code == 404
    made.repositories = None
    assert asked(http, "GET", moved.headers["Location"], jwt()).json()["id"] == made.id


def test_a_token_is_for_what_was_asked(github: GitHubStub, http: httpx.Client) -> None:
    made = github.install("eng", repositories={"eng/api", "eng/web"})
    read = token_of(http, made.id, repositories=["api"], permissions={"contents": "read"})
    assert read.status_code == 201
    value = read.json()["token"]
    user = "x-access-token"
    assert github.authorize(user, value, "eng/api.git", write=False)
    assert not github.authorize(user, value, "eng/api", write=True)
    assert not github.authorize(user, value, "eng/web", write=False)
    assert not github.authorize("git", value, "eng/api", write=False)
    assert not github.authorize("", "", "eng/api", write=False)
    assert github.authorize("", "", "eng/site", write=False)
    assert not github.authorize("", "", "eng/site", write=True)
    assert asked(http, "GET", "/repos/eng/web", value).status_code == 404
    assert asked(http, "GET", "/repos/eng/api/pulls", value).status_code == 403
    github.app.expire_tokens()
    assert not github.authorize(user, value, "eng/api", write=False)
    assert asked(http, "GET", "/repos/eng/api", value).status_code == 401


def test_what_no_token_is_given_for(github: GitHubStub, http: httpx.Client) -> None:
    made = github.install("eng", repositories={"eng/api"}, permissions={"contents": "read"})
    other = token_of(http, made.id, repositories=["web"])
    assert (other.status_code, "not accessible" in other.json()["message"]) == (422, True)
    more = token_of(http, made.id, repositories=["api"], permissions={"contents": "write"})
    assert (more.status_code, "not granted" in more.json()["message"]) == (422, True)
    made.suspended = True
    assert "suspended" in token_of(http, made.id, repositories=["api"]).json()["message"]
    assert token_of(http, 1).status_code == 404


def test_pull_requests(github: GitHubStub, http: httpx.Client, tmp_path: Path) -> None:
    folder = tmp_path / "api.git"
    sample_repo.create(folder)
    repository, _ = github.repositories.named("eng/api")
    repository.folder = folder
    made = github.install("eng")
    value = token_of(http, made.id, repositories=["api"], permissions=WRITE).json()["token"]

    def create(head: str, **more: Any) -> httpx.Response:
        body = {"head": head, "base": "main", "title": "T", **more}
        return asked(http, "POST", "/repos/eng/api/pulls", value, json=body)

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert create("nowhere").json()["errors"][0]["field"] == "head"
    assert create("main", base="nowhere").json()["errors"][0]["field"] == "base"
    git("branch", "work", "main")
    assert create("work").json()["errors"][0]["message"] == "No commits between main and work"
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    commit = git(*identity, "commit-tree", "-p", "main", "-m", "more", "main^{tree}")
    git("update-ref", "refs/heads/work", commit)
    first = create("eng:work", draft=True)
    assert (first.status_code, first.json()["draft"], first.json()["head"]["sha"]) == (
        201, True, commit,
    )  # fmt: skip
    assert "already exists for eng:work" in create("work").json()["errors"][0]["message"]
    query = {"head": "eng:work", "state": "open"}
    assert len(asked(http, "GET", "/repos/eng/api/pulls", value, params=query).json()) == 1
    one = "/repos/eng/api/pulls/1"
    assert asked(http, "PATCH", one, value, json={"title": "New"}).json()["title"] == "New"
    pulls.end(repository, 1, merged=True)
    assert asked(http, "GET", one, value).json()["merged"] is True
    assert asked(http, "PATCH", one, value, json={"state": "open"}).status_code == 422
    repository.archived = True
    refused = create("work")
    assert (refused.status_code, "archived" in refused.json()["message"]) == (403, True)


def test_what_goes_wrong_on_purpose(github: GitHubStub, http: httpx.Client) -> None:
    github.faults.append(Fault(503, "/app$", times=1))
    github.faults.append(Fault(429, "/app$", headers={"Retry-After": "7"}))
    github.faults.append(Fault(None, "/app$"))
    assert asked(http, "GET", "/app", jwt()).status_code == 503
    assert asked(http, "GET", "/app", jwt()).headers["Retry-After"] == "7"
    with pytest.raises(httpx.ReadTimeout):
        asked(http, "GET", "/app", jwt(), timeout=0.2)
    assert asked(http, "GET", "/app", jwt()).status_code == 200
    assert github.count("/app$", "GET") == 3


def test_git_beside_it(tmp_path: Path) -> None:
    sample_repo.create(tmp_path / "repositories/eng/site.git")
    with (
        GitServer(tmp_path / "repositories") as git,
        GitHubStub(KEY.public_key(), git=git.base_url) as github,
    ):
        address = f"{github.url}/eng/site.git"
        clone = ["git", "clone", "--quiet", address, str(tmp_path / "copy")]
        subprocess.run(clone, check=True, timeout=60)
        push = [
            "git",
            "-C",
            str(tmp_path / "copy"),
            "push",
            "--quiet",
            "origin",
            "HEAD:refs/heads/x",
        ]
        subprocess.run(push, check=True, timeout=60)
    assert github.calls == []
