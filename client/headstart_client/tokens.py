"""What a token says of itself; whether it is true only the API knows."""

import base64
import json
import re
from typing import Any

_SCHEME = re.compile(r"^bearer(\s+|$)", re.IGNORECASE)


def bare(token: str) -> str:
    """Return a token without what is copied or read along with it: its scheme, a line's end."""
    return _SCHEME.sub("", token.strip())


def claims_of(token: str) -> dict[str, Any] | None:
    """Return the claims of a JWT, unverified, None for what is none."""
    part = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None
