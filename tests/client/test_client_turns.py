"""A message and what comes of it, from both clients; following without asyncio."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading

import pytest
from fake_headstart import SESSION_ID, FakeHeadstart, FakeSession, page, problem
from session_scripts import good_session, good_start, good_turn, receipt

from headstart_client import (
    AsyncHeadstart,
    Headstart,
    Interrupted,
    NotFound,
    PreparationFailed,
    TurnFailed,
    events,
)
from headstart_client.blocking import Loop

OF_TURN = {"turnId": "turn_2", "messageId": "msg_2"}
SPENT = {"inputTokens": 12, "outputTokens": 3, "cost": 0.5}


@pytest.fixture
def client(cloud: FakeHeadstart):
    with Headstart(cloud.url, "token", sleep=lambda _: None) as client:
        yield client


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "headstart"]


def said(part: str, message: str, text: str, **more: object) -> tuple[str, dict[str, object]]:
    kind = {"kind": "text", "messageId": message, "partId": part, "text": text}
    return "agent.event", kind | more


def a_turn(*parts: tuple[str, dict[str, object]], **end: object) -> list[tuple[str, object]]:
    done = ("turn.completed", {**OF_TURN, "usage": SPENT, **end})
    return [("message.delivered", OF_TURN), ("turn.started", OF_TURN), *parts, done]


def test_run_answers_with_the_agents_last_message(cloud, client):
    cloud.next_session.script = [*good_session()[:-1], said("x", "m2", "It is done.")]
    cloud.next_session.script += [
        said("y", "m2", "Two files."),
        ("work.changed", {"files": 2, "additions": 5, "deletions": 0}),
        ("turn.completed", {"turnId": "turn_1", "messageId": "msg_1", "usage": SPENT}),
    ]
    answer = client.run("Say hello", "org/name", timeout=10, setup_commands=["ls"])
    assert (answer.session_id, answer.message_id) == (SESSION_ID, "msg_1")
    assert (answer.text, answer.usage) == ("It is done.\n\nTwo files.", SPENT)
    assert (answer.changes.files, answer.truncated) == (2, False)
    sent = cloud.requests("POST", "/sessions")[0].body
    assert (sent["githubRepo"], sent["setupCommands"]) == ("org/name", ["ls"])
    assert cloud.requests("POST", "/stream-ticket") == []
    assert threads() == []


def test_run_takes_an_address_too(cloud, client):
    cloud.next_session.script = good_session()
    assert client.run("Say hello", "https://example.com/r.git", timeout=10).text == "Hello, world."
    assert cloud.requests("POST", "/sessions")[0].body["gitUrl"] == "https://example.com/r.git"


def test_a_long_answer_is_fetched_whole(cloud, client):
    session = cloud.add(FakeSession(status="ready"))
    session.texts["t.1"] = [page("Räder", cursor="c"), page(" rollen", offset=6)]
    session.script = a_turn(said("x", "m", "Rä", textRef="t.1", textBytes=13))
    answer = client.send(SESSION_ID, "go on").result(timeout=10)
    assert (answer.text, answer.truncated) == ("Räder rollen", False)


@pytest.mark.parametrize(("there", "reason"), [(True, "no model at all"), (False, "no mo")])
def test_a_long_reason_is_told_whole_where_it_can_be_had(cloud, client, there, reason):
    session = cloud.add(FakeSession(status="ready"))
    session.texts |= {"t.1": [page("no model at all")]} if there else {}
    of = {**OF_TURN, "code": "AgentRefused", "reason": "no mo", "textRef": "t.1", "textBytes": 15}
    session.script = [*a_turn()[:-1], ("turn.failed", of)]
    with pytest.raises(TurnFailed) as failed:
        client.send(SESSION_ID, "go on").result(timeout=10)
    assert failed.value.reason == reason


def test_a_text_that_is_not_all_there_is_said_to_be_cut(cloud, client):
    session = cloud.add(FakeSession(status="ready"))
    session.texts["t.1"] = [page("Rä", truncated=True)]
    session.script = a_turn(said("x", "m", "R", textRef="t.1", textBytes=13))
    assert client.send(SESSION_ID, "go on").result(timeout=10).truncated


# What names a text comes from a sandbox, whoever drives that.
NO_TEXTS = ["..", ".", "", "unknown"]


@pytest.mark.parametrize("ref", ["t.1", *NO_TEXTS])
def test_what_was_had_of_a_text_is_not_lost_with_its_rest(cloud, client, ref):
    session = cloud.add(FakeSession(status="ready"))
    session.texts["t.1"] = [page(truncated=True)]
    session.script = a_turn(said("x", "m", "The beginning", textRef=ref, textBytes=99))
    answer = client.send(SESSION_ID, "go on").result(timeout=10)
    assert (answer.text, answer.truncated) == ("The beginning", True)


@pytest.mark.parametrize("ref", ["t.1", *NO_TEXTS])
def test_a_reason_is_not_lost_with_its_rest(cloud, client, ref):
    session = cloud.add(FakeSession(status="ready"))
    session.texts["t.1"] = [page(truncated=True)]
    of = {**OF_TURN, "code": "AgentFailed", "reason": "no mo", "textRef": ref, "textBytes": 15}
    session.script = [*a_turn()[:-1], ("turn.failed", of)]
    with pytest.raises(TurnFailed) as failed:
        client.send(SESSION_ID, "go on").result(timeout=10)
    assert failed.value.reason == "no mo"


def test_only_its_own_turn_is_its_answer(cloud, client):
    session = cloud.add(
        FakeSession(status="running", active_turn={"turnId": "turn_1", "messageId": "msg_1"})
    )
    session.script = [*good_turn()[1:], *a_turn(said("x", "m", "Mine"))]
    turn = client.send(SESSION_ID, "and now?")
    assert turn.message.message_id == "msg_2"
    assert turn.result(timeout=10).text == "Mine"


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        ([("turn.failed", {**OF_TURN, "code": "X", "reason": "why"})], TurnFailed, "X"),
        ([("turn.interrupted", OF_TURN)], Interrupted, "Interrupted"),
        ([("message.withdrawn", OF_TURN)], TurnFailed, "MessageWithdrawn"),
        ([("message.held", OF_TURN)], TurnFailed, "MessageHeld"),
        ([("session.deleted", {})], TurnFailed, "SessionDeleted"),
        (
            [
                ("session.preparing", {"attemptNumber": 2, "cause": "wake"}),
                ("session.failed", {"failure": {"step": "clone", "code": "X", "reason": "no"}}),
            ],
            PreparationFailed,
            "X",
        ),
    ],
)
def test_what_is_no_answer_is_raised(cloud, client, script, kind, code):
    cloud.add(FakeSession(status="ready")).script = script
    turn = client.send(SESSION_ID, "and now?")
    with pytest.raises(kind) as caught:
        turn.result(timeout=10)
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert caught.value.session_id == SESSION_ID
    assert threads() == []


def test_a_wait_has_an_end(cloud, client):
    cloud.add(FakeSession(status="ready"))
    turn = client.send(SESSION_ID, "and now?")
    with pytest.raises(TimeoutError, match=r"The turn of ses_\w+ has not ended within [\d.]+ s"):
        turn.result(timeout=0.2)
    assert threads() == []


def test_the_async_client_answers_alike(cloud):
    cloud.next_session.script = good_session()

    async def main() -> None:
        async with AsyncHeadstart(cloud.url, "token") as client:
            answer = await client.run("Say hello", "o/n", timeout=10)
            assert answer.text == "Hello, world."
            cloud.sessions[SESSION_ID].script = a_turn(said("x", "m", "Mine"))
            turn = await client.send(SESSION_ID, "and now?")
            assert (await turn.result(timeout=10)).text == "Mine"
            late = await client.send(SESSION_ID, "and now?")
            with pytest.raises(TimeoutError):
                await late.result(timeout=0.2)

    asyncio.run(main())


def test_following_needs_no_asyncio_and_leaves_nothing(cloud, client):
    cloud.add(FakeSession(script=good_session()))
    seen = []
    for event in client.follow(SESSION_ID):
        seen.append(event)
        if isinstance(event, events.TurnCompleted):
            break
    gc.collect()
    assert [event.event_id for event in seen if event.event_id] == list(range(1, 10))
    assert threads() == []


def test_following_ends_and_raises_as_it_does_with_asyncio(cloud, client):
    cloud.add(FakeSession(script=[*good_start()[:1], ("session.deleted", {})]))
    assert [e.type for e in client.follow(SESSION_ID)][-1] == "session.deleted"
    cloud.canned.append(problem(404, "SessionNotFound", "gone"))
    with pytest.raises(NotFound):
        list(client.follow(SESSION_ID))
    assert threads() == []


def test_following_works_where_a_loop_runs_already(cloud, client):
    """As in a notebook."""
    cloud.add(FakeSession(script=good_session()))

    async def cell() -> str:
        following = client.follow(SESSION_ID)
        first = next(following)
        following.close()
        return first.type

    assert asyncio.run(cell()) == "session.snapshot"
    assert threads() == []


def test_ctrl_c_ends_following_at_once(cloud):
    cloud.add(FakeSession())
    program = (
        "import sys, threading\n"
        "from headstart_client import Headstart\n"
        "with Headstart(sys.argv[1], 'token') as client:\n"
        "    try:\n"
        "        for event in client.follow(sys.argv[2]):\n"
        "            print(event.type, flush=True)\n"
        "    except KeyboardInterrupt:\n"
        "        print('left', threading.active_count(), flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, cloud.url, SESSION_ID],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line == "client.caught_up\n":
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("left 1\n", "", 0)


def test_a_program_ends_though_it_still_follows(cloud):
    """What a program keeps is thrown away when no thread of it runs any more."""
    cloud.add(FakeSession())
    program = (
        "import sys\n"
        "from headstart_client import Headstart\n"
        "following = Headstart(sys.argv[1], 'token').follow(sys.argv[2])\n"
        "print(next(following).type)\n"
        "sys.exit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, cloud.url, SESSION_ID],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("session.snapshot\n", "", 3)


def test_a_text_that_grows_is_waited_for_within_bounds(cloud):
    pauses: list[float] = []
    session = cloud.add(FakeSession())
    session.texts["log.1.setup"] = [
        page("one\n", cursor="a", complete=False),
        page(cursor="a", complete=False),
        page("two\n", offset=4),
    ]
    with Headstart(cloud.url, "token", sleep=pauses.append) as client:
        assert client.text(SESSION_ID, "log.1.setup").text == "one\ntwo\n"
        # After an empty page, and not before.
        assert pauses == [1.0]
        session.texts["never"] = [page("x", cursor="a", complete=False), page(cursor="a")]
        found = client.text(SESSION_ID, "never", patience=3)
        assert (found.text, found.complete) == ("x", False)
        assert pauses[1:] == [1.0, 1.0, 1.0]
        with pytest.raises(NotFound):
            client.text(SESSION_ID, "unknown")


def test_a_text_is_waited_for_as_long_as_some_of_it_comes(cloud):
    pauses: list[float] = []
    session = cloud.add(FakeSession())
    session.texts["slow"] = [
        one
        for at in range(4)
        for one in (page(cursor="a"), page(cursor="a"), page(str(at), cursor="a", offset=at))
    ] + [page("4", offset=4)]
    with Headstart(cloud.url, "token", sleep=pauses.append) as client:
        found = client.text(SESSION_ID, "slow", patience=3)
        assert (found.text, found.complete, sum(pauses)) == ("01234", True, 8.0)


def test_a_text_that_was_begun_anew_has_no_part_twice(cloud, client):
    session = cloud.add(FakeSession())
    session.texts["t"] = [page("old", cursor="a"), page("new ", "text")]
    assert client.text(SESSION_ID, "t").text == "new text"


def test_lists_are_searched_and_bounded(cloud, client):
    for number in range(5):
        cloud.add(FakeSession(session_id=f"ses_{number}", title=f"Title {number % 2}"))
    assert [s.session_id for s in client.list(limit=3)] == ["ses_0", "ses_1", "ses_2"]
    assert [s.session_id for s in client.list(search="title 1", repository="r")] == [
        "ses_1",
        "ses_3",
    ]
    queries = [seen.query for seen in cloud.requests("GET", "/sessions")]
    assert queries[0] == {"limit": ["3"]}
    assert queries[-1] == {"search": ["title 1"], "repository": ["r"], "limit": ["100"]}


def test_a_deployment_tells_its_defaults(client):
    found = client.defaults()
    assert (found.agent, found.mode, found.agents[0].modes) == ("demo", None, ["code"])
    assert found.limits["activeSessions"] == 10


def test_a_receipt_is_read(cloud, client):
    ready = events.SessionReady(data=receipt())
    assert ready.receipt["totalMs"] == 1234


def test_an_interrupted_wait_ends_what_it_waited_for():
    """Ended, and not only told to: what goes on could not be closed."""
    over = []

    async def work() -> None:
        try:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            for _ in range(100):
                await asyncio.sleep(0)
            over.append(True)

    with Loop() as loop:
        with pytest.raises(KeyboardInterrupt):
            loop.wait_for(work())
        assert over == [True]
