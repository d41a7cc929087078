"""What a session changed and how far that has come, event by event."""

from collections.abc import Mapping
from typing import Any

from headstart_client.models import Event

ENDS = ("work.published", "work.unchanged", "work.publish_failed")
_SHORT = 12


class Work:
    """`ended` is the type of the event by which a publication ended while somebody looked."""

    def __init__(self) -> None:
        self.changes: Mapping[str, Any] | None = None
        self.publication: Mapping[str, Any] | None = None
        self.ended: str | None = None

    def apply(self, event: Event, data: Mapping[str, Any]) -> None:
        """Take in an event and what it says."""
        match event.type:
            case "session.snapshot":
                self.changes, self.publication = data["changes"], data["publication"]
            case "work.changed":
                self.changes = data
            case str(kind) if kind in ENDS:
                self.ended = kind


def changed(changes: Mapping[str, Any]) -> str:
    """Return how much changed, in words."""
    files, added, deleted = (changes[name] for name in ("files", "additions", "deletions"))
    named = "1 file" if files == 1 else f"{files} files"
    return f"{named} changed, {added} lines added, {deleted} deleted"


def told(kind: str, data: Mapping[str, Any]) -> str:
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
            return f"not published: {data['reason']}"
