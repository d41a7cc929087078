"""The secret that signs callbacks, in AWS Secrets Manager: the present one and the one before."""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from headstart.adapters.aws import translated
from headstart.adapters.kept import Kept
from headstart.domain.callbacks import SECRET_LIFE, read_secret
from headstart.domain.errors import ServiceUnavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_log = logging.getLogger(__name__)


class _Known(NamedTuple):
    secrets: list[bytes]
    since: datetime


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
        self._kept = Kept(self._read, monotonic)

    def secrets(self, now: datetime) -> list[bytes]:
        """Return what to sign with, the newest first; raises ServiceUnavailable."""
        secrets, since = self._kept.get()
        return secrets if now - since < SECRET_LIFE else secrets[:1]

    def _read(self) -> _Known:
        client = self._make_client()
        with translated():
            current = client.get_secret_value(SecretId=self._secret_id)
            try:
                answer = client.get_secret_value(
                    SecretId=self._secret_id, VersionStage="AWSPREVIOUS"
                )
                before = answer.get("SecretString", "")
            except client.exceptions.ResourceNotFoundException:
                before = None  # it was never changed
        try:
            secrets = [read_secret(current.get("SecretString", ""))]
        except ValueError as error:
            raise ServiceUnavailable(f"the callbacks' secret can't sign: {error}") from error
        try:
            secrets += [] if before is None else [read_secret(before)]
        except ValueError as error:
            # Nobody can have verified by it: a good one was put in its place.
            _log.warning("the callbacks' secret before the present one is left out: %s", error)
        return _Known(secrets, current["CreatedDate"])
