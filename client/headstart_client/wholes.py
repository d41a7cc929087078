"""The whole of texts that events have only the beginning of, as far as it can be had."""

from typing import Protocol

from headstart_client.errors import HeadstartError
from headstart_client.models import Text


class Fetch(Protocol):
    """`text` of a client."""

    async def __call__(self, session_id: str, ref: str) -> Text:
        """Return a long text."""


class Wholes:
    """Fetches the long texts of one session."""

    def __init__(self, fetch: Fetch, session_id: str) -> None:
        self._fetch, self._session_id = fetch, session_id

    async def whole(self, ref: str, had: str) -> Text:
        """Return the longer of what was had of a text and what is found of it.

        What a sandbox kept is gone with it, and what it names may be nothing that can be asked for.
        """
        try:
            found = await self._fetch(self._session_id, ref)
        except HeadstartError:
            return Text(text=had, complete=False, truncated=False)
        if len(found.text) >= len(had):
            return found
        return Text(text=had, complete=False, truncated=found.truncated)
