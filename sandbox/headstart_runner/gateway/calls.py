"""The few requests that git and Git LFS make, told apart by their addresses alone."""

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from headstart.domain.repository import is_plain_path


class Kind(Enum):
    """What a request is about."""

    REFS = "what refs there are"
    FILE = "a file of a server without git"
    FETCH = "objects to get"
    PUSH = "objects and refs to take"
    BATCH = "where contents of large files are"
    LOCKS = "which large files are locked"
    ACTION = "the content of a large file"


_CALL = re.compile(
    r"/(?P<host>[^/?]+)(?P<path>/[^?]+?)/(?P<rest>"
    r"(?P<refs>info/refs(?:\?service=git-(?P<service>upload|receive)-pack)?)"
    r"|(?P<fetch>git-upload-pack)|(?P<push>git-receive-pack)"
    r"|(?P<batch>info/lfs/objects/batch)|(?P<locks>info/lfs/locks/verify)"
    r"|info/lfs/actions/(?P<action>[\w-]+)"
    r"|(?P<file>HEAD|objects/(?:info/(?:packs|alternates|http-alternates)|[0-9a-f]{2}/[0-9a-f]{38,62}"
    r"|pack/pack-[0-9a-f]{40,64}\.(?:pack|idx))))"
)
_METHODS = {Kind.REFS: "GET", Kind.FILE: "GET", Kind.ACTION: None}


@dataclass(frozen=True, slots=True)
class Call:
    """A request: `path` is the repository's as it was written, `repository` its name.

    That is without slashes around it and without `.git`, as in a question for a credential.
    """

    kind: Kind
    host: str
    path: str
    rest: str
    repository: str
    write: bool = False
    service: str | None = None
    action: str | None = None


def call_of(method: str, address: str) -> Call | None:
    """Return what a request below the door's `git` is, None for what is none of git's.

    That is also what another than us may read as another request.
    """
    match = _CALL.fullmatch(address)
    if match is None or not is_plain_path(match["path"]):
        return None
    kind = next((k for k in Kind if match.groupdict().get(k.name.lower())), None)
    if kind is None or (method != _METHODS.get(kind, "POST") and kind is not Kind.ACTION):
        return None
    return Call(
        kind,
        match["host"].lower(),
        match["path"],
        match["rest"],
        name_of(match["path"]),
        write=kind is Kind.PUSH or match["service"] == "receive",
        service=match["service"],
        action=match["action"],
    )


def name_of(path: str) -> str:
    """Return a repository's name by the path of its address."""
    name = unquote(path).strip("/")
    # A `.git` of its own is another repository than the folder that it lies in.
    return name if name.endswith("/.git") else name.removesuffix(".git")
