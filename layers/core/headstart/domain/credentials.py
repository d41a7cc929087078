"""Credentials that people and programs put into URLs."""

import re

_USER_INFO = re.compile(r"(?<=://)[^/?#\s'\"<>`]*@")


def without_credentials(text: str) -> str:
    """Return a text whose URLs name nobody: `https://user:password@host` is `https://host`."""
    return _USER_INFO.sub("", text)
