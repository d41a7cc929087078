"""Credentials that people and programs put into URLs."""

import re

# A password may hold what ends an address elsewhere, `#` above all: then the part behind the colon
# is no port, and an `@` follows.
_BEGIN = r"://([^/?#\s:\[{ends}]*)"
_REST = r"(?::([^/?#\s{ends}]*|(?!\d{{1,5}}[/?#])[^\s{ends}]{{0,300}}?))?@(?![^/?#\s{ends}]*@)"


def user_info(ends: str = "", then: str = "") -> re.Pattern[str]:
    """Return what finds the users and passwords of URLs, which some characters end."""
    return re.compile((_BEGIN + _REST).format(ends=ends) + then)


_IN_PROSE = user_info("'\"<>`")


def without_credentials(text: str) -> str:
    """Return a text whose URLs name nobody: `https://user:password@host` is `https://host`."""
    return _IN_PROSE.sub("://", text)
