"""What the API says of a field is said of the option or argument that became it."""

from argparse import Namespace
from typing import Any

import pytest
from fake_headstart import SESSION_ID
from test_client_readme import commands, taken_by

from headstart.domain import requests
from headstart_client import arguments
from headstart_client.advice import on_arguments, on_warning
from headstart_client.amounts import counted
from headstart_client.fields import named
from headstart_client.models import Warned
from headstart_client.receipts import spent
from headstart_client.rest import ago
from headstart_client.work import changed

RUN = ["run", "--repo", "o/n", "x"]
ELSEWHERE = {"mcp_servers", "append_system_prompt", "callback_target"}
"""What only the API and the library take."""


def given(*words: str) -> Namespace:
    return arguments.parser().parse_args(words)


def aliases(model: type[Any]) -> list[str]:
    fields = {k: f for k, f in model.model_fields.items() if k not in ELSEWHERE}
    return [field.alias or name for name, field in fields.items()]


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (RUN, aliases(requests.CreateSession)),
        (
            ["retry", SESSION_ID],
            ["setupCommands", "encryptedSecrets", "withoutArchive", "upstreamBranch"],
        ),
        (["publish", SESSION_ID], aliases(requests.PublishSession)),
        (["send", SESSION_ID, "x"], ["prompt"]),
        (["rename", SESSION_ID, "x"], ["title"]),
        (["ls"], ["search", "repository", "limit"]),
        (["answer", SESSION_ID, "que_1", "--choose", "x"], ["answers"]),
    ],
    ids=lambda value: value[0],
)
def test_each_field_that_a_command_sends_is_named_as_the_command_takes_it(words, fields):
    args = given(*words)
    assert {named([field], args) for field in fields} <= taken_by(commands()[words[0]])


@pytest.mark.parametrize(
    ("words", "loc", "said"),
    [
        ([*RUN, "--setup", "a", "--setup", "b"], ["setupCommands", 1], "--setup number 2"),
        ([*RUN, "--setup", "a"], ["setupCommands", 0], "--setup"),
        ([*RUN, "--setup-input", "a", "--setup-input", "b"], ["setupInputs", 0], "--setup-input n"),
        ([*RUN, "--env", "title=x"], ["envVars", "title", "[key]"], "--env title"),
        (RUN, ["clone", "depth"], "--depth"),
        (RUN, ["clone", "submodules"], "--submodules"),
        (RUN, ["pullRequest", "draft"], "--draft"),
        (RUN, ["encryptedSecrets", "envelope", "prompt"], "--secret"),
        (["run", "--file", __file__], ["prompt"], "--file"),
        (["ls", "--repo", "https://x"], ["query", "repository"], "--repo"),
        (["ls"], ["query", "cursor"], "query.cursor"),
        (["answer", SESSION_ID, "que_1", "--reject"], ["body"], "--reject"),
        (["answer", SESSION_ID, "que_1", "--choose", "x"], ["body", "answers"], "--choose"),
    ],
)
def test_a_part_of_a_field_is_named_too(words, loc, said):
    assert named(loc, given(*words)).startswith(said)


def test_what_is_wrong_with_all_together_is_said_of_nothing():
    args = given("retry", SESSION_ID)
    said = on_arguments([{"loc": [], "msg": "must be smaller together"}], args)
    assert said == "Must be smaller together; `headstart retry --help` says what there is."


def test_other_fields_in_a_sentence_are_options_as_well():
    said = "a branch goes into upstreamBranch"
    assert "goes into --branch;" in on_arguments([{"loc": ["gitUrl"], "msg": said}], given(*RUN))
    warned = Warned(loc=["prompt"], msg="looks like a credential: send it in encryptedSecrets")
    assert on_warning(warned, given(*RUN)) == (
        "Warning: PROMPT looks like a credential: send it in --secret"
    )
    assert on_warning(warned, given("send", SESSION_ID, "x")) == (
        "Warning: PROMPT looks like a credential: send it in `headstart run --secret`"
    )


def test_a_call_in_a_sentence_is_a_command():
    warned = Warned(loc=["prompt"], msg="waits until it is prepared again (POST …/retry)")
    assert on_warning(warned, given("send", SESSION_ID, "x")) == (
        f"Warning: PROMPT waits until it is prepared again (`headstart retry {SESSION_ID}`)"
    )


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (12345, "12,345 files")]
)
def test_one_is_one(number, said):
    assert counted(number, "file") == said


def test_what_is_one_is_told_as_one():
    assert changed({"files": 1, "additions": 1, "deletions": 1}) == (
        "1 file changed, 1 line added, 1 deleted"
    )
    assert spent({"inputTokens": 1, "outputTokens": 2}) == "1 token in, 2 tokens out"
    assert [ago(86400), ago(3 * 86400), ago(7200)] == ["1 day ago", "3 days ago", "2 h ago"]
