"""What the agent asks, and what becomes of the answers."""

import asyncio
import re
from typing import Any

import pytest
from fake_cloud import FakeCloud, Json
from runner_kit import Sandbox, prompt_args

from headstart.domain.channel import RunnerEvent
from headstart_runner.agents.http import AgentClient, AgentSilent
from headstart_runner.agents.said import OddEvent
from headstart_runner.conversation import inputs
from headstart_runner.conversation.inputs import Inputs
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


class Asking(AgentClient):
    """An agent's client that notes what it is answered, and may fail to hear it."""

    def __init__(self) -> None:
        self.answered: list[tuple[str, str, Json]] = []
        self.silent = False

    async def answer(self, kind: str, request_id: str, answer: Json) -> None:
        if self.silent:
            raise AgentSilent("no answer")
        self.answered.append((kind, request_id, answer))


async def everything() -> None:
    """Let every task do what it can: none of them waits for anything."""
    for _ in range(9):
        await asyncio.sleep(0)


class Open:
    """The requests of one turn, and what is told of them."""

    def __init__(self) -> None:
        self.reported: list[RunnerEvent] = []
        self.client = Asking()
        self.inputs = Inputs("trn_1", report=self.reported.append, connect=self._connect)

    async def _connect(self) -> AgentClient:
        return self.client

    def ask(self, kind: str = "permission", **properties: Any) -> None:
        self.inputs.feed({"type": f"{kind}.asked", "properties": properties})

    def told(self) -> list[Json]:
        return [item.to_json() for item in self.reported]


@pytest.mark.parametrize("name", ["x" * 5_000, "per/../1", "per 1", "日本", "..", "per_1"])
async def test_a_request_has_an_id_that_anybody_can_answer_whatever_the_agent_calls_it(
    name: str,
) -> None:
    turn = Open()
    turn.ask(id=name, permission="bash")
    [asked] = turn.told()
    request_id = str(asked["requestId"])
    assert re.fullmatch(r"[\w-]{1,128}", request_id, re.ASCII)
    assert (request_id == name) == (name == "per_1")
    await turn.inputs.answer(request_id, {"reply": "once"})
    turn.inputs.feed({"type": "permission.replied", "properties": {"requestID": name}})

    assert turn.client.answered == [("permission", name, {"reply": "once"})]
    assert [item["type"] for item in turn.told()] == ["input.requested", "input.resolved"]


@pytest.mark.parametrize("strange", [None, 5, "text", [], {}, [[5]], [{"options": 5}], {"a": 1}])
async def test_a_request_of_any_shape_is_asked_in_the_promised_one(strange: Any) -> None:
    turn = Open()
    turn.ask(id="per_1", title=strange, permission=strange, patterns=strange, metadata=strange)
    turn.ask("question", id="que_1", questions=strange)
    turn.ask("question", id="que_2", questions=[{"question": strange, "options": [strange]}])
    turn.inputs.close()

    permission, *asked = [item["body"] for item in turn.told() if "body" in item]
    assert isinstance(permission["title"], str) and permission["title"]
    assert all(isinstance(pattern, str) for pattern in permission["patterns"])
    assert isinstance(permission["metadata"], dict)
    for body in asked:
        for question in body["questions"]:
            assert isinstance(question["question"], str)
            assert all(isinstance(option["label"], str) for option in question["options"])


async def test_a_request_without_an_id_is_odd() -> None:
    for name in (None, 5, "", ["per_1"]):
        with pytest.raises(OddEvent):
            Open().ask(id=name)


async def test_more_requests_than_people_are_shown_are_rejected_in_their_place() -> None:
    turn = Open()
    for number in range(25):
        turn.ask(id=f"per_{number}")
    await everything()
    turn.inputs.close()

    asked = [item["requestId"] for item in turn.told() if item["type"] == "input.requested"]
    assert asked == [f"per_{number}" for number in range(20)]
    assert turn.client.answered == [
        ("permission", f"per_{number}", {"reply": "reject"}) for number in range(20, 25)
    ]


async def test_a_rejection_that_the_agent_did_not_hear_is_repeated_when_it_still_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inputs, "INPUT_SECONDS", 0)
    turn = Open()
    turn.client.silent = True
    turn.ask("question", id="que_1")
    await everything()
    assert len(turn.reported) == 2
    turn.client.silent = False
    for _ in range(2):
        turn.ask("question", id="que_1")
        await everything()
    turn.inputs.close()

    assert turn.client.answered == [("question", "que_1", {"reject": True})]
    assert [item["type"] for item in turn.told()] == ["input.requested", "input.resolved"]
