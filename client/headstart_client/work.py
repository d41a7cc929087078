"""What a session changed and how far that has come, event by event."""

from collections.abc import Mapping
from typing import Any

from headstart_client.amounts import counted
from headstart_client.models import Event, Failure

ENDS = ("work.published", "work.unchanged", "work.publish_failed")
_SHORT = 12

_ONLY_PULL_REQUEST = {"PullRequestFailed", "PullRequestClosed"}
"""Codes of what is raised once the commit is on the remote."""


class Work:
    """`ended` is the type of the event by which a publication ended while somebody looked.

    `failure` says why where it failed; `commit` is what the remote was last seen to have, or empty.
    """

    def __init__(self) -> None:
        self.changes: Mapping[str, Any] | None = None
        self.commit = ""
        self.ended: str | None = None
        self.failure: Failure | None = None

    def apply(self, event: Event, data: Mapping[str, Any]) -> None:
        """Take in an event and what it says."""
        match event.type:
            case "session.snapshot":
                self.changes, publication = data["changes"], data["publication"]
                self.commit = (publication or {}).get("commit") or self.commit
            case "work.changed":
                self.changes = data
            case str(kind) if kind in ENDS:
                self.ended = kind
                self.commit = data.get("commit") or self.commit
                failed = kind == "work.publish_failed"
                self.failure = Failure.model_validate(data) if failed else None


def changed(changes: Mapping[str, Any]) -> str:
    """Return how much changed, in words."""
    files, added = counted(changes["files"], "file"), counted(changes["additions"], "line")
    return f"{files} changed, {added} added, {changes['deletions']:,} deleted"


def told(kind: str, data: Mapping[str, Any], work: Work) -> str:
    """Return how a publication ended, in words."""
    note = f" ({data['note']})" if data.get("note") else ""
    match kind:
        case "work.published":
            pull_request = data["pullRequest"]
            where = pull_request["url"] if pull_request else data["url"]
            said = f"published: {data['branch']} at {data['commit'][:_SHORT]}"
            return f"{said}, {where}{note}" if where else f"{said}{note}"
        case "work.unchanged":
            return f"nothing new to publish{note}"
        case _:
            return not_whole(Failure.model_validate(data), work.commit)


def not_whole(failure: Failure, commit: str) -> str:
    """Return what of a publication failed, in words: a pull request does on its own."""
    if commit and failure.code in _ONLY_PULL_REQUEST:
        return f"published at {commit[:_SHORT]}; the pull request: {failure.reason}"
    return f"not published: {failure.reason}"
