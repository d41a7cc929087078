"""The secrets of a session: whether they can be had, and what is passed on of them."""

from pydantic import ValidationError

from headstart.domain.envelope import EncryptedSecrets, check_named, check_unnamed
from headstart.domain.errors import SecretsUnavailable, ValidationFailed
from headstart.domain.policy import Policy
from headstart.domain.session import SessionConfig


def check_secrets(config: SessionConfig, policy: Policy) -> None:
    """Refuse secrets that nothing here opens, and settings that name others, or can't.

    Raises ValidationFailed.
    """
    if config.encrypted_secrets and not policy.takes_secrets:
        said = "this deployment has no key for secrets"
        raise ValidationFailed([{"loc": ["encryptedSecrets"], "msg": said}])
    names = (config.encrypted_secrets or {}).get("names", [])
    settings = {
        "mcpServers": config.mcp_servers,
        "appendSystemPrompt": config.append_system_prompt,
    }
    check_named(settings, names)
    check_unnamed({"envVars": config.env_vars, "callbackTarget": config.callback_target})


def secrets_of(config: SessionConfig) -> EncryptedSecrets | None:
    """Return a session's secrets as they were sent; SecretsUnavailable for those of before."""
    if not config.encrypted_secrets:
        return None
    try:
        return EncryptedSecrets.model_validate(config.encrypted_secrets)
    except ValidationError:
        # What an earlier version took was a text that nothing could open.
        raise SecretsUnavailable("They were sealed for an earlier version") from None
