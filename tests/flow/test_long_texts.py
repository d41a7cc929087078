"""What is long, from the sandbox to whoever reads it: nothing of it is cut."""

import json
import time
from typing import Any

import pytest

from tests.flow.conftest import Cloud
from tests.flow.test_secrets import TOKEN, create
from tests.flow.traces import logs, rows

SUBJECT = "lighthouse " * 9_000
"""Of a commit, which the demo agent quotes whole."""

MANY = "for i in $(seq 40000); do echo line $i; done"
COMMIT = (
    "for i in $(seq 9000); do printf 'lighthouse '; done > ../subject && "
    "git -c user.name=Ada -c user.email=ada@example.com commit --quiet --allow-empty "
    "--file ../subject"
)


def whole(cloud: Cloud, session_id: str, ref: str) -> tuple[str, dict[str, Any]]:
    """Read a text to its end, as it comes; returns it and its last page."""
    said, cursor = "", None
    deadline = time.monotonic() + 60
    client = cloud.client()
    while time.monotonic() < deadline:
        query = {"cursor": cursor} if cursor else {}
        answer = client.get(f"/sessions/{session_id}/texts/{ref}", params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        for item in page["items"]:
            assert item["offset"] == len(said.encode())
            said += item["text"]
        cursor = page["nextCursor"]
        if cursor is None:
            return said, page
    raise AssertionError("the text did not end")


def test_a_log_and_an_answer_of_any_length_are_read_whole(cloud: Cloud) -> None:
    session_id = cloud.create(setupCommands=[MANY, COMMIT])["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_type("turn.completed")
    log, page = whole(cloud, session_id, "log.1.setup")
    lines = "".join(f"line {number}\n" for number in range(1, 40_001))
    assert log.startswith(f"$ {MANY}\n{lines}$ for i in")
    assert (page["bytes"], page["complete"], page["truncated"]) == (len(log), True, False)
    logs = cloud.client().get(f"/sessions/{session_id}/logs").json()["items"]
    assert [item["step"] for item in logs] == ["clone", "branch", "setup", "agent"]
    assert all(item["complete"] and not item["truncated"] for item in logs)

    events = cloud.events(session_id)
    assert "text" not in {event["type"] for event in [*events, *viewer.events]}
    long = [event["data"] for event in events if event["data"].get("textRef")]
    assert "text" in {data["kind"] for data in long}
    for data in long:
        said, page = whole(cloud, session_id, data["textRef"])
        assert SUBJECT.strip() in said
        assert said.startswith(data["output"] if data["kind"] == "tool" else data["text"])
        assert data["textBytes"] == page["bytes"] == len(said.encode())
        assert "truncated" not in data
        assert not page["truncated"]

    other = cloud.client("somebody else")
    assert other.get(f"/sessions/{session_id}/texts/log.1.setup").status_code == 404
    assert other.get(f"/sessions/{session_id}/logs").status_code == 404
    missing = cloud.client().get(f"/sessions/{session_id}/texts/txt_nowhere")
    assert (missing.status_code, missing.json()["code"]) == (404, "TextNotFound")


HALVES = (
    'printf %s "$NPM_TOKEN" | head -c 11; sleep 2; printf %s "$NPM_TOKEN" | tail -c +12; echo; '
    'for i in $(seq 3000); do printf %s. "$NPM_TOKEN"; done'
)
QUOTED = COMMIT.replace("printf 'lighthouse '", "printf 'lighthouse %s ' \"$NPM_TOKEN\"")


@pytest.mark.long
def test_of_a_secret_in_two_pieces_neither_is_told(cloud: Cloud) -> None:
    commands = [HALVES, QUOTED]
    session_id = create(cloud, {"NPM_TOKEN": TOKEN}, setup_commands=commands, auto_initiate=True)
    with cloud.watch(session_id) as viewer:
        viewer.until_type("turn.completed")
    log, _ = whole(cloud, session_id, "log.1.setup")
    assert "\n[redacted]\n" + "[redacted]." * 3000 in log
    long = [e["data"] for e in cloud.events(session_id) if e["data"].get("textRef")]
    texts = [whole(cloud, session_id, data["textRef"])[0] for data in long]
    assert any("lighthouse [redacted] " * 9_000 in text.replace("\n", " ") for text in texts)
    for place in (log, *texts, json.dumps(viewer.frames), rows(cloud), logs(cloud, session_id)):
        assert "redacted" in place or session_id in place
        assert TOKEN not in place
        assert TOKEN[:11] not in place
