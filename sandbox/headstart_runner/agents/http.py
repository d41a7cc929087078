"""The HTTP and SSE API that opencode, Kilo and the demo agent share, as far as we use it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from headstart.domain.command_args import AgentArgs, PromptArgs, RestoreArgs
from headstart.domain.credentials import without_credentials
from headstart_runner.agents import said
from headstart_runner.agents.base import ServerArgs
from headstart_runner.log import Oddities
from headstart_runner.wire import head

_HEALTH_SECONDS = 1.0
_CALL_SECONDS = 20.0
_ANSWER_SECONDS = 60.0
"""How long the answer to a question may take as a whole: a long session has a long history."""

_MOST_BYTES = 128 * 1024 * 1024
"""The longest answer that is read: all of it has to be in memory at once."""

_SHOWN_CHARACTERS = 300
_STREAM = httpx.Timeout(None, connect=_CALL_SECONDS)


class HttpAgent:
    """The adapter of an agent with that API: a subclass names what differs."""

    name: str
    user: str
    program: ClassVar[tuple[str, ...]]
    prefix: ClassVar[str]
    """What the agent's environment variables begin with."""
    data: str
    always_obeyed: tuple[str, ...] = ()
    creates: bool = True
    settings: tuple[str, ...] = ()
    makes: Mapping[str, bytes] = {}
    warms: bool = False

    def import_document(self, session_id: str, title: str, directory: Path) -> dict[str, Any]:
        """Return an empty session in the format of `export`."""
        now = int(time.time() * 1000)
        return {
            "info": {
                "id": session_id,
                "slug": session_id,
                "projectID": "global",
                "directory": str(directory),
                "title": title,
                "version": "0.0.0",
                "time": {"created": now, "updated": now},
            },
            "messages": [],
        }

    def import_command(self, file: Path) -> list[str]:
        """Return `import FILE`."""
        return [*self.program, "import", str(file)]

    def imported(self, session_id: str, stdout: str) -> bool:
        """Return whether the one line that counts was printed."""
        return f"Imported session: {session_id}" in stdout

    def serve_command(self, port: int) -> list[str]:
        """Return `serve` on the loopback interface; port 0 would not mean any free port."""
        return [*self.program, "serve", "--hostname", "127.0.0.1", "--port", str(port)]

    def listening(self, port: int) -> str:
        """Return the end of the line that all of them print."""
        return f"listening on http://127.0.0.1:{port}\n"

    def instructions(self, repository: Path) -> Path:
        """Return the file that most agents look for."""
        return repository / "AGENTS.md"

    def environment(
        self,
        args: ServerArgs | RestoreArgs,
        instructions: str,
        obeyed: Mapping[str, bytes],
        password: str,
    ) -> dict[str, str]:
        """Return the user's variables, the placeholders of keys and the server's password."""
        placeholders = args.secrets if isinstance(args, ServerArgs) else {}
        return {**args.env, **placeholders, f"{self.prefix}_SERVER_PASSWORD": password}

    def mode(self, mode: str) -> str | None:
        """Return our own name of it."""
        return mode

    def prompt_body(
        self, args: PromptArgs, agent_message_id: str, agent: AgentArgs
    ) -> dict[str, Any]:
        """Return the message under the id that we minted for it."""
        body: dict[str, Any] = {
            "messageID": agent_message_id,
            "parts": [{"type": "text", "text": args.text}],
        }
        if args.model and "/" in args.model:
            provider, _, model = args.model.partition("/")
            body["model"] = {"providerID": provider, "modelID": model}
        if mode := self.mode(args.mode):
            body["agent"] = mode
        return body


class AgentRefused(Exception):
    """The agent answered that it won't."""


class SessionUnknown(AgentRefused):
    """The agent's database has no such session."""


class AgentSilent(Exception):
    """The request may have reached the agent; there is no answer to tell, or none with sense."""


class AgentUnreachable(AgentSilent):
    """The request certainly did not reach the agent."""


class AgentClient:
    """Calls one running server about one directory; its answers may be anything."""

    def __init__(
        self, port: int, user: str, password: str, oddities: Oddities, directory: Path
    ) -> None:
        self._oddities = oddities
        self._directory = str(directory)
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            auth=(user, password),
            timeout=_CALL_SECONDS,
            trust_env=False,
            # Nothing is encrypted on the loopback device, and to read authorities takes long.
            verify=False,  # noqa: S501
        )

    async def close(self) -> None:
        """Close the connections; whoever asks after that finds nobody there."""
        await self._http.aclose()

    def _stream(
        self, method: str, path: str, directory: Path | None = None, **options: Any
    ) -> AbstractAsyncContextManager[httpx.Response]:
        if self._http.is_closed:
            # Its server died after we were given out; httpx has but a RuntimeError for that.
            raise httpx.ConnectError("its server is gone")
        params = {"directory": str(directory or self._directory)}
        return self._http.stream(method, path, params=params, **options)

    async def health(self, seconds: float = _HEALTH_SECONDS) -> str | None:
        """Return the version of a healthy server, None for one that is not (yet)."""
        try:
            answer = await self._get("/global/health", seconds=seconds, silence=seconds)
        except AgentSilent:
            return None
        return str(answer.get("version", "")) if isinstance(answer, dict) else None

    async def create(
        self,
        session_id: str,
        title: str,
        directory: Path | None = None,
        seconds: float = _CALL_SECONDS,
    ) -> None:
        """Have the server make a session, or find it made; raise AgentRefused or AgentSilent."""
        where = {"id": session_id, "location": {"directory": str(directory or self._directory)}}
        await self._post("/api/session", where, directory=directory, seconds=seconds)
        if title:
            # With one of its own making it would ask a model for a better one.
            path = f"/session/{session_id}"
            await self._post(
                path, {"title": title}, method="PATCH", directory=directory, seconds=seconds
            )

    async def forget(self, session_id: str, directory: Path) -> None:
        """Have the server delete a session; raise AgentRefused or AgentSilent."""
        await self._post(f"/session/{session_id}", None, method="DELETE", directory=directory)

    async def knows(
        self, session_id: str, directory: Path | None = None, seconds: float = _CALL_SECONDS
    ) -> None:
        """Return if the server can work on a session; else raise AgentRefused or AgentSilent.

        SessionUnknown is the refusal that says it has none of that id.

        The first request about a session makes the server read its configuration and the work
        tree: what is wrong with those is said here, and the first prompt does not wait for it.
        """
        path = f"/session/{session_id}"
        status, answer = await self._call(
            "GET", path, directory=directory, seconds=seconds, silence=seconds
        )
        if status == 404:
            raise SessionUnknown(_shown(answer))
        if status != 200:
            raise _refused(status, answer)

    async def modes(
        self, directory: Path | None = None, seconds: float = _CALL_SECONDS
    ) -> list[str]:
        """Return the modes a user can choose, in another directory too; AgentSilent if it fails."""
        agents = await self._list("/agent", directory, seconds=seconds, silence=seconds)
        return [str(agent.get("name")) for agent in agents if agent.get("mode") != "subagent"]

    async def prompt(self, session_id: str, body: dict[str, Any]) -> None:
        """Hand a message over; raise AgentUnreachable, AgentRefused or AgentSilent."""
        await self._post(f"/session/{session_id}/prompt_async", body)

    async def messages(self, session_id: str) -> list[dict[str, Any]]:
        """Return the session's messages as `{info, parts}`; AgentSilent if that fails."""
        listed = await self._list(f"/session/{session_id}/message")
        return [
            message
            for message in listed
            if isinstance(info := message.get("info"), dict) and isinstance(info.get("id"), str)
        ]

    async def busy(self, session_id: str) -> bool:
        """Return whether the session is being worked on; AgentSilent if that fails."""
        statuses = await self._get("/session/status")
        if not isinstance(statuses, dict):
            raise AgentSilent("it tells no statuses")
        status = statuses.get(session_id)
        return isinstance(status, dict) and status.get("type", "idle") != "idle"

    async def abort(self, session_id: str) -> None:
        """Stop the session's present work; AgentSilent if that fails."""
        await self._call("POST", f"/session/{session_id}/abort")

    async def export(self, session_id: str, write: Callable[[bytes], object]) -> None:
        """Write the session as the agent's `export` prints it; AgentSilent if that fails.

        Through the API, because a command line that exits may leave the end of a pipe unwritten.
        """
        write(b'{"info":')
        await self._copy(f"/session/{session_id}", b"{", write)
        write(b',"messages":')
        await self._copy(f"/session/{session_id}/message", b"[", write)
        write(b"}")

    async def _copy(self, path: str, begins: bytes, write: Callable[[bytes], object]) -> None:
        """Copy an answer that begins as it has to: nobody could put back another one."""
        begun = False
        try:
            async with self._stream("GET", path) as answer:
                answer.raise_for_status()
                async for piece in answer.aiter_bytes():
                    if not begun and not piece.lstrip().startswith(begins):
                        raise AgentSilent(f"its answer to {path} is not what can be saved")
                    begun = True
                    write(piece)
        except httpx.HTTPError as error:
            raise AgentSilent(_in_words(error)) from error

    async def asked(self) -> list[dict[str, Any]]:
        """Return what the agent waits to be told, as events; AgentSilent if that fails."""
        return [
            {"type": f"{kind}.asked", "properties": request}
            for kind in ("permission", "question")
            for request in await self._list(f"/{kind}")
        ]

    async def answer(self, kind: str, request_id: str, answer: dict[str, Any]) -> None:
        """Tell the agent what a person decided; raise AgentRefused or AgentSilent.

        `answer` is the channel's: `{reply}` for a permission, `{answers}` or `{reject}`.
        """
        call = "reject" if answer.get("reject") else "reply"
        path = f"/{kind}/{quote(request_id, safe='', errors='replace')}/{call}"
        await self._post(path, None if call == "reject" else answer)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the server's events from now on, until the stream breaks off.

        What is no event is counted and passed over.
        """
        try:
            async with self._stream("GET", "/event", timeout=_STREAM) as answer:
                async for line in said.lines(answer.aiter_bytes()):
                    if line is None:
                        self._oddities.note("a line of the event stream is too long")
                    elif line.startswith(b"data:") and (event := self._event(line[5:])):
                        yield event
        except httpx.HTTPError:
            return

    def _event(self, line: bytes) -> dict[str, Any] | None:
        try:
            event = said.read(line)
        except said.Unreadable:
            event = None
        if event and isinstance(event, dict):
            return event
        self._oddities.note("a line of the event stream is no event")
        return None

    async def _list(
        self,
        path: str,
        directory: Path | None = None,
        *,
        seconds: float = _ANSWER_SECONDS,
        silence: float = _CALL_SECONDS,
    ) -> list[dict[str, Any]]:
        listed = await self._get(path, seconds=seconds, silence=silence, directory=directory)
        if not isinstance(listed, list):
            raise AgentSilent(f"its answer to {path} is no list")
        return [item for item in listed if isinstance(item, dict)]

    async def _get(
        self,
        path: str,
        *,
        seconds: float = _ANSWER_SECONDS,
        silence: float = _CALL_SECONDS,
        directory: Path | None = None,
    ) -> Any:
        status, answer = await self._call(
            "GET", path, seconds=seconds, silence=silence, most=_MOST_BYTES, directory=directory
        )
        if status != 200:
            raise AgentSilent(f"status {status}: {_shown(answer)}")
        if len(answer) > _MOST_BYTES:
            raise AgentSilent(f"its answer to {path} is over {_MOST_BYTES >> 20} MB")
        try:
            return said.read(answer)
        except said.Unreadable as error:
            raise AgentSilent(str(error)) from error

    async def _post(
        self,
        path: str,
        body: dict[str, Any] | None,
        method: str = "POST",
        directory: Path | None = None,
        seconds: float = _CALL_SECONDS,
    ) -> None:
        status, answer = await self._call(
            method, path, body, directory=directory, seconds=seconds, silence=seconds
        )
        if 400 <= status < 500:
            raise _refused(status, answer)
        if status >= 300:
            raise AgentSilent(f"status {status}: {_shown(answer)}")

    async def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        seconds: float = _CALL_SECONDS,
        silence: float = _CALL_SECONDS,
        most: int = _SHOWN_CHARACTERS,
        directory: Path | None = None,
    ) -> tuple[int, bytes]:
        """Return the status and what of the answer is wanted, a little more where there is more."""
        read = bytearray()
        try:
            async with (
                asyncio.timeout(seconds),
                self._stream(method, path, directory, json=body, timeout=silence) as answer,
            ):
                async for piece in answer.aiter_bytes():
                    read += piece
                    if len(read) > most:
                        break
                return answer.status_code, bytes(read)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise AgentUnreachable(_in_words(error)) from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise AgentSilent(_in_words(error)) from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise AgentRefused(f"it can't be asked that: {_shown(str(error))}") from error


def _in_words(error: httpx.HTTPError | TimeoutError) -> str:
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "no answer in time"
    return str(error) or "the connection broke"


def _shown(answer: bytes | str) -> str:
    text = answer if isinstance(answer, str) else answer.decode(errors="replace")
    return head(without_credentials(text), _SHOWN_CHARACTERS)


def _refused(status: int, answer: bytes) -> AgentRefused:
    return AgentRefused(f"status {status}: {_shown(answer)}")
