"""Secrets are sealed on the caller's machine: nothing that is sent, shown or listed has them."""

import base64
import builtins
import json
import os
from pathlib import Path
from typing import Any

import fake_headstart as fake
import pytest
from cli_kit import RUN
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fake_headstart import SESSION_ID, FakeHeadstart, FakeSession
from session_scripts import good_session

from headstart_client import Headstart, HeadstartError, cli

PRIVATE = rsa.generate_private_key(65537, 2048)
SPKI = PRIVATE.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
KEY = {
    "keyId": "0a1b", "algorithm": "RSA-OAEP-256", "publicKey": base64.b64encode(SPKI).decode()
}  # fmt: skip
VALUE = "lantern of the ü quay"


def token_of(subject: str) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"sub": subject}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


TOKEN = token_of("ada/ü")


@pytest.fixture
def sealing(cloud: FakeHeadstart, monkeypatch: pytest.MonkeyPatch) -> FakeHeadstart:
    cloud.key = KEY
    monkeypatch.setenv("HEADSTART_URL", cloud.url)
    monkeypatch.setenv("HEADSTART_TOKEN", TOKEN)
    return cloud


def opened(sent: Any, subject: str = "ada/ü") -> Any:
    """Open what was sent as the cloud and the sandbox do together."""
    envelope = sent["envelope"]
    assert (envelope["keyId"], envelope["enc"]) == ("0a1b", "A256GCM")
    key, iv, text = (base64.b64decode(envelope[n]) for n in ("key", "iv", "ciphertext"))
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    found = json.loads(AESGCM(PRIVATE.decrypt(key, oaep)).decrypt(iv, text, subject.encode()))
    assert sent["names"] == list(found)
    return found


def body_of(cloud: FakeHeadstart, method: str, ending: str) -> Any:
    return cloud.requests(method, ending)[-1].body


def test_each_call_that_takes_secrets_seals_them_for_the_tokens_user(
    sealing: FakeHeadstart,
) -> None:
    sealing.add(FakeSession())
    with Headstart(sealing.url, TOKEN) as client:
        client.create_session("x", git_url="https://example.com/r.git", secrets={"A": VALUE})
        client.patch(SESSION_ID, secrets={"B": VALUE, "C": VALUE})
        client.retry(SESSION_ID, 1, secrets={"D": VALUE})
    bodies = [
        body_of(sealing, "POST", "/sessions"),
        body_of(sealing, "PATCH", SESSION_ID),
        body_of(sealing, "POST", "/retry"),
    ]
    assert [list(opened(body["encryptedSecrets"])) for body in bodies] == [["A"], ["B", "C"], ["D"]]
    assert all("secrets" not in body for body in bodies)
    assert not any(VALUE in json.dumps(seen.body, ensure_ascii=False) for seen in sealing.seen)
    assert len(sealing.requests("GET", "/encryption-key")) == 3


def test_without_secrets_nobody_asks_for_the_key_and_none_takes_them_away(
    sealing: FakeHeadstart,
) -> None:
    sealing.add(FakeSession())
    with Headstart(sealing.url, TOKEN) as client:
        client.create_session("x", git_url="https://example.com/r.git")
        client.patch(SESSION_ID, mode="plan")
        client.patch(SESSION_ID, secrets=None)
    assert not sealing.requests("GET", "/encryption-key")
    assert body_of(sealing, "PATCH", SESSION_ID) == {"encryptedSecrets": None}


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "e30.e30.x", "e30.bnVsbA.x"])
def test_a_token_that_does_not_say_whose_it_is_seals_nothing(
    sealing: FakeHeadstart, token: str
) -> None:
    with Headstart(sealing.url, token) as client, pytest.raises(HeadstartError, match="whose"):
        client.create_session("x", secrets={"A": VALUE})
    assert not sealing.requests("POST", "/sessions")


def test_a_key_of_another_kind_is_not_used(sealing: FakeHeadstart) -> None:
    sealing.key = {**KEY, "algorithm": "ECDH-ES"}
    with Headstart(sealing.url, TOKEN) as client, pytest.raises(HeadstartError, match="kind"):
        client.create_session("x", secrets={"A": VALUE})


def test_the_package_that_is_not_there_is_named(
    sealing: FakeHeadstart, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with (
        Headstart(sealing.url, TOKEN) as client,
        pytest.raises(HeadstartError, match="pip install"),
    ):
        client.create_session("x", secrets={"A": VALUE})


def test_the_command_line_takes_them_from_variables_and_files(
    sealing: FakeHeadstart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    sealing.next_session.script = good_session()
    (tmp_path / "token").write_text("one line of it\n")
    (tmp_path / "key").write_text("two\nlines of it\n")
    monkeypatch.setenv("NPM_TOKEN", VALUE)
    files = [f"--secret=T=@{tmp_path / 'token'}", f"--secret=K=@{tmp_path / 'key'}"]
    assert cli.main([*RUN, "--secret", "NPM_TOKEN", *files]) == 0
    assert opened(body_of(sealing, "POST", "/sessions")["encryptedSecrets"]) == {
        "NPM_TOKEN": VALUE,
        "T": "one line of it",
        "K": "two\nlines of it\n",
    }
    assert VALUE not in "".join(capsys.readouterr())


def test_a_retry_takes_them_too(sealing: FakeHeadstart, monkeypatch: pytest.MonkeyPatch) -> None:
    session = sealing.add(FakeSession(status="preparing"))
    session.script = good_session()
    monkeypatch.setenv("NPM_TOKEN", VALUE)
    cli.main(["retry", SESSION_ID, "--secret", "NPM_TOKEN"])
    assert opened(body_of(sealing, "POST", "/retry")["encryptedSecrets"]) == {"NPM_TOKEN": VALUE}


@pytest.mark.parametrize(("known", "warned"), [(1, False), (2, False), (3, True)])
def test_a_retry_says_that_secrets_go_which_are_not_given_again(
    sealing: FakeHeadstart, monkeypatch: pytest.MonkeyPatch, capsys: Any, known: int, warned: bool
) -> None:
    session = FakeSession(status="preparing", counts={"encryptedSecrets": known})
    sealing.add(session).script = good_session()
    monkeypatch.setenv("NPM_TOKEN", VALUE)
    monkeypatch.setenv("OTHER_TOKEN", VALUE)
    cli.main(["retry", SESSION_ID, "--secret", "NPM_TOKEN", "--secret", "OTHER_TOKEN"])
    said = "Warning: --secret replaces all 3 of before" in capsys.readouterr().err
    assert said is warned


def test_what_is_too_large_is_wrong_usage(sealing: FakeHeadstart, capsys: Any) -> None:
    sealing.canned.append(fake.problem(413, "BodyTooLarge", "The body is over 256 KB"))
    assert cli.main([*RUN]) == 2
    assert "over 256 KB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("SHORT", "SHORT has fewer than 8 bytes"),
        ("ODD_BYTES", "ODD_BYTES is not valid UTF-8"),
        ("A=@/a\0b", "can't be read"),
        ("NOT_SET_ANYWHERE", "no variable NOT_SET_ANYWHERE"),
        (f"A={VALUE}", "others see command lines"),
        ("A=@/not/there", "/not/there can't be read"),
        ("A=@/bin/sh", "can't be read"),
    ],
)
def test_what_can_not_be_had_is_wrong_usage_and_is_not_repeated(
    sealing: FakeHeadstart, monkeypatch: pytest.MonkeyPatch, given: str, said: str, capsys: Any
) -> None:
    os.environ.pop("NOT_SET_ANYWHERE", None)
    monkeypatch.setenv("SHORT", "1234567")
    monkeypatch.setenv("ODD_BYTES", "lantern of the \udcff quay")
    with pytest.raises(SystemExit) as ended:
        cli.main([*RUN, "--secret", given])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert VALUE not in err
    assert not sealing.seen


def test_warnings_are_shown_beside_what_is_printed(sealing: FakeHeadstart, capsys: Any) -> None:
    sealing.next_session.script = good_session()
    sealing.warnings = [{"loc": ["envVars", "API_TOKEN"], "msg": "looks like a credential"}]
    assert cli.main([*RUN, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "Warning: --env API_TOKEN looks like a credential" in err
    assert "Warning" not in out


def test_one_that_nobody_could_keep_from_being_shown_is_not_sent(sealing: FakeHeadstart) -> None:
    with (
        Headstart(sealing.url, TOKEN) as headstart,
        pytest.raises(HeadstartError, match="The secret B has fewer than 8 bytes"),
    ):
        headstart.create_session("x", github_repo="o/n", secrets={"A": VALUE, "B": "1234567"})
    assert not sealing.requests("POST", "/sessions")


def test_publishing_takes_them_too(sealing: FakeHeadstart, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"branch": "session/x", "commit": "c" * 40}
    sealing.add(FakeSession(status="ready", publishes=[("work.published", told)]))
    monkeypatch.setenv("GIT_TOKEN", VALUE)
    cli.main(["publish", SESSION_ID, "--secret", "GIT_TOKEN"])
    body = body_of(sealing, "POST", "/publish")
    assert opened(body["encryptedSecrets"]) == {"GIT_TOKEN": VALUE}
