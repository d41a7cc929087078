"""The HTTP and SSE API that opencode, Kilo and the demo agent share, as far as we use it."""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from headstart.domain.command_args import AgentArgs, PromptArgs, RestoreArgs

_HEALTH_SECONDS = 1.0
_CALL_SECONDS = 20.0


class HttpAgent:
    """The adapter of an agent with that API: a subclass names what differs."""

    name: str
    user: str
    program: ClassVar[tuple[str, ...]]
    prefix: ClassVar[str]
    """What the agent's environment variables begin with."""
    always_obeyed: tuple[str, ...] = ()

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

    def environment(
        self,
        args: AgentArgs | RestoreArgs,
        repository: Path,
        obeyed: Mapping[str, bytes],
        password: str,
    ) -> dict[str, str]:
        """Return the user's variables, the server's secrets and its password."""
        secrets = args.secrets if isinstance(args, AgentArgs) else {}
        return {**args.env, **secrets, f"{self.prefix}_SERVER_PASSWORD": password}

    def mode(self, mode: str) -> str | None:
        """Return that there is but one."""
        return None

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


class AgentUnreachable(Exception):
    """The request certainly did not reach the agent."""


class AgentRefused(Exception):
    """The agent answered that it won't."""


class AgentSilent(Exception):
    """The request may have reached the agent; there is no answer to tell."""


class AgentClient:
    """Calls one running server."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            auth=(user, password),
            timeout=_CALL_SECONDS,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def health(self) -> str | None:
        """Return the version of a healthy server, None for one that is not (yet)."""
        try:
            answer = await self._http.get("/global/health", timeout=_HEALTH_SECONDS)
        except httpx.HTTPError:
            return None
        if answer.status_code != 200:
            return None
        return str(answer.json().get("version", ""))

    async def knows(self, session_id: str) -> None:
        """Return if the server can work on a session; else raise AgentRefused or AgentSilent.

        The first request about a session makes the server read its configuration and the work
        tree: what is wrong with those is said here, and the first prompt does not wait for it.
        """
        try:
            answer = await self._http.get(f"/session/{session_id}")
        except httpx.HTTPError as error:
            raise AgentSilent(str(error) or type(error).__name__) from error
        if answer.status_code != 200:
            raise AgentRefused(f"status {answer.status_code}: {answer.text[:300]}")

    async def modes(self) -> list[str]:
        """Return the modes a user can choose; AgentSilent if that fails."""
        agents: list[dict[str, Any]] = await self._get("/agent")
        return [str(agent["name"]) for agent in agents if agent.get("mode") != "subagent"]

    async def prompt(self, session_id: str, body: dict[str, Any]) -> None:
        """Hand a message over; raise AgentUnreachable, AgentRefused or AgentSilent."""
        try:
            answer = await self._http.post(f"/session/{session_id}/prompt_async", json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise AgentUnreachable(str(error)) from error
        except httpx.HTTPError as error:
            raise AgentSilent(str(error) or type(error).__name__) from error
        if 400 <= answer.status_code < 500:
            raise AgentRefused(f"status {answer.status_code}: {answer.text[:300]}")
        if answer.status_code >= 300:
            raise AgentSilent(f"status {answer.status_code}: {answer.text[:300]}")

    async def messages(self, session_id: str) -> list[dict[str, Any]]:
        """Return the session's messages as `{info, parts}`; AgentSilent if that fails."""
        found: list[dict[str, Any]] = await self._get(f"/session/{session_id}/message")
        return found

    async def busy(self, session_id: str) -> bool:
        """Return whether the session is being worked on; AgentSilent if that fails."""
        statuses: dict[str, dict[str, Any]] = await self._get("/session/status")
        return bool(statuses.get(session_id, {}).get("type", "idle") != "idle")

    async def abort(self, session_id: str) -> None:
        """Stop the session's present work; AgentSilent if that fails."""
        try:
            await self._http.post(f"/session/{session_id}/abort")
        except httpx.HTTPError as error:
            raise AgentSilent(str(error)) from error

    async def export(self, session_id: str, write: Callable[[bytes], object]) -> None:
        """Write the session as the agent's `export` prints it; AgentSilent if that fails.

        Through the API, because a command line that exits may leave the end of a pipe unwritten.
        """
        write(b'{"info":')
        await self._copy(f"/session/{session_id}", write)
        write(b',"messages":')
        await self._copy(f"/session/{session_id}/message", write)
        write(b"}")

    async def _copy(self, path: str, write: Callable[[bytes], object]) -> None:
        try:
            async with self._http.stream("GET", path) as answer:
                answer.raise_for_status()
                async for piece in answer.aiter_bytes():
                    write(piece)
        except httpx.HTTPError as error:
            raise AgentSilent(str(error) or type(error).__name__) from error

    async def asked(self) -> list[dict[str, Any]]:
        """Return what the agent waits to be told, as events; AgentSilent if that fails."""
        return [
            {"type": f"{kind}.asked", "properties": request}
            for kind in ("permission", "question")
            for request in await self._get(f"/{kind}")
        ]

    async def answer(self, kind: str, request_id: str, answer: dict[str, Any]) -> None:
        """Tell the agent what a person decided; raise AgentRefused or AgentSilent.

        `answer` is the channel's: `{reply}` for a permission, `{answers}` or `{reject}`.
        """
        call = "reject" if answer.get("reject") else "reply"
        body = None if call == "reject" else answer
        try:
            path = f"/{kind}/{quote(request_id, safe='')}/{call}"
            replied = await self._http.post(path, json=body)
        except httpx.HTTPError as error:
            raise AgentSilent(str(error) or type(error).__name__) from error
        if 400 <= replied.status_code < 500:
            raise AgentRefused(f"status {replied.status_code}: {replied.text[:300]}")
        if replied.status_code >= 300:
            raise AgentSilent(f"status {replied.status_code}: {replied.text[:300]}")

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the server's events from now on, until the stream breaks off."""
        try:
            async with self._http.stream("GET", "/event", timeout=None) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        yield json.loads(line[5:])
        except (httpx.HTTPError, ValueError):
            return

    async def _get(self, path: str) -> Any:
        try:
            answer = await self._http.get(path)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise AgentSilent(str(error) or type(error).__name__) from error
