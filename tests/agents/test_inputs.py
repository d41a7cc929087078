"""What the real agents ask people, and what becomes of the answers."""

import json

import pytest
from agent_kit import AgentBox
from runner_kit import SAMPLE, Repositories

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("with_model")]

CAUTIOUS = json.dumps({"permission": {"edit": "ask"}})


@pytest.fixture(scope="module")
def cautious(repositories: Repositories) -> str:
    """Return the URL of a repository in which an agent has to ask before it edits."""
    files = {"opencode.json": CAUTIOUS, "kilo.json": CAUTIOUS}
    return repositories.make("cautious", SAMPLE | files)


async def test_a_permission_is_asked_for_and_the_file_is_written_once_it_is_given(
    box: AgentBox, cautious: str
) -> None:
    await box.prepare(cautious, repositoryConfig=True)
    await box.deliver(1, "write notes.txt: the lamp is lit")
    request = await box.asked(1)
    notes = box.sandbox.repository / "notes.txt"
    assert request["kind"] == "permission"
    assert request["body"]["title"] == "edit"
    assert request["body"]["patterns"] == ["notes.txt"]
    assert not notes.exists()

    await box.answer(request, {"reply": "once"})

    assert (await box.ended(1))["error"] is None
    assert notes.read_text() == "the lamp is lit"
    [resolved] = box.cloud.of("input.resolved")
    assert (resolved["requestId"], resolved["outcome"]) == (request["requestId"], "answered")


@pytest.mark.long
async def test_a_permission_that_is_refused_leaves_the_file_alone(
    box: AgentBox, cautious: str
) -> None:
    await box.prepare(cautious, repositoryConfig=True)
    await box.deliver(1, "write notes.txt: the lamp is lit")
    await box.answer(await box.asked(1), {"reply": "reject"})

    await box.ended(1)
    assert not (box.sandbox.repository / "notes.txt").exists()
    assert [event["outcome"] for event in box.cloud.of("input.resolved")] == ["rejected"]


@pytest.mark.long
async def test_a_command_that_kilo_does_not_know_as_harmless_waits_to_be_allowed(
    box: AgentBox, sample: str
) -> None:
    if box.agent != "kilo":
        pytest.skip("opencode runs all commands")
    await box.prepare(sample)
    await box.deliver(1, "run: echo so far; exit 7")
    request = await box.asked(1)
    assert (request["kind"], request["body"]["title"]) == ("permission", "bash")

    await box.answer(request, {"reply": "once"})

    assert (await box.ended(1))["error"] is None
    assert [tool.get("exitCode") for tool in box.parts(1, "tool")] == [None, 7]


async def test_a_question_is_asked_and_its_answer_reaches_the_model(
    box: AgentBox, sample: str
) -> None:
    await box.prepare(sample)
    await box.deliver(1, "ask: Which colour?")
    request = await box.asked(1)
    [question] = request["body"]["questions"]
    assert (request["kind"], question["question"]) == ("question", "Which colour?")
    assert [option["label"] for option in question["options"]] == ["red", "blue"]

    await box.answer(request, {"answers": [["blue"]]})

    assert (await box.ended(1))["error"] is None
    assert "blue" in box.said(1)


@pytest.mark.long
async def test_an_abort_withdraws_what_was_asked(box: AgentBox, cautious: str) -> None:
    await box.prepare(cautious, repositoryConfig=True)
    await box.deliver(1, "write notes.txt: the lamp is lit")
    await box.asked(1)

    await box.succeed("abort", {"turnId": "trn_1"}, "trn_1.abort")

    assert (await box.ended(1))["interrupted"]
    assert len(box.cloud.of("input.resolved")) == 1
    assert not (box.sandbox.repository / "notes.txt").exists()


@pytest.mark.long
async def test_a_slow_snapshot_is_waited_for_and_nobody_is_asked_about_it(
    box: AgentBox, sample: str
) -> None:
    await box.prepare(sample, env={"KILO_SNAPSHOT_TRACK_TIMEOUT_MS": "1"})

    ended = await box.prompt(1, "Where is the lamp?")

    assert ended["error"] is None
    assert box.cloud.of("input.requested") == []
