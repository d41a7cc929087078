"""Reasons go far: what others said in them names nobody of a URL."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.domain.credentials import without_credentials
from headstart.domain.errors import CloneFailed, ValidationFailed


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("fatal: https://ada:pw@host/x.git: no", "fatal: https://host/x.git: no"),
        ("https://TOKEN@host and http://a:b@c", "https://host and http://c"),
        ("https://TOK@EN@host", "https://host"),
        ("'https://a:p@ss:w@rd@host:8443/'", "'https://host:8443/'"),
        ("postgres://app:hunter2@db?x=a@b", "postgres://db?x=a@b"),
        ("https://ada:p#w/d?1@host/x.git", "https://host/x.git"),
        ("'https://ada:/p#w@d@host:8443/' https://b:#@c", "'https://host:8443/' https://c"),
        ("postgres://app:hunter2@db?x=a@b", "postgres://db?x=a@b"),
        ("https://host:8443/@scope/name?a@b", "https://host:8443/@scope/name?a@b"),
        ("https://[::1]:8443/@scope/name", "https://[::1]:8443/@scope/name"),
        ("https://host/@scope/name", "https://host/@scope/name"),
        ("https://host?email=ada@host", "https://host?email=ada@host"),
        ("ada@host wrote to git@github.com:o/r", "ada@host wrote to git@github.com:o/r"),
    ],
)
def test_the_users_of_urls_are_left_out(text: str, clean: str) -> None:
    assert without_credentials(text) == clean


AROUND = st.text("ab :/'\"<@#?.", max_size=12)


@given(
    user=st.text("abcdé-", max_size=8),
    password=st.text("abAB09#?/@:%é-_", min_size=1, max_size=40).filter(
        # Like a port, or with a host in it: nobody could tell.
        lambda password: not re.search(r"^\d{1,5}[/?#]|@.*[/?#]", password)
    ),
    before=AROUND,
    after=st.sampled_from(["", "/", "/org/name.git", ":8443/x", "?a=b", "' is gone", " and more"]),
)
def test_a_password_of_any_characters_is_left_out(
    user: str, password: str, before: str, after: str
) -> None:
    shown = without_credentials(f"{before} https://{user}:{password}@host.example{after}")

    assert shown.endswith(f"https://host.example{after}")


def test_many_addresses_take_no_longer_than_they_are_many() -> None:
    text = "://a:" * 100_000
    assert without_credentials(text) == text


def test_no_error_says_them() -> None:
    error = CloneFailed("https://ada:pw@host is gone")
    refused = ValidationFailed([{"loc": ["gitUrl"], "msg": "https://ada:pw@host is not allowed"}])

    assert error.reason == str(error) == "https://host is gone"
    assert "pw" not in str(refused)
