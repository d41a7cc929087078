"""What was used, phase by phase, as amounts of what AWS charges for."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headstart_local import packaging
from tests.bench import in_cloud
from tests.bench.counting import Amounts, Meter

WORK_MS = 7.0
CALL_MS = 8.0
COLD_MS = 300.0
"""What Lambda is taken to bill with 1 GB, as this machine's milliseconds are not Lambda's.

For an invocation what it computes (4 ms of a CPU by `BENCH=steps`, and it has 0.6 of one), for each
call of another service, and for a start (`BENCH=cold`).
"""

LAMBDA_LINES = 560
"""Bytes of `platform.start` and `platform.report`, which Lambda logs of each invocation unless
`SystemLogLevel` says WARN ("Log-level filtering", Lambda Developer Guide); about, with a trace."""

ACCESS_LINE = 230
"""Bytes that the template's `Format` makes of a request; about."""

_STEPS = {"run_step", "finish_preparation"}
"""What goes into the trace of the execution that calls it."""

_PATIENCE = 120.0
_QUIET_SECONDS = 1.5


class Ledger:
    """The phases of a session, one after the other; the janitor's idle run comes first."""

    def __init__(self, meter: Meter) -> None:
        self.phases: dict[str, Amounts] = {}
        self.calls: Counter[str] = Counter()
        self.series: set[str] = set()
        self._meter = meter
        self._idle_run: Amounts = Counter()
        functions = _functions(packaging.read_template(in_cloud.TEMPLATE))
        self._logged = {n for n, f in functions.items() if "SystemLogLevel" not in f["logging"]}
        self._traced = {n for n, f in functions.items() if f["tracing"] == "Active"}

    @contextmanager
    def phase(self, name: str, *, cold: bool = False, settle: bool = True) -> Iterator[None]:
        """Count what is used, and until all is quiet; `cold` takes each function as started anew.

        What the janitor does each minute is the deployment's, so an idle run is taken off for each.
        """
        meter, begun = self._meter, time.monotonic()
        meter.reset()
        yield
        if settle:
            self.settle()
        amounts = self._amounts(cold)
        for _ in range(meter.lambda_calls["janitor"]):
            amounts.subtract(self._idle_run)
        amounts["minutes"] = (time.monotonic() - begun) / 60
        self.phases[name] = amounts
        self.series |= meter.series
        self.calls += meter.calls
        self.calls.update({f"Lambda {n}": count for n, count in meter.lambda_calls.items()})

    def idle_run(self) -> Amounts:
        """Take what was counted last for what the janitor does where nothing is to be done."""
        _, self._idle_run = self.phases.popitem()
        self.calls.clear()
        return self._idle_run

    def settle(self) -> None:
        """Return when nothing was asked for a moment."""
        seen = -1
        while (now := sum(self._meter.calls.values())) != seen:
            seen = now
            time.sleep(_QUIET_SECONDS)

    def beaten(self, times: int) -> None:
        """Return when the runner has sent so many heartbeats since the phase began."""
        end = time.monotonic() + _PATIENCE
        while self._meter.calls["WebSocket message in: heartbeat"] < times:
            if time.monotonic() > end:
                raise TimeoutError("no heartbeat")
            time.sleep(0.1)

    def sum(self, *names: str) -> Amounts:
        """Return what was used in several phases."""
        found: Amounts = Counter()
        for name in names:
            found.update(self.phases[name])
        return found

    def _amounts(self, cold: bool) -> Amounts:
        meter = self._meter
        found: Amounts = Counter(meter.units)
        printed = meter.log_bytes + ACCESS_LINE * found["HTTP API requests"]
        milliseconds = CALL_MS * meter.calls_out
        for name, count in meter.lambda_calls.items():
            milliseconds += WORK_MS * count + (COLD_MS if cold else 0)
            found["Lambda requests"] += count
            printed += LAMBDA_LINES * count if name in self._logged else 0
            found["traces"] += count if name in self._traced - _STEPS else 0
        found["Lambda GB-seconds"] = milliseconds / 1000
        found["traces"] += meter.calls["AWSStepFunctions StartExecution"]
        found["batches"] = meter.calls["WebSocket message in: report"]
        found["log GB"] = printed / 1e9
        return found


def _functions(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return how each function logs and traces, by the name of its folder."""
    shared = template["Globals"]["Function"]
    found = {}
    for logical_id in packaging.resources(template, "AWS::Serverless::Function"):
        properties = template["Resources"][logical_id]["Properties"]
        found[properties["CodeUri"].rpartition("/")[2]] = {
            "logging": properties["LoggingConfig"],
            "tracing": properties.get("Tracing", shared["Tracing"]),
        }
    return found
