"""What opens a repository, and who gives it."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

from headstart.domain.errors import StepError
from headstart_runner.redaction import Redactor

if TYPE_CHECKING:
    from headstart_runner.vault import Vault

TOKEN, USERNAME = "GIT_TOKEN", "GIT_USERNAME"
_ANY_USER = "x-access-token"
"""The user name that GitHub documents for tokens; GitLab and Gitea take any."""

_BEFORE_ITS_END = timedelta(minutes=5)
_NOTHING_LASTS = timedelta(minutes=5)
_REFUSAL_LASTS = timedelta(seconds=15)
_WITHOUT_END_LASTS = timedelta(days=1)
_MOST = 64


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


Ask = Callable[[str, str, bool], Awaitable[Credential | None]]
"""Asks the cloud for what opens a repository of a host, for writing or only for reading."""

_Key = tuple[str, str, bool]


@dataclass(frozen=True, slots=True)
class _Known:
    until: datetime
    credential: Credential | None = None
    error: StepError | None = None


class SessionCredentials:
    """The session's own GIT_TOKEN for its host, and for the rest what the cloud gives.

    What the cloud gave is kept in memory until five minutes before its end, that it gives nothing
    for five minutes, and why for 15 seconds; of 64 repositories at most. One question is under way
    for each, however many wait for its answer.
    """

    def __init__(
        self,
        vault: "Vault",
        ask: Ask,
        redactor: Redactor,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._vault = vault
        self._ask = ask
        self._redactor = redactor
        self._clock = clock
        self._known: OrderedDict[_Key, _Known] = OrderedDict()
        self._asking: dict[_Key, asyncio.Task[Credential | None]] = {}
        self.host: str | None = None
        """The session's git host."""

    async def get(self, host: str, repository: str, *, write: bool) -> Credential | None:
        """Return what opens a repository of a host, None where there is nothing to give."""
        token = self._vault.get(TOKEN)
        if token and host == self.host:
            self._redactor.add(token)
            return Credential(self._vault.get(USERNAME) or _ANY_USER, token)
        key = (host, repository, write)
        known = self._known.get(key)
        if known is not None and self._clock() < known.until:
            if known.error is not None:
                raise known.error
            return known.credential
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._learn(key))
            asking.add_done_callback(partial(_asked, self._asking, key))
        return await asyncio.shield(asking)

    def forget(self, credential: Credential) -> None:
        """Take note that a credential was refused: the next one is asked for anew."""
        for key in [key for key, known in self._known.items() if known.credential == credential]:
            del self._known[key]

    def forget_refusals(self) -> None:
        """Ask again for what there was nothing to give for: that may be another by now."""
        for key in [key for key, known in self._known.items() if known.credential is None]:
            del self._known[key]

    def forget_all(self) -> None:
        """Know nothing any more, also of what was asked already and comes later.

        The session is about another repository, for which the cloud may give less.
        """
        self._known, self._asking = OrderedDict(), {}

    async def _learn(self, key: _Key) -> Credential | None:
        credential, error, known = None, None, self._known
        try:
            credential = await self._ask(*key)
        except StepError as refused:
            error = refused
        now = self._clock()
        if credential is not None:
            self._redactor.add(credential.password)
            ends = credential.expires_at
            until = ends - _BEFORE_ITS_END if ends else now + _WITHOUT_END_LASTS
        else:
            until = now + (_REFUSAL_LASTS if error else _NOTHING_LASTS)
        known[key] = _Known(until, credential, error)
        while len(known) > _MOST:
            known.popitem(last=False)
        if error is not None:
            raise error
        return credential


def _asked(
    asking: dict[_Key, asyncio.Task[Credential | None]],
    key: _Key,
    done: asyncio.Task[Credential | None],
) -> None:
    del asking[key]
    if not done.cancelled():
        done.exception()  # marks it as seen: perhaps nobody waits any more
