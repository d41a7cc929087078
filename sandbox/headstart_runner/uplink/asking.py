"""What the runner asks of the cloud: each question until it is answered, on every connection."""

import asyncio
from collections.abc import Awaitable, Callable

from headstart.domain.channel import CredentialAnswer, CredentialRequest
from headstart.domain.errors import GitHubUnavailable
from headstart.domain.ids import new_id
from headstart_runner import wire
from headstart_runner.gateway.credentials import Credential

_SECONDS = 30.0
_MOST = 32


class Asking:
    """The questions that have no answer yet, 32 at most, each for 30 s at most."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._open: dict[str, tuple[CredentialRequest, asyncio.Future[CredentialAnswer]]] = {}
        self._new = asyncio.Event()

    async def credential(self, host: str, repository: str, write: bool) -> Credential | None:
        """Return what opens a repository of a host, None where there is nothing to give.

        Raises what the cloud says, and GitHubUnavailable where it says nothing.
        """
        if len(self._open) >= _MOST:
            raise GitHubUnavailable("Too many repositories are asked for at once")
        request = CredentialRequest(
            session_id=self._session_id,
            request_id=new_id("ask"),
            host=host,
            repository=repository,
            write=write,
        )
        answered: asyncio.Future[CredentialAnswer] = asyncio.get_running_loop().create_future()
        self._open[request.request_id] = (request, answered)
        self._new.set()
        try:
            async with asyncio.timeout(_SECONDS):
                answer = await answered
        except TimeoutError:
            raise GitHubUnavailable(
                f"Nobody said within {_SECONDS:.0f} s what opens {repository} on {host}"
            ) from None
        finally:
            del self._open[request.request_id]
        if answer.error is not None:
            raise answer.error.error()
        if answer.username is None:
            return None
        return Credential(answer.username, answer.password or "", answer.expires_at)

    def answered(self, answer: CredentialAnswer) -> None:
        """Take an answer; one that comes late or twice is nobody's."""
        if answer.request_id in self._open:
            _, future = self._open[answer.request_id]
            if not future.done():
                future.set_result(answer)

    async def pump(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Send over a new connection what is not answered, and what is asked from now on."""
        sent: set[str] = set()
        while True:
            self._new.clear()
            for name, (request, _) in [*self._open.items()]:
                if name not in sent:
                    await send(wire.dumps(request.to_json()))
            sent = set(self._open)
            await self._new.wait()
