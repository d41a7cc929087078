"""A sandbox that says what it likes of long texts: each thing is judged alone, and kept bounded."""

import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from headstart.adapters.dynamodb import DynamoStore
from headstart.domain.change import Change
from headstart.domain.long_texts import SESSION_TEXT_BYTES, TEXT_BYTES, Text
from headstart.domain.policy import Policy
from tests.flow.conftest import PATIENCE, Cloud, long, processes_of, runner_is_gone
from tests.flow.test_faults import rows_of
from tests.flow.test_sleep import first_turn, sweep
from tests.flow.traces import logs, table_of

Json = dict[str, Any]


@dataclass
class Hostile:
    """A runner's connection in the hands of somebody else, who has all that the runner has."""

    cloud: Cloud
    session_id: str
    socket: ClientConnection
    seq: int

    def hear(self, kind: str) -> Json:
        """Return the next frame of a type."""
        while True:
            frame: Json = json.loads(self.socket.recv(timeout=PATIENCE))
            if frame["type"] == kind:
                return frame

    def report(self, *events: Any, session_id: str | None = None) -> bool:
        """Send one batch; returns whether the cloud took it, which it must say."""
        self.seq += 1
        frame = {"action": "report", "sessionId": session_id or self.session_id, "seq": self.seq}
        self.socket.send(json.dumps({**frame, "events": events, "results": []}))
        ack = self.hear("ack")
        assert ack["seq"] == self.seq
        return bool(ack["accepted"])

    def text(self, ref: str = "txt_1") -> tuple[str, bool, bool]:
        """Return what there is of a text, whether it is complete, and whether it is cut."""
        path = f"/sessions/{self.session_id}/texts/{ref}"
        page = self.cloud.client().get(path).json()
        assert "items" in page, page
        return "".join(item["text"] for item in page["items"]), page["complete"], page["truncated"]


def store(cloud: Cloud) -> DynamoStore:
    return DynamoStore(cloud.aws("dynamodb"), table_of(cloud))


def change_of(cloud: Cloud, session_id: str) -> Change:
    found = store(cloud).load(session_id)
    return Change(found, datetime.now(UTC), Policy(stream_url="wss://none"))


@contextlib.contextmanager
def taken_over(cloud: Cloud, session_id: str) -> Iterator[Hostile]:
    """Freeze a session's runner, and speak in its place."""
    [pid] = processes_of(session_id)
    os.kill(pid, signal.SIGSTOP)
    try:
        pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
        environment = dict(pair.partition("=")[::2] for pair in pairs)
        journal = Path(environment["HEADSTART_STATE_DIR"]) / "journal.db"
        with contextlib.closing(sqlite3.connect(journal)) as db:
            [[key]] = db.execute("SELECT value FROM meta WHERE key = 'resume_key'")
        change = change_of(cloud, session_id)
        assert change.sandbox
        headers = {"Authorization": f"Bearer {key}", "X-Headstart-Session": session_id}
        with connect(environment["HEADSTART_URL"], additional_headers=headers) as socket:
            hello = {
                "action": "hello",
                "attemptNumber": change.session.attempt_number,
                "process": change.sandbox.process,
                "connection": change.sandbox.connection_number + 1,
            }
            socket.send(json.dumps(hello))
            hostile = Hostile(cloud, session_id, socket, change.session.runner_seq)
            hostile.hear("welcome")
            yield hostile
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def piece(offset: int, text: str, **more: Any) -> Json:
    return {
        "type": "text",
        "ref": "txt_1",
        "writer": "w",
        "offset": offset,
        "text": text,
        **more,
    }


@pytest.fixture
def hostile(cloud: Cloud) -> Iterator[Hostile]:
    session_id = first_turn(cloud)
    cloud.wait(session_id, "running")
    with taken_over(cloud, session_id) as found:
        yield found


def test_what_makes_no_sense_is_dropped_singly_and_acknowledged(
    cloud: Cloud, hostile: Hostile
) -> None:
    before = logs(cloud, hostile.session_id).count('"EventsDropped"')
    assert hostile.report(
        piece(0, "one "),
        piece(0, "one "),
        piece(-1, "x", ref="txt_3"),
        piece(4, "x", ref="../SESSION"),
        piece(4, "x", ref=7),
        piece(4, "x", writer=""),
        {"type": "text"},
        "text",
        piece(4, "two "),
    )
    assert hostile.report(piece(0, "one "), piece(4, "three"), piece(0, "y", writer="v" * 65))
    assert hostile.text() == ("one two ", False, False)
    assert hostile.report(piece(8, "end", last=True), piece(11, "after it"), piece(8, "again"))
    assert hostile.text() == ("one two end", True, False)
    assert hostile.report(piece(5, "a hole", ref="txt_2"), piece(0, "late", ref="txt_2"))
    assert hostile.text("txt_2") == ("", True, True)
    assert hostile.text("txt_3") == ("", True, True)
    assert hostile.report(
        piece(0, "of no event, and no step", ref="log.9.nothing"),
        *(piece(0, "of no attempt", ref=f"log.{number}.setup") for number in (0, "01", 7, 10**30)),
    )
    assert [log["step"] for log in _logs_of(hostile)] == ["clone", "branch", "agent"]
    assert logs(cloud, hostile.session_id).count('"EventsDropped"') > before


def _logs_of(hostile: Hostile) -> list[Json]:
    answer = hostile.cloud.client().get(f"/sessions/{hostile.session_id}/logs")
    items: list[Json] = answer.json()["items"]
    return items


def test_more_at_once_than_a_transaction_takes_holds_up_nothing(hostile: Hostile) -> None:
    assert hostile.report(*[piece(0, "", ref=f"t{number}") for number in range(150)])
    refs = [{"kind": "tool", "textRef": f"a{n}", "inputRef": f"b{n}"} for n in range(80)]
    assert hostile.report(*[{"type": "agent.event", "turnId": "t", "data": ref} for ref in refs])
    assert hostile.report(piece(0, "still here", last=True))
    assert hostile.text() == ("still here", True, False)


@pytest.mark.parametrize("of", ["text", *long("session")])
def test_what_is_endless_ends_at_its_bound(cloud: Cloud, hostile: Hostile, of: str) -> None:
    assert hostile.report(piece(0, "beginning"))
    change = change_of(cloud, hostile.session_id)
    if of == "session":
        change.session.text_bytes = SESSION_TEXT_BYTES - 20
    else:
        size = TEXT_BYTES - 20
        change.save(Text(ref="txt_1", writer="w", sandbox_id="s", bytes=size))
    store(cloud).commit(change)
    offset = 9 if of == "session" else TEXT_BYTES - 20
    for number in range(4):
        assert hostile.report(piece(offset + 12 * number, "twelve bytes"))
    _, complete, truncated = hostile.text()
    assert (complete, truncated) == (True, True)
    kept = [row for row in rows_of(cloud, hostile.session_id) if row["sk"]["S"].startswith("PIECE")]
    assert len([row for row in kept if "#txt_1#" in row["sk"]["S"]]) == 2
    assert change_of(cloud, hostile.session_id).session.text_bytes <= SESSION_TEXT_BYTES


def test_who_speaks_of_another_session_is_closed_and_says_nothing_there(
    cloud: Cloud, hostile: Hostile
) -> None:
    other = first_turn(cloud)
    with pytest.raises(ConnectionClosed):
        hostile.report(piece(0, "not mine"), session_id=other)
    assert cloud.client().get(f"/sessions/{other}/texts/txt_1").status_code == 404
    assert not [row for row in rows_of(cloud, other) if "txt_1" in row["sk"]["S"]]


@pytest.mark.long
def test_after_the_deletion_nothing_is_taken_and_the_rows_are_gone(
    cloud: Cloud, hostile: Hostile
) -> None:
    assert hostile.report(piece(0, "before"))
    session_id = hostile.session_id
    assert cloud.client().delete(f"/sessions/{session_id}").status_code == 202
    with pytest.raises(ConnectionClosed):
        hostile.report(piece(6, "after"))
    [pid, *_] = processes_of(session_id) or [0]
    if pid:
        os.kill(pid, signal.SIGCONT)
    assert runner_is_gone(session_id)
    sweep(cloud)
    assert rows_of(cloud, session_id) == []
