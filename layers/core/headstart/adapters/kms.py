"""The key pair for secrets in AWS KMS, found by an alias: what the alias names may be replaced."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from headstart.adapters.aws import error_code, translated
from headstart.domain.errors import EncryptionKeyNotFound, SecretsUnavailable
from headstart.usecases.ports import PublicKey

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

KEPT_SECONDS = 300.0
_REFUSALS = {
    "AccessDeniedException": "their key is not one of this deployment's",
    "DisabledException": "their key was disabled",
    "InvalidCiphertextException": "they were not encrypted with the key that they name",
    "InvalidKeyUsageException": "their key is not one for secrets",
    "KMSInvalidStateException": "their key is about to be deleted",
    "NotFoundException": "their key is not there, or not any more",
    "ValidationException": "their key is not one of this deployment's",
}
"""What no repetition changes ("Decrypt", AWS KMS API reference, Errors)."""


_STATES = {"DisabledException", "KMSInvalidStateException"}
"""What KMS says of no key but one that this role may use, which is one of the deployment's."""

_OF_ANY_KEY = {"AccessDeniedException", "NotFoundException"}
"""What it says of a key that a caller made up, too."""


class KmsSealing:
    """The Sealing port; without an alias there is no key. The public half is kept for 5 minutes.

    `on_key_failure` is called where a key of the deployment's own can't be used.
    """

    def __init__(
        self,
        make_client: "Callable[[], KMSClient]",
        alias: str,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        on_key_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._make_client = make_client
        self._alias = alias
        self._on_key_failure = on_key_failure
        self._monotonic = monotonic
        self._kept: PublicKey | None = None
        self._good_until = 0.0

    def public_key(self) -> PublicKey:
        """Return the key that the alias names; its id is the last part of its ARN."""
        if not self._alias:
            raise EncryptionKeyNotFound()
        if self._kept is None or self._monotonic() >= self._good_until:
            with translated():
                answer = self._make_client().get_public_key(KeyId=self._alias)
            key_id = answer["KeyId"].rpartition("/")[2]
            self._kept = PublicKey(key_id=key_id, spki=answer["PublicKey"])
            self._good_until = self._monotonic() + KEPT_SECONDS
        return self._kept

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Have KMS decrypt a key, with whichever of the keys that this role may use."""
        with translated():
            try:
                return self._decrypt(key_id, wrapped)
            except ClientError as error:
                if why := _REFUSALS.get(error_code(error)):
                    if self._is_ours(error_code(error), wrapped):
                        self._on_key_failure()
                    raise SecretsUnavailable(f"The secrets can't be opened: {why}") from error
                raise

    def _decrypt(self, key_id: str, wrapped: bytes) -> bytes:
        answer = self._make_client().decrypt(
            KeyId=key_id, CiphertextBlob=wrapped, EncryptionAlgorithm="RSAES_OAEP_SHA_256"
        )
        return answer["Plaintext"]

    def _is_ours(self, code: str, wrapped: bytes) -> bool:
        """Say whether a refusal is a key's of the deployment's, not one that a caller made up."""
        if code in _STATES or code not in _OF_ANY_KEY or not self._alias:
            return code in _STATES
        try:
            # What it would open was encrypted with another key, which is all the same here.
            self._decrypt(self._alias, wrapped)
        except ClientError as error:
            return error_code(error) in _STATES | _OF_ANY_KEY
        return False
