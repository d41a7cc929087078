"""Git LFS's batch answers, so that what opens the storage stays with us.

The shapes are those of Git LFS's batch API. An action is a request that the client makes next:
where to, and with which headers, an Authorization too where a host keeps the contents itself.
"""

import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from headstart.domain.repository import same_server

CONTENT_TYPE = "application/vnd.git-lfs+json"
HEADERS = {"Accept": CONTENT_TYPE, "Content-Type": CONTENT_TYPE, "Accept-Encoding": "identity"}
"""What a question in our words comes with, and its answer is read by us."""

MOST_BYTES = 4 * 1024 * 1024
"""How large a batch's answer may be: the client asks for 100 objects at a time."""

_METHODS = {"download": "GET", "upload": "PUT", "verify": "POST"}
_GROUPS = {"actions", "_links"}
"""`_links` is what the actions were called in the first version."""

_MOST_ACTIONS = 4000
_MOST_HEADER_BYTES = 8 * 1024
_NAME_BYTES = 16
_BREAKS = re.compile(r"[\x00\r\n]")
"""What ends a header's line, or its value for some (RFC 9110, 5.5)."""


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


@dataclass(frozen=True, slots=True)
class Batch:
    """A question for contents: `body` is all that is sent of it, in our words.

    Servers differ in how they read a key that is there twice, or in other letters.
    """

    uploads: bool
    body: bytes


def batch(body: bytes) -> Batch:
    """Return what a batch asks for; NotABatch for what is neither a download nor an upload."""
    asked = _object(body)
    operation = asked.get("operation")
    if operation not in ("download", "upload"):
        raise NotABatch("it is neither a download nor an upload")
    objects = asked.get("objects")
    if not isinstance(objects, list):
        raise NotABatch("it names no objects")
    said = {
        "operation": operation,
        "transfers": ["basic"],
        "objects": [_content(one) for one in objects],
        **_ref(asked),
        **_texts(asked, "hash_algo"),
    }
    return Batch(operation == "upload", json.dumps(said).encode())


def locks(body: bytes) -> bytes:
    """Return a question for locks in our words; NotABatch for what is none."""
    asked = _object(body)
    limit = asked.get("limit")
    limits = {"limit": limit} if isinstance(limit, int) else {}
    return json.dumps({**_ref(asked), **_texts(asked, "cursor"), **limits}).encode()


def _content(one: object) -> dict[str, Any]:
    oid, size = (one.get("oid"), one.get("size")) if isinstance(one, dict) else (None, None)
    if not isinstance(oid, str) or not isinstance(size, int):
        raise NotABatch("an object of it has no name and size")
    return {"oid": oid, "size": size}


def _ref(asked: dict[str, Any]) -> dict[str, Any]:
    ref = asked.get("ref")
    return {"ref": _texts(ref, "name")} if isinstance(ref, dict) else {}


def _texts(said: dict[str, Any], name: str) -> dict[str, str]:
    text = said.get(name)
    return {name: text} if isinstance(text, str) else {}


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
        *,
        uploads: bool,
    ) -> bytes:
        """Return a batch's answer whose actions on `base`'s server go through the door.

        The others stay as they are, but for a header that has one of `ours` in it. NotABatch for
        one that a client could read otherwise, or that answers what was not asked.
        """
        answer = _known(_object(body))
        for kind, action in _actions(answer):
            if (kind != "download") is not uploads:
                raise NotABatch(f"it answers with {kind}, which was not asked")
            href, header = action.get("href"), action.get("header") or {}
            if not isinstance(href, str) or not isinstance(header, dict):
                raise NotABatch("an action of it leads nowhere")
            try:
                ours_to_open = same_server(href, base)
            except ValueError:
                raise NotABatch("an action of it leads nowhere") from None
            headers = {str(name): str(value) for name, value in header.items()}
            if any(_BREAKS.search(text) for text in (href, *headers, *headers.values())):
                raise NotABatch("an action of it has a line break where none may be")
            if not ours_to_open:
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
            self._known[name] = Action(repository, _METHODS[kind], href, headers, uploads)
            while len(self._known) > _MOST_ACTIONS:
                self._known.popitem(last=False)
            action["href"] = door(name)
            action.pop("header", None)
        return json.dumps(answer).encode()


def _known(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what the API has of an answer: a client in Go reads its keys in any letters."""
    known = _only(answer, "transfer", "hash_algo", "objects", "message")
    objects = known.get("objects")
    known["objects"] = [
        _only(one, "oid", "size", "authenticated", "error", *_GROUPS)
        for one in (objects if isinstance(objects, list) else ())
        if isinstance(one, dict)
    ]
    for one in known["objects"]:
        for group in _GROUPS & one.keys():
            actions = one[group] if isinstance(one[group], dict) else {}
            one[group] = {
                kind: _only(action, "href", "header", "expires_in", "expires_at")
                for kind, action in actions.items()
                if kind in _METHODS and isinstance(action, dict)
            }
    return known


def _only(said: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: said[name] for name in names if name in said}


def _actions(answer: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in answer["objects"]:
        for group in _GROUPS & one.keys():
            yield from one[group].items()


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise NotABatch("it is no JSON") from None
    if not isinstance(said, dict):
        raise NotABatch("it is no object")
    return said
