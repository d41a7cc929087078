"""What the agent asks, and what becomes of the answers."""

import pytest
from fake_cloud import FakeCloud, Json
from runner_kit import Sandbox, prompt_args

from headstart_runner.agents.http import AgentClient
from headstart_runner.conversation import inputs
from headstart_runner.conversation.turn import Turn

pytestmark = pytest.mark.anyio


async def asked(cloud: FakeCloud, text: str, number: int = 1) -> Json:
    """Send a prompt that makes the agent ask, and return what it asks."""
    turn = f"trn_{number}"
    await cloud.do("prompt", prompt_args(number, text), name=f"msg_{number}.prompt")
    await cloud.until(lambda: cloud.of("input.requested", turnId=turn))
    [request] = cloud.of("input.requested", turnId=turn)
    return request


async def answer(cloud: FakeCloud, request: Json, given: Json, name: str = "1.input") -> Json:
    args = {"requestId": request["requestId"], "answer": given}
    return await cloud.do("input", args, name=name)


def said(cloud: FakeCloud) -> str:
    return "".join(event["data"].get("text", "") for event in cloud.of("agent.event"))


@pytest.mark.parametrize(
    ("text", "given", "outcome", "heard"),
    [
        ("ask me first", {"reply": "once"}, "answered", "You allowed it this once."),
        ("ask me first", {"reply": "reject"}, "rejected", "You did not allow it"),
        ("ask me a question", {"answers": [["Write a test"]]}, "answered",
         "You chose: Write a test."),
        ("ask me a question", {"reject": True}, "rejected", "You chose nothing"),
    ],
)  # fmt: skip
async def test_a_turn_waits_for_an_answer_and_goes_on_with_it(
    cloud: FakeCloud, prepared: Sandbox, *, text: str, given: Json, outcome: str, heard: str
) -> None:
    request = await asked(cloud, text)
    if request["kind"] == "permission":
        assert request["body"] == {
            "title": "bash", "patterns": ["git log"], "metadata": {"command": "git log"},
        }  # fmt: skip
    else:
        [question] = request["body"]["questions"]
        assert [option["label"] for option in question["options"]][1] == "Write a test"
    assert (await answer(cloud, request, given))["status"] == "completed"

    assert (await cloud.turn_ended("trn_1"))["error"] is None
    [resolved] = cloud.of("input.resolved")
    assert (resolved["requestId"], resolved["outcome"]) == (request["requestId"], outcome)
    assert heard in said(cloud)
    late = await answer(cloud, request, given, "2.input")
    assert late["error"]["code"] == "InputGone"


async def test_an_unknown_request_and_a_strange_answer_are_gone(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await asked(cloud, "ask me")
    other = {**request, "requestId": "per_other"}
    assert (await answer(cloud, other, {"reply": "once"}))["error"]["code"] == "InputGone"
    # A request that the agent no longer has.
    real = AgentClient.answer

    async def late(self: AgentClient, kind: str, request_id: str, answer: Json) -> None:
        await real(self, kind, "per_gone", answer)

    monkeypatch.setattr(AgentClient, "answer", late)
    gone = await answer(cloud, request, {"reply": "once"}, "2.input")
    assert gone["error"]["code"] == "InputGone"
    assert [event["outcome"] for event in cloud.of("input.resolved")] == ["withdrawn"]


async def test_what_is_open_when_the_turn_ends_is_withdrawn(
    cloud: FakeCloud, prepared: Sandbox
) -> None:
    await asked(cloud, "ask me")
    await cloud.do("abort", {"turnId": "trn_1"})
    assert (await cloud.turn_ended("trn_1"))["interrupted"] is True
    [resolved] = cloud.of("input.resolved")
    assert resolved["outcome"] == "withdrawn"
    kinds = [item.get("type") for item in cloud.order]
    assert kinds.index("input.resolved") < kinds.index("turn.ended")


async def test_a_request_without_an_answer_is_rejected_in_time(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "INPUT_SECONDS", 0.05)
    await asked(cloud, "ask me")
    assert (await cloud.turn_ended("trn_1"))["error"] is None
    assert [event["outcome"] for event in cloud.of("input.resolved")] == ["expired"]
    assert "You did not allow it" in said(cloud)


async def test_a_request_that_the_stream_did_not_tell_is_found_by_looking(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Turn] = []
    real = Turn.feed

    def deaf(self: Turn, event: Json) -> None:
        seen.append(self)
        if event["type"] != "permission.asked":
            real(self, event)

    monkeypatch.setattr(Turn, "feed", deaf)
    await cloud.do("prompt", prompt_args(1, "ask me"), name="msg_1.prompt")
    monkeypatch.setattr(Turn, "feed", real)
    for _ in range(2):
        await seen[-1].look()
    await cloud.until(lambda: cloud.of("input.requested"))
    [request] = cloud.of("input.requested")
    await answer(cloud, request, {"reply": "always"})
    await cloud.turn_ended("trn_1")
    assert len(cloud.of("input.requested")) == 1
