"""Which keys belong to which providers, and what an agent is told of both."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fake_cloud import FakeCloud
from hypothesis import given
from hypothesis import strategies as st
from models_kit import PATIENCE, Provider, serving
from runner_kit import Sandbox, agent_args, agents, environment_of, eventually, prepare

from headstart.domain.command_args import AgentArgs
from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents.model_keys import ModelKeys
from headstart_runner.agents.opencode import OpencodeAgent
from headstart_runner.agents.providers import WELL_KNOWN, Keyed, keyed, unused
from headstart_runner.gateway.door import Door

pytestmark = pytest.mark.anyio

BASE = "https://models.example/v1"


def args(**more: Any) -> AgentArgs:
    return AgentArgs(agent="opencode", session_id="ses_1", mode="code", **more)


def settings(**options: Any) -> dict[str, Any]:
    return {"my": {"npm": "@ai-sdk/openai-compatible", "options": options}}


def only(args: AgentArgs) -> Keyed:
    [one] = keyed(args)
    return one


def test_a_key_belongs_to_who_names_it() -> None:
    provider = settings(baseURL=BASE + "/", headers={"X-Team": "{env:TEAM}"}, apiKey="{env:MY_KEY}")
    given = args(provider=provider, secrets={"MY_KEY": "k", "TEAM": "t", "OTHER": "o"})

    one = only(given)
    assert (one.provider, one.base, one.named) == ("my", BASE, True)
    words = {"MY_KEY": "headstart-1", "TEAM": "headstart-2"}
    keys = one.route({"MY_KEY": "k\n", "TEAM": "t"}, words).keys
    assert keys == {"headstart-1": "k", "headstart-2": "t"}
    assert set(one.variables) == {"MY_KEY", "TEAM"}
    assert unused(given, [one]) == ["OTHER"]


def test_a_key_may_belong_to_several_and_be_named_anywhere_in_the_settings() -> None:
    models = {"a": {"options": {"key": "{env:K}"}}}
    provider = {"a": {"api": BASE, "models": models}, "b": settings(apiKey="{env:K}")["my"]}
    provider["b"]["options"]["baseURL"] = BASE

    assert [one.provider for one in keyed(args(provider=provider, secrets={"K": "k"}))] == [
        *("a", "b"),
    ]


def test_the_headers_in_which_settings_send_a_key_are_known() -> None:
    own = settings(baseURL=BASE, headers={"X-Team": "t {env:K}", "X-Plain": "shown"})
    own["my"]["models"] = {"a": {"headers": {"X-Model": "{env:K}", "X-Other": "{env:HOME}"}}}
    one = only(args(provider=own, secrets={"K": "k"}))
    assert one.route({"K": "k"}, {"K": "p"}).headers == {"x-team", "x-model"}


@pytest.mark.parametrize("provider", WELL_KNOWN)
def test_a_well_known_provider_needs_no_settings(provider: str) -> None:
    base, variables = WELL_KNOWN[provider]
    for variable in variables:
        one = only(args(secrets={variable: "k"}))
        assert (one.provider, one.base, one.named) == (provider, base, False)
        assert one.settings["options"]["apiKey"] == f"{{env:{variable}}}"
        assert only(args(provider={provider: {}}, secrets={variable: "k"})).provider == provider


def test_the_documents_name_the_well_known_providers() -> None:
    page = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    for name, (base, variables) in WELL_KNOWN.items():
        assert f"| `{name}` | {' or '.join(f'`{one}`' for one in variables)} | {base} |" in page


def test_settings_stand_above_what_is_well_known() -> None:
    provider = {"openai": {"options": {"baseURL": BASE, "apiKey": "{env:K}"}}}
    given = args(provider=provider, secrets={"K": "k", "OPENAI_API_KEY": "o", "GROQ_API_KEY": "g"})

    one = only(given)
    assert (one.base, one.named, one.variables) == (BASE, True, ("K",))
    assert unused(given, [one]) == ["GROQ_API_KEY", "OPENAI_API_KEY"]


def test_a_provider_without_a_key_is_left_as_it_is() -> None:
    provider = settings(baseURL="http://127.0.0.1:8000/v1")

    assert keyed(args(provider=provider, secrets={"K": "k"})) == []
    assert keyed(args(provider=settings(baseURL=BASE, apiKey="{env:OF_THE_SESSION}"))) == []


def test_an_address_may_name_variables_of_the_secret_and_no_others() -> None:
    provider = settings(baseURL="https://{env:PLACE}/v1", apiKey="{env:K}")
    given = args(provider=provider, secrets={"K": "k", "PLACE": "models.example"})

    assert only(given).base == BASE
    assert unused(given, keyed(given)) == []
    mine = args(provider=provider, secrets={"K": "k"}, env={"PLACE": "evil.example"})
    with pytest.raises(AgentStartFailed, match="my in ProviderConfig"):
        keyed(mine)


@pytest.mark.parametrize(
    "base",
    [
        *("models.example", "ftp://models.example", "https://", "https://user:pass@models.example"),
        *(f"{BASE}?key=1", f"{BASE}#x", "https://models.example:http/v1", "https://[::1/v1"),
    ],
)
def test_an_address_that_a_key_can_not_be_sent_to_is_a_failure_in_words(base: str) -> None:
    with pytest.raises(AgentStartFailed, match="address of the model provider my") as failed:
        keyed(args(provider=settings(baseURL=base, apiKey="{env:K}"), secrets={"K": "sk-secret"}))
    assert "sk-secret" not in failed.value.reason


def test_a_key_without_an_address_is_a_failure_in_words() -> None:
    with pytest.raises(AgentStartFailed, match=r"my, but no address: .* options\.baseURL"):
        keyed(args(provider=settings(apiKey="{env:K}"), secrets={"K": "k"}))


@pytest.mark.parametrize(
    "asked", [{"model": "amazon-bedrock/claude"}, {"provider": {"amazon-bedrock": {}}}]
)
def test_what_wants_to_be_signed_is_a_failure_in_words(asked: dict[str, Any]) -> None:
    secrets = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}
    with pytest.raises(AgentStartFailed, match="amazon-bedrock wants requests signed"):
        keyed(args(secrets=secrets, **asked))
    # Who uses another provider is not kept from that.
    assert keyed(args(secrets=secrets, model="my/model")) == []


def test_what_wants_to_be_signed_works_with_a_key_in_a_header() -> None:
    options = {"baseURL": BASE, "apiKey": "{env:TOKEN}"}
    secrets = {"TOKEN": "t", "AWS_ACCESS_KEY_ID": "AKIA"}
    given = args(provider={"amazon-bedrock": {"options": options}}, secrets=secrets)

    assert only(given).variables == ("TOKEN",)
    assert unused(given, keyed(given)) == ["AWS_ACCESS_KEY_ID"]


@pytest.mark.parametrize("odd", [None, 1, "x", [], {"options": []}, {"options": "{env:K}"}])
def test_settings_that_make_no_sense_are_the_agents_to_judge(odd: Any) -> None:
    provider = {"my": odd, "openai": odd}
    keyed(args(provider=provider, secrets={"K": "k"}))


texts = st.text(max_size=20) | st.sampled_from(["{env:K}", "{env:}", "{env:K", BASE, "baseURL"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(provider=st.dictionaries(texts | st.sampled_from([*WELL_KNOWN]), values, max_size=3))
def test_whatever_the_settings_are_no_key_is_told(provider: dict[str, Any]) -> None:
    async def told() -> None:
        door = Door()
        keys = ModelKeys(door)
        secrets = {"K": "sk-kept-1", "OPENAI_API_KEY": "sk-kept-2"}
        try:
            server = await keys.kept_from(args(provider=provider, secrets=secrets))
            assert "sk-kept" not in server.model_dump_json()
        except AgentStartFailed as failed:
            assert "sk-kept" not in failed.reason
        finally:
            await keys.close()
            await door.close()

    asyncio.run(told())


async def test_the_agent_is_told_placeholders_and_the_door(
    caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    door, provider = Door(), settings(baseURL=BASE, apiKey="{env:K}", timeout=7)
    keys = ModelKeys(door)
    given = args(provider=provider, secrets={"K": "sk-kept", "LEFT": "l"}, env={"K": "my own"})
    told = await keys.kept_from(given)
    environment = OpencodeAgent().environment(told, str(tmp_path), {}, "")
    again = await keys.kept_from(given.model_copy(update={"secrets": {"K": "sk-rotated"}}))
    await keys.close()
    await door.close()

    config = json.loads(environment["OPENCODE_CONFIG_CONTENT"])
    assert config["provider"]["my"]["options"] == {
        "baseURL": f"{door.address}/model/my",
        "apiKey": "{env:K}",
        "timeout": 7,
    }
    assert config["enabled_providers"] == ["my"]
    assert environment["K"].startswith("headstart-"), "the deployment's stands above the session's"
    assert again.secrets == told.secrets
    assert "LEFT" not in environment
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "given to nobody: LEFT" in caplog.text
    assert "sk-kept" not in json.dumps(environment) + caplog.text


async def test_keys_that_are_kept_again_open_as_before() -> None:
    """A clone that is tried again stops the agent that got ready beside the first try."""
    stub, door = Provider(), Door()
    keys = ModelKeys(door)
    async with serving(stub.handle) as stub.port, aiohttp.ClientSession() as agent:
        given = args(provider=settings(baseURL=stub.base, apiKey="{env:K}"), secrets={"K": "k-1"})
        first = await keys.kept_from(given)
        await keys.close()
        told = await keys.kept_from(given)
        try:
            address = told.provider["my"]["options"]["baseURL"]
            headers = {"Authorization": f"Bearer {told.secrets['K']}"}
            async with (
                asyncio.timeout(PATIENCE),
                agent.post(f"{address}/chat", headers=headers) as answer,
            ):
                status = answer.status
        finally:
            await keys.close()
            await door.close()

    assert status == 200
    assert told == first
    assert [heard["Authorization"] for _, _, heard, _ in stub.asked] == ["Bearer k-1"]


async def test_without_settings_every_provider_may_still_be_used(tmp_path: Any) -> None:
    door = Door()
    keys = ModelKeys(door)
    secrets = {"ANTHROPIC_API_KEY": "sk-kept"}
    told = await keys.kept_from(args(secrets=secrets, env={"GROQ_API_KEY": "mine"}))
    environment = OpencodeAgent().environment(told, str(tmp_path), {}, "")
    await keys.close()
    await door.close()

    config = json.loads(environment["OPENCODE_CONFIG_CONTENT"])
    assert config["provider"].keys() == {"anthropic"}
    assert "enabled_providers" not in config
    assert environment["GROQ_API_KEY"] == "mine"


async def test_a_sandbox_without_keys_opens_no_door(tmp_path: Any) -> None:
    door = Door()
    keys = ModelKeys(door)
    told = await keys.kept_from(args(provider=settings(baseURL=BASE)))
    await keys.close()

    assert door.address.startswith("http://127.0.0.1:0/")
    assert told.provider == settings(baseURL=BASE)
    assert (told.secrets, told.only_provider) == ({}, True)


async def test_the_agent_s_process_has_no_key_and_a_new_placeholder_after_a_new_runner(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample)
    start = {**agent_args(CI="1"), "secrets": {"OPENAI_API_KEY": "sk-kept-3f9a6c1e"}}
    await cloud.do("agent", start, name="1.agent.2")
    [pid] = agents()
    before = environment_of(pid)["OPENAI_API_KEY"]
    connection = await cloud.connected()
    await sandbox.stop()
    sandbox.start()
    await cloud.connected_anew(connection)
    await cloud.do("agent", start, name="2.agent")
    await eventually(agents)
    [pid] = agents()
    environment = environment_of(pid)

    assert before.startswith("headstart-")
    assert environment["OPENAI_API_KEY"].startswith("headstart-")
    assert environment["OPENAI_API_KEY"] != before
    assert "sk-kept-3f9a6c1e" not in json.dumps(environment)


async def test_the_door_closes_at_once_however_long_an_answer_takes() -> None:
    door, began = Door(), asyncio.Event()

    async def never(request: Any, rest: str) -> Any:
        began.set()
        await asyncio.Event().wait()

    await door.open()
    address = door.serve("model", never)
    async with aiohttp.ClientSession() as client:
        asking = asyncio.create_task(client.get(address))
        await began.wait()
        async with asyncio.timeout(5):
            await door.close()
        with pytest.raises(aiohttp.ClientError):
            await asking
