"""The secret that signs callbacks, in AWS Secrets Manager: the present one and the one before."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from headstart.adapters.aws import translated
from headstart.domain.callbacks import SECRET_LIFE, read_secret
from headstart.domain.errors import ServiceUnavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_KEPT_SECONDS = 300.0


class ManagedSigning:
    """The Signing port on one secret, asked for at most every five minutes.

    Secrets Manager itself keeps the version before the present one, as AWSPREVIOUS.
    """

    def __init__(
        self,
        make_client: "Callable[[], SecretsManagerClient]",
        secret_id: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_client = make_client
        self._secret_id = secret_id
        self._monotonic = monotonic
        self._kept: list[bytes] = []
        self._since: datetime | None = None
        self._good_until = 0.0

    def secrets(self, now: datetime) -> list[bytes]:
        """Return what to sign with, the newest first; raises ServiceUnavailable."""
        if self._monotonic() >= self._good_until:
            self._read()
            self._good_until = self._monotonic() + _KEPT_SECONDS
        rotated = self._since is not None and now - self._since < SECRET_LIFE
        return self._kept if rotated else self._kept[:1]

    def _read(self) -> None:
        client = self._make_client()
        with translated():
            current = client.get_secret_value(SecretId=self._secret_id)
            texts = [current["SecretString"]]
            try:
                before = client.get_secret_value(
                    SecretId=self._secret_id, VersionStage="AWSPREVIOUS"
                )
                texts.append(before["SecretString"])
            except client.exceptions.ResourceNotFoundException:
                pass  # it was never changed
        try:
            self._kept = [read_secret(text) for text in texts]
        except ValueError as error:
            raise ServiceUnavailable(f"the callbacks' secret can't sign: {error}") from error
        self._since = current["CreatedDate"]
