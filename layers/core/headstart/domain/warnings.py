"""What callers are told of a request that is good all the same."""

from typing import Any

from headstart.domain.requests import CreateSession, PatchSession, RetrySession, SendMessage
from headstart.domain.secrecy import SHORTEST, has_secret, looks_secret, secrets_in_command
from headstart.domain.texts import Place, strings_in

_MOST = 20
_SETTINGS = ("env_vars", "mcp_servers", "callback_target")
_PROSE = ("prompt", "append_system_prompt")
_SAID = "looks like a credential, and is kept as it is: send it in encryptedSecrets"


def warnings_of(
    request: CreateSession | PatchSession | RetrySession | SendMessage,
) -> list[dict[str, Any]]:
    """Return where something looks like a credential that is no secret here: 20 places at most.

    The same request has the same ones; nothing of a value is in them.
    """
    given = request.model_dump(exclude={"encrypted_secrets"})
    fields = {name: type(request).model_fields[name].alias or name for name in given}
    places: list[Place] = []
    for name in _SETTINGS:
        found = strings_in(given.get(name), place=(fields.get(name, name),))
        places += [place for place, named, text in found if looks_secret(named, text)]
    for number, command in enumerate(given.get("setup_commands") or []):
        spelled = (found for found in secrets_in_command(command) if len(found) >= SHORTEST)
        if any(spelled) or has_secret(command):
            places.append(("setupCommands", number))
    for name in _PROSE:
        if has_secret(given.get(name) or ""):
            places.append((fields[name],))
    return [{"loc": [*place], "msg": _SAID} for place in places[:_MOST]]
