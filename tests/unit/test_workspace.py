"""What a workspace is made of in each attempt, and that it is set up once."""

import json
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.attempt import StepRecord
from headstart.domain.channel import FRAME_BYTES
from headstart.domain.command_kinds import SAVE_TIMEOUT
from headstart.domain.errors import (
    AgentStartFailed,
    RestoreFailed,
    SetupCommandFailed,
    StepError,
    ValidationFailed,
)
from headstart.domain.life import saving
from headstart.domain.requests import EncryptedSecrets, PatchSession, RetrySession
from headstart.domain.session import CONFIG_BYTES, Status
from headstart.domain.steps import SETUP_COMMAND_TIMEOUT, STEPS, StepName, StepStatus
from headstart.usecases import talk
from headstart.usecases.change import change
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.archives import BASE, archive_of, differs, last, make, put, save
from tests.unit.helpers import Runner, begin, created, prepared_up_to, running, turn_ended
from tests.unit.test_sleep import falling, say

S = StepName
SLOW = 16
"""Seconds that are more than `PreparedTreeAfter`."""


def record(ports: MemoryPorts, session_id: str, step: StepName) -> StepRecord:
    """Return how a step of the present attempt stands."""
    return ports.store.sets[session_id].attempt.step(step)


def skipped(ports: MemoryPorts, session_id: str, step: StepName) -> str | None:
    """Return why a step was skipped, None where it was not."""
    found = record(ports, session_id, step)
    return found.message if found.status is StepStatus.SKIPPED else None


def again(ports: MemoryPorts, session_id: str, number: int = 2) -> Runner:
    """Let the sandbox of a further attempt say hello."""
    begin(ports, session_id, S.SANDBOX, attempt=number)
    runner = Runner(ports, session_id, connection_id=f"r{number}", process=f"p{number}")
    runner.connect()
    runner.hello()
    return runner


def through(runner: Runner, upto: StepName, number: int = 2, **cloned: Any) -> None:
    """Do the steps of an attempt before `upto`; the clone answers `cloned`."""
    for step in STEPS[1:]:
        if step.name is upto:
            break
        begin(runner.ports, runner.session_id, step.name, attempt=number)
        if record(runner.ports, runner.session_id, step.name).status is not StepStatus.SKIPPED:
            output = cloned if step.name is S.CLONE else {}
            runner.complete(f"{number}.{step.name.value}.1", **output)


def failed_at(ports: MemoryPorts, step: StepName, error: StepError, **body: Any) -> str:
    """Return a session that failed at a step of its first attempt, its sandbox still there."""
    session_id = created(ports, **{"setupCommands": ["npm ci"], **body})
    prepared_up_to(ports, session_id, step)
    fail_preparation(ports, session_id, 1, error)
    return session_id


def retried(ports: MemoryPorts, session_id: str, **more: Any) -> None:
    request = {"attemptNumber": 1, **more}
    talk.retry(ports, "alice", session_id, RetrySession.model_validate(request))


def in_another_sandbox(ports: MemoryPorts, session_id: str) -> None:
    """Let a failed session's sandbox end before the retry."""
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    ports.sandboxes.alive.clear()


def awake(ports: MemoryPorts) -> Runner:
    """Return the sandbox of a session that was saved and woken."""
    session_id, runner = falling(ports)
    save(ports, runner)
    say(ports, session_id)
    return again(ports, session_id)


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


def with_base(ports: MemoryPorts) -> tuple[str, Runner, dict[str, Any]]:
    """Return a session whose setup has made a base, and that base's upload."""
    session_id = created(ports, setupCommands=["npm ci"])
    runner = prepared_up_to(ports, session_id, S.SETUP)
    begin(ports, session_id, S.SETUP)
    runner.complete("1.setup.1", base=BASE)
    return session_id, runner, last(runner, "upload")


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
    ports.clock.advance(minutes=5)
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


# Setup, once.


@pytest.mark.parametrize(
    ("setup", "why"),
    [
        ("same package-lock.json", "Skipped: same package-lock.json"),
        ("same commit", "Skipped: same commit"),
        (None, None),
        ("", None),
        (["same"], None),
    ],
)
def test_an_adopted_tree_is_set_up_unless_it_is_the_same(
    ports: MemoryPorts, setup: object, why: str | None
) -> None:
    session_id = created(ports, setupCommands=["npm ci"])
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    said = {"adopted": "tree", "setup": setup, "defaultBranch": "main", "commit": "a" * 40}
    runner.complete("1.clone.1", **said)
    assert record(ports, session_id, S.CLONE).message == "main at aaaaaaaaaaaa"
    begin(ports, session_id, S.BRANCH)
    runner.complete("1.branch.1")
    begin(ports, session_id, S.RESTORE)
    runner.complete("1.restore.1")
    begin(ports, session_id, S.SETUP)
    assert skipped(ports, session_id, S.SETUP) == why


def test_what_was_set_up_in_a_sandbox_that_is_kept_is_not_set_up_again(ports: MemoryPorts) -> None:
    session_id = failed_at(ports, S.AGENT, AgentStartFailed("no"))
    retried(ports, session_id, setupCommands=["npm ci"])
    begin(ports, session_id, S.SANDBOX, attempt=2)
    begin(ports, session_id, S.SETUP, attempt=2)
    assert skipped(ports, session_id, S.SETUP) == "Done in attempt 1"


def test_an_adopted_tree_that_had_to_be_set_up_says_when_it_was(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["npm ci"])
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    runner.complete("1.clone.1", adopted="tree", setup=None)
    for step in (S.BRANCH, S.RESTORE, S.SETUP):
        begin(ports, session_id, step)
        runner.complete(f"1.{step.value}.1")
    fail_preparation(ports, session_id, 1, AgentStartFailed("no"))
    retried(ports, session_id)
    begin(ports, session_id, S.SANDBOX, attempt=2)
    begin(ports, session_id, S.SETUP, attempt=2)
    assert skipped(ports, session_id, S.SETUP) == "Done in attempt 1"


@pytest.mark.parametrize("given", [{"setupCommands": ["npm i"]}, {"envVars": {"A": "1"}}])
def test_other_commands_or_variables_are_set_up_again(
    ports: MemoryPorts, given: dict[str, Any]
) -> None:
    session_id = failed_at(ports, S.AGENT, AgentStartFailed("no"))
    retried(ports, session_id, **given)
    begin(ports, session_id, S.SANDBOX, attempt=2)
    begin(ports, session_id, S.SETUP, attempt=2)
    assert skipped(ports, session_id, S.SETUP) is None


def test_a_setup_that_failed_is_tried_again(ports: MemoryPorts) -> None:
    session_id = failed_at(ports, S.SETUP, SetupCommandFailed("exited with 1"))
    retried(ports, session_id)
    begin(ports, session_id, S.SANDBOX, attempt=2)
    begin(ports, session_id, S.SETUP, attempt=2)
    assert skipped(ports, session_id, S.SETUP) is None


@pytest.mark.parametrize("cached", [True, False])
def test_a_fresh_clone_is_set_up_and_one_that_was_there_is_not(
    ports: MemoryPorts, *, cached: bool
) -> None:
    session_id = failed_at(ports, S.AGENT, AgentStartFailed("no"))
    in_another_sandbox(ports, session_id)
    retried(ports, session_id)
    through(again(ports, session_id), S.SETUP, cached=cached)
    begin(ports, session_id, S.SETUP, attempt=2)
    assert skipped(ports, session_id, S.SETUP) == ("Done in attempt 1" if cached else None)


def test_a_put_back_workspace_in_a_sandbox_that_is_kept_stays_what_it_is(
    ports: MemoryPorts,
) -> None:
    runner = awake(ports)
    session_id = runner.session_id
    through(runner, S.BRANCH, adopted="archive")
    fail_preparation(ports, session_id, 2, AgentStartFailed("no"))
    retried(ports, session_id, attemptNumber=2)
    begin(ports, session_id, S.SANDBOX, attempt=3)
    begin(ports, session_id, S.BRANCH, attempt=3)
    assert skipped(ports, session_id, S.CLONE) == "Done in attempt 2"
    assert skipped(ports, session_id, S.BRANCH) == "Put back as it was"


def test_a_base_is_put_back_in_the_next_sandbox_of_the_same_attempt(ports: MemoryPorts) -> None:
    session_id, runner, upload = with_base(ports)
    put(ports, upload)
    runner.complete(upload["id"])
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    begin(ports, session_id, S.SANDBOX, number=2)
    second = Runner(ports, session_id, connection_id="r2", process="p2")
    second.connect()
    second.hello()
    through(second, S.BRANCH, 1)
    assert last(second, "clone")["args"]["archive"]["base"]["sha256"] == "base"


def test_a_base_that_is_being_sent_when_the_attempt_fails_is_there_for_the_next(
    ports: MemoryPorts,
) -> None:
    session_id, runner, upload = with_base(ports)
    runner.new_frames()
    fail_preparation(ports, session_id, 1, AgentStartFailed("no"))
    assert [frame for frame in runner.new_frames() if frame["type"] == "cancel"] == []
    put(ports, upload)
    runner.complete(upload["id"])
    assert archive_of(ports, session_id).base.sha256 == "base"


# What is worth a base.


def set_up(ports: MemoryPorts, seconds: float, **body: Any) -> Runner:
    """Return a session that begins its setup after a clone that took so long."""
    session_id = created(ports, **body)
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    ports.clock.advance(seconds=seconds)
    runner.complete("1.clone.1")
    for step in (S.BRANCH, S.RESTORE):
        begin(ports, session_id, step)
        runner.complete(f"1.{step.value}.1")
    begin(ports, session_id, S.SETUP)
    return runner


@pytest.mark.parametrize(
    ("seconds", "tree", "left"),
    [(2.5, "use", 12_500), (SLOW, "use", 0), (2.5, "refresh", 12_500), (SLOW, "off", None)],
)
def test_the_clone_counts_for_whether_a_setup_is_worth_a_base(
    ports: MemoryPorts, seconds: float, tree: str, left: int | None
) -> None:
    runner = set_up(ports, seconds, setupCommands=["npm ci"], preparedTree=tree)
    args = last(runner, "setup")["args"]
    assert (args["baseAfterMs"], args["cause"]) == (left, "created")


@pytest.mark.parametrize(
    ("seconds", "tree", "is_made"),
    [(SLOW, "use", True), (2.5, "use", False), (SLOW, "off", False)],
)
def test_a_slow_clone_without_setup_commands_is_worth_one(
    ports: MemoryPorts, seconds: float, tree: str, *, is_made: bool
) -> None:
    runner = set_up(ports, seconds, preparedTree=tree)
    asked = [f["args"] for f in runner.frames() if f.get("kind") == "setup"]
    assert [(a["commands"], a["baseAfterMs"]) for a in asked] == ([([], 0)] if is_made else [])
    why = skipped(ports, runner.session_id, S.SETUP)
    assert why == (None if is_made else "No setup commands")


def test_who_has_an_archive_needs_no_base_of_its_setup(ports: MemoryPorts) -> None:
    runner = awake(ports)
    session_id = runner.session_id
    through(runner, S.AGENT, adopted="archive")
    fail_preparation(ports, session_id, 2, AgentStartFailed("no"))
    retried(ports, session_id, attemptNumber=2, setupCommands=["npm ci"])
    begin(ports, session_id, S.SANDBOX, attempt=3)
    begin(ports, session_id, S.SETUP, attempt=3)
    assert last(runner, "setup")["args"]["baseAfterMs"] is None


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


def test_a_base_has_its_own_time_beside_the_commands(ports: MemoryPorts) -> None:
    runner = set_up(ports, 1, setupCommands=["npm ci"])
    assert last(runner, "setup")["timeout"] == SETUP_COMMAND_TIMEOUT + SAVE_TIMEOUT


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
    secrets = EncryptedSecrets(names=["A"], envelope="x" * 131_072)
    talk.patch_session(ports, "alice", session_id, PatchSession(encrypted_secrets=secrets))
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
