"""The whole of texts that events have only the beginning of, as far as it can be had."""

from datetime import datetime
from typing import Protocol

from headstart_client.errors import HeadstartError
from headstart_client.models import Event, Text
from headstart_client.operations import TEXT_SECONDS


class Fetch(Protocol):
    """`text` of a client."""

    async def __call__(self, session_id: str, ref: str, *, patience: float) -> Text:
        """Return a long text."""


class Wholes:
    """Fetches the long texts of one watch of a session, with one patience for all of them."""

    def __init__(self, fetch: Fetch, session_id: str) -> None:
        self._fetch, self._session_id = fetch, session_id
        self._patience = TEXT_SECONDS
        self._joined: datetime | None = None

    def note(self, event: Event) -> None:
        """Take in an event, for what was long over when the watch began."""
        if event.type == "session.snapshot":
            self._joined = self._joined or event.timestamp

    async def whole(self, event: Event, ref: str, had: str) -> Text:
        """Return the longer of what was had of a text and what is found of it.

        What a sandbox kept is gone with it, and what it names may be nothing that can be asked for.
        """
        try:
            patience = 0.0 if self._long_over(event) else self._patience
            found = await self._fetch(self._session_id, ref, patience=patience)
        except HeadstartError:
            return Text(text=had, complete=False, truncated=False)
        # One that comes to its end shows that somebody sends again.
        if found.complete or patience:
            self._patience = TEXT_SECONDS if found.complete else 0.0
        if len(found.text) >= len(had):
            return found
        return Text(text=had, complete=False, truncated=found.truncated)

    def _long_over(self, event: Event) -> bool:
        # Both times are the cloud's; a clock here may be off.
        if self._joined is None or event.timestamp is None:
            return False
        return (self._joined - event.timestamp).total_seconds() > TEXT_SECONDS
