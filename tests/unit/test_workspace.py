"""What a workspace is made of in each attempt: put back, or cloned as it was asked for."""

import json
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.channel import FRAME_BYTES
from headstart.domain.envelope import CIPHERTEXT_BYTES
from headstart.domain.errors import (
    AgentStartFailed,
    RestoreFailed,
    ValidationFailed,
)
from headstart.domain.life import saving
from headstart.domain.requests import PatchSession
from headstart.domain.session import CONFIG_BYTES, Status
from headstart.usecases import talk
from headstart.usecases.change import change
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.envelopes import secrets
from tests.unit.archives import archive_of, differs, last, make, put, save
from tests.unit.attempts import (
    S,
    again,
    awake,
    in_another_sandbox,
    record,
    retried,
    skipped,
    through,
    with_base,
)
from tests.unit.helpers import begin, created, prepared_up_to, running, turn_ended
from tests.unit.test_sleep import falling, say

# What is put back.


def test_what_is_put_back_needs_no_branch_and_no_setup(ports: MemoryPorts) -> None:
    runner = awake(ports)
    through(runner, S.AGENT, adopted="archive", notes=["it took long", 7, "y" * 999])
    for step in (S.BRANCH, S.SETUP):
        assert skipped(ports, runner.session_id, step) == "Put back as it was"
    summary = record(ports, runner.session_id, S.CLONE).message
    assert summary == f"Put back as it was; it took long; {'y' * 300}"
    kinds = [frame["kind"] for frame in runner.frames() if frame["type"] == "command"]
    assert kinds == ["disk", "clone", "restore"]
    assert "archive" not in last(runner, "restore")["args"]


@pytest.mark.parametrize("said", [None, "Archive", ["archive"], True])
def test_a_wake_that_put_nothing_back_does_all_steps(ports: MemoryPorts, said: object) -> None:
    runner = awake(ports)
    ports.store.sets[runner.session_id].session.counts["setupCommands"] = 1
    through(runner, S.SETUP, adopted=said)
    begin(ports, runner.session_id, S.SETUP, attempt=2)
    assert last(runner, "setup")["args"]["cause"] == "wake"
    assert skipped(ports, runner.session_id, S.BRANCH) is None


def test_a_base_alone_is_put_back_as_an_archive(ports: MemoryPorts) -> None:
    session_id, runner, upload = with_base(ports)
    put(ports, upload)
    runner.complete(upload["id"])
    fail_preparation(ports, session_id, 1, AgentStartFailed("no"))
    in_another_sandbox(ports, session_id)
    retried(ports, session_id)
    runner = again(ports, session_id)
    through(runner, S.AGENT, adopted="archive")
    archive = last(runner, "clone")["args"]["archive"]
    assert (archive["base"]["sha256"], archive["difference"]) == ("base", None)
    assert skipped(ports, session_id, S.SETUP) == "Put back as it was"


def test_an_archive_that_can_not_be_put_back_says_the_way_out(ports: MemoryPorts) -> None:
    runner = awake(ports)
    through(runner, S.CLONE)
    begin(ports, runner.session_id, S.CLONE, attempt=2)
    runner.fail(last(runner, "clone")["id"], "RestoreFailed", "its hash is wrong")
    fail_preparation(ports, runner.session_id, 2, RestoreFailed())
    failure = ports.store.session(runner.session_id).failure
    assert failure
    assert failure.reason == (
        f"its hash is wrong; GET /sessions/{runner.session_id}/archive has it, and a retry with "
        "withoutArchive starts without it"
    )


def test_a_retry_without_the_archive_begins_anew_until_the_next_is_kept(
    ports: MemoryPorts,
) -> None:
    runner = awake(ports)
    session_id = runner.session_id
    through(runner, S.AGENT, adopted="archive")
    fail_preparation(ports, session_id, 2, AgentStartFailed("no"))
    old = archive_of(ports, session_id)
    retried(ports, session_id, attemptNumber=2, withoutArchive=True)
    assert not ports.sandboxes.alive, "what was put back is not kept either"
    runner = again(ports, session_id, 3)
    through(runner, S.DELIVER, 3)
    assert last(runner, "clone")["args"]["archive"] is None
    assert skipped(ports, session_id, S.BRANCH) is None
    begin(ports, session_id, S.DELIVER, attempt=3)
    runner.complete(last(runner, "prompt")["id"], agentMessageId="m")
    runner.report(turn_ended(ports, session_id))
    assert last(runner, "archive")["args"]["base"] is None
    assert archive_of(ports, session_id) == old
    save(ports, runner, base={"bytes": 9, "sha256": "anew"})
    assert archive_of(ports, session_id).base.sha256 == "anew"
    session = ports.store.session(session_id)
    assert (session.status, session.without_archive) == (Status.READY, False)
    assert set(ports.objects.stored) == {f.key for f in archive_of(ports, session_id).files}


def test_a_late_copy_of_what_was_left_aside_does_not_bring_it_back(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    make(runner, last(runner, "archive"), "late")
    ports.clock.advance(minutes=11)
    sweep(ports)
    say(ports, session_id)
    begin(ports, session_id, S.SANDBOX, attempt=2)
    fail_preparation(ports, session_id, 2, AgentStartFailed("no"))
    retried(ports, session_id, attemptNumber=2, withoutArchive=True)
    put(ports, last(runner, "upload"))
    change(ports, session_id, saving.look_for_copies)
    assert differs(ports, session_id) == "late"
    woken = again(ports, session_id, 3)
    through(woken, S.BRANCH, 3)
    assert last(woken, "clone")["args"]["archive"] is None


def test_what_was_left_aside_is_no_earlier_copy(ports: MemoryPorts) -> None:
    runner = awake(ports)
    session_id = runner.session_id
    fail_preparation(ports, session_id, 2, AgentStartFailed("no"))
    retried(ports, session_id, attemptNumber=2, withoutArchive=True)
    runner = again(ports, session_id, 3)
    through(runner, S.DELIVER, 3)
    begin(ports, session_id, S.DELIVER, attempt=3)
    runner.complete(last(runner, "prompt")["id"], agentMessageId="m")
    runner.report(turn_ended(ports, session_id))
    sandbox_stopped(ports, f"{session_id}-3-1", "task", "gone")
    say(ports, session_id)
    talk.interrupt(ports, "alice", session_id)
    told = [e.data for e in ports.store.event_log[session_id] if e.type == "session.asleep"][-2:]
    gone = "gone; the work was not saved: the sandbox was gone before a new copy was made"
    assert [(said["reason"], said["saved"]) for said in told] == [
        (gone, False),
        ("The wake-up was cancelled; the work was not saved: there is no earlier copy", False),
    ]


# What is asked for.


@pytest.mark.parametrize(
    ("clone", "told"),
    [({}, (None, False)), ({"depth": 5}, (5, False)), ({"submodules": True}, (None, True))],
)
def test_a_clone_is_as_deep_as_it_was_asked_for(
    ports: MemoryPorts, clone: dict[str, Any], told: tuple[int | None, bool]
) -> None:
    session_id = created(ports, clone=clone)
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    args = last(runner, "clone")["args"]
    assert (args["depth"], args["submodules"]) == told
    assert (args["archive"], args["tree"]) == (None, None)


@pytest.mark.parametrize("character", ["x", '"', "\n", "ü", "😀"])
def test_the_longest_scripts_reach_the_runner_in_frames_that_can_be_sent(
    ports: MemoryPorts, character: str
) -> None:
    count = 60_000 if character == "😀" else 100_000
    scripts = [character * 10_000] * (count // 10_000)
    session_id = created(ports, setupCommands=scripts)
    prepared_up_to(ports, session_id, S.SETUP)
    before = len(ports.sockets.sent["r1"])
    begin(ports, session_id, S.SETUP)
    messages = ports.sockets.sent["r1"][before:]
    assert max(len(text.encode()) for text in messages) <= FRAME_BYTES
    parts = sorted((json.loads(text) for text in messages), key=lambda part: part["index"])
    whole = json.loads("".join(part["data"] for part in parts))
    assert whole["args"]["commands"] == scripts


def test_all_that_is_asked_for_in_several_calls_fits_its_row(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["ü" * 10_000] * 10, autoInitiate=False)
    given = secrets(ciphertext="AAAA" * (CIPHERTEXT_BYTES // 3))
    request = PatchSession.model_validate({"encryptedSecrets": given})
    talk.patch_session(ports, "alice", session_id, request)
    variables = {f"A{n}": "v" * 4000 for n in range(16)}
    with pytest.raises(ValidationFailed, match=str(CONFIG_BYTES)):
        talk.patch_session(ports, "alice", session_id, PatchSession(env_vars=variables))


def test_a_session_that_was_never_saved_is_cloned_at_its_wake(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    say(ports, session_id)
    woken = again(ports, session_id)
    through(woken, S.BRANCH)
    assert last(woken, "clone")["args"]["archive"] is None


def test_a_branch_and_a_setup_end_with_what_the_runner_has_to_say_of_them(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports, setupCommands=["npm ci"])
    runner = prepared_up_to(ports, session_id, S.BRANCH)
    begin(ports, session_id, S.BRANCH)
    runner.complete("1.branch.1", branch="b", commit="0" * 40, notes=["Push it by another name"])
    begin(ports, session_id, S.RESTORE)
    runner.complete("1.restore.1")
    begin(ports, session_id, S.SETUP)
    ran = [{"skipped": True}, {"skipped": False}, 7]
    runner.complete("1.setup.1", commands=ran, notes=["~/.profile is not read"])

    assert (
        record(ports, session_id, S.BRANCH).message == "b at 000000000000; Push it by another name"
    )
    said = record(ports, session_id, S.SETUP).message
    assert said == "1 of 2 skipped, they ran before; ~/.profile is not read"
