"""The small parts: wire limits, the spool, output, configuration."""

import asyncio
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from runner_kit import SESSION_ID

from headstart.domain.channel import (
    BATCH_BYTES,
    OUTPUT_TAIL_BYTES,
    AgentDelta,
    AgentEvent,
    AgentSnapshot,
    CommandResult,
    Output,
    Progress,
    TurnEnded,
    TurnRetrying,
)
from headstart.domain.errors import AgentStartFailed
from headstart_client.view import Part
from headstart_runner import clock, log, wire
from headstart_runner.agents import find_agent, start_error
from headstart_runner.config import Config
from headstart_runner.journal import Delivery, Journal
from headstart_runner.processes.output import LIVE_BYTES_PER_SECOND, StepOutput
from headstart_runner.redaction import Redactor
from headstart_runner.uplink import spool as spool_module
from headstart_runner.uplink.spool import ITEM_BYTES, SPOOL_BYTES, Spool


def test_only_agents_whose_programs_are_here_are_named(tmp_path: Path) -> None:
    (tmp_path / "kilo").touch(0o755)
    with pytest.raises(AgentStartFailed) as unknown:
        find_agent("other", str(tmp_path))
    missing = start_error("opencode", "it is gone", "/nonexistent")
    broken = start_error("kilo", "Permission denied", str(tmp_path))

    known = "This sandbox has no other, only demo, kilo: Headstart knows no such agent"
    assert unknown.value.reason == known
    assert missing.reason == "This sandbox has no opencode, only demo: it is gone"
    assert broken.reason == "kilo could not be started: Permission denied"


def test_a_log_line_holds_no_secret_and_names_nobody_of_a_url(
    capsys: pytest.CaptureFixture[str],
) -> None:
    redactor = Redactor()
    redactor.add("hunter2hunter2")
    log.configure(redactor, SESSION_ID)
    log.logger.info("%s at https://ada:%s@host", "hunter2hunter2", "pw")
    try:
        raise ValueError("no https://ada:pw@host")
    except ValueError:
        log.logger.exception("failed")

    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["message"] == "[redacted] at https://host"
    assert second["exception"].endswith("ValueError: no https://host")


@given(st.text(max_size=3000), st.integers(40, 2000))
def test_cut_text_fits_and_says_so(text: str, limit: int) -> None:
    cut = wire.cut_text(text, limit)

    assert wire.size(cut) - 2 <= limit
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))


@pytest.mark.parametrize(
    "data",
    [
        {"text": "ü" * 100_000},
        {"text": "\x00" * 100_000},
        {"input": {"files": list(range(50_000))}},
        {"input": {f"k{i}": "v" * 60 for i in range(2_000)}},
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


@settings(max_examples=150, deadline=None)
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


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(0, 5))
def test_live_output_and_tail_agree_on_offsets(pieces: list[bytes], step: int) -> None:
    now = [0.0]
    output = StepOutput(Redactor(), lambda: now[0])
    live = []
    for piece in pieces:
        now[0] += step
        live.append(output.feed(piece, watched=True))
    live.append(output.finish(watched=True))
    whole = b"".join(pieces).decode("utf-8", "replace").encode()

    for offset, text in [*(item for item in live if item), *output.tail()]:
        assert whole[offset:].startswith(text.encode())
    assert "".join(text for _, text in output.tail()).encode() == whole


def test_a_tail_that_begins_inside_a_character_has_no_hole() -> None:
    output = StepOutput(Redactor(), lambda: 0.0)
    output.feed(b"x" + "漢".encode() * 30_000 + b"\x00" * 9_000, watched=False)
    pieces = output.tail()

    for (offset, text), (following, _) in pairwise(pieces):
        assert offset + len(text.encode()) == following
    assert pieces[0][1].startswith("漢")
    assert sum(len(text.encode()) for _, text in pieces) >= OUTPUT_TAIL_BYTES - 2
    assert all(wire.size(text) < ITEM_BYTES // 2 for _, text in pieces)


def test_live_output_is_limited_and_the_rest_counted() -> None:
    output = StepOutput(Redactor(), lambda: 0.0)
    flood = b"x" * 100_000
    live = output.feed(flood, watched=True)

    assert live == (0, "x" * LIVE_BYTES_PER_SECOND)
    assert output.not_shown == len(flood) - LIVE_BYTES_PER_SECOND
    assert output.feed(b"y", watched=True) is None


def test_a_turn_ends_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    spool = Spool(journal, lambda: 0.0)
    journal.mint(Delivery("msg_1", "msg_a", "trn_1", "c", "posting"))
    ended = TurnEnded(turn_id="trn_1", message_id="msg_1")
    verdicts = [spool.add_turn_end(ended)]
    journal.set_delivery("msg_1", "shown")
    verdicts += [spool.add_turn_end(ended), spool.add_turn_end(ended)]
    journal.close()

    assert verdicts == [False, True, False]
    assert len(spool.take().entries) == 1


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=60,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=9), json_values, max_size=8), st.integers(100, 3000))
def test_whatever_it_is_it_is_made_to_fit(value: dict[str, object], limit: int) -> None:
    cut, was_cut = wire.fit(value, limit)

    assert wire.size(cut) <= limit
    assert was_cut == (cut != value)


@pytest.mark.anyio
async def test_frozen_time_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [0.0], [0]

    async def sleep(seconds: float) -> None:
        slept[0] += 1
        now[0] += 3600 if slept[0] == 2 else seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    await clock.awake_sleep(10)

    assert slept[0] == 9


@pytest.mark.anyio
async def test_waking_up_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0, 1, 1, 2, 2, 3600])

    async def sleep(_: float) -> None:
        pass

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr("time.clock_gettime", lambda _: next(times))
    await clock.until_frozen()

    assert list(times) == []


def environment(**changes: str) -> dict[str, str]:
    return {
        "HEADSTART_URL": "ws://127.0.0.1:1",
        "HEADSTART_SESSION_ID": SESSION_ID,
        "HEADSTART_KEY": "the-key-of-the-sandbox",
        "HEADSTART_ATTEMPT": "2",
        **changes,
    }


def test_the_key_is_taken_out_of_the_environment_and_never_printed() -> None:
    environ = environment(HEADSTART_BATCH_MS="100")
    config = Config.take(environ)

    assert "HEADSTART_KEY" not in environ
    assert (config.attempt, config.batch_ms, config.heartbeat_seconds) == (2, 100, 20)
    assert "the-key" not in repr(config)


@pytest.mark.parametrize(
    "change",
    [
        {"HEADSTART_URL": "http://x"},
        {"HEADSTART_ATTEMPT": "0"},
        {"HEADSTART_SESSION_ID": "nobody"},
        {"HEADSTART_AGENT_UID": "0"},
    ],
)
def test_a_wrong_environment_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Config.take(environment(**change))


def test_another_uid_for_the_agent_is_refused_without_the_rights_to_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("headstart_runner.config._held", lambda: 1 << 5 | 1 << 7)
    with pytest.raises(ValidationError, match="capabilities CHOWN, DAC_OVERRIDE, FOWNER, SETGID"):
        Config.take(environment(HEADSTART_AGENT_UID="10001"))

    assert Config.take(environment()).agent_uid is None
