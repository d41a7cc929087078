"""A GitHub App: who it says it is, where it is installed, and the tokens that it is given.

Rules and words are those of docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App"
and "REST API endpoints for GitHub Apps"; what is not written there is what people quote from it.
"""

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Json = dict[str, Any]

WHOLE = {"metadata": "read", "contents": "write", "pull_requests": "write"}
_JWT_SECONDS = 600
_LEVELS = {"read": 1, "write": 2, "admin": 3}
_SUSPENDED = "This installation has been suspended"


class Refusal(Exception):
    """What GitHub answers instead."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.more = status, message, more


def app_key() -> rsa.RSAPrivateKey:
    """Return a new key as GitHub makes one for an App."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(eq=False)
class Repository:
    """A repository; `folder` is its bare one, where what pull requests are about is looked up."""

    name: str
    id: int
    private: bool = True
    archived: bool = False
    default_branch: str = "main"
    folder: Path | None = None
    pulls: list[Json] = field(default_factory=list)

    @property
    def owner(self) -> str:
        """The account it belongs to."""
        return self.name.partition("/")[0]


@dataclass(eq=False)
class Installation:
    """Where the App is installed; without `repositories` it is for all of the account."""

    id: int
    account: str
    repositories: set[str] | None = None
    permissions: dict[str, str] = field(default_factory=lambda: dict(WHOLE))
    suspended: bool = False

    @property
    def page(self) -> str:
        """Where the account's owners change it."""
        return f"/organizations/{self.account}/settings/installations/{self.id}"

    def sees(self, repository: Repository) -> bool:
        """Say whether a repository is among those it was installed for."""
        if repository.owner.lower() != self.account.lower():
            return False
        names = self.repositories
        return names is None or repository.name.lower() in {name.lower() for name in names}


@dataclass(frozen=True, eq=False)
class Token:
    """What an installation was given, and until when."""

    installation: Installation
    repositories: frozenset[Repository]
    permissions: dict[str, str]
    expires_at: float

    def may(self, repository: Repository, permission: str, level: str) -> bool:
        """Say whether it is for this repository, and for that."""
        allowed = _LEVELS.get(self.permissions.get(permission, ""), 0) >= _LEVELS[level]
        return allowed and repository in self.repositories


class App:
    """The one App, its installations and its tokens."""

    def __init__(
        self,
        app_id: str,
        key: rsa.RSAPublicKey,
        repositories: "Repositories",
        clock: Callable[[], float],
    ) -> None:
        self.app_id, self.key, self.slug = app_id, key, "headstart-stub"
        self.installations: list[Installation] = []
        self.tokens: dict[str, Token] = {}
        self.token_seconds = 3600.0
        self._repositories, self._clock = repositories, clock
        self._ids = count(7001)

    def install(
        self,
        account: str,
        repositories: set[str] | None = None,
        permissions: dict[str, str] | None = None,
    ) -> Installation:
        """Install the App in an account, in the place of what was there."""
        self.uninstall(account)
        made = Installation(next(self._ids), account, repositories, dict(permissions or WHOLE))
        self.installations.append(made)
        return made

    def uninstall(self, account: str) -> None:
        """Take the App out of an account, and all its tokens there."""
        gone = [one for one in self.installations if one.account.lower() == account.lower()]
        self.installations = [one for one in self.installations if one not in gone]
        self.tokens = {k: t for k, t in self.tokens.items() if t.installation not in gone}

    def expire_tokens(self) -> None:
        """Have all tokens expire now."""
        self.tokens.clear()

    def check_jwt(self, jwt: str) -> None:
        """Refuse what is not signed by the App's key for this moment."""
        try:
            head, claims, signature = (_decoded(part) for part in jwt.split("."))
            header, said = json.loads(head), json.loads(claims)
        except ValueError:
            raise Refusal(401, "A JSON web token could not be decoded") from None
        if header.get("alg") != "RS256":
            raise Refusal(401, "A JSON web token could not be decoded")
        if str(said.get("iss")) != self.app_id:
            raise Refusal(404, "Integration not found")
        try:
            signed = jwt.rpartition(".")[0].encode()
            self.key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise Refusal(401, "A JSON web token could not be decoded") from None
        now, issued, expires = self._clock(), said.get("iat"), said.get("exp")
        if type(issued) is not int or issued > now:
            raise Refusal(
                401,
                "'Issued at' claim ('iat') must be an Integer representing the time that the "
                "assertion was issued",
            )
        if type(expires) is not int or expires <= now:
            raise Refusal(
                401,
                "'Expiration time' claim ('exp') must be a numeric value representing the future "
                "time at which the assertion expires",
            )
        if expires > now + _JWT_SECONDS:
            raise Refusal(401, "'Expiration time' claim ('exp') is too far in the future")

    def of_repository(self, repository: Repository) -> Installation:
        """Return the installation that a repository belongs to; refuses where there is none."""
        found = [one for one in self.installations if one.sees(repository)]
        if not found:
            raise Refusal(404, "Not Found")
        return found[0]

    def give_token(self, installation_id: int, asked: Json) -> tuple[str, Token]:
        """Return a new token of an installation, for what was asked and no more."""
        found = [one for one in self.installations if one.id == installation_id]
        if not found:
            raise Refusal(404, "Not Found")
        installation = found[0]
        if installation.suspended:
            raise Refusal(403, _SUSPENDED)
        names = asked.get("repositories")
        own = [one for one in self._repositories if installation.sees(one)]
        numbers = asked.get("repository_ids")
        if names is not None or numbers is not None:
            wanted = {f"{installation.account}/{name}".lower() for name in names or []}
            own = [one for one in own if one.name.lower() in wanted or one.id in (numbers or [])]
            if len(own) != len(wanted) + len(numbers or []):
                raise Refusal(
                    422,
                    "There is at least one repository that does not exist or is not accessible to "
                    "the parent installation.",
                )
        permissions = asked.get("permissions") or installation.permissions
        for name, level in permissions.items():
            granted = _LEVELS.get(installation.permissions.get(name, ""), 0)
            if _LEVELS.get(level, 99) > granted:
                raise Refusal(
                    422, "The permissions requested are not granted to this installation."
                )
        # The format since 2026: longer than the forty characters that there were, and with dots.
        value = f"ghs_{self.app_id}_{'.'.join(secrets.token_urlsafe(n) for n in (30, 240, 64))}"
        expires_at = float(int(self._clock() + self.token_seconds))
        token = Token(installation, frozenset(own), {"metadata": "read", **permissions}, expires_at)
        self.tokens[value] = token
        return value, token

    def token(self, value: str) -> Token | None:
        """Return what a token is for, None for one that is not or no longer valid."""
        token = self.tokens.get(value)
        if token is None or token.expires_at <= self._clock() or token.installation.suspended:
            return None
        return token


class Repositories:
    """All repositories; a renamed one is found by its earlier names, as such."""

    def __init__(self) -> None:
        self._all: list[Repository] = []
        self._moved: dict[str, Repository] = {}
        self._ids = count(90001)

    def __iter__(self) -> Any:
        return iter(self._all)

    def add(self, name: str, **more: Any) -> Repository:
        """Make a repository."""
        made = Repository(name, next(self._ids), **more)
        self._all.append(made)
        return made

    def rename(self, old: str, new: str) -> None:
        """Give a repository another name; the old one leads there."""
        repository, _ = self.named(old)
        self._moved[repository.name.lower()] = repository
        repository.name = new

    def named(self, name: str) -> tuple[Repository, bool]:
        """Return a repository and whether that is still its name; refuses what there is not."""
        for one in self._all:
            if one.name.lower() == name.lower():
                return one, True
        if moved := self._moved.get(name.lower()):
            return moved, False
        raise Refusal(404, "Not Found")

    def numbered(self, number: int) -> Repository:
        """Return a repository by its number; refuses what there is not."""
        for one in self._all:
            if one.id == number:
                return one
        raise Refusal(404, "Not Found")


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
