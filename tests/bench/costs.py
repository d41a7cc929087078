"""`make bench BENCH=costs`: what one session costs, an hour of it, and a month of none.

The session: created with setup commands and watched by one viewer; its prompt is answered by a turn
of a minute that streams all the time; idle for a quarter of an hour, still watched; asleep; woken
by a message with another such turn; deleted.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from headstart_local import packaging
from headstart_local.cloud import Cloud
from tests.bench import in_cloud, report
from tests.bench.counting import Amounts, Meter, row_bytes
from tests.bench.ledger import Ledger
from tests.bench.prices import PRICES
from tests.flow import conftest as flow
from tests.flow.conftest import runner_is_gone
from tests.flow.test_faults import rows_of
from tests.flow.test_sleep import make_due, sweep

TURN_SECONDS = 60.0
IDLE_MINUTES = 15
"""How long an idle sandbox is kept (IDLE_LIMIT of domain/life/settling.py)."""

START_MINUTES = 1.0
"""Taken for the start of a container, which is charged from the pull of its image on; twice."""

BEATS = 3
"""Heartbeats of a runner in a minute."""

PINGS = 2
"""Pings of a viewer in a minute."""

WINDOW_SECONDS = 30.0
"""Of the second turn, from some seconds after its first word."""

BATCHES = 4 * 3600
"""Of a runner whose agent streams, in an hour: one in 250 ms."""

MONTH_HOURS = 730
IMAGE_GB = 0.15
PULL_REQUESTS = MONTH_HOURS * 3600 / 20 * 5
"""Of Lambda on an idle queue: five pollers, twenty seconds each ("Using Lambda with SQS")."""

TABLE_KEY_REQUESTS = MONTH_HOURS * 12
"""Of DynamoDB to KMS for a function that is always there: one in five minutes ("DynamoDB encryption
at rest usage notes")."""

_PATIENCE = 120.0
WATCHED, ALONE = "a minute, watched", "a minute"


class Viewer:
    """A client's socket: whatever comes is read."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._types: Counter[str] = Counter()
        self._changed = threading.Condition()
        socket.send('{"action":"subscribe","after":0}')
        threading.Thread(target=self._read, daemon=True).start()

    def ping(self, times: int = PINGS) -> None:
        """Ping, as a client does each half minute."""
        for _ in range(times):
            self._socket.send('{"action":"ping"}')

    def until(self, kind: str, times: int = 1) -> None:
        """Return when so many events of a type have come; raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._types[kind] >= times, _PATIENCE):
                raise TimeoutError(f"no {kind}: {self._types}")

    def _read(self) -> None:
        try:
            for text in self._socket:
                with self._changed:
                    found = json.loads(text).get("events", [])
                    self._types.update(event["type"] for event in found)
                    self._changed.notify_all()
        except ConnectionClosed:
            return


@contextmanager
def watching(stream: dict[str, Any]) -> Iterator[Viewer]:
    """Watch the session that a ticket is for."""
    with connect(f"{stream['url']}?ticket={stream['ticket']}") as socket:
        yield Viewer(socket)


def run() -> None:
    """Live through the session, and print the tables."""
    meter = Meter()
    with in_cloud.cloud(meter) as (running, url), in_cloud.client(running) as http:
        running.client("scheduler").delete_schedule(Name="headstart-janitor")
        ledger, outside = Ledger(meter), flow.Cloud({"httpUrl": running.http_url}, 0, Path())
        sweep(outside)
        with ledger.phase("janitor"):
            sweep(outside)
        idle_run = ledger.idle_run()
        kept = _live(running, outside, ledger, http, url)
    _tell_session(ledger, kept)
    _tell_hours(ledger)
    _tell_month(idle_run)


def _live(running: Cloud, outside: flow.Cloud, ledger: Ledger, http: httpx.Client, url: str) -> int:
    """Live through the session; returns the bytes that the table kept of it."""
    with ExitStack() as first, ExitStack() as second:
        with ledger.phase("first turn", cold=True):
            session_id, _, created = in_cloud.post(
                http,
                url,
                setupCommands=in_cloud.SETUP,
                envVars={"DEMO_AGENT_SECONDS": str(TURN_SECONDS)},
            )
            viewer = first.enter_context(watching(created["stream"]))
            viewer.until("turn.started")
            viewer.ping()
            viewer.until("turn.completed")
        ledger.phases["first turn"]["state transitions"] = _transitions(running, session_id, 1)
        _hold(ledger, WATCHED, viewer)
        with ledger.phase("the viewer leaves"):
            first.close()
        _hold(ledger, ALONE)
        with ledger.phase("falls asleep", cold=True):
            make_due(outside, session_id)
            sweep(outside)
            _until_asleep(outside, session_id)
        with ledger.phase("wakes", cold=True, settle=False):
            stream = http.post(f"/sessions/{session_id}/stream-ticket").json()
            viewer = second.enter_context(watching(stream))
            http.post(f"/sessions/{session_id}/messages", json={"prompt": "And now?"})
            viewer.until("agent.delta", 20)
        with ledger.phase("streams", settle=False):
            time.sleep(WINDOW_SECONDS)
        with ledger.phase("second turn ends"):
            viewer.ping()
            viewer.until("turn.completed", 2)
        ledger.phases["wakes"]["state transitions"] = _transitions(running, session_id, 2)
        kept = sum(row_bytes(item) for item in rows_of(outside, session_id))
        with ledger.phase("deleted", cold=True):
            http.delete(f"/sessions/{session_id}").raise_for_status()
            runner_is_gone(session_id)
        if rows_of(outside, session_id):
            raise RuntimeError("the deletion left rows")
    return kept


def _until_asleep(outside: flow.Cloud, session_id: str) -> None:
    """Return when the session is asleep; looks at its row, for which no function is called."""
    end = time.monotonic() + _PATIENCE
    while _status(outside, session_id) != "asleep":
        if time.monotonic() > end:
            raise TimeoutError("it never falls asleep")
        time.sleep(0.2)
    runner_is_gone(session_id)


def _status(outside: flow.Cloud, session_id: str) -> str:
    [row] = [row for row in rows_of(outside, session_id) if row["sk"]["S"] == "SESSION"]
    return str(json.loads(row["data"]["S"])["status"])


def _hold(ledger: Ledger, name: str, viewer: Viewer | None = None) -> None:
    """Hold the session for a minute, from one heartbeat on."""
    with ledger.phase("until a heartbeat"):
        ledger.beaten(1)
    with ledger.phase(name):
        if viewer:
            viewer.ping()
        ledger.beaten(BEATS)
    ledger.phases[name]["minutes"] = 1
    del ledger.phases["until a heartbeat"]


def _transitions(running: Cloud, session_id: str, number: int) -> int:
    """Return the state transitions of an attempt."""
    machine = running.outputs["StateMachineArn"]
    execution = machine.replace(":stateMachine:", ":execution:") + f":{session_id}-{number}"
    states = running.client("stepfunctions").get_execution_history(
        executionArn=execution, maxResults=1000
    )["events"]
    # One transition into each state, and one to start ("Step Functions pricing").
    return 1 + sum(bool(event["type"].endswith("StateEntered")) for event in states)


def _dollars(amounts: Amounts) -> float:
    return sum(float(amount) * PRICES[name] for name, amount in amounts.items() if name in PRICES)


def _container(minutes: float) -> Amounts:
    """Return what a container of the template's size is charged for."""
    template = packaging.read_template(in_cloud.TEMPLATE)["Parameters"]
    hours = minutes / 60
    found: Amounts = Counter()
    found["Fargate vCPU-hours"] = int(template["SandboxCpu"]["Default"]) / 1024 * hours
    found["Fargate GB-hours"] = int(template["SandboxMemory"]["Default"]) / 1024 * hours
    found["disk GB-hours above 20 GB"] = (int(template["SandboxDisk"]["Default"]) - 20) * hours
    found["public IPv4 hours"] = hours
    return found


def _tell_session(ledger: Ledger, kept: int) -> None:
    idle: Amounts = Counter(
        {name: amount * IDLE_MINUTES for name, amount in ledger.phases[WATCHED].items()}
    )
    parts = {
        "first turn": ledger.phases["first turn"],
        "idle": idle,
        "asleep": ledger.sum("the viewer leaves", "falls asleep"),
        "second turn": ledger.sum("wakes", "streams", "second turn ends"),
        "deleted": ledger.phases["deleted"],
    }
    for amounts in parts.values():
        amounts["WebSocket connection minutes"] = 2 * amounts["minutes"]
    whole: Amounts = Counter()
    for amounts in parts.values():
        whole.update(amounts)
    rows: list[list[str]] = []
    for name in PRICES:
        if whole[name]:
            amounts = [part[name] for part in parts.values()]
            cells = [_number(amount, name) for amount in [*amounts, whole[name]]]
            rows.append([_unit(name), *cells, _thousandths(whole[name] * PRICES[name])])
    cells = [_thousandths(_dollars(part)) for part in [*parts.values(), whole]]
    rows.append(["thousandths of a dollar", *cells, cells[-1]])
    minutes = whole["minutes"] + 2 * START_MINUTES
    container = _container(minutes)
    title = "One session, watched by one viewer; everything but its container"
    report.table(title, ("what", *parts, "all", "thousandths of a dollar"), rows)
    report.show(f"\n  container: {minutes:.0f} minutes, {_thousandths(_dollars(container))}")
    month = kept / 1e9 * PRICES["table GB-months"]
    saved = whole["archive bytes"] / 1e9 * PRICES["archive GB-months"]
    report.show(
        f"  kept until it is deleted: {kept} bytes of rows ({_thousandths(month)} a month),"
        f" archives sent: {whole['archive bytes']} bytes ({_thousandths(saved)} a month)"
    )
    report.table("All calls of the run", ("call", "times"), sorted(ledger.calls.items()))
    series = sorted(ledger.series)
    report.table(
        f"Its custom metrics: {len(series)}, {len(series) * PRICES['metric months']:.2f} a month",
        ("metric",),
        [(name,) for name in series],
    )


def _tell_hours(ledger: Ledger) -> None:
    container = _dollars(_container(60))
    rows = []
    # A busy machine sends fewer than the runner would.
    streamed = ledger.phases["streams"]["batches"]
    for name, phase, times, sockets in (
        ("held, nobody watches", ALONE, 60, 1),
        ("held, one viewer", WATCHED, 60, 2),
        ("an answer streams to one viewer", "streams", BATCHES / streamed, 2),
    ):
        amounts = ledger.phases[phase]
        dollars = _dollars(amounts) * times
        dollars += sockets * 60 * PRICES["WebSocket connection minutes"]
        used = ("Lambda requests", "WebSocket messages", "write units", "read units")
        cells = [f"{amounts[unit] * times:,.0f}" for unit in used]
        megabytes = f"{amounts['log GB'] * times * 1000:.2f}"
        rows.append((name, *cells, megabytes, f"{dollars:.4f}", f"{dollars + container:.4f}"))
    head = ("an hour", "invocations", "messages", "write units", "read units", "log MB")
    report.table("An hour", (*head, "dollars", "with the container"), rows)


def _tell_month(idle_run: Amounts) -> None:
    template = packaging.read_template(in_cloud.TEMPLATE)

    def number(kind: str) -> int:
        return sum(1 for _ in packaging.resources(template, kind))

    runs = MONTH_HOURS * 60
    alarms = number("AWS::CloudWatch::Alarm")
    lines = [
        (f"{alarms} alarms", alarms * PRICES["alarm months"]),
        ("the key for secrets", number("AWS::KMS::Key") * PRICES["KMS key months"]),
        (
            "the secret of callbacks",
            number("AWS::SecretsManager::Secret") * PRICES["secret months"],
        ),
        (
            f"{PULL_REQUESTS:,.0f} looks into the queue of callbacks",
            PULL_REQUESTS * PRICES["queue requests"],
        ),
        (f"{runs:,} runs of the janitor", runs * _dollars(idle_run)),
        ("their schedule", runs * PRICES["schedule invocations"]),
        ("DynamoDB's requests to KMS", TABLE_KEY_REQUESTS * PRICES["KMS requests"]),
        ("the image", IMAGE_GB * PRICES["image GB-months"]),
    ]
    lines.append(("all", sum(dollars for _, dollars in lines)))
    report.table(
        "A month of nobody", ("what", "dollars"), [(name, f"{d:.3f}") for name, d in lines]
    )
    dashboards = number("AWS::CloudWatch::Dashboard")
    used = {name: round(amount, 6) for name, amount in idle_run.items() if amount}
    report.show(f"\n  dashboards: {dashboards}; an idle run of the janitor: {used}")


def _unit(name: str) -> str:
    return "log KB" if name == "log GB" else name


def _number(amount: float, name: str) -> str:
    return f"{amount * 1e6:.1f}" if name == "log GB" else f"{amount:,.1f}".removesuffix(".0")


def _thousandths(dollars: float) -> str:
    return f"{dollars * 1000:.4f}"
