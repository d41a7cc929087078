"""Each provider that needs no settings: what the agent sends it, and that its key is put in."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from agent_kit import PATIENCE, AgentBox
from runner_kit import SAMPLE, Repositories, prompt_args

from headstart_runner.agents import providers

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("with_model")]

ASKED = {
    "anthropic": ("claude-sonnet-4-5", "x-api-key", "/v1/messages"),
    "cerebras": ("gpt-oss-120b", "Authorization", "/v1/chat/completions"),
    "deepinfra": (
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "Authorization",
        "/v1/openai/chat/completions",
    ),
    "deepseek": ("deepseek-v4-pro", "Authorization", "/chat/completions"),
    "fireworks-ai": (
        "accounts/fireworks/models/kimi-k3",
        "Authorization",
        "/inference/v1/chat/completions",
    ),
    "google": (
        "gemini-flash-latest",
        "x-goog-api-key",
        "/v1beta/models/gemini-flash-latest:streamGenerateContent?alt=sse",
    ),
    "groq": ("llama-3.3-70b-versatile", "Authorization", "/openai/v1/chat/completions"),
    "huggingface": ("tencent/Hy3", "Authorization", "/v1/chat/completions"),
    "mistral": ("codestral-latest", "Authorization", "/v1/chat/completions"),
    "moonshotai": ("kimi-k3", "Authorization", "/v1/chat/completions"),
    "nvidia": ("z-ai/glm-5.3-flash", "Authorization", "/v1/chat/completions"),
    "openai": ("gpt-5.4", "Authorization", "/v1/responses"),
    "opencode": ("big-pickle", "Authorization", "/zen/v1/chat/completions"),
    "openrouter": ("z-ai/glm-4.6", "Authorization", "/api/v1/chat/completions"),
    "xai": ("grok-4.3", "Authorization", "/v1/responses"),
    "zai": ("glm-4.5", "Authorization", "/api/paas/v4/chat/completions"),
}
"""By provider: a model, the header that the key is in, and the path that is asked."""


@dataclass
class Everyone:
    """All providers on one port, by the first segment of a path; each refuses."""

    url: str = ""
    asked: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    everyone: Everyone

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Say nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, provider, path = self.path.split("/", 2)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.everyone.asked.setdefault(provider, (f"/{path}", headers))
        said = json.dumps({"error": {"message": "the stub refuses", "type": "stub", "code": 400}})
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())


@pytest.fixture
def everyone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Everyone]:
    """Have all well-known providers at one address of this machine."""
    made = Everyone()
    handler = type("Handler", (_Handler,), {"everyone": made})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        here = {
            name: (f"{made.url}/{name}{urlsplit(base).path}", variables)
            for name, (base, variables) in providers.WELL_KNOWN.items()
        }
        monkeypatch.setattr(providers, "WELL_KNOWN", here)
        yield made
        server.shutdown()
        thread.join()


@pytest.mark.long
async def test_a_key_of_the_secret_alone_makes_its_provider_work(
    box: AgentBox, everyone: Everyone, repositories: Repositories
) -> None:
    if box.agent != "opencode":
        pytest.skip("the addresses are those of opencode's catalogue")
    assert ASKED.keys() == providers.WELL_KNOWN.keys()
    keys = {
        variables[-1]: f"sk-of-{name}-3f9a6c1e"
        for name, (_, variables) in providers.WELL_KNOWN.items()
    }
    url = repositories.make("known", SAMPLE)
    await box.prepare(url, provider={}, secrets=keys)

    for number, (name, (model, _, _)) in enumerate(ASKED.items(), 1):
        args = prompt_args(number, "Where is the lamp?") | {"model": f"{name}/{model}"}
        await box.succeed("prompt", args, f"msg_{number}.prompt")
        await box.cloud.until(
            lambda turn=f"trn_{number}": box.cloud.of("turn.ended", turnId=turn), PATIENCE
        )

    for name, (_, header, path) in ASKED.items():
        assert name in everyone.asked, name
        asked, heard = everyone.asked[name]
        key = f"sk-of-{name}-3f9a6c1e"
        assert asked == path, name
        assert heard[header.lower()] in {key, f"Bearer {key}"}, name
        assert "headstart-" not in json.dumps(heard), name


@pytest.mark.long
async def test_bedrock_works_with_a_key_that_is_sent_in_a_header(
    box: AgentBox, everyone: Everyone, repositories: Repositories
) -> None:
    if box.agent != "opencode":
        pytest.skip("the addresses are those of opencode's catalogue")
    options = {"apiKey": "{env:TOKEN}", "baseURL": f"{everyone.url}/amazon-bedrock/x"}
    provider = {"amazon-bedrock": {"options": options}}
    url = repositories.make("bedrock", SAMPLE)
    await box.prepare(url, provider=provider, secrets={"TOKEN": "bedrock-3f9a6c1e"})
    model = "amazon-bedrock/anthropic.claude-opus-5-5"
    await box.succeed("prompt", prompt_args(1, "Where is the lamp?") | {"model": model}, "msg_1")
    ended = await box.ended(1)

    assert "amazon-bedrock" in everyone.asked, ended
    asked, heard = everyone.asked["amazon-bedrock"]
    assert asked.startswith("/x/model/")
    assert heard["authorization"] == "Bearer bedrock-3f9a6c1e"
