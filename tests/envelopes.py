"""Envelopes of secrets: of the right shape, for whoever does not open them."""

import base64
from typing import Any


def base64_of(size: int) -> str:
    """Return so many bytes in base64."""
    return base64.b64encode(b"\1" * size).decode()


def envelope(**changes: Any) -> dict[str, Any]:
    """Return an envelope that the ports in memory can open."""
    whole = {
        "keyId": "key-1",
        "key": base64_of(256),
        "enc": "A256GCM",
        "iv": base64_of(12),
        "ciphertext": base64_of(64),
    }
    return whole | changes


def secrets(*names: str, **changes: Any) -> dict[str, Any]:
    """Return encryptedSecrets of some names."""
    return {"names": list(names or ("TOKEN",)), "envelope": envelope(**changes)}
