"""The session's secrets, opened: in this process's memory and nowhere else."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from headstart.domain.command_args import Sealed
from headstart.domain.envelope import SECRETS_BYTES, filled
from headstart.domain.errors import SecretsUnavailable
from headstart.domain.secrecy import SHORTEST
from headstart.domain.variables import is_for_git
from headstart_runner.redaction import Redactor

_NOT_OPENED = (
    "The secrets can't be opened: they were encrypted for another user or with another key, or "
    "they were changed since"
)
_TAG_BYTES = 32


class Vault:
    """Names and values of the secrets that the session's owner sealed."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    @property
    def values(self) -> Mapping[str, str]:
        """All of them by name."""
        return self._values

    @property
    def variables(self) -> dict[str, str]:
        """What commands and the agent get in their environment: nothing that is for git."""
        return {name: value for name, value in self._values.items() if not is_for_git(name)}

    def get(self, name: str) -> str | None:
        """Return a secret's value, None for one that there is not."""
        return self._values.get(name)

    def open(self, sealed: Sealed | None, redactor: Redactor) -> None:
        """Have these secrets and no others, known to the redactor first; SecretsUnavailable."""
        values = _opened(sealed) if sealed else {}
        redactor.add(*values.values())
        self._values = values

    def filled(self, settings: Any) -> Any:
        """Return settings with the secrets that they name in place; SecretsUnavailable for none."""
        try:
            return filled(settings, self.get)
        except LookupError as error:
            raise SecretsUnavailable(
                f"The agent's settings name {{secret:{error.args[0]}}}, and there is no such secret"
            ) from None


def _opened(sealed: Sealed) -> dict[str, str]:
    """Return the values by name; no error has a word of them."""
    try:
        found = json.loads(_decrypted(sealed))
    except (ValueError, RecursionError):
        raise SecretsUnavailable("The secrets are no JSON object") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SecretsUnavailable("The secrets are no JSON object of names and strings")
    if set(found) != set(sealed.names):
        raise SecretsUnavailable("The names of the secrets are not those in their envelope")
    try:
        size = sum(len(name.encode()) + len(value.encode()) for name, value in found.items())
    except UnicodeEncodeError:
        raise SecretsUnavailable("A secret's value is not valid Unicode") from None
    if size > SECRETS_BYTES:
        raise SecretsUnavailable(f"The secrets have more than {SECRETS_BYTES} bytes together")
    for name, value in found.items():
        if len(value.strip().encode()) < SHORTEST:
            raise SecretsUnavailable(
                f"{name} has fewer than {SHORTEST} bytes: it could not be kept out of what is shown"
            )
        if "\0" in value:
            raise SecretsUnavailable(f"{name} has a NUL character in it: no variable can")
    return found


def _decrypted(sealed: Sealed) -> bytes:
    # trust.py imports it beside the first step: the channel and the workshop need not wait for it.
    from cryptography.exceptions import InvalidSignature, InvalidTag  # noqa: PLC0415

    try:
        key, iv, text = map(base64.b64decode, (sealed.key, sealed.iv, sealed.ciphertext))
        if sealed.enc == "A256CBC-HS512":
            return _by_cbc(key, iv, text, sealed.subject.encode())
        return _by_gcm(key, iv, text, sealed.subject.encode())
    except (ValueError, InvalidTag, InvalidSignature):
        raise SecretsUnavailable(_NOT_OPENED) from None


def _by_gcm(key: bytes, iv: bytes, text: bytes, subject: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    if len(key) != 32:
        raise ValueError("a key of another length")
    return AESGCM(key).decrypt(iv, text, subject)


def _by_cbc(key: bytes, iv: bytes, text: bytes, subject: bytes) -> bytes:
    """Open what RFC 7518, section 5.2.5, calls A256CBC-HS512: openssl's commands know no AEAD."""
    from cryptography.hazmat.primitives import hashes, padding  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415
    from cryptography.hazmat.primitives.constant_time import bytes_eq  # noqa: PLC0415
    from cryptography.hazmat.primitives.hmac import HMAC  # noqa: PLC0415

    if len(key) != 64:
        raise ValueError("a key of another length")
    text, tag = text[:-_TAG_BYTES], text[-_TAG_BYTES:]
    mac = HMAC(key[:32], hashes.SHA512())
    mac.update(subject + iv + text + (8 * len(subject)).to_bytes(8, "big"))
    if not bytes_eq(mac.finalize()[:_TAG_BYTES], tag):
        raise ValueError("another tag")
    decryptor = Cipher(algorithms.AES256(key[32:]), modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    padded = decryptor.update(text) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()
