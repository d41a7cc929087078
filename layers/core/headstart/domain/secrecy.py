"""What is a secret among variables and settings, by its name or by its shape.

By name: a word of it says so (`API_TOKEN`, `dbPassword`), and none says that the value only speaks
of a secret (`TOKEN_URL`, `MAX_TOKENS`). By shape: a private key, a token of a known kind, a
password in a URL or in a setting within the value, and what looks drawn by lot. All else is none:
`billing-api`, `http://localhost:3000` and `/workspace/data` stay readable.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

from headstart.domain.credentials import user_info
from headstart.domain.texts import strings_in

SHORTEST = 8
"""Bytes of the shortest secret: shorter ones would take half of every output with them."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = {
    "apikey", "auth", "authorization", "cookie", "cookies", "cred", "creds", "credential",
    "credentials", "dsn", "jwt", "key", "keys", "pass", "passphrase", "passwd", "password",
    "passwords", "pat", "pwd", "secret", "secrets", "signature", "token", "tokens",
}  # fmt: skip
_SECRET_ENDS = ("apikey", "accesskey", "secretkey", "privatekey", "token", "secret", "password")
_SPEAKS_OF_ONE = {
    "algorithm", "count", "dir", "directory", "domain", "enabled", "endpoint", "expiry", "file",
    "folder", "format", "header", "home", "host", "hostname", "id", "length", "limit", "mode",
    "name", "path", "port", "prefix", "provider", "region", "scope", "scopes", "size", "timeout",
    "ttl", "type", "uri", "url", "user", "username", "version",
}  # fmt: skip
"""The last words of names whose values say where a secret is, or what it is like."""
_COUNTS = {"count", "limit", "max", "min", "num"}
"""The first words of names that count."""
_IDENTIFIES = {"arn", "checksum", "commit", "digest", "guid", "id", "revision", "sha", "uuid"}
"""The last words of names whose values look drawn by lot and are no secrets."""

_PLACEHOLDER = re.compile(
    r"(?:(?:Basic|Bearer|Token)\s+)?(?:\{(?:env|file|secret):[^{}]*\}|\$\{\w+\})"
)
"""What an agent, or the runner, puts a value in the place of."""
_PLACE = re.compile(r"[a-z][a-z0-9+.-]*://\S*|(?:~|\.{0,2})(?:/[\w.@-]+)+/?")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
_KNOWN_KINDS = re.compile(
    r"\b(?:sk|pk|rk)[-_](?=[a-zA-Z_-]{0,99}+\d)[\w-]{16,}|\bgh[opsur]_\w{20,}|\bgithub_pat_\w{20,}"
    r"|\bglpat-[\w-]{16,}|\bxox[a-z]-[\w-]{10,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[\w-]{20,}"
    r"|\bnpm_\w{20,}|\bpypi-[\w-]{20,}|\bhf_\w{16,}|\bSG\.[\w.-]{20,}"
    r"|(?<![\w-])(?>[\w-]*?\b(?=eyJ))([\w-]{4,}+\.[\w-]++\.[\w-]*)"
)
"""The whole match, or its group: a token of which a word may be the beginning."""
_USER_INFO = user_info(then=r"([^/?#\s]*)")
_SETTING = re.compile(r"(?<![\w.-])(?>[\w.-]*?(?=[A-Za-z_]))([\w.-]++)\"?\s*+[=:]\s*+[\"']?")
_VALUE = re.compile(r"[^\s;,&\"']+")
_MOST_WITHIN = 8
"""How many settings are looked for in the value of one: each has the rest of it to itself."""
_SCHEME = re.compile(r"\b(?:Basic|Bearer|Token)\s+(\S+)", re.IGNORECASE)
_AUTHORIZATION = re.compile(
    r"\bauthorization:\s*(?:Basic|Bearer|Token)\s+([^\s\"'$`]+)", re.IGNORECASE
)
_RUN = re.compile(r"[A-Za-z0-9+/_=-]{16,}")
_PLAIN_WORD = re.compile(r"[a-z]+")
_ARMOUR = re.compile(r"-----[A-Z0-9 ]+-----")


def is_secret_name(name: str) -> bool:
    """Return whether a variable, header or setting of that name holds a secret."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if words in ([], ["pwd"]) or words[0] in _COUNTS or words[-1] in _SPEAKS_OF_ONE:
        return False
    return any(word in _SECRET_WORDS or word.endswith(_SECRET_ENDS) for word in words)


def secrets_of(name: str, value: str) -> Iterator[str]:
    """Yield what must not be shown of a value: the whole, parts of it, or nothing."""
    if _PLACEHOLDER.fullmatch(value.strip()):
        return
    secret = is_secret_name(name) and not _PLACE.fullmatch(value.strip())
    if secret or _PRIVATE_KEY.search(value):
        yield value
    inner = _json(value, name)
    if inner is not None:
        for of, text in inner:
            yield from secrets_of(of, text)
        return
    yield from _SCHEME.findall(value) if secret else ()
    yield from _spelled_out(value)
    words = _WORDS.findall(name)
    if not words or words[-1].lower() not in _IDENTIFIES:
        yield from filter(_looks_drawn, _RUN.findall(value))


def _spelled_out(text: str) -> Iterator[str]:
    yield from (found[1] or found[0] for found in _KNOWN_KINDS.finditer(text))
    for user, password, host in _USER_INFO.findall(text):
        yield from _of_url(user, password, host)
    for part in _assigned(text):
        if not _PLACEHOLDER.fullmatch(part) and part[:5] != "-----":
            yield part


def _assigned(text: str) -> Iterator[str]:
    """Yield the values of a text's settings that have a secret's name."""
    end, within = 0, 0
    for setting in _SETTING.finditer(text):
        within = within + 1 if setting.end() < end else 0
        secret = within <= _MOST_WITHIN and is_secret_name(setting[1])
        if secret and (value := _VALUE.match(text, setting.end())):
            end = value.end()
            yield value[0]


def secrets_in_command(command: str) -> Iterator[str]:
    """Yield what a command line spells out that must not be shown; what a shell puts in is not."""
    yield from _AUTHORIZATION.findall(command)
    yield from (secret for secret in _spelled_out(command) if secret[:1] not in {"$", "`", ":"})


def secrets_in(settings: Any, name: str = "") -> Iterator[str]:
    """Yield what must not be shown of settings: variables, headers, arguments, however nested."""
    for _, of, value in strings_in(settings, name):
        yield from secrets_of(of, value)


def looks_secret(name: str, value: str) -> bool:
    """Return whether something in a variable, header or setting should not be shown."""
    return any(len(found.encode()) >= SHORTEST for found in secrets_of(name, value))


def has_secret(text: str) -> bool:
    """Return whether prose has a private key in it, a token of a known kind, a URL's password."""
    inner = (password for _, password, _ in _USER_INFO.findall(text))
    return bool(_PRIVATE_KEY.search(text) or _KNOWN_KINDS.search(text) or any(inner))


def lines_of(secret: str) -> Iterator[str]:
    """Yield the lines of a secret of several that are secrets, too: a tool may print one."""
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        for line in lines:
            if not _ARMOUR.fullmatch(line) and not _PLAIN_WORD.fullmatch(line):
                yield line


def _of_url(user: str, password: str, host: str) -> Iterator[str]:
    """Yield the secret of a URL: its password, or the user that stands for one (`git` does not)."""
    if password or not _PLAIN_WORD.fullmatch(user):
        secret = password or user
        yield from {secret, unquote(secret)}
        if len(secret.encode()) < SHORTEST:
            yield f"{user}:{password}@{host}" if password else f"{user}@{host}"


def _json(value: str, name: str) -> list[tuple[str, str]] | None:
    """Return the strings, by their names, of the object or array that a value is; else None."""
    if not value.lstrip().startswith(("{", "[")):
        return None
    try:
        return [(of, text) for _, of, text in strings_in(json.loads(value), name)]
    except (ValueError, RecursionError):
        return None


def _looks_drawn(run: str) -> bool:
    """Return whether letters, capitals and digits take turns as in nothing that people make up."""
    kinds = ["a" if c.islower() else "A" if c.isupper() else "1" for c in run if c.isalnum()]
    turns = sum(one != other for one, other in pairwise(kinds))
    return kinds.count("1") >= 2 and turns >= len(kinds) / 5 and len(kinds) >= 16
