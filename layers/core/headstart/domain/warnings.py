"""What callers are told of a request that is good all the same."""

from typing import Any

from headstart.domain.envelope import names_a_secret
from headstart.domain.requests import (
    CreateSession,
    PatchSession,
    PublishSession,
    RetrySession,
    SendMessage,
)
from headstart.domain.secrecy import SHORTEST, has_secret, looks_secret, secrets_in_command
from headstart.domain.texts import Place, strings_in

_MOST = 20
_SETTINGS = ("env_vars", "mcp_servers", "callback_target")
_PROSE = ("prompt", "append_system_prompt", "message")
_SAID = "looks like a credential, and is kept as it is: send it in encryptedSecrets"
_CALLBACK_SAID = (
    "looks like a credential, and is kept as it is: a receiver needs none, the signature says who "
    "calls"
)
_COMMAND_SAID = "{secret:NAME} stays as it is in a command: a secret is the variable $NAME there"


def warnings_of(
    request: CreateSession | PatchSession | PublishSession | RetrySession | SendMessage,
) -> list[dict[str, Any]]:
    """Return where a credential is in the open, or a secret is not filled in: 20 places at most.

    The same request has the same ones; nothing of a value is in them.
    """
    given = request.model_dump(exclude={"encrypted_secrets"})
    fields = {name: type(request).model_fields[name].alias or name for name in given}
    places: list[Place] = []
    unfilled: list[Place] = []
    for name in _SETTINGS:
        found = strings_in(given.get(name), place=(fields.get(name, name),))
        places += [place for place, named, text in found if looks_secret(named, text)]
    for number, command in enumerate(given.get("setup_commands") or []):
        spelled = (found for found in secrets_in_command(command) if len(found) >= SHORTEST)
        if any(spelled) or has_secret(command):
            places.append(("setupCommands", number))
        if names_a_secret(command):
            unfilled.append(("setupCommands", number))
    for name in _PROSE:
        if has_secret(given.get(name) or ""):
            places.append((fields[name],))
    told = [(place, _CALLBACK_SAID if place[0] == "callbackTarget" else _SAID) for place in places]
    told += [(place, _COMMAND_SAID) for place in unfilled]
    return [{"loc": [*place], "msg": said} for place, said in told[:_MOST]]
