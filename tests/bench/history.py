"""`make bench BENCH=history`: what a viewer waits for in a session that has a long history."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from headstart.adapters import rows
from headstart.domain.events import Event
from headstart_local.cloud import Cloud
from tests.bench import in_cloud, report
from tests.bench.counting import Meter

BATCH = 20
"""Events of one row, as a busy second of an agent makes them."""

TIMES = 15
_TEXT = "What an agent says in one part of its answer. " * 5


def run(events: int) -> None:
    """Print a subscription's time and calls, in a short history and in a long one."""
    meter = Meter()
    table: list[tuple[Any, ...]] = []
    with in_cloud.cloud(meter) as (running, url), in_cloud.client(running) as http:
        for length in (events // 100, events):
            session_id, _, _ = in_cloud.post(http, url, autoInitiate=False)
            in_cloud.wait(http, session_id, "preparing")
            last = _write(running, session_id, length)
            for name, after in (("0", 0), ("half", last // 2), ("the last 10", max(0, last - 10))):
                table.append(
                    (
                        f"{length:,}: subscribe after {name}",
                        *_viewer(http, meter, session_id, after),
                    )
                )
            table.append(
                (f"{length:,}: GET …/events after half", *_page(http, meter, session_id, last // 2))
            )
            table.append((f"{length:,}: all of it, page by page", *_all(http, meter, session_id)))
    head = ("events", "p50 ms", "slowest ms", "events got", "DynamoDB calls", "read units")
    report.table("A long history, in the embedded cloud", head, table)


def _write(running: Cloud, session_id: str, length: int) -> int:
    """Write so many events behind what there is, as the store writes them; returns the last id."""
    table = running.client("dynamodb")
    [name] = [n for n in table.list_tables()["TableNames"] if "headstart" in n.lower()]
    key = rows.key(rows.session_pk(session_id), "SESSION")
    row = table.get_item(TableName=name, Key=key, ConsistentRead=True)["Item"]
    data = json.loads(row["data"]["S"])
    first, now = data["lastEventId"] + 1, datetime.now(UTC)
    ids = range(first, first + length)
    items = []
    for begin in range(0, length, BATCH):
        batch = [
            Event(
                event_id=n,
                session_id=session_id,
                type="agent.event",
                timestamp=now,
                data={"kind": "text", "messageId": "msg_1", "partId": f"prt_{n}", "text": _TEXT},
            )
            for n in ids[begin : begin + BATCH]
        ]
        items.append({"PutRequest": {"Item": rows.events_item(session_id, batch)}})
    for begin in range(0, len(items), 25):
        table.batch_write_item(RequestItems={name: items[begin : begin + 25]})
    data["lastEventId"] = ids[-1]
    row["data"] = {"S": json.dumps(data)}
    table.put_item(TableName=name, Item=row)
    return ids[-1]


def _viewer(http: httpx.Client, meter: Meter, session_id: str, after: int) -> tuple[Any, ...]:
    stream = http.post(f"/sessions/{session_id}/stream-ticket").json()
    with connect(f"{stream['url']}?ticket={stream['ticket']}", max_size=None) as viewer:
        # The first frame burns the ticket: one that reconnects pays for that each time, too.
        _subscribed(viewer, after)
        return _measured(meter, TIMES, lambda: _subscribed(viewer, after)[0])


def _subscribed(viewer: ClientConnection, after: int) -> tuple[int, int, bool]:
    """Return how many events came, the last one's id, and whether more follow."""
    viewer.send(json.dumps({"action": "subscribe", "after": after}))
    got = 0
    while True:
        frame = json.loads(viewer.recv(timeout=in_cloud.PATIENCE))
        got += sum(event["eventId"] is not None for event in frame.get("events", []))
        if frame["type"] == "replayed":
            return got, frame["through"], frame["more"]


def _page(http: httpx.Client, meter: Meter, session_id: str, after: int) -> tuple[Any, ...]:
    path = f"/sessions/{session_id}/events"
    return _measured(
        meter, TIMES, lambda: len(http.get(path, params={"after": str(after)}).json()["items"])
    )


def _all(http: httpx.Client, meter: Meter, session_id: str) -> tuple[Any, ...]:
    stream = http.post(f"/sessions/{session_id}/stream-ticket").json()
    with connect(f"{stream['url']}?ticket={stream['ticket']}", max_size=None) as viewer:

        def everything() -> int:
            total, through, more = 0, 0, True
            while more:
                got, through, more = _subscribed(viewer, through)
                total += got
            return total

        return _measured(meter, 1, everything)


def _measured(meter: Meter, times: int, ask: Callable[[], int]) -> tuple[Any, ...]:
    taken, got = [], 0
    meter.reset()
    for _ in range(times):
        began = time.perf_counter()
        got = ask()
        taken.append((time.perf_counter() - began) * 1000)
    calls = sum(n for name, n in meter.calls.items() if name.startswith("DynamoDB"))
    units = meter.units["read units"]
    return report.median(taken), max(taken), got, calls / times, units / times
