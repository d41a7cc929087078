"""`make bench-agents`: how long the agents take, and how much the runner adds to their stream.

A runner in this process, with its default batches, and a fake cloud on loopback; the model is the
stub, which thinks for no time at all.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import agent_kit
from agent_kit import AgentBox
from fake_cloud import FakeCloud, Json, fake_cloud
from model_stub import ModelStub, model_stub
from runner_kit import SAMPLE, SESSION_ID, Repositories, clone_args, started
from tests.bench import report

from headstart_local.git_server import GitServer
from headstart_runner.conversation import courier

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
    agent: str, url: str, model: ModelStub, folder: Path
) -> tuple[dict[str, float], list[float]]:
    watch, times = Stopwatch(), {}
    real = courier.Courier.agent_event

    def spy(self: courier.Courier, event: Json) -> None:
        watch.agent_event(event)
        real(self, event)

    courier.Courier.agent_event = spy  # type: ignore[method-assign]
    try:
        async with fake_cloud() as cloud, started(cloud, folder, batch_ms=250) as sandbox:
            _listen(cloud, watch)
            box = AgentBox(agent, cloud, sandbox, model)
            await box.succeed("clone", clone_args(url))
            restore = {"agent": agent, "sessionId": SESSION_ID, "title": ""}
            env: dict[str, Any] = {"env": {"DEMO_AGENT_SECONDS": "3"}}
            for name, kind, args in (
                ("import", "restore", restore),
                ("start to healthy", "agent", box.agent_args(**env)),
            ):
                result = await box.begin(kind, args)
                assert result["status"] == "completed", result
                times[name] = float(result["elapsedMs"])
            for number, name in ((1, "first prompt to first delta"), (2, "second prompt")):
                watch.first, watch.got, began = None, [], time.monotonic()
                await box.prompt(number, PROMPT)
                assert watch.first is not None
                times[name] = (watch.first - began) * 1000
    finally:
        courier.Courier.agent_event = real  # type: ignore[method-assign]
    return times, watch.added


def _listen(cloud: FakeCloud, watch: Stopwatch) -> None:
    def arrived(frame: Any, _: int) -> bool:
        watch.report([e.to_json() for e in frame.events if e.type == "agent.delta"])
        return True

    cloud.on_report = arrived


def main() -> None:
    """Measure the agents that are named, or all that are installed."""
    agents = sys.argv[1:] or [name for name in agent_kit.wanted() if agent_kit.installed(name)]
    rows = []
    for agent in agents:
        runs: list[dict[str, float]] = []
        added: list[float] = []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as name, model_stub() as model:
                folder = Path(name)
                (folder / "git").mkdir()
                (folder / "scratch").mkdir()
                with GitServer(folder / "git") as server:
                    url = Repositories(server, folder / "scratch").make("sample", SAMPLE)
                    times, more = asyncio.run(_measure(agent, url, model, folder))
            runs.append(times)
            added += more
        medians = [report.median([run[name] for run in runs]) for name in runs[0]]
        rows.append(
            [agent, *medians, report.percentile(added, 0.5), report.percentile(added, 0.99)]
        )
    head = ["ms", *runs[0], "added p50", "added p99"]
    report.table("Agents, medians of three", head, rows)


if __name__ == "__main__":
    main()
