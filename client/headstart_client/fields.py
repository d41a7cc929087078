"""What the API calls things, in the words of the command that was given."""

import re
from argparse import Namespace
from collections.abc import Sequence

_OPTIONS = {
    "githubRepo": "--repo",
    "gitUrl": "--repo",
    "repository": "--repo",
    "upstreamBranch": "--branch",
    "agent": "--agent",
    "mode": "--mode",
    "model": "--model",
    "envVars": "--env",
    "encryptedSecrets": "--secret",
    "setupCommands": "--setup",
    "setupInputs": "--setup-input",
    "preparedTree": "--prepared-tree",
    "clone": "--depth",
    "depth": "--depth",
    "submodules": "--submodules",
    "autoInitiate": "--hold",
    "autoCommit": "--auto-commit",
    "pullRequest": "--pull-request",
    "draft": "--draft",
    "withoutArchive": "--without-archive",
    "message": "--message",
    "search": "--search",
    "limit": "--limit",
    "answers": "--choose",
    "reply": "--reply",
    "reject": "--reject",
    "prompt": "PROMPT",
    "title": "TITLE",
}

_REPEATED = {"envVars", "setupCommands", "setupInputs"}
"""Fields of which each part is an option of its own."""

_PARTED = {"clone", "pullRequest"}
"""Fields of which some parts have options of their own."""

_AROUND = {"body", "query"}

_UNMISTAKABLE = re.compile(rf"\b({'|'.join(name for name in _OPTIONS if not name.islower())})\b")
"""Names of fields that are no words of a language."""

_CALL = re.compile(r"\b(?:GET|POST) …/(archive|diff|initiate|publish|retry)\b")
"""Calls of which each is a command of that name."""


def named(loc: Sequence[str | int], args: Namespace) -> str:
    """Return what was given for a field at its place, empty where that is none in particular."""
    field, *parts = (loc[1:] if loc and loc[0] in _AROUND else loc) or [""]
    part = parts[0] if parts else None
    name = part if field in _PARTED and part in _OPTIONS else field
    option = _given(str(name), args)
    if not option or part is None or field not in _REPEATED:
        return option or ".".join(map(str, loc))
    if isinstance(part, int):
        alone = len(getattr(args, _dest(option)) or []) < 2
        return option if alone else f"{option} number {part + 1}"
    return f"{option} {part}"


def _given(field: str, args: Namespace) -> str | None:
    if field == "prompt" and args.command == "demo":
        return "--prompt"
    if field == "prompt" and getattr(args, "file", None) is not None:
        return "--file"
    if not field and args.command == "answer":
        return next(f"--{way}" for way in ("reply", "choose", "reject") if getattr(args, way))
    return _OPTIONS.get(field)


def in_words(said: str, args: Namespace) -> str:
    """Return what the API says of a field, in options and commands instead of fields and calls."""
    said = _CALL.sub(rf"`headstart \1 {getattr(args, 'session_id', 'ID')}`", said)
    return _UNMISTAKABLE.sub(lambda field: _option(_OPTIONS[field[0]], args), said)


def _option(option: str, args: Namespace) -> str:
    return option if hasattr(args, _dest(option)) else f"`headstart run {option}`"


def _dest(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")
