"""The archive of a session that adopted a prepared tree."""

import json

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import AgentStartFailed
from headstart.domain.session import Status
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.archives import archive_of, keys, last, make, save
from tests.unit.attempts import (
    S,
    again,
    in_another_sandbox,
    put_tree,
    retried,
    skipped,
    through,
)
from tests.unit.helpers import begin, turn_ended
from tests.unit.test_sleep import say
from tests.unit.trees import (
    ADOPTED,
    adopter,
    keep,
    made,
    told_asleep,
    up_to,
)


def test_the_first_save_takes_the_trees_base_along(ports: MemoryPorts) -> None:
    tree = put_tree(ports)
    runner = adopter(ports)
    assert last(runner, "archive")["args"]["base"] == "tree"
    upload = made(ports, runner)
    assert len(upload["args"]["files"]) == 1
    runner.complete(upload["id"])
    archive = archive_of(ports, runner.session_id)
    assert archive.base.sha256 == "tree"
    assert archive.base.key.startswith(f"archives/{runner.session_id}/")
    assert keys(archive) | {tree.file.key} == set(ports.objects.stored)
    # From then on the tree is nothing to it.
    ports.objects.delete("trees/")
    say(ports, runner.session_id)
    runner.complete(last(runner, "prompt")["id"], agentMessageId="m")
    runner.report(turn_ended(ports, runner.session_id))
    save(ports, runner, base=None)
    assert archive_of(ports, runner.session_id).base == archive.base
    assert keys(archive_of(ports, runner.session_id)) == set(ports.objects.stored)


def test_a_copy_that_was_not_sent_copies_no_tree(ports: MemoryPorts) -> None:
    tree = put_tree(ports)
    runner = adopter(ports)
    make(runner, last(runner, "archive"))
    runner.complete(last(runner, "upload")["id"])
    assert set(ports.objects.stored) == {tree.file.key}
    assert ports.store.archive(runner.session_id) is None


def test_a_tree_that_is_gone_at_the_first_save_has_all_saved_at_once(ports: MemoryPorts) -> None:
    put_tree(ports)
    runner = adopter(ports)
    upload = made(ports, runner)
    ports.objects.delete("trees/")
    runner.complete(upload["id"])
    assert (ports.objects.stored, ports.store.archive(runner.session_id)) == ({}, None)
    assert last(runner, "archive")["args"]["base"] is None
    save(ports, runner)
    assert archive_of(ports, runner.session_id).base.sha256 == "base"
    assert ports.store.session(runner.session_id).saving is None


def test_a_tree_that_is_gone_while_a_turn_goes_on_has_all_saved_at_its_end(
    ports: MemoryPorts,
) -> None:
    put_tree(ports)
    runner = adopter(ports)
    upload = made(ports, runner)
    ports.objects.delete("trees/")
    say(ports, runner.session_id)
    runner.complete(last(runner, "prompt")["id"], agentMessageId="m")
    runner.complete(upload["id"])
    assert last(runner, "archive")["args"]["base"] == "tree"
    runner.report(turn_ended(ports, runner.session_id))
    assert last(runner, "archive")["args"]["base"] is None


def test_who_falls_asleep_on_a_tree_that_is_gone_is_asked_once_more(ports: MemoryPorts) -> None:
    put_tree(ports)
    runner = adopter(ports)
    ports.clock.advance(minutes=15)
    sweep(ports)
    upload = made(ports, runner)
    ports.objects.delete("trees/")
    runner.complete(upload["id"])
    assert ports.store.session(runner.session_id).status is Status.STOPPING
    assert last(runner, "archive")["args"]["base"] is None
    save(ports, runner)
    assert told_asleep(ports, runner)["saved"] is True


def test_who_falls_asleep_on_a_tree_that_is_gone_without_a_sandbox_says_so(
    ports: MemoryPorts,
) -> None:
    put_tree(ports)
    runner = adopter(ports)
    ports.clock.advance(minutes=15)
    sweep(ports)
    made(ports, runner)
    ports.objects.delete("trees/")
    sandbox_stopped(ports, f"{runner.session_id}-1-1", "task", "gone")
    said = told_asleep(ports, runner)
    assert said["saved"] is False
    assert "it builds on a base that is not kept any more" in said["reason"]


def test_two_copies_on_a_tree_that_is_gone_end_with_one_whole(ports: MemoryPorts) -> None:
    put_tree(ports)
    runner = adopter(ports)
    first = made(ports, runner)
    ports.clock.advance(minutes=15)
    sweep(ports)
    second = last(runner, "archive")
    ports.objects.delete("trees/")
    runner.complete(first["id"])
    assert ports.store.session(runner.session_id).status is Status.STOPPING
    make(runner, second)
    keep(ports, runner)
    assert last(runner, "archive")["args"]["base"] is None
    save(ports, runner)
    assert told_asleep(ports, runner)["saved"] is True


def test_a_retry_in_the_same_sandbox_still_builds_on_the_tree(ports: MemoryPorts) -> None:
    put_tree(ports)
    runner = up_to(ports, S.AGENT, **ADOPTED)
    session_id = runner.session_id
    fail_preparation(ports, session_id, 1, AgentStartFailed("no"))
    retried(ports, session_id)
    begin(ports, session_id, S.SANDBOX, attempt=2)
    assert skipped(ports, session_id, S.CLONE) == "Done in attempt 1"
    for step in (S.DISK, S.SETUP, S.AGENT):
        begin(ports, session_id, step, attempt=2)
        if step is not S.SETUP:
            runner.complete(f"2.{step.value}.1")
    begin(ports, session_id, S.DELIVER, attempt=2)
    runner.complete(last(runner, "prompt")["id"], agentMessageId="m")
    runner.report(turn_ended(ports, session_id))
    assert last(runner, "archive")["args"]["base"] == "tree"


def test_a_retry_in_another_sandbox_begins_with_the_tree_that_there_is_now(
    ports: MemoryPorts,
) -> None:
    put_tree(ports)
    runner = up_to(ports, S.AGENT, **ADOPTED)
    session_id = runner.session_id
    fail_preparation(ports, session_id, 1, AgentStartFailed("no"))
    in_another_sandbox(ports, session_id)
    put_tree(ports, file={"key": "trees/x/new", "bytes": 9, "sha256": "new"})
    retried(ports, session_id)
    second = again(ports, session_id)
    through(second, S.BRANCH, **ADOPTED)
    assert last(second, "clone")["args"]["tree"]["sha256"] == "new"


def test_who_is_saved_is_put_back_and_adopts_nothing(ports: MemoryPorts) -> None:
    put_tree(ports)
    runner = adopter(ports)
    save(ports, runner)
    ports.clock.advance(minutes=15)
    sweep(ports)
    save(ports, runner, base=None)
    say(ports, runner.session_id)
    woken = again(ports, runner.session_id)
    through(woken, S.BRANCH, adopted="archive")
    args = last(woken, "clone")["args"]
    assert (args["tree"], args["archive"]["base"]["sha256"]) == (None, "tree")
    assert json.dumps(args).count("trees/") == 0
