"""Secrets on their way to the sandbox: sealed all the way, for the key alone is opened here."""

import base64
from typing import Any

from headstart.domain.command_args import Sealed
from headstart.domain.secrets import secrets_of
from headstart.domain.session import SessionConfig
from headstart.domain.steps import StepName
from headstart.usecases.ports import Ports

TOLD_SECRETS = (StepName.CLONE, StepName.SETUP, StepName.AGENT)
"""The steps whose commands bring them: a runner that was started anew has none."""


def sealed_for(ports: Ports, owner: str, config: SessionConfig) -> Sealed | None:
    """Return a session's secrets for its runner, None where there are none.

    Raises SecretsUnavailable, ServiceUnavailable.
    """
    secrets = secrets_of(config)
    if secrets is None:
        return None
    envelope = secrets.envelope
    key = ports.sealing.unwrap(envelope.key_id, base64.b64decode(envelope.key))
    return Sealed(
        names=secrets.names,
        enc=envelope.enc,
        key=base64.b64encode(key).decode(),
        iv=envelope.iv,
        ciphertext=envelope.ciphertext,
        subject=owner,
    )


def encryption_key(ports: Ports) -> dict[str, Any]:
    """Return what secrets are encrypted with; raises EncryptionKeyNotFound, ServiceUnavailable."""
    key = ports.sealing.public_key()
    return {
        "keyId": key.key_id,
        "algorithm": "RSA-OAEP-256",
        "publicKey": base64.b64encode(key.spki).decode(),
    }
