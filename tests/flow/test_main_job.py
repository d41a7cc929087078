"""From POST to the agent's answer, and what viewers see of it."""

import concurrent.futures
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.flow.conftest import Cloud, processes_of

STEPS = ["sandbox", "disk", "clone", "branch", "restore", "setup", "agent", "deliver"]


def statuses(session: dict[str, Any]) -> dict[str, str]:
    return {step["step"]: step["status"] for step in session["attempt"]["steps"]}


def test_a_session_becomes_ready_answers_and_shows_every_step(cloud: Cloud) -> None:
    created = cloud.create(setupCommands=["echo one; echo two"], envVars={"CI": "1"})
    session_id = created["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_type("turn.completed")
    session = cloud.wait(session_id, "running")
    assert session["status"] == "ready"
    assert statuses(session) == dict.fromkeys(STEPS, "completed")
    assert session["initiatedAt"]
    assert session["preparedAt"]
    assert session["queue"] == []
    assert session["counts"] == {
        "envVars": 1, "encryptedSecrets": 0, "setupCommands": 1, "mcpServers": 0,
    }  # fmt: skip

    events = cloud.events(session_id)
    assert [e["eventId"] for e in events] == list(range(1, len(events) + 1))
    types = [e["type"] for e in events]
    story = ["session.preparing", "message.queued", "message.delivered", "turn.started",
             "session.ready", "turn.completed"]  # fmt: skip
    assert [t for t in types if t in story] == story
    assert types.index("session.ready") < types.index("agent.event")
    receipt = events[types.index("session.ready")]["data"]["receipt"]
    assert [line["step"] for line in receipt["steps"]] == STEPS
    text = [e["data"].get("text", "") for e in events if e["type"] == "agent.event"]
    assert any("Tally" in part for part in text)

    shown = [e["data"]["step"] for e in viewer.events if e["type"] == "preparing"]
    assert list(dict.fromkeys(shown)) == STEPS[STEPS.index(shown[0]) :]
    assert any(e["type"] == "agent.delta" for e in viewer.events)


def test_setup_output_is_streamed_live(cloud: Cloud, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    command = f"until [ -e {seen} ]; do echo hello from setup; sleep 1; done"
    session_id = cloud.create(setupCommands=[command])["sessionId"]
    with cloud.watch(session_id) as viewer:

        def output() -> str:
            """Return it in one piece: the end of a line that may begin a secret comes later."""
            steps = [e["data"] for e in viewer.events if e["type"] == "preparing"]
            return "".join(step.get("output") or "" for step in steps if step["step"] == "setup")

        event = viewer.until(lambda _: "hello from setup" in output())
        assert event["data"]["status"] == "running"
        seen.touch()
        viewer.until_type("turn.completed")


def test_a_late_viewer_gets_the_snapshot_and_every_persisted_event(cloud: Cloud) -> None:
    session_id = cloud.create()["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_type("turn.completed")
    events = cloud.events(session_id)
    with cloud.watch(session_id) as late:
        snapshot = late.next()["events"][0]
        assert snapshot["type"] == "session.snapshot"
        assert snapshot["data"]["status"] in {"running", "ready"}
        while (frame := late.next()).get("type") != "replayed":
            pass
        assert frame == {"type": "replayed", "through": events[-1]["eventId"], "more": False}
        assert [e for e in late.events if e["eventId"]] == events
    with cloud.watch(session_id, after=3) as again:
        while again.next().get("type") != "replayed":
            pass
        assert next(e["eventId"] for e in again.events if e["eventId"]) == 4
        again.send({"action": "ping"})
        assert again.next() == {"type": "pong", "lastEventId": events[-1]["eventId"]}


def test_progress_is_never_replayed(cloud: Cloud) -> None:
    session_id = cloud.create()["sessionId"]
    cloud.wait(session_id)
    with cloud.watch(session_id) as viewer:
        while viewer.next().get("type") != "replayed":
            pass
        assert not [e for e in viewer.events if e["type"] == "preparing"]


def test_a_follow_up_is_answered_in_the_same_agent_session(cloud: Cloud) -> None:
    session_id = cloud.create()["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_type("turn.completed")
        path = f"/sessions/{session_id}/messages"
        sent = cloud.client().post(path, json={"prompt": "And the tests?"})
        assert sent.status_code == 202
        viewer.until_type("turn.completed")
    messages = cloud.client().get(path).json()["items"]
    assert [m["status"] for m in messages] == ["delivered", "delivered"]
    assert [m["text"] for m in messages] == ["What is in here?", "And the tests?"]


def test_a_held_message_waits_for_initiate_and_twice_is_harmless(cloud: Cloud) -> None:
    session_id = cloud.create(autoInitiate=False)["sessionId"]
    session = cloud.wait(session_id)
    assert session["status"] == "prepared"
    assert session["initiatedAt"] is None
    assert [m["status"] for m in session["queue"]] == ["held"]
    with cloud.watch(session_id) as viewer:
        for _ in range(2):
            answer = cloud.client().post(f"/sessions/{session_id}/initiate")
            assert answer.status_code == 202
        viewer.until_type("turn.completed")
    types = [e["type"] for e in cloud.events(session_id)]
    assert types.count("message.delivered") == types.count("session.ready") == 1
    assert types.index("session.prepared") < types.index("session.ready")


def test_two_posts_with_one_key_at_once_make_one_session(cloud: Cloud) -> None:
    body = {"prompt": "Once", "gitUrl": cloud.info["gitUrl"]}

    def post(_: int) -> dict[str, Any]:
        headers = {"Idempotency-Key": "at-once"}
        answer = cloud.client().post("/sessions", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        created: dict[str, Any] = answer.json()
        cloud.created.append(("demo", created["sessionId"]))
        return created

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(post, range(4)))
    assert len({a["sessionId"] for a in answers}) == 1
    assert len({a["stream"]["ticket"] for a in answers}) == 4
    session_id = answers[0]["sessionId"]
    assert cloud.wait(session_id)["status"] in {"running", "ready"}
    assert [e["type"] for e in cloud.events(session_id)].count("message.delivered") == 1


def test_a_deleted_session_leaves_no_row_and_no_process(cloud: Cloud) -> None:
    session_id = cloud.create(setupCommands=["sleep 60"])["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_step("setup")
        assert processes_of(session_id)
        assert cloud.client().delete(f"/sessions/{session_id}").status_code == 202
        with pytest.raises(ConnectionClosed):
            while True:
                viewer.next()
        assert viewer.events[-1]["type"] == "session.deleted"
    assert cloud.client().get(f"/sessions/{session_id}").status_code == 404


@pytest.mark.parametrize("ticket", ["", "unknown", "used"])
def test_a_ticket_that_is_not_good_is_refused_at_the_handshake(cloud: Cloud, ticket: str) -> None:
    created = cloud.create()
    stream = created["stream"]
    if ticket == "used":
        with connect(f"{stream['url']}?ticket={stream['ticket']}") as socket:
            socket.send(json.dumps({"action": "subscribe", "after": 0}))
            socket.recv(timeout=10)
        ticket = stream["ticket"]
    with pytest.raises(InvalidStatus) as refused, connect(f"{stream['url']}?ticket={ticket}"):
        pass
    assert refused.value.response.status_code == 401


def test_a_ticket_is_no_runners_key(cloud: Cloud) -> None:
    created = cloud.create()
    stream = created["stream"]
    headers = {
        "Authorization": f"Bearer {stream['ticket']}",
        "X-Headstart-Session": created["sessionId"],
    }
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(stream["url"], additional_headers=headers),
    ):
        pass
    assert refused.value.response.status_code == 401


def test_users_see_only_their_own(cloud: Cloud) -> None:
    session_id = cloud.create()["sessionId"]
    alice = cloud.client("alice")
    for method, path in [
        ("GET", ""), ("GET", "/messages"), ("GET", "/events"), ("GET", "/wait"),
        ("POST", "/stream-ticket"), ("POST", "/initiate"), ("DELETE", ""),
    ]:  # fmt: skip
        answer = alice.request(method, f"/sessions/{session_id}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "SessionNotFound"), path
    assert session_id not in alice.get("/sessions").text
    assert session_id in cloud.client().get("/sessions").text


def test_without_a_valid_token_nothing_is_told(cloud: Cloud) -> None:
    client = cloud.client()
    for token in ("", "Bearer x", "Bearer " + cloud.info["token"][:-4] + "AAAA"):
        answer = client.get("/sessions", headers={"Authorization": token})
        assert answer.status_code == 401
    assert client.get("/health", headers={"Authorization": ""}).status_code == 200


def test_starting_the_machine_twice_prepares_once(cloud: Cloud) -> None:
    session_id = cloud.create()["sessionId"]
    machine = cloud.aws("stepfunctions")
    arn = machine.list_state_machines()["stateMachines"][0]["stateMachineArn"]
    again = {"sessionId": session_id, "attemptNumber": 1}
    start = {"stateMachineArn": arn, "name": f"{session_id}-1", "input": json.dumps(again)}
    # What AWS answers depends on whether the first one still runs; neither starts another.
    with contextlib.suppress(machine.exceptions.ExecutionAlreadyExists):
        machine.start_execution(**start)
    with cloud.watch(session_id) as viewer:
        viewer.until_type("turn.completed")
    types = [e["type"] for e in cloud.events(session_id)]
    assert types.count("session.ready") == types.count("message.delivered") == 1


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{", 400, "MalformedBody", None),
        (b"[]", 400, "MalformedBody", None),
        (b"{}", 422, "ValidationFailed", "prompt"),
        (b'{"prompt":"x","githubRepo":"o/n","extra":1}', 422, "ValidationFailed", "extra"),
        (b'{"prompt":"x","gitUrl":"https://10.0.0.1/x"}', 422, "ValidationFailed", "gitUrl"),
        (b'{"prompt":"' + b"x" * 300_000 + b'"}', 413, "BodyTooLarge", None),
    ],
)
def test_bad_input_is_a_problem_document(
    cloud: Cloud, body: bytes, status: int, code: str, field: str | None
) -> None:
    answer = cloud.client().post("/sessions", content=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "retryable", "requestId"} <= set(problem)
    if field:
        assert problem["errors"][0]["loc"] == [field]


@pytest.mark.long
def test_over_the_quota_is_a_clear_refusal(cloud: Cloud) -> None:
    client = cloud.client("quota")
    for _ in range(10):
        cloud.create("quota", autoInitiate=False)
    body = {"prompt": "x", "gitUrl": cloud.info["gitUrl"]}
    answer = client.post("/sessions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (429, "QuotaExceeded")
    assert answer.json()["retryable"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_viewer_that_drops_at_any_moment_ends_with_every_event(cloud: Cloud) -> None:
    session_id = cloud.create(setupCommands=["echo a; sleep 0.3; echo b"])["sessionId"]
    seen: dict[int, str] = {}
    after, ended = 0, False
    while not ended:
        with cloud.watch(session_id, after) as viewer:
            for _ in range(4):
                # The last of the replay may be all that ever comes.
                if ended:
                    break
                for event in viewer.next().get("events", []):
                    if event["eventId"]:
                        seen[event["eventId"]] = event["type"]
                    ended = ended or event["type"] == "turn.completed"
        after = next((n - 1 for n in range(1, len(seen) + 2) if n not in seen), len(seen))
    assert seen == {e["eventId"]: e["type"] for e in cloud.events(session_id)}
