"""The spool: what is merged, cut, dropped and kept, and in which order."""

import json
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.domain.channel import (
    BATCH_BYTES,
    AgentDelta,
    AgentEvent,
    AgentSnapshot,
    CommandResult,
    Output,
    Progress,
    TurnEnded,
    TurnRetrying,
)
from headstart_client.view import Part
from headstart_runner import wire
from headstart_runner.journal import Delivery, Journal
from headstart_runner.uplink import spool as spool_module
from headstart_runner.uplink.spool import ITEM_BYTES, SPOOL_BYTES, Spool


@pytest.mark.parametrize(
    "data",
    [
        {"text": "ü" * 100_000},
        {"text": "\x00" * 100_000},
        {"other": {"files": list(range(50_000))}},
        {"other": {f"k{i}": "v" * 60 for i in range(2_000)}},
    ],
)
def test_an_item_too_large_for_a_batch_is_cut_and_marked(
    tmp_path: Path, data: dict[str, object]
) -> None:
    journal = Journal(tmp_path)
    spool = Spool(journal, lambda: 0.0)
    spool.add_event(AgentEvent(turn_id="trn_1", data={"kind": "tool", "partId": "p", **data}))
    [entry] = spool.take().entries
    journal.close()

    assert wire.size(entry) <= ITEM_BYTES < BATCH_BYTES
    assert entry["event"]["data"]["truncated"] is True
    assert entry["event"]["data"]["partId"] == "p"


def test_deltas_of_a_part_are_merged_and_others_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    spool = Spool(journal, lambda: 0.0)
    spool.viewers = 1
    for part, offset, text in [("a", 0, "x"), ("a", 1, "y"), ("b", 0, "z"), ("a", 2, "!")]:
        spool.add_volatile(AgentDelta(turn_id="t", part_id=part, offset=offset, text=text))
    entries = [entry["event"] for entry in spool.take().entries]
    journal.close()

    assert [(e["partId"], e["offset"], e["text"]) for e in entries] == [
        ("a", 0, "xy"),
        ("b", 0, "z"),
        ("a", 2, "!"),
    ]


def test_progress_keeps_the_newest_and_joins_its_output(tmp_path: Path) -> None:
    now = [100.0]
    journal = Journal(tmp_path)
    spool = Spool(journal, lambda: now[0])
    spool.viewers = 1

    def progress(message: str, output: str | None, offset: int | None) -> None:
        spool.add_volatile(
            Progress(
                command_id="c",
                message=message,
                elapsed_ms=1,
                output=output,
                output_offset=offset,
            )
        )

    progress("one", "ab", 0)
    progress("two", "cd", 2)
    progress("three", None, None)
    [first] = spool.take().entries
    progress("four", "ef", 4)
    early = spool.take().entries
    now[0] += spool_module.PROGRESS_SECONDS
    [late] = spool.take().entries
    journal.close()

    assert (first["event"]["message"], first["event"]["output"]) == ("three", "abcd")
    assert early == []
    assert (late["event"]["outputOffset"], late["event"]["output"]) == (4, "ef")


class SpoolRun:
    """A spool under any load, and what somebody who watches it makes of what leaves."""

    def __init__(self, folder: str) -> None:
        self._now = 0.0
        self._journal = Journal(Path(folder))
        self._spool = Spool(self._journal, lambda: self._now)
        self._queued: list[object] = []
        self._left: list[object] = []
        self.said: dict[str, str] = defaultdict(str)
        self.shown: dict[str, Part] = defaultdict(Part)

    def do(self, number: int, what: str, text: str) -> None:
        spool, command = self._spool, f"c{number}"
        match what:
            case "delta a" | "delta b":
                offset = len(self.said[what])
                self.said[what] += text
                spool.add_volatile(AgentDelta(turn_id="t", part_id=what, offset=offset, text=text))
            case "retry":
                spool.add_volatile(TurnRetrying(turn_id="t", reason=text))
            case "progress" | "result":
                spool.add_volatile(
                    Progress(
                        command_id=command, message="m", elapsed_ms=1, output=text, output_offset=0
                    )
                )
            case "event":
                spool.add_event(AgentEvent(turn_id="t", data={"n": number, "text": text}))
                self._queued.append(number)
            case "leave":
                spool.viewers = 0
            case "join":
                spool.viewers = 1
                parts = [{"partId": p, "offset": 0, "text": said} for p, said in self.said.items()]
                spool.add_volatile(AgentSnapshot(turn_id="t", parts=parts))
            case "take":
                self._take()
        if what == "result":
            self._journal.begin_command(command, "{}")
            spool.add_result(
                CommandResult(command_id=command, status="completed", output={"text": text})
            )
            self._queued.append(command)

    def repeat(self) -> None:
        """Ask again for every result there was."""
        for command in [queued for queued in self._queued if isinstance(queued, str)]:
            row, before = self._journal.command(command), len(self._spool)
            assert row is not None and row.result is not None
            self._spool.repeat_result(row.result)
            self._queued += [command] * (len(self._spool) - before)

    def drain(self) -> None:
        while len(self._spool) or self._spool.ready_at(0, 0) is not None:
            assert self._take(), "what waits is stuck"
        self._journal.close()
        assert self._left == self._queued

    def _take(self) -> list[dict[str, Any]]:
        self._now += 10
        entries = self._spool.take().entries
        batch: list[dict[str, Any]] = [entry.get("event") or entry["result"] for entry in entries]
        frame = wire.dumps({"action": "report", "seq": 10**9, "events": batch, "results": []})
        assert len(frame.encode()) <= BATCH_BYTES
        batch = json.loads(frame)["events"]
        for item in batch:
            match item.get("type"):
                case "agent.delta":
                    self.shown[item["partId"]].grow(item["offset"], item["text"])
                case "agent.snapshot":
                    for part in item["parts"]:
                        self.shown[part["partId"]].grow(0, part["text"])
                case "agent.event":
                    self._left.append(item["data"]["n"])
                case None:
                    self._left.append(item["commandId"])
        return batch


WORK = ["delta a", "delta b", "retry", "progress", "result", "event", "leave", "join", "take"]
TEXTS = st.builds(
    lambda some, times: some * times,
    st.sampled_from(["x", "漢", "😀", "\x00", '"é', "\ud83d"]),
    st.sampled_from([0, 1, 300, 1_000, 2_700, 8_192, 12_000, 30_000]) | st.integers(0, 30_000),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(WORK), TEXTS), max_size=12))
def test_whatever_is_said_leaves_in_batches_without_a_hole(work: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        run = SpoolRun(folder)
        for number, (what, text) in enumerate([("join", ""), *work]):
            run.do(number, what, text)
        run.repeat()
        run.do(-1, "take", "")
        run.repeat()
        run.drain()

    gone = [what for what, _ in work if what in {"leave", "join"}][-1:] == ["leave"]
    for part, said in run.said.items():
        whole, shown = said.replace("\ud83d", "?"), run.shown[part].text
        assert shown == whole or (gone and whole.startswith(shown))


def test_a_full_spool_drops_the_volatile_first_and_never_a_result(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    spool = Spool(journal, lambda: 0.0)
    spool.viewers = 1
    journal.begin_command("c", "{}")
    spool.add_result(CommandResult(command_id="c", status="completed"))
    spool.add_event(Output(command_id="d", offset=0, text="kept"))
    for number in range(SPOOL_BYTES // 10_000 + 50):
        delta = AgentDelta(turn_id="t", part_id=str(number), offset=0, text="d" * 1_000)
        spool.add_volatile(delta)
        spool.add_event(AgentEvent(turn_id="t", data={"partId": number, "text": "e" * 9_000}))
    kinds, size = [], 0
    while entries := spool.take().entries:
        size += sum(wire.size(entry) for entry in entries)
        kinds += [e["event"]["type"] if "event" in e else "result" for e in entries]
    journal.close()

    assert size <= SPOOL_BYTES
    assert kinds[:2] == ["result", "output"]
    assert kinds.count("agent.delta") < kinds.count("agent.event")
    assert kinds.count("agent.event") > 500


def test_nothing_but_results_follows_a_result_in_a_batch(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    spool = Spool(journal, lambda: 0.0)
    spool.add_result(CommandResult(command_id="a", status="completed"))
    spool.add_result(CommandResult(command_id="b", status="completed"))
    spool.add_event(AgentEvent(turn_id="t", data={}))
    first, second = spool.take(), spool.take()
    journal.close()

    assert [list(entry) for entry in first.entries] == [["result"], ["result"]]
    assert [list(entry) for entry in second.entries] == [["event"]]


def test_a_spool_comes_back_from_the_journal_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    spool = Spool(journal, lambda: 0.0)
    for number in range(3):
        spool.add_event(AgentEvent(turn_id="t", data={"n": number}))
    journal.close()
    reopened = Journal(tmp_path)
    entries = Spool(reopened, lambda: 0.0).take().entries
    reopened.close()

    assert [entry["event"]["data"]["n"] for entry in entries] == [0, 1, 2]
    assert (tmp_path / "journal.db").stat().st_mode & 0o777 == 0o600


def test_what_an_earlier_runner_left_too_large_is_made_to_fit_too(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin_command("c", "{}")
    result = {"commandId": "c", "status": "completed", "output": {"text": "x" * ITEM_BYTES}}
    journal.finish_command("c", result)
    spool = Spool(journal, lambda: 0.0)
    [first] = spool.take().entries
    spool.repeat_result(result)
    spool.repeat_result(result)
    [again] = spool.take().entries
    journal.close()

    assert first == again
    assert wire.size(first) <= ITEM_BYTES


def test_a_turn_ends_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    spool = Spool(journal, lambda: 0.0)
    journal.put_delivery(Delivery("msg_1", "msg_a", "trn_1", "c", "posting"))
    ended = TurnEnded(turn_id="trn_1", message_id="msg_1")
    verdicts = [spool.add_turn_end(ended)]
    journal.put_delivery(Delivery("msg_1", "msg_a", "trn_1", "c", "shown"))
    verdicts += [spool.add_turn_end(ended), spool.add_turn_end(ended)]
    # Released again: what is still said of the first turn is not the second's end.
    journal.put_delivery(Delivery("msg_1", "msg_a", "trn_2", "c2", "shown"))
    second = TurnEnded(turn_id="trn_2", message_id="msg_1")
    verdicts += [spool.add_turn_end(ended), spool.add_turn_end(second)]
    journal.close()

    assert verdicts == [False, True, False, False, True]
    assert len(spool.take().entries) == 2
