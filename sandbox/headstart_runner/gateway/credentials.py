"""What opens a repository, and who gives it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Credential:
    """A user's name and password for HTTP Basic; `expires_at` None is one that does not expire."""

    username: str
    password: str = field(repr=False)
    expires_at: datetime | None = None


class Credentials(Protocol):
    """Who gives credentials: the session's own secrets, or the cloud."""

    async def get(self, host: str, repository: str, *, write: bool) -> Credential | None:
        """Return what opens a repository of a host, None where there is nothing to give.

        Raises AppNotInstalled, RepositoryAccessDenied, GitHubUnavailable.
        """

    def forget(self, credential: Credential) -> None:
        """Take note that a credential was refused: the next one is asked for anew."""
