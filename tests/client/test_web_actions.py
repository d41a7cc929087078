"""What people do on the page: release what waits, try again, list more; its markup has it."""

import re
from typing import Any

import pytest
from fake_headstart import FakeSession
from web_page import WEB, needs_node

Event = dict[str, Any]


def happened(kind: str, event_id: int | None = None, **data: Any) -> Event:
    return {"eventId": event_id, "type": kind, "data": data}


def queued(message: str) -> Event:
    return happened("message.queued", messageId=message, text="x")


def started(message: str) -> Event:
    return happened("turn.started", turnId=f"turn of {message}", messageId=message)


def snapshot(status: str, *waiting: str, event_id: int = 0, turn: Any = None) -> Event:
    queue = [{"messageId": f"msg_{n}", "status": status} for n, status in enumerate(waiting)]
    view = FakeSession(status=status, queue=queue, active_turn=turn).view()
    return happened("session.snapshot", **{**view, "lastEventId": event_id})


READY = [queued("a"), started("a"), happened("session.ready")]
BUSY = [*READY, queued("b")]
UNKNOWN = happened("message.failed", messageId="b", code="DeliveryUnknown", reason="r")
HELD = happened("message.held", messageId="b")
WAKE = happened("session.preparing", attemptNumber=2)
TURN = {"turnId": "turn_1", "messageId": "msg_0"}
CLAIMED = snapshot("ready", "delivering", turn=TURN)


@needs_node
@pytest.mark.parametrize(
    ("events", "held"),
    [
        ([queued("a"), happened("session.prepared")], True),
        ([queued("a"), happened("session.prepared"), "release"], False),
        ([*BUSY, happened("turn.completed")], False),
        ([*BUSY, happened("turn.interrupted"), HELD], True),
        ([*BUSY, happened("turn.interrupted"), HELD, "release"], False),
        ([*BUSY, happened("turn.interrupted"), HELD, started("b")], False),
        ([*BUSY, happened("turn.interrupted"), HELD, queued("c"), started("b")], False),
        ([*READY, happened("turn.interrupted")], False),
        ([*BUSY, happened("turn.completed"), HELD], True),
        ([*BUSY, happened("turn.failed"), HELD], True),
        # A turn that was lost with its sandbox holds nothing.
        ([*BUSY, happened("turn.failed")], False),
        ([*BUSY, happened("turn.failed"), happened("session.asleep"), WAKE], False),
        ([*BUSY, happened("turn.completed"), UNKNOWN], True),
        ([*BUSY, happened("turn.completed"), UNKNOWN, queued("c")], True),
        ([*BUSY, happened("turn.completed"), UNKNOWN, "release", started("b")], False),
        # A wake that was cancelled leaves the message that woke.
        ([*BUSY, WAKE, happened("session.asleep"), HELD], True),
        ([*BUSY, HELD, WAKE], False),
        ([*BUSY, happened("turn.failed"), HELD, happened("session.failed")], False),
        ([snapshot("ready", "queued")], False),
        ([snapshot("ready", "held")], True),
        ([snapshot("asleep", "held", "queued")], True),
        ([snapshot("ready", "held"), queued("b")], True),
        ([CLAIMED], False),
        # It came back, and nobody began a turn.
        ([CLAIMED, happened("message.held", messageId="msg_0")], True),
        ([snapshot("preparing", "held")], False),
        ([snapshot("ready")], False),
        # What is replayed after a snapshot is in it already.
        ([snapshot("ready", "queued", event_id=9), {**HELD, "eventId": 8}], False),
        ([snapshot("ready", "held", event_id=9), happened("turn.started", 8, messageId="a")], True),
    ],
)
def test_what_waits_for_a_person_is_known(page, events, held):
    assert page(held=[events])["held"][0][-1] is held


@needs_node
def test_a_message_of_unknown_fate_is_not_said_to_be_undelivered(page):
    shown = page(read=[[{"type": "events", "events": [{**UNKNOWN, "eventId": 1}]}]])["read"][0]
    assert shown["items"] == ["It is not known whether the agent got the message: r"]


@needs_node
@pytest.mark.parametrize(
    ("sessions", "wanted", "more", "calls"),
    [
        (0, 20, False, ["limit=20"]),
        (20, 20, False, ["limit=20"]),
        (21, 20, True, ["limit=20"]),
        (45, 40, True, ["limit=40", "limit=10&cursor=30"]),
        (45, 60, False, ["limit=60", "limit=30&cursor=30"]),
        (
            *(300, 110, True),
            ["limit=100", "limit=80&cursor=30", "limit=50&cursor=60", "limit=20&cursor=90"],
        ),
    ],
)
def test_the_list_has_as_many_as_are_wanted_and_says_whether_there_are_more(
    page, sessions, wanted, more, calls
):
    answer = page(listing=[{"sessions": sessions, "wanted": wanted}])["listing"][0]
    assert answer["items"] == list(range(min(sessions, wanted)))
    assert answer["more"] is more
    assert answer["calls"] == [f"GET /sessions?{call}" for call in calls]


@needs_node
def test_a_retry_changes_the_setup_commands_only_where_a_person_does(page):
    attempts = page(attempts=[[2, None], [2, "npm ci\n\n make\n"], [2, " \n"]])["attempts"]
    assert attempts == [
        {"attemptNumber": 2},
        {"attemptNumber": 2, "setupCommands": ["npm ci", " make"]},
        {"attemptNumber": 2, "setupCommands": []},
    ]


@needs_node
def test_a_new_session_says_what_was_filled_in(page):
    empty = {
        "repo": " o/n ",
        "prompt": "p",
        "branch": " ",
        "setup": "\n",
        "hold": False,
        "inputs": " ",
        "tree": "use",
        "depth": "",
        "submodules": False,
    }
    full = {
        "repo": "https://h/r",
        "prompt": "p",
        "branch": "b",
        "setup": "make",
        "hold": True,
        "inputs": "a.lock \n\nb.lock",
        "tree": "refresh",
        "depth": "1",
        "submodules": True,
    }
    assert page(sessions=[empty, full])["sessions"] == [
        {"githubRepo": "o/n", "prompt": "p", "autoInitiate": True},
        {
            "gitUrl": "https://h/r", "prompt": "p", "upstreamBranch": "b",
            "setupCommands": ["make"], "autoInitiate": False, "preparedTree": "refresh",
            "setupInputs": ["a.lock", "b.lock"], "clone": {"depth": 1, "submodules": True},
        },
    ]  # fmt: skip


def test_what_the_page_names_is_in_its_markup():
    markup = (WEB / "index.html").read_text()
    modules = "".join(module.read_text() for module in WEB.glob("*.js"))
    named = set(re.findall(r'\$\("([\w-]+)"\)', modules))
    assert {"more", "retry", "change", "initiate"} <= named
    assert named <= set(re.findall(r'\bid="([\w-]+)"', markup))
