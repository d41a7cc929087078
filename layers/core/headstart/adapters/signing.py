"""Signing with a key that never leaves AWS KMS."""

from collections.abc import Callable
from typing import Any

from headstart.adapters.aws import translated


class KmsSigner:
    """Signs as RS256 does (RFC 7518, 3.3) with an RSA key of KMS for SIGN_VERIFY."""

    def __init__(self, make_client: Callable[[], Any], key_arn: str) -> None:
        self._make_client = make_client
        self._key_arn = key_arn

    def __call__(self, message: bytes) -> bytes:
        """Return the signature of at most 4096 bytes; raises ServiceUnavailable."""
        with translated():
            answer = self._make_client().sign(
                KeyId=self._key_arn,
                Message=message,
                MessageType="RAW",
                SigningAlgorithm="RSASSA_PKCS1_V1_5_SHA_256",
            )
        return bytes(answer["Signature"])
