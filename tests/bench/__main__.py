"""`make bench`: prints tables of figures, and fails on none of them.

`python -m tests.bench cold`, `cloud`, `clone`, `archives`, `trees`, `gateway`, `gateway-models` or
`steps` prints only those; `costs`, `load`, `streaming`, `history`, `page` (which needs Chromium)
and `soak` are for who names them. Figures depend on the machine and on what else it does:
docs/performance.md has some, with date and machine.
"""

import argparse
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import (
    archives,
    clones,
    cold_starts,
    costs,
    gateway,
    gateway_models,
    history,
    in_cloud,
    load,
    report,
    soak,
    steps,
    streaming,
    trees,
)

LONG = ("costs", "load", "streaming", "history", "page", "soak")
"""What `all` leaves out."""


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parts = ("cold", "cloud", "clone", "archives", "trees", "gateway", "gateway-models", "steps")
    parser.add_argument(
        "part", nargs="?", choices=("all", *parts, *LONG, "first-request"), default="all"
    )
    parser.add_argument("--requests", type=int, default=200, help="warm requests")
    parser.add_argument("--samples", type=int, default=9, help="of everything else")
    parser.add_argument("--megabytes", type=int, default=256, help="through the gateway")
    parser.add_argument("--old", type=Path, help="a work tree to compare steps with, by turns")
    parser.add_argument("--sessions", type=int, default=200, help="of load")
    parser.add_argument("--viewers", type=int, default=50, help="of streaming, 50 at most")
    parser.add_argument("--seconds", type=float, default=300.0, help="of streaming")
    parser.add_argument("--events", type=int, default=50_000, help="of history")
    parser.add_argument("--hours", type=float, default=1.0, help="of soak; 0.05 are three minutes")
    parser.add_argument("--rate", type=float, default=6.0, help="sessions a minute of soak")
    parser.add_argument("--seed", type=int, help="of what soak draws by lot; printed")
    arguments = parser.parse_args()
    if arguments.part == "first-request":
        in_cloud.first_request()
        return
    busy = Path("/proc/loadavg").read_text().split()[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {busy}"
    report.show(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}")
    if arguments.part in {"all", "cold"}:
        cold_starts.run(arguments.samples)
    if arguments.part in {"all", "cloud"}:
        in_cloud.run(arguments.requests, min(5, arguments.samples))
    if arguments.part in {"all", "clone"}:
        clones.run(min(3, arguments.samples))
    if arguments.part in {"all", "archives"}:
        archives.run(min(3, arguments.samples))
    if arguments.part in {"all", "trees"}:
        trees.run(min(2, arguments.samples))
    if arguments.part in {"all", "gateway"}:
        gateway.run(min(3, arguments.samples), arguments.megabytes)
    if arguments.part in {"all", "gateway-models"}:
        gateway_models.run(arguments.samples)
    if arguments.part in {"all", "steps"}:
        steps.run(arguments.samples, arguments.old and arguments.old.resolve())
    long: dict[str, Callable[[], None]] = {
        "costs": costs.run,
        "load": lambda: load.run(arguments.sessions),
        "streaming": lambda: streaming.run(arguments.viewers, arguments.seconds),
        "history": lambda: history.run(arguments.events),
        "page": lambda: _page(min(3, arguments.samples)),
        "soak": lambda: soak.run(arguments.hours, arguments.rate, arguments.seed),
    }
    if arguments.part in LONG:
        long[arguments.part]()


def _page(samples: int) -> None:
    # A browser's library and the scripted cloud of the tests, which nothing else here needs.
    from tests.bench import page  # noqa: PLC0415

    page.run(samples)


if __name__ == "__main__":
    main()
