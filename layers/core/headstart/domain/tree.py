"""Prepared trees: workspaces as their setup left them, for later sessions that ask for the same."""

import hashlib
import json
import re
from datetime import timedelta

from headstart.domain.session import Session, SessionConfig

PREFIX = "trees/"
"""What the keys of all prepared trees' objects begin with."""

MOST_BYTES = 1_000_000_000
"""The most of a prepared tree: S3 copies it while whoever asked for that waits."""

_VERSION = 1
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_UNITS = (("day", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))


def recipe(session: Session, config: SessionConfig) -> str | None:
    """Return a hash of all that a session's workspace is made by; None where it takes no part.

    Whose environment holds something of its owner's shares nothing with others, nor does who may
    read what others may not.
    """
    if session.prepared_tree == "off":
        return None
    is_own = bool(config.env_vars or config.encrypted_secrets or config.access)
    return _hash(
        _VERSION,
        session.git_url,
        config.upstream_branch,
        config.clone.depth,
        config.clone.submodules,
        config.setup_commands,
        sorted(config.env_vars.items()),
        config.encrypted_secrets,
        session.owner if is_own else None,
        # Who may read less than before has no tree that was made with more.
        *([config.access] if config.access else []),
    )


def tree_key(session_recipe: str, image: str) -> str:
    """Return the key of the tree that a recipe makes in an image."""
    return _hash(session_recipe, image)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def folder_of(key: str) -> str:
    """Return what the keys of a tree's objects begin with."""
    return f"{PREFIX}{key}/"


def said_commit(said: object) -> str | None:
    """Return a commit that a sandbox says to have come to, None where that is none."""
    return said if isinstance(said, str) and _COMMIT.fullmatch(said) else None


def ago(age: timedelta) -> str:
    """Return in words how long ago something was."""
    for unit, length in _UNITS:
        if (count := age // length) > 0:
            more = "s" if unit == "day" and count > 1 else ""
            return f"{count} {unit}{more} ago"
    return "a moment ago"
