"""What the agent asks: what is open, what a person reads of it, and how it is answered."""

import io
import shlex
from typing import Any

import fake_headstart as fake
import pytest
from fake_headstart import SESSION_ID, FakeSession
from rich.console import Console
from session_scripts import good_session
from test_client_reducer import VECTORS

from headstart_client import cli
from headstart_client.arguments import parser
from headstart_client.events import data_of
from headstart_client.inputs import Inputs, answered, permission, questions
from headstart_client.live import LiveScreen
from headstart_client.models import Event
from headstart_client.view import View

pytestmark = pytest.mark.usefixtures("environment")

PERMISSION = {
    "requestId": "per_1",
    "kind": "permission",
    "body": {"title": "bash", "patterns": ["git log\x1b[2J"], "metadata": {}},
}
QUESTION = {
    "requestId": "que_1",
    "kind": "question",
    "body": {
        "questions": [
            {
                "question": "Where to\nbegin?",
                "options": [
                    {"label": "The code"},
                    {"label": "Tests", "description": "of all of it"},
                ],
            }
        ]
    },
}
TWO = {**QUESTION, "body": {"questions": [{"question": "One?"}, {"question": "Two?"}]}}


@pytest.mark.parametrize("vector", VECTORS["inputs"], ids=lambda v: v["name"])
def test_what_is_open(vector):
    inputs = Inputs()
    for raw in vector["events"]:
        inputs.apply(Event.model_validate(raw))
    shown: list[list[Any]] = [
        [a.request_id, permission(a)]
        if a.kind == "permission"
        else [a.request_id, [[text, labels] for text, labels, *_ in questions(a)]]
        for a in inputs.open.values()
    ]
    assert shown == vector["open"]


@pytest.mark.parametrize("vector", VECTORS["answers"], ids=lambda v: v["told"])
def test_what_was_answered(vector):
    event = Event.model_construct(type="input.resolved", data=vector["data"])
    assert answered(data_of(event)) == vector["told"]


def asking(*asked: dict[str, Any], resolved: tuple[str, ...] = ()) -> list[tuple[str, Any]]:
    script = good_session()
    return [
        *script[:-4],
        *[("input.requested", one) for one in asked],
        *[("input.resolved", {"requestId": one, "outcome": "answered"}) for one in resolved],
        *script[-4:],
    ]


def test_run_says_what_is_asked_how_to_answer_and_what_came_of_it(cloud, capsys):
    cloud.next_session.script = asking(PERMISSION, QUESTION, resolved=("per_1",))
    assert cli.main(["run", "--repo", "o/n", "Say hello"]) == 0
    assert (
        "▸ bash ls -l\n"
        "? May the agent do this? bash: git log\\u001b[2J\n"
        f"  headstart answer {SESSION_ID} per_1 --reply once\n"
        "? Where to begin? (The code / Tests)\n"
        f"  headstart answer {SESSION_ID} que_1 --choose 'The code'\n"
        "  answered\n"
        "Hello, world.\n"
    ) in capsys.readouterr().out


def labelled(label: str, request_id: str = "que_1") -> dict[str, Any]:
    body = {"questions": [{"question": "Sure?", "options": [{"label": label}]}]}
    return {"requestId": request_id, "kind": "question", "body": body}


@pytest.mark.parametrize(
    ("request_id", "label"), [("--reject", "y"), ("que_1", "--reject it"), ("-x", "-y")]
)
def test_the_command_that_answers_takes_words_for_words(cloud, capsys, request_id, label):
    cloud.next_session.script = asking(labelled(label, request_id))
    assert cli.main(["run", "--repo", "o/n", "Say hello"]) == 0
    out = capsys.readouterr().out
    [line] = [line for line in out.splitlines() if line.startswith("  headstart answer ")]
    args = parser().parse_args(shlex.split(line)[1:])
    assert (args.session_id, args.request_id) == (SESSION_ID, request_id)
    assert args.choose == [label]


@pytest.mark.parametrize(
    "asked", [labelled("y\u2066"), labelled("a  b"), labelled("y", "que\u200b")]
)
def test_there_is_no_command_where_it_would_name_something_else(cloud, capsys, asked):
    cloud.next_session.script = asking(asked)
    assert cli.main(["run", "--repo", "o/n", "Say hello"]) == 0
    out = capsys.readouterr().out
    assert ("? Sure?" in out, "headstart answer" in out) == (True, False)


def test_a_permission_shows_all_of_what_will_be_done(cloud, capsys):
    """Neither sequences nor order of reading may hide a part, nor a line look like another."""
    hidden = "ls\x1b]0;x; rm -rf ~\x07 #\u202e txt.\nrm -rf /\n\n? May the agent do this? ls"
    body = {"title": "bash", "patterns": hidden}
    question = {"questions": [{"question": "Sure\u200b\n? no", "options": [{"label": "y\u2066"}]}]}
    cloud.next_session.script = asking(
        {**PERMISSION, "body": body}, {**QUESTION, "body": question}, resolved=("per_1", "que_1")
    )
    assert cli.main(["run", "--repo", "o/n", "Say hello"]) == 0
    assert (
        r"? May the agent do this? bash: ls\u001b]0;x; rm -rf ~\u0007 #\u202e txt."
        "\n?   rm -rf /\n?   ? May the agent do this? ls\n"
    ) in (out := capsys.readouterr().out)
    assert "? Sure\\u200b ? no (y\\u2066)\n" in out


def test_follow_tells_what_is_still_asked_and_not_what_was(cloud, capsys):
    session = cloud.add(FakeSession(active_turn={"turnId": "turn_1", "messageId": "msg_1"}))
    *before, end = asking({**PERMISSION, "requestId": "old"}, PERMISSION, resolved=("old",))
    for kind, data in before:
        cloud.emit(session, kind, data)
    session.pending_inputs = [PERMISSION]
    session.script = [("input.resolved", {"requestId": "per_1", "outcome": "rejected"}), end]
    cloud.page_size = 100
    assert cli.main(["follow", SESSION_ID]) == 0
    out = capsys.readouterr().out
    assert out.count("? May the agent") == 1
    assert out.count("answer ses_") == out.count(" per_1 --reply once\n") == 1
    assert "  rejected\n" in out
    assert "  answered\n" not in out


@pytest.mark.parametrize(
    ("asked", "arguments", "body"),
    [
        (PERMISSION, ["--reply", "always"], {"reply": "always"}),
        (PERMISSION, ["--reject"], {"reply": "reject"}),
        (QUESTION, ["--reject"], {"reject": True}),
        (
            QUESTION,
            ["--choose", "Tests", "--choose", "The code"],
            {"answers": [["Tests", "The code"]]},
        ),
        (TWO, ["--choose", "Tests", "--choose", "x"], {"answers": [["Tests"], ["x"]]}),
    ],
)
def test_an_answer_is_what_the_api_takes(cloud, capsys, asked, arguments, body):
    cloud.add(FakeSession(pending_inputs=[asked]))
    assert cli.main(["answer", SESSION_ID, asked["requestId"], *arguments]) == 0
    [request] = cloud.requests("POST", f"/inputs/{asked['requestId']}")
    assert request.body == body
    assert f"headstart follow {SESSION_ID}" in capsys.readouterr().out


def test_each_of_several_questions_needs_its_answer(cloud, capsys):
    cloud.add(FakeSession(pending_inputs=[TWO]))
    assert cli.main(["answer", SESSION_ID, "que_1", "--choose", "x"]) == 2
    assert "There are 2 questions" in capsys.readouterr().err
    assert cloud.requests("POST", "/inputs/que_1") == []


def test_an_answer_to_nothing_is_one_sentence(cloud, capsys):
    cloud.add(FakeSession())
    cloud.canned.append(fake.Reply(200, FakeSession().view()))
    cloud.canned.append(fake.problem(404, "InputNotFound", "no"))
    assert cli.main(["answer", SESSION_ID, "per_1", "--reply", "once"]) == 1
    assert capsys.readouterr().err == (
        "headstart: The agent asks nothing of that id, or not any more.\n"
    )


def test_on_a_terminal_nothing_moves_while_the_agent_waits_for_a_person():
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    view, screen = View(), LiveScreen(console)
    for number, (kind, data) in enumerate(asking(PERMISSION)[:-4], 1):
        event = Event(event_id=number, session_id=SESSION_ID, type=kind, data=data)
        if not kind.startswith("agent."):  # which would end the display, too
            view.apply(event)
            screen.show(event, view)
    assert screen._live is None
    shown = console.file.getvalue()
    screen.close()
    assert shown.endswith(f"  headstart answer {SESSION_ID} per_1 --reply once\n")
