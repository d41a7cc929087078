"""Sealing secrets on this machine: nobody between it and the session's sandbox can read them."""

import base64
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headstart_client.errors import HeadstartError
from headstart_client.tokens import claims_of

if TYPE_CHECKING:
    from headstart_client.models import EncryptionKey

_LEAST_BYTES = 8
"""The API's own limit, which only a sandbox can see to."""

_NO_LIBRARY = (
    "Secrets need the package cryptography, which is not installed: "
    "pip install 'headstart-client[secrets]'"
)


def too_short(value: str) -> str | None:
    """Return why a value is none that could be kept from being shown, None where it can."""
    short = len(value.encode()) < _LEAST_BYTES
    return f"has fewer than {_LEAST_BYTES} bytes" if short else None


def seal(secrets: Mapping[str, str], key: "EncryptionKey", token: str) -> dict[str, Any]:
    """Return `encryptedSecrets` of names and values, for the user of a token alone.

    Raises HeadstartError, for a value of fewer than 8
    bytes too: the sandbox would refuse it, which could not keep it from being shown.
    """
    for name, value in secrets.items():
        if why := too_short(value):
            raise HeadstartError(f"The secret {name} {why}")
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
    except ImportError:
        raise HeadstartError(_NO_LIBRARY) from None
    if key.algorithm != "RSA-OAEP-256":
        raise HeadstartError("The API's key for secrets is of a kind that this client can't use")
    try:
        public = serialization.load_der_public_key(base64.b64decode(key.public_key))
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, rsa.RSAPublicKey):
        raise HeadstartError("The API's key for secrets is not one of RSA")
    content_key, iv = AESGCM.generate_key(256), os.urandom(12)
    text = json.dumps(dict(secrets), ensure_ascii=False).encode()
    sealed = AESGCM(content_key).encrypt(iv, text, _subject(token).encode())
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    envelope = {
        "keyId": key.key_id,
        "enc": "A256GCM",
        "key": _base64(public.encrypt(content_key, oaep)),
        "iv": _base64(iv),
        "ciphertext": _base64(sealed),
    }
    return {"names": list(secrets), "envelope": envelope}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _subject(token: str) -> str:
    """Return whose token it is, which the API reads in the same place."""
    subject = (claims_of(token) or {}).get("sub")
    if subject is None:
        raise HeadstartError("The token does not say whose it is, so nothing was sealed")
    return str(subject)
