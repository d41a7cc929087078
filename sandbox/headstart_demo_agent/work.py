"""What the demo agent does with a prompt, told in the events of opencode's API."""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from headstart_demo_agent import answer, asking, survey
from headstart_demo_agent.store import Json, Store, now_ms

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_WORDS = re.compile(r"\S+\s*|\s+")
_MOST_DELTAS = 240
_counter = 0


def mint(prefix: str) -> str:
    """Mint an id that sorts by time, in the format of the agents this one imitates."""
    global _counter  # noqa: PLW0603  (two ids of one millisecond must differ and keep their order)
    _counter = (_counter + 1) % 4096
    ticks = (now_ms() * 4096 + _counter) & 0xFFFFFFFFFFFF
    return f"{prefix}_{ticks:012x}" + "".join(secrets.choice(_BASE62) for _ in range(14))


class Bus:
    """Passes events to everybody who listens."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Json]] = set()

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[Json]]:
        """Hand out a queue of all events from now on."""
        queue: asyncio.Queue[Json] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def publish(self, kind: str, **properties: Any) -> None:
        """Tell everybody."""
        for queue in self._queues:
            queue.put_nowait({"id": mint("evt"), "type": kind, "properties": properties})


class Worker:
    """One task a session; prompts that come meanwhile wait for it."""

    def __init__(self, store: Store, bus: Bus, *, seconds: float) -> None:
        self._store = store
        self._bus = bus
        self._seconds = seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.questions = asking.Questions()

    def busy(self) -> list[str]:
        """Return the sessions being worked on."""
        return list(self._tasks)

    def prompt(self, session_id: str, message_id: str, text: str) -> None:
        """Store a user's message and begin to answer it."""
        info = {
            "id": message_id,
            "role": "user",
            "sessionID": session_id,
            "time": {"created": now_ms()},
        }
        self._store.save_message(info)
        self._bus.publish("message.updated", sessionID=session_id, info=info)
        part = self._new_part(session_id, message_id, "text", text=text)
        self._save(part)
        earlier = self._tasks.get(session_id)
        task = asyncio.create_task(self._work(session_id, message_id, text, earlier))
        self._tasks[session_id] = task
        task.add_done_callback(lambda done: self._finished(session_id, done))

    def _finished(self, session_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(session_id) is task:
            del self._tasks[session_id]
            self._bus.publish("session.status", sessionID=session_id, status={"type": "idle"})
            self._bus.publish("session.idle", sessionID=session_id)

    def abort(self, session_id: str) -> bool:
        """Stop the work on a session; return whether there was any."""
        task = self._tasks.get(session_id)
        return task is not None and task.cancel()

    async def _work(
        self, session_id: str, message_id: str, text: str, earlier: asyncio.Task[None] | None
    ) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        self._bus.publish("session.status", sessionID=session_id, status={"type": "busy"})
        info: Json = {
            "id": mint("msg"),
            "parentID": message_id,
            "role": "assistant",
            "sessionID": session_id,
            "mode": "build",
            "providerID": "demo",
            "modelID": "none",
            "cost": 0,
            "tokens": {"input": 0, "output": 0, "reasoning": 0},
            "time": {"created": now_ms()},
        }
        self._save_message(info)
        try:
            said = await self._answer(session_id, info["id"], text)
        except asyncio.CancelledError:
            self._failed(info, {"name": "MessageAbortedError", "data": {"message": "Aborted"}})
        except Exception as error:  # whatever goes wrong with a stranger's repository is an answer
            self._failed(info, {"name": "UnknownError", "data": {"message": str(error)}})
        else:
            tokens = {"input": len(text) // 4, "output": len(said) // 4, "reasoning": 0}
            info |= {"finish": "stop", "tokens": tokens}
            finish = self._new_part(session_id, info["id"], "step-finish", tokens=tokens, cost=0)
            self._save(finish)
        info["time"]["completed"] = now_ms()
        self._save_message(info)

    def _failed(self, info: Json, error: Json) -> None:
        info["error"] = error
        self._bus.publish("session.error", sessionID=info["sessionID"], error=error)

    async def _ask(self, session_id: str, text: str) -> str:
        """Ask a person where the prompt wants that; return what to say about the answer."""
        kind = asking.wanted(text)
        if kind is None:
            return ""
        properties = asking.request(
            kind, session_id, mint("per" if kind == "permission" else "que")
        )
        answered = self.questions.ask(kind, properties)
        self._bus.publish(f"{kind}.asked", **properties)
        return asking.told(kind, await answered)

    def reply(self, kind: str, request_id: str, body: Json, *, rejected: bool) -> bool:
        """Take a person's answer; return False where nothing is asked under that id."""
        properties = self.questions.reply(kind, request_id, body)
        if properties is None:
            return False
        what = f"{kind}.{'rejected' if rejected else 'replied'}"
        session_id = properties["sessionID"]
        self._bus.publish(what, sessionID=session_id, requestID=request_id, **body)
        return True

    async def _answer(self, session_id: str, message_id: str, text: str) -> str:
        """Read the repository with a few visible tools, then write about it."""
        self._save(self._new_part(session_id, message_id, "step-start"))
        heard = await self._ask(session_id, text)
        where = self._store.directory(session_id)

        async def tool(name: str, title: str, given: Json, work: Callable[[], Any]) -> Any:
            return await self._tool(session_id, message_id, (name, title, given), work)

        files = await tool("list", "List files", {"path": "."}, lambda: survey.read_files(where))
        history = await tool(
            "bash", "git log", {"command": "git log"}, lambda: survey.read_history(where)
        )
        words = survey.search_words(text)
        found = None
        if words and files.paths:
            pattern = {"pattern": "|".join(words)}
            found = await tool(
                "grep",
                "Search " + ", ".join(words),
                pattern,
                lambda: survey.search(where, files, words),
            )
        said = answer.compose(
            text, files, history, found, earlier=self._earlier(session_id, message_id)
        )
        said = f"{heard}\n\n{said}" if heard else said
        await self._say(session_id, message_id, said)
        return said

    def _earlier(self, session_id: str, message_id: str) -> list[str]:
        """Return the user's earlier prompts in this session."""
        texts = []
        for message in self._store.messages(session_id):
            if message["info"]["role"] == "user" and message["info"]["id"] < message_id:
                parts = message["parts"]
                texts.append(" ".join(part.get("text", "") for part in parts).strip())
        return texts[:-1]

    async def _tool(
        self,
        session_id: str,
        message_id: str,
        call: tuple[str, str, Json],
        work: Callable[[], Any],
    ) -> Any:
        name, title, given = call
        start = now_ms()
        part = self._new_part(session_id, message_id, "tool", tool=name, callID=mint("call"))
        part["state"] = {"status": "running", "title": title, "input": given}
        self._save(part)
        result = await asyncio.to_thread(work)
        part["state"] |= {
            "status": "completed",
            "output": result.summary(),
            "time": {"start": start, "end": now_ms()},
        }
        self._save(part)
        return result

    async def _say(self, session_id: str, message_id: str, said: str) -> None:
        part = self._new_part(session_id, message_id, "text", text="", time={"start": now_ms()})
        self._save(part)
        words = _WORDS.findall(said)
        step = max(1, -(-len(words) // _MOST_DELTAS))
        pieces = ["".join(words[i : i + step]) for i in range(0, len(words), step)]
        for piece in pieces:
            self._bus.publish(
                "message.part.delta",
                sessionID=session_id,
                messageID=message_id,
                partID=part["id"],
                field="text",
                delta=piece,
            )
            await asyncio.sleep(self._seconds / len(pieces))
        part["text"], part["time"]["end"] = said, now_ms()
        self._save(part)

    def _new_part(self, session_id: str, message_id: str, kind: str, **rest: Any) -> Json:
        part = {"id": mint("prt"), "sessionID": session_id, "messageID": message_id, "type": kind}
        return {**part, **rest}

    def _save(self, part: Json) -> None:
        self._store.save_part(part)
        self._bus.publish("message.part.updated", sessionID=part["sessionID"], part={**part})

    def _save_message(self, info: Json) -> None:
        self._store.save_message(info)
        self._bus.publish("message.updated", sessionID=info["sessionID"], info={**info})
