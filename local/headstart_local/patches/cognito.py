"""Cognito: users whose tokens name them."""

from typing import Any

from headstart_local.patches.context import PatchContext


def username_is_sub(context: PatchContext) -> None:
    """Make the `sub` of a user that an administrator creates the username.

    Not a rule of AWS, where `sub` is a random id: a local convenience, so that `headstart token
    --sub alice` gives a token whose subject is alice.
    """
    cognito = context.emulator.cognito
    stock = cognito._admin_create_user

    def create(data: dict[str, Any]) -> Any:
        response = stock(data)
        if response[0] == 200:
            pool, _ = cognito._resolve_pool(data["UserPoolId"])
            for attribute in pool["_users"][data["Username"]]["Attributes"]:
                if attribute["Name"] == "sub":
                    attribute["Value"] = data["Username"]
        return response

    cognito._admin_create_user = create
