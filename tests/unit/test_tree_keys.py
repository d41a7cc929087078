"""What two sessions have in common that share a prepared tree, and nothing else."""

from datetime import timedelta
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.access import AccessRule
from headstart.domain.errors import SetupCommandFailed
from headstart.domain.requests import CreateSession, PatchSession, RetrySession
from headstart.domain.tree import ago, said_commit, tree_key
from headstart.usecases import talk
from headstart.usecases.create import create_session
from tests.envelopes import secrets
from tests.unit.attempts import S, failed_at
from tests.unit.helpers import created


def recipe(ports: MemoryPorts, owner: str = "alice", **body: Any) -> str | None:
    request = {"prompt": "x", "githubRepo": "org/name", **body}
    made = create_session(ports, owner, CreateSession.model_validate(request), None)
    return ports.store.session(made["sessionId"]).recipe


@pytest.mark.parametrize(
    "other",
    [
        {"githubRepo": "org/other"},
        {"upstreamBranch": "next"},
        {"clone": {"depth": 1}},
        {"clone": {"submodules": True}},
        {"setupCommands": ["npm ci"]},
        {"envVars": {"A": "1"}},
        {"encryptedSecrets": secrets()},
    ],
)
def test_whatever_a_workspace_is_made_by_makes_another_key(
    ports: MemoryPorts, other: dict[str, Any]
) -> None:
    assert recipe(ports, **other) != recipe(ports)


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "y"},
        {"agent": "kilo"},
        {"agent": "kilo", "mode": "plan"},
        {"setupInputs": ["package-lock.json"]},
        {"preparedTree": "refresh"},
        {"mcpServers": {"x": {}}},
        {"appendSystemPrompt": "Be brief"},
    ],
)
def test_what_comes_after_the_setup_makes_no_other_key(
    ports: MemoryPorts, other: dict[str, Any]
) -> None:
    assert recipe(ports, **other) == recipe(ports)


def test_commands_are_in_order_and_variables_in_none(ports: MemoryPorts) -> None:
    assert recipe(ports, setupCommands=["a", "b"]) != recipe(ports, setupCommands=["b", "a"])
    one, other = {"A": "1", "B": "2"}, {"B": "2", "A": "1"}
    assert recipe(ports, envVars=one) == recipe(ports, envVars=other)
    assert recipe(ports, envVars=one) != recipe(ports, envVars={"A": "2", "B": "1"})
    assert recipe(ports, setupCommands=["a"], envVars={}) != recipe(ports, envVars={"a": ""})


@pytest.mark.parametrize(
    ("own", "is_shared"),
    [
        ({}, True),
        ({"envVars": {"A": "1"}}, False),
        ({"encryptedSecrets": secrets()}, False),
    ],
)
def test_what_holds_something_of_its_owner_is_its_owners(
    ports: MemoryPorts, own: dict[str, Any], *, is_shared: bool
) -> None:
    assert (recipe(ports, "alice", **own) == recipe(ports, "bob", **own)) is is_shared


def test_what_others_may_not_read_is_its_owners(ports: MemoryPorts) -> None:
    before = recipe(ports)
    ports.policy.access_rules = [AccessRule(group="*", repositories=["org/name"])]
    assert len({before, given := recipe(ports), recipe(ports, "bob")}) == 3
    ports.policy.access_rules = [AccessRule(group="*", repositories=["org/name", "org/lib"])]
    assert recipe(ports) != given
    assert recipe(ports, githubRepo="open/x") == recipe(ports, "bob", githubRepo="open/x")


def test_secrets_make_a_key_by_their_names_as_they_are_sealed_anew_each_time(
    ports: MemoryPorts,
) -> None:
    one, again = secrets("A", "B"), secrets("B", "A", iv="AgICAgICAgICAgIC")
    assert recipe(ports, encryptedSecrets=one) == recipe(ports, encryptedSecrets=again)
    assert recipe(ports, encryptedSecrets=one) != recipe(ports, encryptedSecrets=secrets("A"))


def test_who_takes_no_part_has_no_key(ports: MemoryPorts) -> None:
    assert recipe(ports, preparedTree="off") is None


def test_each_image_has_trees_of_its_own() -> None:
    assert tree_key("recipe", "sandbox:1") != tree_key("recipe", "sandbox:2")


@pytest.mark.parametrize(
    "given",
    [
        {"setupCommands": ["npm i"]},
        {"envVars": {"A": "1"}},
        {"encryptedSecrets": secrets()},
    ],
)
def test_a_retry_with_another_setup_has_another_key(
    ports: MemoryPorts, given: dict[str, Any]
) -> None:
    session_id = failed_at(ports, S.SETUP, SetupCommandFailed("exited with 1"))
    before = ports.store.session(session_id).recipe
    talk.retry(
        ports, "alice", session_id, RetrySession.model_validate({"attemptNumber": 1, **given})
    )
    assert ports.store.session(session_id).recipe not in {before, None}


def test_a_patch_that_changes_nothing_of_it_changes_no_key(ports: MemoryPorts) -> None:
    session_id = created(ports, autoInitiate=False)
    before = ports.store.session(session_id).recipe
    talk.patch_session(ports, "alice", session_id, PatchSession(append_system_prompt="Be brief"))
    assert ports.store.session(session_id).recipe == before
    request = PatchSession.model_validate({"encryptedSecrets": secrets()})
    talk.patch_session(ports, "alice", session_id, request)
    assert ports.store.session(session_id).recipe != before


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=-5), "a moment ago"),
        (timedelta(seconds=59), "a moment ago"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=7), "7 days ago"),
    ],
)
def test_an_age_is_said_in_its_largest_unit(age: timedelta, words: str) -> None:
    assert ago(age) == words


@pytest.mark.parametrize("said", [None, 7, "", "main", "A" * 40, "a" * 41, "a" * 40 + "\n"])
def test_what_is_no_commit_is_none(said: object) -> None:
    assert said_commit(said) is None
    assert said_commit("0a" * 20) == "0a" * 20
    assert said_commit("0a" * 32) == "0a" * 32
