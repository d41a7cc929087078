"""Prepared trees are adopted by whoever asks for the same."""

from datetime import timedelta
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.requests import PatchSession
from headstart.usecases import talk
from tests.unit.archives import last
from tests.unit.attempts import (
    S,
    put_tree,
    record,
    skipped,
)
from tests.unit.helpers import begin, created
from tests.unit.trees import (
    ADOPTED,
    COMMIT,
    TIP,
    counted,
    delivered,
    in_bucket,
    keep,
    on,
    trees,
    up_to,
)

# Adopted.


def test_a_tree_is_put_back_and_its_setup_not_run(ports: MemoryPorts) -> None:
    tree = put_tree(ports)
    inputs = ["package-lock.json"]
    session_id = created(ports, setupCommands=["npm ci"], setupInputs=inputs)
    runner = on(ports, session_id, S.DELIVER, **ADOPTED)
    assert last(runner, "clone")["args"]["tree"] == {
        "url": f"https://objects.test/{tree.file.key}",
        "bytes": 9,
        "sha256": "tree",
        "commit": COMMIT,
        "branch": "session/ses_0",
        "inputs": inputs,
    }
    said = "From a prepared tree of 2 h ago, 3 commits fetched; main at bbbbbbbbbbbb"
    assert record(ports, session_id, S.CLONE).message == said
    assert skipped(ports, session_id, S.SETUP) == "Skipped: same package-lock.json"
    assert skipped(ports, session_id, S.BRANCH) is None
    delivered(ports, runner)
    [ready] = [e for e in ports.store.event_log[session_id] if e.type == "session.ready"]
    assert ready.data["receipt"]["preparedTree"] == {"age": 7200, "bytes": 9, "saved": 60_000}
    assert counted(ports) == ["PreparedTreesAdopted"]


@pytest.mark.parametrize(
    ("fetched", "said"),
    [
        (0, ", no commits fetched"),
        (1, ", 1 commit fetched"),
        (None, ""),
        (-1, ""),
        ("3", ""),
        (True, ""),
    ],
)
def test_what_came_since_is_told(ports: MemoryPorts, fetched: object, said: str) -> None:
    put_tree(ports)
    runner = up_to(ports, S.BRANCH, **{**ADOPTED, "fetched": fetched, "notes": ["no LFS"]})
    message = record(ports, runner.session_id, S.CLONE).message
    assert message == f"From a prepared tree of 2 h ago{said}; main at bbbbbbbbbbbb; no LFS"


def offered(ports: MemoryPorts, **body: Any) -> Any:
    """Return the tree that a session's clone is told of."""
    session_id = created(ports, **{"setupCommands": ["npm ci"], **body})
    runner = on(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    return last(runner, "clone")["args"]["tree"]


@pytest.mark.parametrize(
    ("body", "is_offered"),
    [
        ({}, True),
        ({"preparedTree": "refresh"}, False),
        ({"preparedTree": "off"}, False),
        ({"setupCommands": ["npm i"]}, False),
        ({"envVars": {"A": "1"}}, False),
    ],
)
def test_a_tree_is_for_those_who_ask_for_the_same(
    ports: MemoryPorts, body: dict[str, Any], *, is_offered: bool
) -> None:
    put_tree(ports)
    assert bool(offered(ports, **body)) is is_offered


def test_a_tree_whose_time_is_over_is_none(ports: MemoryPorts) -> None:
    put_tree(ports, expires_at=ports.clock())
    assert offered(ports) is None


def test_a_deployment_without_trees_adopts_none(ports: MemoryPorts) -> None:
    put_tree(ports)
    ports.policy.prepared_tree_life = timedelta()
    assert offered(ports) is None


def test_another_image_has_other_trees(ports: MemoryPorts) -> None:
    put_tree(ports)
    ports.policy.image = "sandbox:2"
    assert offered(ports) is None


def test_a_setup_that_is_another_by_now_gets_no_tree_of_the_one_before(ports: MemoryPorts) -> None:
    put_tree(ports)
    session_id = created(ports, setupCommands=["npm ci"], autoInitiate=False)
    runner = on(ports, session_id, S.CLONE)
    talk.patch_session(ports, "alice", session_id, PatchSession(setup_commands=["npm i"]))
    begin(ports, session_id, S.CLONE)
    assert last(runner, "clone")["args"]["tree"] is None


def test_a_setup_that_is_changed_while_a_tree_is_looked_for_gets_none_and_makes_none(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_tree(ports)
    session_id = created(ports, setupCommands=["npm ci"], autoInitiate=False)
    look = ports.store.prepared_before

    def slowly(*asked: Any) -> Any:
        patch = PatchSession(setup_commands=["npm i"])
        talk.patch_session(ports, "alice", session_id, patch)
        return look(*asked)

    monkeypatch.setattr(ports.store, "prepared_before", slowly)
    runner = on(ports, session_id, S.AGENT)
    assert last(runner, "clone")["args"]["tree"] is None
    known = dict(ports.store.trees)
    keep(ports, runner)
    assert ports.store.trees == known


def test_a_tree_that_could_not_be_used_is_a_clone_that_says_so(ports: MemoryPorts) -> None:
    put_tree(ports)
    note = "The prepared tree could not be used: it is gone"
    runner = up_to(ports, S.AGENT, adopted=None, notes=[note], defaultBranch="main")
    assert record(ports, runner.session_id, S.CLONE).message == f"main at aaaaaaaaaaaa; {note}"
    assert skipped(ports, runner.session_id, S.SETUP) is None
    keep(ports, runner)
    assert [tree.file.sha256 for tree in trees(ports)] == ["base"]


def test_a_commit_of_no_known_branch_is_told_alone(ports: MemoryPorts) -> None:
    put_tree(ports)
    runner = up_to(ports, S.BRANCH, **{**ADOPTED, "defaultBranch": None})
    said = record(ports, runner.session_id, S.CLONE).message
    assert said == "From a prepared tree of 2 h ago, 3 commits fetched; at bbbbbbbbbbbb"


@pytest.mark.parametrize("said", ["Tree", ["tree"], True, {}])
def test_nonsense_is_a_clone(ports: MemoryPorts, said: object) -> None:
    put_tree(ports)
    runner = up_to(ports, S.AGENT, **{**ADOPTED, "adopted": said})
    assert skipped(ports, runner.session_id, S.SETUP) is None
    assert ports.store.sets[runner.session_id].attempt.adopted is None


def test_a_tree_that_nobody_sent_is_a_clone(ports: MemoryPorts) -> None:
    runner = up_to(ports, S.AGENT, **ADOPTED)
    assert skipped(ports, runner.session_id, S.SETUP) is None
    assert counted(ports) == []


def test_a_tree_in_which_the_setup_ran_again_is_a_newer_one(ports: MemoryPorts) -> None:
    old = put_tree(ports, made_ms=90_000)
    runner = up_to(ports, S.AGENT, **{**ADOPTED, "setup": None})
    assert last(runner, "setup")["args"]["baseAfterMs"] == 0
    keep(ports, runner)
    [tree] = trees(ports)
    assert (tree.key, tree.commit, tree.file.sha256) == (old.key, TIP, "base")
    assert tree.made_ms == 90_000, "from nothing it takes as long as before"
    assert in_bucket(ports) == {tree.file.key}


def test_refresh_makes_one_anew_however_short_it_is(ports: MemoryPorts) -> None:
    put_tree(ports)
    session_id = created(ports, setupCommands=["npm ci"], preparedTree="refresh")
    runner = on(ports, session_id, S.AGENT)
    assert last(runner, "setup")["args"]["baseAfterMs"] == 0
    keep(ports, runner)
    assert [tree.file.sha256 for tree in trees(ports)] == ["base"]
