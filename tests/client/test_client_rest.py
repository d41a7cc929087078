"""Why a session sleeps and what of its work is saved, as the command line and the page say it."""

import re
from datetime import timedelta

import pytest
from session_scripts import good_start, preparing, receipt
from test_client_reducer import VECTORS
from test_client_shapes import shown
from web_page import needs_node

from headstart.domain import tree
from headstart_client.events import data_of
from headstart_client.models import Event
from headstart_client.rest import Rest, ago

TREE = {"preparedTree": {"age": 7260, "bytes": 5, "saved": 41_300}}
READY = ("session.ready", {"receipt": {**receipt()["receipt"], **TREE}})


@pytest.mark.parametrize("vector", VECTORS["rests"], ids=lambda v: v["name"])
def test_what_is_known_of_a_sleep(vector):
    rest = Rest()
    for event in map(Event.model_validate, vector["events"]):
        rest.apply(event, data_of(event))
    assert [rest.why, rest.saved, rest.left_out] == vector["rest"]


@pytest.mark.parametrize(("seconds", "words"), VECTORS["agos"])
def test_how_long_ago_is_said_as_the_cloud_says_it(seconds, words):
    assert ago(seconds) == words == tree.ago(timedelta(seconds=seconds))


def asleep(**data: object) -> tuple[str, dict[str, object]]:
    return "session.asleep", data


def test_the_command_line_says_why_it_sleeps_and_names_once_what_is_not_saved():
    idle = asleep(reason="Idle", saved=True, leftOut=["a.bin", "3 more"])
    assert shown(idle, ("client.caught_up", {})) == [
        "asleep: Idle; the work is saved; the next message wakes it",
        "not in what is saved:",
        "  a.bin",
        "  3 more",
    ]


def test_an_awake_session_names_what_is_not_saved_too():
    snapshot = ("session.snapshot", {"status": "ready", "leftOut": ["a.bin"]})
    assert shown(snapshot, ("client.caught_up", {})) == ["not in what is saved:", "  a.bin"]


def test_the_command_line_shows_what_an_ended_step_says_and_not_what_it_was_at():
    notes = "From a prepared tree of 2 h ago, 3 commits fetched; main at 0123456789ab"
    lines = shown(
        preparing(1, "sandbox", "running", message="Starting the sandbox"),
        preparing(2, "sandbox", "completed", 20),
        preparing(2, "disk", "running", message="Looking"),
        preparing(3, "clone", "running", message="Receiving objects"),
        preparing(4, "clone", "completed", 100, message=notes),
        preparing(5, "setup", "skipped", message="Skipped: same package-lock.json"),
    )
    assert re.fullmatch(r"disk: completed after \d+ ms", lines.pop(3))
    assert lines == [
        "sandbox: starting the sandbox",
        "sandbox: completed after 20 ms",
        "disk: checking the disk",
        "clone: cloning the repository",
        f"clone: completed after 100 ms: {notes}",
        "setup: skipped: same package-lock.json",
    ]


def test_the_receipt_says_what_a_prepared_tree_saved():
    lines = [" ".join(line.split()) for line in shown(*good_start(), READY)]
    assert "ready in 1.2 s; a prepared tree of 2 h ago saved 41.3 s" in lines
    assert "a prepared tree of 2 h ago saved 41.3 s" in lines


@needs_node
def test_the_page_says_why_it_sleeps_and_what_steps_say(page):
    happened = [
        preparing(2, "disk", "running", message="Looking"),
        preparing(3, "clone", "running", message="Receiving objects"),
        preparing(4, "clone", "completed", 100, message="main at 0123"),
        preparing(5, "agent", "running", message="Starting"),
        preparing(6, "agent", "completed", 100),
        preparing(7, "setup", "skipped", message="Skipped: same package-lock.json"),
        ("session.asleep", {"reason": "Idle", "saved": True}),
    ]
    # The events that are not kept have no number, and here one is kept.
    events = [
        {"eventId": 1 if kind == "session.asleep" else None, "type": kind, "data": data}
        for kind, data in happened
    ]
    answer = page(read=[[{"type": "events", "events": [event]} for event in events]])["read"][0]
    steps = {name: step.get("message") for name, step in answer["steps"]}
    assert answer["items"] == ["The session fell asleep: Idle; the work is saved."]
    said = (steps["disk"], steps["clone"], steps["agent"])
    assert said == (None, "main at 0123", None)
    assert steps["setup"] == "Skipped: same package-lock.json"
