"""The agents' secrets in AWS Secrets Manager: one secret, a JSON object of variables."""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.adapters.aws import translated
from headstart.adapters.kept import Kept
from headstart.domain.errors import AgentStartFailed

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class ManagedSecrets:
    """The Secrets port on one secret, asked for at most every five minutes; none without an id."""

    def __init__(
        self,
        make_client: "Callable[[], SecretsManagerClient]",
        secret_id: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_client = make_client
        self._secret_id = secret_id
        self._kept = Kept(self._read, monotonic)

    def read(self) -> dict[str, str]:
        """Return the variables; AgentStartFailed when the secret holds something else."""
        return self._kept.get() if self._secret_id else {}

    def _read(self) -> dict[str, str]:
        with translated():
            answer = self._make_client().get_secret_value(SecretId=self._secret_id)
        return _variables(answer.get("SecretString", ""))


def _variables(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        # Without the parser's words, which would quote the secret.
        raise AgentStartFailed(
            "The deployment's provider secret is not a JSON object of names and strings"
        )
    return found
