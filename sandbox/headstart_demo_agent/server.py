"""The HTTP and SSE side of the demo agent: HTTP/1.1 on asyncio streams, as far as it needs."""

import asyncio
import base64
import hmac
import json
import re
import sqlite3
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from headstart_demo_agent import VERSION
from headstart_demo_agent.store import Json, Store
from headstart_demo_agent.work import Bus, Worker, mint

_USER = "demo"
_MAX_BODY = 16 * 1024 * 1024
_HEARTBEAT_SECONDS = 10.0
_MODES: list[Json] = [{"name": "code", "mode": "primary"}]
_REQUEST_PATH = re.compile(r"/(permission|question)(?:/([^/]+)/(reply|reject))?")
_SESSION_PATH = re.compile(r"/session/([^/]+)(/message|/prompt_async|/abort)?")


class _Problem(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """Answers requests; the work itself is the Worker's."""

    def __init__(self, store: Store, *, password: str, answer_seconds: float) -> None:
        self._store = store
        self._bus = Bus()
        self._worker = Worker(store, self._bus, seconds=answer_seconds)
        coded = base64.b64encode(f"{_USER}:{password}".encode()).decode()
        self._authorization = f"Basic {coded}" if password else None
        self._connections: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Break off every connection."""
        for task in self._connections:
            task.cancel()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client goes away."""
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._request(reader, writer):
                    pass
        finally:
            # Not every asyncio does after an error: whoever asked would wait for an answer.
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        length = int(headers.get("content-length", 0))
        if length > _MAX_BODY:
            return False
        body = await reader.readexactly(length)
        path = target.partition("?")[0]
        try:
            self._authorize(headers.get("authorization", ""))
            if (method, path) == ("GET", "/event"):
                await self._stream(writer)
                return False
            answer = self._answer(method, path, body)
        except _Problem as problem:
            await _respond(writer, problem.status, {"error": str(problem)})
        except sqlite3.Error as error:
            told = {"error": f"the database: {error}"}
            await _respond(writer, HTTPStatus.INTERNAL_SERVER_ERROR, told)
        else:
            status = HTTPStatus.NO_CONTENT if answer is None else HTTPStatus.OK
            await _respond(writer, status, answer)
        return headers.get("connection", "").lower() != "close"

    def _authorize(self, given: str) -> None:
        if self._authorization and not hmac.compare_digest(given, self._authorization):
            raise _Problem(HTTPStatus.UNAUTHORIZED, "wrong or missing password")

    def _answer(self, method: str, path: str, body: bytes) -> Any:
        if (method, path) == ("GET", "/global/health"):
            return {"healthy": True, "version": VERSION}
        if (method, path) == ("GET", "/agent"):
            return _MODES
        if (method, path) == ("GET", "/session/status"):
            return {session_id: {"type": "busy"} for session_id in self._worker.busy()}
        if (method, path) == ("POST", "/api/session"):
            return {"data": self._store.create_session(*_new_session(body))}
        if asked := _REQUEST_PATH.fullmatch(path):
            return self._asked(method, asked, body)
        return self._about_session(method, path, body)

    def _about_session(self, method: str, path: str, body: bytes) -> Any:
        match = _SESSION_PATH.fullmatch(path)
        if match is None:
            raise _Problem(HTTPStatus.NOT_FOUND, f"no such path: {path}")
        session_id, call = match[1], match[2]
        session = self._store.session(session_id)
        if session is None:
            raise _Problem(HTTPStatus.NOT_FOUND, f"no such session: {session_id}")
        match (method, call):
            case ("GET", None):
                return session
            case ("PATCH", None):
                self._store.save_session({**session, "title": str(_json(body).get("title"))})
                return self._store.session(session_id)
            case ("GET", "/message"):
                return self._store.messages(session_id)
            case ("POST", "/prompt_async"):
                self._worker.prompt(session_id, *_prompt(body))
                return None
            case ("POST", "/abort"):
                return self._worker.abort(session_id)
        raise _Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not possible here")

    def _asked(self, method: str, match: re.Match[str], body: bytes) -> Any:
        kind, request_id, call = match[1], match[2], match[3]
        if method == "GET" and request_id is None:
            return self._worker.questions.listed(kind)
        if method != "POST" or request_id is None:
            raise _Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not possible here")
        given = _json(body) if call == "reply" else {}
        if not self._worker.reply(kind, request_id, given, rejected=call == "reject"):
            raise _Problem(HTTPStatus.NOT_FOUND, f"nothing is asked: {request_id}")
        return True

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"cache-control: no-cache\r\nconnection: close\r\n\r\n"
        )
        with self._bus.subscribed() as queue:
            queue.put_nowait({"id": mint("evt"), "type": "server.connected", "properties": {}})
            while True:
                try:
                    async with asyncio.timeout(_HEARTBEAT_SECONDS):
                        event = await queue.get()
                except TimeoutError:
                    event = {"id": mint("evt"), "type": "server.heartbeat", "properties": {}}
                writer.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                await writer.drain()


def _json(body: bytes) -> Json:
    try:
        given: Json = {**json.loads(body)}
    except (ValueError, TypeError) as error:
        raise _Problem(HTTPStatus.BAD_REQUEST, f"not an object: {error}") from error
    return given


def _new_session(body: bytes) -> tuple[str, str]:
    """Return the id of a session that is to be there, and where it works."""
    try:
        given = _json(body)
        return str(given["id"]), str(given["location"]["directory"])
    except (KeyError, TypeError) as error:
        raise _Problem(HTTPStatus.BAD_REQUEST, f"not a session: {error}") from error


def _prompt(body: bytes) -> tuple[str, str]:
    """Return the message's id and text."""
    try:
        given: Json = json.loads(body)
        text = "\n".join(part["text"] for part in given["parts"] if part.get("type") == "text")
        mode = given.get("agent", _MODES[0]["name"])
        if all(mode != known["name"] for known in _MODES):
            raise _Problem(HTTPStatus.BAD_REQUEST, f"no such agent: {mode}")
        return str(given.get("messageID") or mint("msg")), text
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Problem(HTTPStatus.BAD_REQUEST, f"not a prompt: {error}") from error


async def _respond(writer: asyncio.StreamWriter, status: HTTPStatus, answer: Any) -> None:
    body = b"" if answer is None else json.dumps(answer).encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: {len(body)}\r\n"
    if body:
        head += "content-type: application/json\r\n"
    writer.write(head.encode() + b"\r\n" + body)
    await writer.drain()
