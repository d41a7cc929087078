"""The adapter of the GitHub App against the stub: tokens, and every way to get none."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from moto import mock_aws

from headstart.adapters import github as adapter
from headstart.adapters.aws import _session, make_client
from headstart.adapters.github import GitHubApp
from headstart.adapters.signing import KmsSigner
from headstart.domain.errors import (
    AppNotInstalled,
    GitHubUnavailable,
    HeadstartError,
    RepositoryAccessDenied,
    ServiceUnavailable,
)
from tests.github import Fault, GitHubStub, app_key

KEY = app_key()


def sign(message: bytes, key: rsa.RSAPrivateKey = KEY) -> bytes:
    return key.sign(message, padding.PKCS1v15(), hashes.SHA256())


@pytest.fixture
def github() -> Iterator[GitHubStub]:
    with GitHubStub(KEY.public_key()) as stub:
        stub.add("eng/api")
        stub.add("eng/web")
        yield stub


def app_of(github: GitHubStub, **more: Any) -> GitHubApp:
    given = {"app_id": "4711", "api": f"{github.url}/api/v3", "sign": sign, **more}
    return GitHubApp(**given)


@pytest.fixture
def app(github: GitHubStub) -> GitHubApp:
    return app_of(github)


def refusal(app: GitHubApp, kind: type[HeadstartError], *, write: bool = False) -> str:
    with pytest.raises(kind) as refused:
        app.token("eng/api", write=write)
    return refused.value.reason


def test_a_token_opens_what_was_asked_for_and_no_more(github: GitHubStub, app: GitHubApp) -> None:
    github.install("eng")
    token = app.token("eng/api", write=False)
    user = "x-access-token"
    assert token.repository == "eng/api"
    assert github.authorize(user, token.value, "eng/api", write=False)
    assert not github.authorize(user, token.value, "eng/api", write=True)
    assert not github.authorize(user, token.value, "eng/web", write=False)
    hour = (token.expires_at - datetime.now(UTC)).total_seconds()
    assert 3500 < hour <= 3600
    writing = app.token("ENG/API", write=True)
    assert github.authorize(user, writing.value, "eng/api", write=True)
    assert github.app.tokens[writing.value].permissions == {
        "metadata": "read", "contents": "write", "pull_requests": "write",
    }  # fmt: skip
    assert len(github.calls) == 4


def test_who_the_app_is_is_signed_once_for_some_minutes(github: GitHubStub) -> None:
    signed, now = [], time.time()

    def noted(message: bytes) -> bytes:
        signed.append(message)
        return sign(message)

    app = app_of(github, sign=noted, clock=lambda: now)
    github.install("eng")
    app.token("eng/api", write=False)
    app.token("eng/web", write=False)
    assert len(signed) == 1
    now += 500
    github.app._clock = lambda: now
    app.token("eng/api", write=False)
    assert len(signed) == 2


def test_an_app_that_is_not_installed_says_where_and_then_is(
    github: GitHubStub, app: GitHubApp
) -> None:
    assert github.install_url in refusal(app, AppNotInstalled)
    github.install("eng", repositories={"eng/web"})
    assert github.install_url in refusal(app, AppNotInstalled)
    assert github.count("^/app$") == 1
    github.install("eng", repositories={"eng/api"})
    assert app.token("eng/api", write=False).value


def test_a_permission_that_is_lacking_is_named(github: GitHubStub, app: GitHubApp) -> None:
    github.install("eng", permissions={"contents": "read", "metadata": "read"})
    assert "permission at eng: contents: write." in refusal(app, RepositoryAccessDenied, write=True)
    assert github.count("access_tokens") == 0
    assert app.token("eng/api", write=False).value


def test_a_branch_can_be_pushed_where_the_app_opens_no_pull_requests(
    github: GitHubStub, app: GitHubApp
) -> None:
    github.install("eng", permissions={"contents": "write", "pull_requests": "read"})
    value = app.token("eng/api", write=True).value
    assert "pull_requests" not in github.app.tokens[value].permissions
    assert github.authorize("x-access-token", value, "eng/api", write=True)


def test_what_is_taken_away_in_between_is_said_in_githubs_words(
    github: GitHubStub, app: GitHubApp
) -> None:
    github.install("eng")
    github.faults.append(
        Fault(422, "access_tokens", message="The permissions requested are not granted")
    )
    assert "are not granted" in refusal(app, RepositoryAccessDenied)
    github.faults.append(Fault(404, "access_tokens", message="Not Found"))
    assert github.install_url in refusal(app, AppNotInstalled)


def test_a_suspended_installation_is_said_so(github: GitHubStub, app: GitHubApp) -> None:
    installation = github.install("eng")
    installation.suspended = True
    assert f"{github.url}{installation.page}" in refusal(app, AppNotInstalled)
    github.faults.append(
        Fault(403, "access_tokens", message="This installation has been suspended")
    )
    github.app.installations[0].suspended = False
    assert "suspended" in refusal(app, RepositoryAccessDenied)


def test_a_renamed_repository_is_opened_by_its_number(github: GitHubStub, app: GitHubApp) -> None:
    github.install("eng")
    github.repositories.rename("eng/api", "eng/core")
    token = app.token("eng/api", write=False)
    assert token.repository == "eng/core"
    assert github.authorize("x-access-token", token.value, "eng/core", write=False)


@pytest.mark.parametrize("where", ["https://evil.example/api/v3/repositories/1/installation", ""])
def test_a_redirect_leads_nowhere_else(github: GitHubStub, app: GitHubApp, where: str) -> None:
    github.faults.append(Fault(301, "installation", headers={"Location": where}))
    assert "has moved" in refusal(app, GitHubUnavailable)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_failure_of_theirs_is_tried_once_more(
    github: GitHubStub, app: GitHubApp, status: int
) -> None:
    github.install("eng")
    github.faults += [Fault(status, "installation$"), Fault(status, "access_tokens")]
    assert app.token("eng/api", write=False).value
    github.faults.append(Fault(status, "installation$", times=2))
    before = len(github.calls)
    assert str(status) in refusal(app, GitHubUnavailable)
    assert len(github.calls) == before + 2


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (429, {"Retry-After": "7"}, "in 7 s"),
        (403, {"Retry-After": "60"}, "in 60 s"),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225600"}, "00:00:00 UTC"),
        (429, {}, "enough"),
        (403, {}, "Forbidden for a test"),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, "enough"),
    ],
)
def test_a_limit_says_when_and_is_not_tried_again(
    github: GitHubStub, app: GitHubApp, status: int, headers: dict[str, str], words: str
) -> None:
    github.install("eng")
    fault = Fault(status, "installation$", message="Forbidden for a test", headers=headers)
    github.faults.append(fault)
    assert words in refusal(app, GitHubUnavailable)
    assert len(github.calls) == 1


def test_who_hangs_is_given_up(
    github: GitHubStub, app: GitHubApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_READ_SECONDS", 0.2)
    github.install("eng")
    github.faults.append(Fault(None, "installation$", times=2))
    began = time.monotonic()
    assert "does not answer" in refusal(app, GitHubUnavailable)
    assert time.monotonic() - began < 5
    assert app.token("eng/api", write=False).value


def test_all_calls_together_have_a_deadline(
    github: GitHubStub, app: GitHubApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_ALL_SECONDS", 0.0)
    assert "in time" in refusal(app, GitHubUnavailable)
    assert github.calls == []


def test_nobody_there_is_unavailable(github: GitHubStub) -> None:
    app = app_of(github, api="http://127.0.0.1:1/api/v3")
    assert "NewConnectionError" in refusal(app, GitHubUnavailable)


def test_another_key_or_id_is_the_operators_to_mend(github: GitHubStub) -> None:
    github.install("eng")
    other = app_key()
    app = app_of(github, sign=lambda message: sign(message, other))
    assert "GitHubAppKeyArn" in refusal(app, GitHubUnavailable)
    assert "4712" in refusal(app_of(github, app_id="4712"), GitHubUnavailable)


@pytest.mark.parametrize("answer", [{}, {"token": "ghs_secret"}, ["ghs_secret"], None])
def test_nonsense_is_not_quoted(
    github: GitHubStub, app: GitHubApp, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.install("eng")
    stock = github.answer

    def odd(method: str, path: str, *rest: Any) -> Any:
        return (201, answer, {}) if "access_tokens" in path else stock(method, path, *rest)

    monkeypatch.setattr(github, "answer", odd)
    with pytest.raises(GitHubUnavailable) as refused:
        app.token("eng/api", write=False)
    chained = [refused.value, refused.value.__cause__]
    assert "ghs_" not in repr(chained)
    assert refused.value.__suppress_context__


def test_a_token_shows_in_no_repr(github: GitHubStub, app: GitHubApp) -> None:
    github.install("eng")
    token = app.token("eng/api", write=False)
    assert token.value not in f"{token!r} {token}"


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    _session.cache_clear()
    with mock_aws():
        yield make_client("kms")
    _session.cache_clear()


def test_a_key_of_kms_signs_as_the_app(kms: Any) -> None:
    made = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    public = load_der_public_key(kms.get_public_key(KeyId=made["KeyId"])["PublicKey"])
    assert isinstance(public, rsa.RSAPublicKey)
    with GitHubStub(public) as github:
        github.add("eng/api")
        github.install("eng")
        app = app_of(github, sign=KmsSigner(lambda: kms, made["Arn"]))
        assert app.token("eng/api", write=False).value


def test_a_key_that_is_not_there_is_the_operators_to_mend(kms: Any, github: GitHubStub) -> None:
    signer = KmsSigner(lambda: kms, "arn:aws:kms:eu-west-1:123456789012:key/none")
    with pytest.raises(ServiceUnavailable) as refused:
        signer(b"x")
    assert isinstance(refused.value.__cause__, ClientError)
    assert "can't sign" in refusal(app_of(github, sign=signer), GitHubUnavailable)
    assert github.calls == []
