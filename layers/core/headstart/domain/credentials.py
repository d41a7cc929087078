"""Credentials that people and programs put into URLs."""

import re

# A password may hold what ends an address elsewhere, `#` above all: then the part behind the colon
# is no port, and an `@` follows. What is found first counts, and nothing is looked for behind it
# again (`(?>…)`, `+` behind a count): the time is linear in the text.
_USER = r"[^/?#\s:\[{ends}]*"
_BEHIND_COLON = r"[^/?#\s{ends}]*|(?!\d{{1,5}}[/?#])[^\s@{ends}]{{0,300}}+(?=@)[^/?#\s{ends}]*"
_USER_INFO = rf"://(?>({_USER})(?::({_BEHIND_COLON}))?@)(?![^/?#\s{{ends}}]*@)"


def user_info(ends: str = "", then: str = "") -> re.Pattern[str]:
    """Return what finds the users and passwords of URLs, which some characters end."""
    return re.compile(_USER_INFO.format(ends=ends) + then)


_IN_PROSE = user_info("'\"<>`")


def without_credentials(text: str) -> str:
    """Return a text whose URLs name nobody: `https://user:password@host` is `https://host`."""
    return _IN_PROSE.sub("://", text)
