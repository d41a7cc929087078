"""Questions that are answered on the terminal which shows them."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from fake_headstart import SESSION_ID, FakeHeadstart, Seen
from fake_http import Reply
from session_scripts import good_session, good_turn
from terminal_kit import Terminal
from test_client_inputs import PERMISSION, QUESTION, TWO

from headstart_client.asking import chosen
from headstart_client.text import plain

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def run(cloud: FakeHeadstart) -> Iterator[Any]:
    started: list[Terminal] = []

    def start(*asked: dict[str, Any]) -> Terminal:
        before, after = good_session()[:-1], good_turn()[-2:]
        session = cloud.next_session
        session.script = [*before[:-1], *[("input.requested", one) for one in asked]]
        original = cloud.answer

        def answer(request: Seen) -> Reply:
            if "/inputs/" not in request.path:
                return original(request)
            request_id = request.path.rpartition("/")[2]
            cloud.emit(session, "input.resolved", {"requestId": request_id, "outcome": "answered"})
            if request_id == asked[-1]["requestId"]:
                for kind, data in after:
                    cloud.emit(session, kind, data)
            return Reply(202, {})

        cloud.answer = answer  # type: ignore[method-assign]
        started.append(Terminal("run", "Say hello", "--repo", "o/n"))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


def answers(cloud: FakeHeadstart) -> list[tuple[str, Any]]:
    return [
        (seen.path.rpartition("/")[2], seen.body) for seen in cloud.seen if "/inputs/" in seen.path
    ]


def lines(terminal: Terminal) -> list[str]:
    return plain(terminal.all).splitlines()


def test_a_permission_and_a_question_are_answered_in_place(cloud, run):
    terminal = run(PERMISSION, QUESTION)
    terminal.until("? May the agent do this? bash: git log")
    terminal.until("(o)nce, (a)lways or (r)eject? ")
    terminal.type("perhaps")
    terminal.until("perhaps is none of o, a and r")
    terminal.until("(o)nce, (a)lways or (r)eject? ")
    terminal.type("o")
    terminal.until("1 The code")
    terminal.until("2 Tests - of all of it")
    terminal.until("a number, or words of yours: ")
    terminal.type("9")
    terminal.until("There is no such option: they are 1 to 2")
    terminal.until("a number, or words of yours: ")
    terminal.type("1,2")
    terminal.until("Only one can be chosen")
    terminal.until("a number, or words of yours: ")
    terminal.type("2")
    assert terminal.end() == 0
    assert answers(cloud) == [
        ("per_1", {"reply": "once"}),
        ("que_1", {"answers": [["Tests"]]}),
    ]
    assert "headstart answer" not in terminal.shown


def test_several_questions_are_asked_one_after_the_other(cloud, run):
    terminal = run(TWO)
    terminal.until("\nOne?\r\n")
    terminal.until("your answer: ")
    terminal.type("first")
    terminal.until("\nTwo?\r\n")
    terminal.until("your answer: ")
    terminal.type("second words")
    assert terminal.end() == 0
    assert answers(cloud) == [("que_1", {"answers": [["first"], ["second words"]]})]


def test_of_a_multiple_choice_several_can_be_named(cloud, run):
    options = [{"label": "The code"}, {"label": "Tests"}, {"label": "Docs"}]
    question = {"question": "What?", "options": options, "multiple": True}
    terminal = run({**QUESTION, "body": {"questions": [question]}})
    terminal.until("numbers such as 1,2, or words of yours: ")
    terminal.type("1,3")
    assert terminal.end() == 0
    assert answers(cloud) == [("que_1", {"answers": [["The code", "Docs"]]})]


def test_what_is_answered_elsewhere_is_not_asked_any_more(cloud, run):
    terminal = run(PERMISSION)
    terminal.until("(r)eject? ")
    resolved = {"requestId": "per_1", "outcome": "answered"}
    for kind, data in [("input.resolved", resolved), *good_turn()[-2:]]:
        cloud.emit(cloud.sessions[SESSION_ID], kind, data)
    assert terminal.end() == 0
    assert answers(cloud) == []
    # On a line of its own, and not as if it had been typed.
    assert "  (o)nce, (a)lways or (r)eject? \n  answered\n" in "\n".join(lines(terminal))


def test_what_happens_beside_a_question_is_told_on_a_line_of_its_own(cloud, run):
    terminal = run(PERMISSION)
    terminal.until("(r)eject? ")
    session = cloud.sessions[SESSION_ID]
    cloud.emit(session, "session.renamed", {"title": "Mine"})
    terminal.until("(r)eject? ")
    part = {"partId": "p", "kind": "text", "text": "Meanwhile.", "offset": 0}
    cloud.emit(session, "agent.delta", part)
    terminal.until("Meanwhile.")
    terminal.type("o")
    assert terminal.end() == 0
    asked = "  (o)nce, (a)lways or (r)eject? "
    assert f"{asked}\nrenamed: Mine\n{asked}\nMeanwhile." in "\n".join(lines(terminal))
    assert answers(cloud) == [("per_1", {"reply": "once"})]


def test_ctrl_c_at_a_question_leaves_the_session(cloud, run):
    terminal = run(PERMISSION)
    terminal.until("(r)eject? ")
    os.killpg(terminal.process.pid, 2)
    assert terminal.end() == 130
    assert f"\r\nThe session goes on: headstart follow {SESSION_ID}" in terminal.shown


@pytest.mark.parametrize(
    ("line", "labels"),
    [("2", ["b"]), ("1, 2", ["a", "b"]), ("3", None), ("b", ["b"]), ("0 1", None), ("²", ["²"])],
)
def test_options_are_named_by_number(line, labels):
    assert chosen(["a", "b"], line) == labels
    assert chosen([], line) == [line]
