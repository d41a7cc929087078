"""Each type of event has a class, which reads what its type promises, whatever came."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_client_shapes import events_of

from headstart.domain.events import EVENT_TYPES
from headstart_client import Event, events
from headstart_client.attributes import Said
from headstart_client.models import Failure, PullRequest


def said(cls: type[Event]) -> list[str]:
    """Return the names of what a class of event reads of its data."""
    return [name for name, value in vars(cls).items() if isinstance(value, Said)]


def test_each_type_of_the_clouds_has_a_class():
    assert set(events.TYPES) >= set(EVENT_TYPES)


def test_an_event_is_of_the_class_for_its_type_and_keeps_what_was_sent():
    data = {"messageId": "msg_1", "usage": {"cost": 0.5}, "new": 1}
    event = events.event_of({"eventId": 3, "type": "turn.completed", "data": data})
    assert isinstance(event, events.TurnCompleted)
    assert (event.message_id, event.usage, event.data) == ("msg_1", {"cost": 0.5}, data)
    match event:
        case events.TurnFailed():
            pytest.fail("another class")
        case events.TurnCompleted(usage={"cost": cost}):
            assert cost == 0.5


def test_an_unknown_type_stays_an_event():
    event = events.event_of({"eventId": 3, "type": "new.in.2027", "data": {"x": 1}})
    assert type(event) is Event
    assert (event.type, event.data, event.event_id) == ("new.in.2027", {"x": 1}, 3)


def test_what_has_a_shape_of_its_own_is_a_model():
    failure = {"step": "clone", "code": "X", "reason": "why", "retryable": True}
    failed = events.SessionFailed(data={"attemptNumber": 1, "failure": failure})
    assert failed.failure == Failure(step="clone", code="X", reason="why", retryable=True)
    published = {"branch": "b", "commit": "c", "pullRequest": {"number": 1, "url": "u"}}
    assert events.WorkPublished(data=published).pull_request == PullRequest(number=1, url="u")
    assert events.WorkPublished(data={"branch": "b"}).pull_request is None


@pytest.mark.parametrize("kind", sorted(events.TYPES))
@settings(max_examples=15)
@given(data=st.data())
def test_reading_never_raises(kind, data):
    raw = data.draw(events_of(kind)) | {"type": kind, "eventId": None}
    event = events.event_of(raw)
    assert event is not None
    for name in said(type(event)):
        getattr(event, name)
    json.dumps(event.to_json())


PROGRAM = """
from headstart_client import Headstart, Interrupted, TurnFailed, events


def main(url: str, token: str) -> str:
    with Headstart(url, token) as headstart:
        answer = headstart.run("What is here?", "org/name", timeout=60, setup_commands=["ls"])
        cost: object = answer.usage.get("cost")
        print(answer.text, answer.session_id, cost, answer.changes and answer.changes.files)
        turn = headstart.send(answer.session_id, "And now?", if_busy="reject")
        try:
            text: str = turn.result(timeout=10).text
        except Interrupted:
            text = "stopped"
        except TurnFailed as error:
            text = error.code
        headstart.patch(answer.session_id, prompt="x", auto_initiate=False)
        for event in headstart.follow(answer.session_id):
            match event:
                case events.TurnCompleted(usage=usage):
                    print(usage.get("cost"))
                    break
                case events.AgentEvent(kind="text", text=str(said)):
                    print(said.upper())
                case events.InputRequested():
                    request: str = event.request_id
                    headstart.answer_input(answer.session_id, request, {"reply": "once"})
            if isinstance(event, events.Preparing):
                percent: int | None = event.percent
                print(percent)
        for session in headstart.list(search="x", limit=5):
            headstart.rename(session.session_id, "y")
        return text
"""
WRONG = PROGRAM.replace("prompt=", "promt=").replace("event.percent", "event.failure")


def test_programs_are_checked_by_their_types(tmp_path: Path):
    programs = {"good.py": PROGRAM, "wrong.py": WRONG}
    for name, program in programs.items():
        (tmp_path / name).write_text(program)
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path}", "--follow-imports=silent"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *programs],
        check=False,
        capture_output=True,
        cwd=tmp_path,
        text=True,
        timeout=120,
    )
    errors = [line for line in checked.stdout.splitlines() if ": error: " in line]
    assert [line.partition(":")[0] for line in errors] == ["wrong.py", "wrong.py"], checked.stdout
