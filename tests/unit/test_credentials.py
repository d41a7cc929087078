"""Reasons go far: what others said in them names nobody of a URL."""

import pytest

from headstart.domain.credentials import without_credentials
from headstart.domain.errors import CloneFailed, ValidationFailed


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("fatal: https://ada:pw@host/x.git: no", "fatal: https://host/x.git: no"),
        ("https://TOKEN@host and http://a:b@c", "https://host and http://c"),
        ("'https://a:p@ss:w@rd@host:8443/'", "'https://host:8443/'"),
        ("postgres://app:hunter2@db?x=a@b", "postgres://db?x=a@b"),
        ("https://host/@scope/name", "https://host/@scope/name"),
        ("https://host?email=ada@host", "https://host?email=ada@host"),
        ("ada@host wrote to git@github.com:o/r", "ada@host wrote to git@github.com:o/r"),
    ],
)
def test_the_users_of_urls_are_left_out(text: str, clean: str) -> None:
    assert without_credentials(text) == clean


def test_no_error_says_them() -> None:
    error = CloneFailed("https://ada:pw@host is gone")
    refused = ValidationFailed([{"loc": ["gitUrl"], "msg": "https://ada:pw@host is not allowed"}])

    assert error.reason == str(error) == "https://host is gone"
    assert "pw" not in str(refused)
