"""`make bench-agents`: how long the agents take, and how much the runner adds to their stream.

A runner in this process, with its default batches, and a fake cloud on loopback; the model is the
stub, which thinks for no time at all.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import agent_kit
from agent_kit import AgentBox
from fake_cloud import FakeCloud, Json, fake_cloud
from model_stub import ModelStub, model_stub
from runner_kit import SAMPLE, Repositories, clone_args, started
from tests.bench import report

from headstart_local.git_server import Behaviour, GitServer
from headstart_runner.agents import AGENTS
from headstart_runner.conversation import courier

_RUNS = 3
_ANSWER_SECONDS = 2.0
"""How long the git server takes before each answer: a clone then takes as long as that of a
repository of some size."""

PROMPT = "Tell me where the lamp is, where the horn is, and who looks after both of them. " * 8


class Stopwatch:
    """When each character of an answer reached the runner, and when the cloud."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.got: list[float] = []
        self.added: list[float] = []

    def agent_event(self, event: Json) -> None:
        """Take note of a delta that the runner has just got."""
        if event.get("type") == "message.part.delta":
            self.first = self.first or time.monotonic()
            self.got += [time.monotonic()] * len(event["properties"]["delta"])

    def report(self, deltas: list[Json]) -> None:
        """Take note of deltas that the cloud has just got, each of several of the agent's."""
        now = time.monotonic()
        for delta in deltas:
            got = self.got[delta["offset"] : delta["offset"] + len(delta["text"])]
            self.added += [(now - moment) * 1000 for moment in got]


async def _measure(
    agent: str, url: str, model: ModelStub, folder: Path, *, early: bool
) -> tuple[dict[str, float], list[float]]:
    """Measure one session; not `early`, its agent is begun with after the clone, by an import."""
    watch, times = Stopwatch(), {}
    real = courier.Courier.agent_event

    def spy(self: courier.Courier, event: Json) -> None:
        watch.agent_event(event)
        real(self, event)

    courier.Courier.agent_event = spy  # type: ignore[method-assign]
    AGENTS[agent].creates = early
    try:
        async with fake_cloud() as cloud, started(cloud, folder, batch_ms=250) as sandbox:
            _listen(cloud, watch)
            box = AgentBox(agent, cloud, sandbox, model)
            args = box.agent_args(env={"DEMO_AGENT_SECONDS": "3"})
            clone = clone_args(url, agent=args) if early else clone_args(url)
            result = await box.begin("clone", clone)
            cloned = time.monotonic()
            times["clone"] = float(result["elapsedMs"])
            for kind, more in (("restore", box.restore_args(args)), ("agent", args)):
                result = await box.begin(kind, more)
                assert result["status"] == "completed", result
                times[kind] = float(result["elapsedMs"])
            for number, name in ((1, "to 1st delta"), (2, "2nd prompt to delta")):
                watch.first, watch.got, began = None, [], time.monotonic()
                await box.deliver(number, PROMPT)
                if number == 1:
                    began = time.monotonic()
                    times["clone's end to accepted"] = (began - cloned) * 1000
                await box.ended(number)
                assert watch.first is not None
                times[name] = (watch.first - began) * 1000
    finally:
        courier.Courier.agent_event = real  # type: ignore[method-assign]
        AGENTS[agent].creates = True
    return times, watch.added


def _listen(cloud: FakeCloud, watch: Stopwatch) -> None:
    def arrived(frame: Any, _: int) -> bool:
        watch.report([e.to_json() for e in frame.events if e.type == "agent.delta"])
        return True

    cloud.on_report = arrived


def main() -> None:
    """Measure the agents that are named, or all that are installed."""
    agents = sys.argv[1:] or [name for name in agent_kit.wanted() if agent_kit.installed(name)]
    rows, names = [], []
    for agent in agents:
        runs: dict[str, list[dict[str, float]]] = {"after the clone": [], "beside it": []}
        added: dict[str, list[float]] = {way: [] for way in runs}
        for _ in range(_RUNS):
            # In turns: what else the machine does is the same for both.
            for way, measured in runs.items():
                times, more = _run(agent, early=way == "beside it")
                measured.append(times)
                added[way] += more
        for way, measured in runs.items():
            names = [*measured[0]]
            medians = [report.median([run[name] for run in measured]) for name in names]
            late = [report.percentile(added[way], share) for share in (0.5, 0.99)]
            rows.append([f"{agent}, {way}", *medians, *late])
    head = ["ms", *names, "added p50", "added p99"]
    load = os.getloadavg()[0]
    report.table(f"Agents, medians of {_RUNS}, load {load:.1f}", head, rows)


def _run(agent: str, *, early: bool) -> tuple[dict[str, float], list[float]]:
    with tempfile.TemporaryDirectory() as name, model_stub() as model:
        folder = Path(name)
        (folder / "git").mkdir()
        (folder / "scratch").mkdir()
        with GitServer(folder / "git") as server:
            url = Repositories(server, folder / "scratch").make("sample", SAMPLE)
            server.behaviour = Behaviour(delay_seconds=_ANSWER_SECONDS)
            return asyncio.run(_measure(agent, url, model, folder, early=early))


if __name__ == "__main__":
    main()
