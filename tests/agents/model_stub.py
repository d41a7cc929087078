"""A language model of a few rules behind OpenAI's chat completions API, for the real agents.

What it does is written in the user's last message: `write PATH: TEXT` and `run: COMMAND` call a
tool, `ask: QUESTION` asks the user, `slow, please` answers for a minute, `fail STATUS` is the
provider's failure. Anything else is answered with all that the user has said, so that a test can
see what the agent remembers.
"""

import json
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

MODEL = "stub/small"
KEY_VARIABLE = "STUB_MODEL_KEY"
KEY = "sk-stub-3f9a6c1e7b5d"
_SLOW_SECONDS = 60.0
_WORD_SECONDS = 0.02


@dataclass(frozen=True)
class Call:
    """One request that an agent made for a turn; those for a title are not kept."""

    authorization: str
    system: str
    said: list[str]
    """What the user has said, the agent's own additions included."""


@dataclass
class ModelStub:
    """The running server and what it was asked."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)

    def provider(self) -> Json:
        """Return the agents' settings for it; the key comes from their environment."""
        return {
            "stub": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "Stub",
                "options": {"baseURL": self.url, "apiKey": f"{{env:{KEY_VARIABLE}}}"},
                "models": {
                    "small": {
                        "name": "Small",
                        "tool_call": True,
                        "limit": {"context": 128_000, "output": 8_192},
                    }
                },
            }
        }


def _text(message: Json) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    texts = [part.get("text", "") for part in content]
    # Kilo adds where and when; left in, no message of its would end with what the user wrote.
    return "".join(text for text in texts if not text.lstrip().startswith("<environment_details>"))


def _tool_call(said: str) -> tuple[str, Json] | None:
    """Return the tool and its arguments that a message asks for."""
    if match := re.search(r"write (\S+): (.+)", said):
        return "write", {"filePath": match[1], "content": match[2]}
    if match := re.search(r"run: (.+)", said):
        return "bash", {"command": match[1], "description": "Run it"}
    if match := re.search(r"ask: (.+)", said):
        options = [{"label": label, "description": label} for label in ("red", "blue")]
        question = {"question": match[1], "header": "Choose", "options": options}
        return "question", {"questions": [question]}
    return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: ModelStub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages = body["messages"]
        said = [_text(message) for message in messages if message["role"] == "user"]
        if not body.get("tools"):
            self._stream([{"content": "A title"}], "stop")
            return
        system = "\n".join(_text(m) for m in messages if m["role"] == "system")
        self.stub.calls.append(Call(self.headers.get("Authorization", ""), system, said))
        if match := re.search(r"fail (\d{3})", said[-1]):
            self._fail(int(match[1]))
        elif messages[-1]["role"] != "tool" and (call := _tool_call(said[-1])):
            self._stream(self._calling(*call), "tool_calls")
        elif messages[-1]["role"] == "tool":
            self._stream(self._speaking(f"Done: {_text(messages[-1])[:200]}"), "stop")
        elif (
            said[-1].rstrip().endswith("slow, please")
        ):  # an unanswered one may come before another
            self._stream(self._slowly(), "stop")
        else:
            self._stream(self._speaking("You said: " + " / ".join(said)), "stop")

    def _fail(self, status: int) -> None:
        error = {"error": {"message": "the stub fails", "type": "stub", "code": "stub"}}
        data = json.dumps(error).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    @staticmethod
    def _calling(name: str, arguments: Json) -> list[Json]:
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"index": 0, "id": f"call_{time.time_ns()}", "type": "function"}
        return [{"role": "assistant", "tool_calls": [{**call, "function": function}]}]

    @staticmethod
    def _speaking(text: str) -> Iterator[Json]:
        for word in re.findall(r"\S+\s*|\s+", text):
            yield {"content": word}
            time.sleep(_WORD_SECONDS)

    @staticmethod
    def _slowly() -> Iterator[Json]:
        end = time.monotonic() + _SLOW_SECONDS
        while time.monotonic() < end:
            yield {"content": "word "}
            time.sleep(0.1)

    def _stream(self, deltas: Iterable[Json], finish: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for delta in deltas:
                self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])
            self._chunk([{"index": 0, "delta": {}, "finish_reason": finish}])
            self._chunk([], usage={"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18})
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the agent was told to stop

    def _chunk(self, choices: list[Json], **more: Any) -> None:
        chunk = {"id": "stub", "object": "chat.completion.chunk", "created": 0, "model": "small"}
        self.wfile.write(b"data: " + json.dumps({**chunk, "choices": choices, **more}).encode())
        self.wfile.write(b"\n\n")
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def model_stub() -> Iterator[ModelStub]:
    """Serve the model on a free port of 127.0.0.1."""
    stub = ModelStub()
    handler = type("Handler", (_Handler,), {"stub": stub})
    with _Server(("127.0.0.1", 0), handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
