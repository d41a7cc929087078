"""The agents' secrets in AWS Secrets Manager: one secret, a JSON object of variables."""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from headstart.adapters.aws import translated
from headstart.domain.errors import AgentStartFailed

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_KEPT_SECONDS = 300.0


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
        self._monotonic = monotonic
        self._kept: dict[str, str] = {}
        self._good_until = 0.0

    def read(self) -> dict[str, str]:
        """Return the variables; AgentStartFailed when the secret holds something else."""
        if self._secret_id and self._monotonic() >= self._good_until:
            with translated():
                answer = self._make_client().get_secret_value(SecretId=self._secret_id)
            self._kept = _variables(answer.get("SecretString", ""))
            self._good_until = self._monotonic() + _KEPT_SECONDS
        return self._kept


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
