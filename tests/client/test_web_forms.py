"""What the page's forms make of what people paste, keep and choose: addresses, tokens, secrets."""

import base64
import json
from datetime import datetime, timedelta
from time import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from web_page import check, needs_node

pytestmark = needs_node


def token(claims: Any) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{middle}.signature"


@pytest.mark.parametrize(
    ("pasted", "repo", "branch"),
    [
        ("org/name", "org/name", ""),
        (" org/name.git ", "org/name", ""),
        ("https://github.com/org/name", "org/name", ""),
        ("https://github.com/org/name.git", "org/name", ""),
        ("github.com/org/name/", "org/name", ""),
        ("https://www.github.com/org/name?tab=readme#x", "org/name", ""),
        ("https://github.com/org/name/tree/main", "org/name", "main"),
        ("https://github.com/org/name/tree/main/src/a", "org/name", "main"),
        ("https://github.com/org/name/blob/fix%231/README.md#L3", "org/name", "fix#1"),
        ("https://github.com/org/tree", "org/tree", ""),
        ("https://github.com/org/name/pull/12/files", "org/name", ""),
        ("https://github.com/org/name/issues", "org/name", ""),
        ("git@github.com:org/name.git", "org/name", ""),
        (
            "ssh://git@git.example.com:2222/team/name.git",
            "https://git.example.com/team/name.git",
            "",
        ),
        ("https://gitlab.com/a/b/c/-/tree/dev/x", "https://gitlab.com/a/b/c", "dev"),
        ("https://gitlab.com/a/b/c/-/merge_requests/3", "https://gitlab.com/a/b/c", ""),
        ("https://codeberg.org/a/b/src/branch/dev", "https://codeberg.org/a/b", "dev"),
        ("http://127.0.0.1:4599/sample.git", "http://127.0.0.1:4599/sample.git", ""),
        (
            "https://git.example.com/deep/er/name.git",
            "https://git.example.com/deep/er/name.git",
            "",
        ),
        ("", "", ""),
    ],
)
def test_what_names_a_repository_is_understood(page, pasted, repo, branch):
    [found] = page(addresses=[pasted])["addresses"]
    assert (found.get("repo"), found.get("branch")) == (repo, branch), found


@pytest.mark.parametrize(
    "pasted",
    [
        "name",
        "a repository",
        "ftp://example.com/a/b",
        "https://",
        "https://github.com/org",
        "https://user:secret@github.com/org/name",
        "javascript:alert(1)",
    ],
)
def test_what_names_none_is_refused_at_once(page, pasted):
    [found] = page(addresses=[pasted])["addresses"]
    assert found["wrong"]
    assert "secret" not in found["wrong"].replace("the secrets", "")


def test_a_name_that_may_go_on_is_said_to(page):
    [found] = page(addresses=["https://github.com/o/n/tree/fix/it"])["addresses"]
    assert "/it" in found["note"]


@settings(max_examples=5)
@given(st.lists(st.text(max_size=60), min_size=50, max_size=50))
def test_nothing_that_is_pasted_breaks_the_form(tmp_path_factory, pasted):
    found = check(tmp_path_factory.mktemp("web"), {"addresses": pasted})["addresses"]
    for one in found:
        assert one.get("wrong") or isinstance(one["repo"], str)


def test_a_token_says_whose_it_is_and_whether_it_ended(page):
    past = time() - 60
    given = [token({"sub": "me", "exp": past}), token({"sub": 3}), "odd", "a.b.c", token(None)]
    (subject, ended), *others = page(tokens=given)["tokens"]
    assert subject == "me"
    assert ended.startswith("The token expired ")
    assert others == [[None, None]] * 4


def test_what_the_page_seals_the_keys_owner_opens(page):
    private = rsa.generate_private_key(65537, 4096)
    der = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key = {
        "keyId": "k",
        "algorithm": "RSA-OAEP-256",
        "publicKey": base64.b64encode(der).decode(),
    }
    secrets = {"NAME": "välue with ünicode", "OTHER": "12345678", "LONG": "x" * 200_000}
    mine = token({"sub": "mé"})
    sealed, odd, nobody = page(
        seals=[[secrets, key, mine], [secrets, {"algorithm": "x"}, mine], [secrets, key, "none"]]
    )["seals"]
    assert sealed["names"] == ["NAME", "OTHER", "LONG"]
    envelope = sealed["envelope"]
    assert (envelope["keyId"], envelope["enc"]) == ("k", "A256GCM")
    part = {name: base64.b64decode(envelope[name]) for name in ("key", "iv", "ciphertext")}
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    content = AESGCM(private.decrypt(part["key"], oaep))
    assert json.loads(content.decrypt(part["iv"], part["ciphertext"], "mé".encode())) == secrets
    assert "can't use" in odd
    assert "whose" in nobody


def test_moments_are_told_as_people_do(page):
    now = datetime.fromisoformat("2026-11-26T00:30:00")
    moments = [now - timedelta(minutes=20), now - timedelta(minutes=40), now - timedelta(days=400)]
    told = page(moments=[[m.isoformat(), now.isoformat()] for m in moments])["moments"]
    assert told[0].startswith(("00:10", "12:10"))
    assert told[1] == "yesterday"
    assert "2025" in told[2]


def test_a_status_is_told_in_words(page):
    stopped = {"status": "failed", "failure": {"code": "Cancelled"}}
    waits = {"status": "running", "waitsForYou": True}
    failed = {"status": "failed", "failure": {"code": "CloneFailed"}}
    told = page(told=[stopped, waits, failed, {"status": "new-in-2027"}])["told"]
    assert [one["words"] for one in told] == ["stopped", "waits for you", "failed", "new-in-2027"]


def rows(*ids: int) -> list[dict[str, Any]]:
    return [{"sessionId": n} for n in ids]


@pytest.mark.parametrize(
    ("known", "first", "more", "all_of"),
    [
        # One is new, and the older ones stay.
        (rows(4, 3, 2, 1), rows(5, 4), True, rows(5, 4, 3, 2, 1)),
        # One was deleted.
        (rows(4, 3, 2, 1), rows(4, 2), True, rows(4, 2, 1)),
        # There are no older ones any more.
        (rows(4, 3, 2, 1), rows(4), False, rows(4)),
        (rows(4, 3), rows(4, 3), True, rows(4, 3)),
    ],
)
def test_the_first_page_is_merged_with_what_is_known(page, known, first, more, all_of):
    listed = {"items": known, "cursor": "old", "more": True}
    [found] = page(merges=[[listed, {"items": first, "cursor": "new", "more": more}]])["merges"]
    assert found["items"] == all_of
    # What follows is behind the last that is shown.
    assert found["cursor"] == ("old" if len(all_of) > len(first) else "new")


def test_more_that_is_new_than_a_page_holds_leaves_no_gap(page):
    listed = {"items": rows(2, 1), "cursor": None, "more": False}
    first = {"items": rows(9, 8), "cursor": "c", "more": True}
    assert page(merges=[[listed, first]])["merges"] == [None]
