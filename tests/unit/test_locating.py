"""Another repository for a session whose first could not be had."""

from typing import Any

import pytest
from pydantic import ValidationError

from headstart.adapters.memory import MemoryPorts
from headstart.domain.access import AccessRule
from headstart.domain.change import CONFIG
from headstart.domain.errors import (
    BranchNotFound,
    RepositoryForbidden,
    RepositoryNotFound,
    SetupCommandFailed,
    StepTimedOut,
    WrongStatus,
)
from headstart.domain.errors import ValidationFailed as Refused
from headstart.domain.requests import PatchSession, SendMessage
from headstart.domain.steps import StepName
from headstart.domain.tree import recipe
from headstart.domain.work import Beginning
from headstart.usecases import read, talk
from headstart.usecases.prepare import fail_preparation
from tests.unit.attempts import S, again, failed_at, in_another_sandbox, record, retried, through
from tests.unit.helpers import begin, created

HERE = "https://github.com/org/other.git"


def move(ports: MemoryPorts, session_id: str, groups: tuple[str, ...] = (), **to: Any) -> None:
    request = PatchSession.model_validate(to or {"gitUrl": HERE})
    talk.patch_session(ports, "alice", session_id, request, frozenset(groups))


def address(ports: MemoryPorts, session_id: str) -> str:
    return ports.store.session(session_id).git_url


@pytest.mark.parametrize("error", [RepositoryNotFound(), BranchNotFound("dev")])
def test_a_wrong_address_is_corrected_and_what_waits_stays(ports: MemoryPorts, error: Any) -> None:
    session_id = failed_at(ports, S.CLONE, error)
    talk.send_message(ports, "alice", session_id, SendMessage(prompt="And then?"), None)
    recipe = ports.store.session(session_id).recipe
    move(ports, session_id)
    assert ports.store.session(session_id).recipe != recipe
    assert ports.store.session(session_id).queue_length == 2
    (listed,) = read.list_sessions(ports, "alice", None, 20)["items"]
    assert listed["repository"]["gitUrl"] == HERE
    last = ports.store.event_log[session_id][-1]
    assert (last.type, last.data) == ("session.moved", {"gitUrl": HERE})
    in_another_sandbox(ports, session_id)
    retried(ports, session_id)
    runner = again(ports, session_id)
    begin(ports, session_id, S.CLONE, attempt=2)
    (frame,) = [frame for frame in runner.new_frames() if frame.get("kind") == "clone"]
    assert frame["args"]["gitUrl"] == HERE


def test_by_its_name_at_github_too(ports: MemoryPorts) -> None:
    session_id = failed_at(ports, S.CLONE, RepositoryNotFound())
    move(ports, session_id, githubRepo="org/other")
    assert address(ports, session_id) == HERE


@pytest.mark.parametrize(
    "url", ["http://example.com/r", "https://127.0.0.1/r", "https://u:p@x.test/r", "nonsense", ""]
)
def test_what_no_session_could_be_made_on_is_refused(ports: MemoryPorts, url: str) -> None:
    session_id = failed_at(ports, S.CLONE, RepositoryNotFound())
    before = address(ports, session_id)
    with pytest.raises(Refused) as refused:
        move(ports, session_id, gitUrl=url)
    assert [error["loc"] for error in refused.value.errors] == [["gitUrl"]]
    assert address(ports, session_id) == before


def test_the_access_rules_hold_for_it_as_for_the_first(ports: MemoryPorts) -> None:
    session_id = failed_at(ports, S.CLONE, RepositoryNotFound())
    ports.policy.access_rules = [AccessRule(group="eng", repositories=["org/*"])]
    before = address(ports, session_id)
    with pytest.raises(RepositoryForbidden):
        move(ports, session_id)
    assert address(ports, session_id) == before
    move(ports, session_id, ("eng",))
    assert ports.store.named(session_id, [CONFIG])[CONFIG].access == ["org/*"]
    # What the other gave is not taken along.
    move(ports, session_id, ("eng",), gitUrl="https://x.test/r")
    assert ports.store.named(session_id, [CONFIG])[CONFIG].access == []


@pytest.mark.parametrize("step", [None, S.SETUP])
def test_not_while_it_is_prepared_or_once_anything_was_cloned(
    ports: MemoryPorts, step: StepName | None
) -> None:
    session_id = failed_at(ports, step, SetupCommandFailed("no")) if step else created(ports)
    assert step is None or record(ports, session_id, S.CLONE).status == "completed"
    with pytest.raises(WrongStatus):
        move(ports, session_id)
    move(ports, session_id, gitUrl=address(ports, session_id))


@pytest.mark.parametrize(
    "body", [{"gitUrl": None}, {"githubRepo": None}, {"gitUrl": HERE, "githubRepo": "org/other"}]
)
def test_there_is_always_one(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PatchSession.model_validate(body)


def test_whatever_is_changed_beside_it_counts_for_it(ports: MemoryPorts) -> None:
    session_id = failed_at(ports, S.CLONE, BranchNotFound("dev"))
    ports.policy.access_rules = [AccessRule(group="eng", repositories=["org/*"])]
    before = ports.store.config(session_id)
    wanted = {"upstreamBranch": "next", "setupCommands": ["make"], "prompt": "Go", "title": "T"}
    move(ports, session_id, ("eng",), gitUrl=HERE, **wanted)
    kept = ports.store.config(session_id)
    assert address(ports, session_id) == HERE
    assert (kept.upstream_branch, kept.setup_commands) == ("next", ["make"])
    assert (kept.access, kept.env_vars) == (["org/*"], before.env_vars)
    session = ports.store.session(session_id)
    assert session.recipe == recipe(session, kept)


def test_a_clone_that_nobody_waited_for_is_where_the_branch_began(ports: MemoryPorts) -> None:
    session_id = failed_at(ports, S.CLONE, StepTimedOut("too slow"))
    assert ports.store.session(session_id).began is None
    in_another_sandbox(ports, session_id)
    retried(ports, session_id)
    cloned = {"cached": True, "commit": "c" * 40, "defaultBranch": "main"}
    through(again(ports, session_id), S.SETUP, **cloned)
    assert ports.store.session(session_id).began == Beginning(commit="c" * 40, branch="main")
    fail_preparation(ports, session_id, 2, SetupCommandFailed("no"))
    with pytest.raises(WrongStatus):
        move(ports, session_id)
