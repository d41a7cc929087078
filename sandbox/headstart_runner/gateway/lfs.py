"""Git LFS's batch answers, so that what opens the storage stays with us.

The shapes are those of Git LFS's batch API. An action is a request that the client makes next:
where to, and with which headers, an Authorization too where a host keeps the contents itself.
"""

import json
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from headstart.domain.repository import same_server

CONTENT_TYPE = "application/vnd.git-lfs+json"
MOST_BYTES = 4 * 1024 * 1024
"""How large a batch's answer may be: the client asks for 100 objects at a time."""

_METHODS = {"download": "GET", "upload": "PUT", "verify": "POST"}
_MOST_ACTIONS = 4000
_MOST_HEADER_BYTES = 8 * 1024
_NAME_BYTES = 16


class NotABatch(ValueError):
    """What was said makes no sense."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a client may do once it names the action; `uploads` is part of sending a content."""

    repository: str
    method: str
    href: str
    headers: dict[str, str] = field(repr=False)
    uploads: bool = False


def operation(body: bytes) -> str:
    """Return what a batch asks for, `download` or `upload`; NotABatch for anything else."""
    asked = _object(body).get("operation")
    if asked not in ("download", "upload"):
        raise NotABatch("it is neither a download nor an upload")
    return str(asked)


class Actions:
    """The newest actions by random names: 4000, of 8 KB of headers each, at most."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Action] = OrderedDict()

    def get(self, name: str) -> Action | None:
        """Return an action, None for one that is not known, or not any more."""
        return self._known.get(name)

    def keep(
        self,
        body: bytes,
        repository: str,
        base: str,
        ours: Sequence[str],
        door: Callable[[str], str],
    ) -> bytes:
        """Return a batch's answer whose actions on `base`'s server go through the door.

        The others stay as they are, but for a header that has one of `ours` in it.
        """
        answer = _object(body)
        for kind, action in _actions(answer):
            href, header = action.get("href"), action.get("header") or {}
            if not isinstance(href, str) or not isinstance(header, dict):
                raise NotABatch("an action of it leads nowhere")
            headers = {str(name): str(value) for name, value in header.items()}
            if not same_server(href, base):
                if any(secret in value for secret in ours for value in headers.values()):
                    action["header"] = {
                        name: value
                        for name, value in headers.items()
                        if not any(secret in value for secret in ours)
                    }
                continue
            if sum(map(len, [*headers, *headers.values()])) > _MOST_HEADER_BYTES:
                raise NotABatch("an action of it has too many headers")
            name = secrets.token_urlsafe(_NAME_BYTES)
            uploads = kind != "download"
            self._known[name] = Action(repository, _METHODS[kind], href, headers, uploads)
            while len(self._known) > _MOST_ACTIONS:
                self._known.popitem(last=False)
            action["href"] = door(name)
            action.pop("header", None)
        return json.dumps(answer).encode()


def _actions(answer: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    objects = answer.get("objects")
    for one in objects if isinstance(objects, list) else ():
        # `_links` is what the actions were called in the first version.
        for group in ("actions", "_links"):
            actions = one.get(group) if isinstance(one, dict) else None
            for kind, action in actions.items() if isinstance(actions, dict) else ():
                if kind in _METHODS and isinstance(action, dict):
                    yield kind, action


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise NotABatch("it is no JSON") from None
    if not isinstance(said, dict):
        raise NotABatch("it is no object")
    return said
