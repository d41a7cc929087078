"""Secrets as their owner seals them: what an envelope is, and how settings name what is in it."""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from headstart.domain.errors import ValidationFailed
from headstart.domain.model import Model
from headstart.domain.texts import SOUND, strings_in
from headstart.domain.variables import is_for_git, is_reserved, is_settled, names_a_repository

SECRETS_BYTES = 64 * 1024
"""The most of names and values together."""

CIPHERTEXT_BYTES = 96 * 1024
"""The most of an encrypted object: quotation marks and escapes come to what it holds."""

_IV_BYTES = {"A256GCM": 12, "A256CBC-HS512": 16}
_TAG_BYTES = {"A256GCM": 16, "A256CBC-HS512": 32}
_BLOCK_BYTES = 16

Encryption = Literal["A256GCM", "A256CBC-HS512"]
"""How content is encrypted and kept from being changed (RFC 7518, sections 5.3 and 5.2.5)."""


def _base64(least: int, most: int) -> AfterValidator:
    """Check a text of so many bytes in base64, as RFC 4648 section 4 has it, padding and all."""

    def check(text: str) -> str:
        try:
            size = len(base64.b64decode(text, validate=True))
        except ValueError:
            raise ValueError("must be base64, with its padding and on one line") from None
        if not least <= size <= most:
            raise ValueError(f"must be {least} to {most} bytes in base64")
        return text

    return AfterValidator(check)


def _secret_name(name: str) -> str:
    if is_reserved(name):
        raise ValueError("must not have the reserved prefix HEADSTART_")
    if names_a_repository(name):
        raise ValueError("must not have git work on another repository")
    if is_settled(name):
        raise ValueError(f"{name} is no secret: set it in envVars")
    return name


def _each_once(names: list[str]) -> list[str]:
    if len(set(names)) != len(names):
        raise ValueError("must name each secret once")
    return names


SecretName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128),
    AfterValidator(_secret_name),
    SOUND,
]


class Envelope(Model):
    """What only the deployment's key opens."""

    key_id: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$"),
        SOUND,
        Field(description="As `GET /encryption-key` names the key that `key` was encrypted with."),
    ]
    key: Annotated[
        str,
        StringConstraints(max_length=1024),
        _base64(256, 512),
        SOUND,
        Field(description="The content's key under RSA-OAEP-256, in base64."),
    ]
    enc: Encryption = Field(
        default="A256GCM",
        description="What `ciphertext` is made by; the key has 32 bytes for A256GCM, 64 else.",
    )
    iv: Annotated[
        str,
        StringConstraints(max_length=24),
        _base64(12, 16),
        SOUND,
        Field(description="12 bytes for A256GCM, 16 else, in base64."),
    ]
    ciphertext: Annotated[
        str,
        StringConstraints(max_length=CIPHERTEXT_BYTES * 4 // 3),
        _base64(16, CIPHERTEXT_BYTES),
        SOUND,
        Field(
            description="A JSON object of names and values, with your `sub` as additional data and "
            f"the tag at the end, in base64; {CIPHERTEXT_BYTES} bytes at most."
        ),
    ]

    def check_sizes(self) -> "Envelope":
        """Refuse what can't be an encryption by its own algorithm."""
        if len(base64.b64decode(self.iv)) != _IV_BYTES[self.enc]:
            raise ValueError(f"iv must be {_IV_BYTES[self.enc]} bytes for {self.enc}")
        content = len(base64.b64decode(self.ciphertext)) - _TAG_BYTES[self.enc]
        if self.enc != "A256GCM" and (content <= 0 or content % _BLOCK_BYTES):
            raise ValueError(f"ciphertext must be whole blocks and a tag for {self.enc}")
        return self


class EncryptedSecrets(Model):
    """One envelope a session; only the sandbox, with the help of the deployment's key, opens it."""

    names: Annotated[
        list[SecretName],
        Field(min_length=1, max_length=50, description="What the envelope holds, by name."),
        AfterValidator(_each_once),
    ]
    envelope: Annotated[Envelope, AfterValidator(Envelope.check_sizes)]


_NAMED = re.compile(r"\{secret:([^{}]*)\}")


def check_named(settings: Mapping[str, Any], names: list[str]) -> None:
    """Refuse settings, by field, that name a secret (`{secret:NAME}`) which they can't have.

    Raises ValidationFailed.
    """
    errors: list[dict[str, object]] = [
        {"loc": [*place], "msg": _why_not(name)}
        for place, _, text in strings_in(dict(settings))
        for name in _NAMED.findall(text)
        if name not in names or is_for_git(name)
    ]
    if errors:
        raise ValidationFailed(errors[:20])


def names_a_secret(text: str) -> bool:
    """Say whether a text names a secret, whether there is such a one or not."""
    return _NAMED.search(text) is not None


def check_unnamed(settings: Mapping[str, Any]) -> None:
    """Refuse settings, by field, that name a secret where none is put in; ValidationFailed."""
    errors: list[dict[str, object]] = [
        {"loc": [*place], "msg": _NOT_HERE}
        for place, _, text in strings_in(dict(settings))
        if names_a_secret(text)
    ]
    if errors:
        raise ValidationFailed(errors[:20])


_NOT_HERE = (
    "must not name a secret: {secret:NAME} is filled in nowhere but in mcpServers and "
    "appendSystemPrompt"
)


def _why_not(name: str) -> str:
    if is_for_git(name):
        return "must not name a secret that is for git alone"
    return "must name, in {secret:NAME}, one of encryptedSecrets' names"


def filled(value: Any, secret: Callable[[str], str | None]) -> Any:
    """Return settings with the values of the secrets that they name; LookupError for no such one.

    Its argument is the name.
    """

    def put(found: re.Match[str]) -> str:
        known = None if is_for_git(found[1]) else secret(found[1])
        if known is None:
            raise LookupError(found[1])
        return known

    if isinstance(value, str):
        return _NAMED.sub(put, value)
    if isinstance(value, dict):
        return {key: filled(item, secret) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, secret) for item in value]
    return value
