"""A workspace is set up once, and what was long in the making is kept as a base."""

from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.command_kinds import SAVE_TIMEOUT
from headstart.domain.errors import (
    AgentStartFailed,
    SetupCommandFailed,
)
from headstart.domain.steps import SETUP_COMMAND_TIMEOUT
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.archives import archive_of, last, put
from tests.unit.attempts import (
    SLOW,
    S,
    again,
    awake,
    failed_at,
    in_another_sandbox,
    put_tree,
    retried,
    skipped,
    through,
    with_base,
)
from tests.unit.helpers import Runner, begin, created, prepared_up_to

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
    put_tree(ports)
    session_id = created(ports, setupCommands=["npm ci"])
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    said = {"adopted": "tree", "setup": setup, "defaultBranch": "main", "commit": "a" * 40}
    runner.complete("1.clone.1", **said)
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
    put_tree(ports)
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
    [(2.5, "use", 12_500), (SLOW, "use", 0), (2.5, "refresh", 0), (SLOW, "off", None)],
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


def test_a_base_has_its_own_time_beside_the_commands(ports: MemoryPorts) -> None:
    runner = set_up(ports, 1, setupCommands=["npm ci"])
    assert last(runner, "setup")["timeout"] == SETUP_COMMAND_TIMEOUT + SAVE_TIMEOUT
