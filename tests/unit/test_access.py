"""Who may use which repository: rules, groups, and what a session is given."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headstart.adapters.memory import MemoryPorts
from headstart.config import Settings
from headstart.domain.access import AccessRule, granted, groups_of, matches
from headstart.domain.change import CONFIG
from headstart.domain.errors import RepositoryForbidden, ValidationFailed
from headstart.domain.repository import github_api, repository_of
from headstart.domain.requests import CreateSession
from headstart.domain.session import SessionConfig
from headstart.usecases.create import create_session

GITHUB = "https://github.com"
RULES = [
    AccessRule(group="*", repositories=["open/*"]),
    AccessRule(group="eng", repositories=["org/*", "org/web"]),
    AccessRule(group="ops", repositories=["org/infra-?", "ops/*"]),
]


def config_of(ports: MemoryPorts, groups: frozenset[str] = frozenset(), **body: Any) -> Any:
    request = CreateSession.model_validate({"prompt": "x", "githubRepo": "org/name", **body})
    ports.policy.access_rules = RULES
    made = create_session(ports, "alice", request, None, groups)
    return ports.store.named(made["sessionId"], [CONFIG])[CONFIG]


@pytest.mark.parametrize(
    ("pattern", "repository", "does"),
    [
        ("org/*", "org/name", True),
        ("ORG/*", "org/Name", True),
        ("org/*", "ORG/name", True),
        ("org/*", "orga/name", False),
        ("org/*", "other/org/name", False),
        ("*/*", "any/thing", True),
        ("*/name", "org/name", True),
        ("*/name", "org/named", False),
        ("org/web-?", "org/web-1", True),
        ("org/web-?", "org/web-12", False),
        ("org/a.b", "org/a-b", False),
        ("o*/n*", "org/name", True),
    ],
)
def test_a_pattern_is_for_each_side_of_the_slash(
    pattern: str, repository: str, *, does: bool
) -> None:
    assert matches([pattern], repository) is does


@pytest.mark.parametrize(
    ("url", "github", "repository"),
    [
        ("https://github.com/org/name.git", GITHUB, "org/name"),
        ("https://GitHub.com:443/Org/Name", GITHUB, "Org/Name"),
        ("https://github.com/org//name/", GITHUB, "org/name"),
        ("https://github.com/org/n%61me.GIT", GITHUB, "org/name"),
        ("http://github.com/org/name", GITHUB, None),
        ("https://github.com.evil.test/org/name", GITHUB, None),
        ("https://gitlab.com/org/name", GITHUB, None),
        ("https://github.com/org", GITHUB, None),
        ("https://git.corp.test/gh/org/name", "https://git.corp.test/gh", "org/name"),
        ("https://git.corp.test/ghx/org/name", "https://git.corp.test/gh", None),
    ],
)
def test_only_what_is_at_githubs_address_has_a_name_there(
    url: str, github: str, repository: str | None
) -> None:
    assert repository_of(url, github) == repository


def test_where_the_api_is() -> None:
    assert github_api("https://github.com/", "https://github.com/o/n") == "https://api.github.com"
    own = "https://git.corp.test"
    assert github_api(own, f"{own}/o/n") == "https://git.corp.test/api/v3"
    assert github_api(own, "https://github.com/o/n") is None


@pytest.mark.parametrize(
    ("claim", "groups"),
    [
        ("[eng ops]", {"eng", "ops"}),
        ("[eng]", {"eng"}),
        ("eng", {"eng"}),
        ("eng ops", {"eng", "ops"}),
        ('["eng","two words"]', {"eng", "two words"}),
        (["eng", "ops"], {"eng", "ops"}),
        ("[]", set()),
        ("", set()),
        (None, set()),
        (7, set()),
        ("[" * 100_000 + "]", {"[" * 99_999}),
        ('[["eng"]]', set()),
    ],
)
def test_every_way_to_write_a_claim(claim: object, groups: set[str]) -> None:
    assert groups_of(claim) == groups


NAMES = st.lists(
    st.text("abcXYZ019-_.:/@é", min_size=1, max_size=12).filter(lambda name: not name.isdigit()),
    max_size=5,
)


@given(NAMES)
def test_the_same_groups_are_read_from_each(names: list[str]) -> None:
    ways: list[object] = [f"[{' '.join(names)}]", json.dumps(names), " ".join(names), names]
    for way in ways:
        assert groups_of(way) == set(names)


@given(st.text(max_size=60))
def test_no_claim_is_too_odd(claim: str) -> None:
    groups_of(claim)
    groups_of(f"[{claim}]")


def test_a_session_is_given_all_that_its_caller_may_read(ports: MemoryPorts) -> None:
    config = config_of(ports, frozenset({"eng", "unknown"}))
    assert config.access == ["open/*", "org/*", "org/web"]


def test_what_only_others_may_use_is_refused_and_nothing_is_written(ports: MemoryPorts) -> None:
    for groups in (frozenset[str](), frozenset({"ops"})):
        with pytest.raises(RepositoryForbidden) as refused:
            config_of(ports, groups)
        assert "org/name" in refused.value.reason
    assert ports.store.sessions == {}
    assert ports.machine.started == []
    assert config_of(ports, frozenset({"ops"}), githubRepo="org/infra-1").access


@pytest.mark.parametrize("url", ["https://github.com/ORG/name", "https://github.com/org/n%61me"])
def test_no_other_spelling_is_another_repository(ports: MemoryPorts, url: str) -> None:
    with pytest.raises(RepositoryForbidden):
        config_of(ports, githubRepo=None, gitUrl=url)


def test_what_no_rule_names_is_anybodys_and_reads_nothing_private(ports: MemoryPorts) -> None:
    assert config_of(ports, frozenset({"eng"}), githubRepo="stranger/thing").access == []
    assert (
        config_of(ports, frozenset({"eng"}), githubRepo=None, gitUrl="https://x.test/a").access
        == []
    )


def test_who_brings_a_token_is_not_refused_and_given_nothing(ports: MemoryPorts) -> None:
    sealed = {"names": ["GIT_TOKEN"], "envelope": "x"}
    assert config_of(ports, encryptedSecrets=sealed).access == []
    with pytest.raises(RepositoryForbidden):
        config_of(ports, encryptedSecrets={**sealed, "names": ["OTHER"]})


def test_a_bad_address_is_told_before_a_forbidden_one(ports: MemoryPorts) -> None:
    with pytest.raises(ValidationFailed):
        config_of(ports, githubRepo="org/na me")


def test_without_rules_nobody_is_given_anything() -> None:
    assert granted([], frozenset({"eng"}), "org/name", own_token=False) == []


ENVIRONMENT = {
    "HEADSTART_STACK": "s",
    "HEADSTART_TABLE": "t",
    "HEADSTART_STATE_MACHINE_ARN": "arn",
    "HEADSTART_STREAM_URL": "wss://x",
    "HEADSTART_SOCKET_MANAGEMENT_URL": "https://x",
}


def test_rules_come_from_the_environment() -> None:
    rules = json.dumps([rule.to_json() for rule in RULES])
    settings = Settings.from_environment({**ENVIRONMENT, "HEADSTART_REPOSITORY_ACCESS": rules})
    assert settings.policy().access_rules == RULES
    assert Settings.from_environment(ENVIRONMENT).policy().access_rules == []


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("{", "JSON"),
        ('{"group": "a"}', "list"),
        ('[{"group": "a"}]', "repositories"),
        ('[{"group": "", "repositories": ["a/b"]}]', "group"),
        ('[{"group": "a", "repositories": []}]', "repositories"),
        ('[{"group": "a", "repositories": ["a"]}]', "pattern"),
        ('[{"group": "a", "repositories": ["a/b/c"]}]', "pattern"),
        ('[{"group": "a", "repositories": ["a/[b]"]}]', "pattern"),
        ('[{"group": "a", "repositories": ["a/b"], "write": true}]', "write"),
    ],
)
def test_bad_rules_are_refused_in_words(rules: str, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.from_environment({**ENVIRONMENT, "HEADSTART_REPOSITORY_ACCESS": rules})
    assert "HEADSTART_REPOSITORY_ACCESS" in str(refused.value)
    assert words in str(refused.value)


def test_a_row_of_before_gives_nothing() -> None:
    assert SessionConfig.model_validate({}).access == []
