"""What opens a repository: who is lent it, for what, and how often."""

import json
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.access import AccessRule
from headstart.domain.channel import CredentialAnswer
from headstart.domain.errors import AppNotInstalled, GitHubUnavailable, RepositoryAccessDenied
from headstart.domain.life.lending import MOST_A_MINUTE
from headstart.domain.requests import CreateSession
from headstart.domain.steps import StepName
from headstart.usecases.create import create_session
from headstart.usecases.delete import delete_session
from headstart.usecases.inbox import receive
from headstart.usecases.read import stream_ticket
from headstart.usecases.watch import connect_viewer
from tests.unit.helpers import Runner, another, begin, connected

ENG = frozenset({"eng"})


@pytest.fixture
def runner(ports: MemoryPorts) -> Runner:
    """Return the runner of a session that may read `org/*` and write `org/name`."""
    ports.policy.github_app = True
    ports.policy.access_rules = [AccessRule(group="eng", repositories=["org/*"])]
    request = CreateSession(prompt="x", github_repo="org/name")
    made = create_session(ports, "alice", request, None, ENG)
    return connected(ports, str(made["sessionId"]))


def ask(runner: Runner, repository: str = "org/name", **more: Any) -> dict[str, Any]:
    """Ask for a credential, and return the answer without what is None."""
    runner.new_frames()
    frame = {"requestId": "q1", "host": "github.com", "repository": repository, **more}
    runner.send("credential", **frame)
    [answer] = runner.new_frames()
    assert CredentialAnswer.model_validate(answer).request_id == "q1"
    return {key: value for key, value in answer.items() if value is not None}


NOTHING = {"type": "credential", "requestId": "q1"}


def test_a_token_opens_one_repository_for_reading(ports: MemoryPorts, runner: Runner) -> None:
    assert ask(runner) == {
        **NOTHING,
        "username": "x-access-token",
        "password": "ghs_1",
        "expiresAt": "2026-01-01T01:00:00.000Z",
    }
    assert ask(runner, "Org/Other")["password"] == "ghs_2"
    assert ports.github.asked == [
        ("org/name", False),
        ("Org/Other", False),
    ]


def test_only_its_own_repository_is_opened_for_writing(ports: MemoryPorts, runner: Runner) -> None:
    assert ask(runner, "ORG/name", write=True)["password"] == "ghs_1"
    assert ask(runner, "org/other", write=True) == NOTHING
    assert ports.github.asked == [("ORG/name", True)]


@pytest.mark.parametrize(
    ("repository", "host"),
    [
        ("stranger/thing", "github.com"),
        ("org/name", "gitlab.com"),
        ("org/name", "github.com:8443"),
        ("org/name", "evil@github.com"),
        ("org/name/x", "github.com"),
        ("org/../org/name", "github.com"),
        ("org/n%61me", "github.com"),
        ("org/na?me", "github.com"),
        ("", ""),
    ],
)
def test_what_no_rule_gives_is_nobodys_and_no_failure(
    ports: MemoryPorts, runner: Runner, repository: str, host: str
) -> None:
    assert ask(runner, repository, host=host) == NOTHING
    assert ports.github.asked == []
    assert ask(runner, host="GitHub.com:443")["password"]


def test_without_an_app_there_is_nothing_to_give(ports: MemoryPorts, runner: Runner) -> None:
    ports.policy.github_app = False
    assert ask(runner) == NOTHING


def test_who_was_given_nothing_gets_nothing(ports: MemoryPorts) -> None:
    ports.policy.github_app = True
    request = CreateSession(prompt="x", github_repo="org/name")
    made = create_session(ports, "alice", request, None, ENG)
    assert ask(connected(ports, str(made["sessionId"]))) == NOTHING


@pytest.mark.parametrize(
    "error",
    [
        AppNotInstalled("Install it at https://github.com/apps/x/installations/new"),
        RepositoryAccessDenied("lacks contents: read"),
        GitHubUnavailable("try again in 7 s"),
    ],
)
def test_why_there_is_none_is_said_by_name(ports: MemoryPorts, runner: Runner, error: Any) -> None:
    ports.github.refusal = error
    told = {"code": error.code, "reason": error.reason, "retryable": True}
    assert ask(runner) == {**NOTHING, "error": told}
    counted = [name for name, *_ in ports.metrics.measured if name == "CredentialsFailed"]
    assert len(counted) == isinstance(error, GitHubUnavailable)


def test_what_moved_to_others_is_not_opened(ports: MemoryPorts, runner: Runner) -> None:
    ports.github.moved = {"org/name": "secret/name", "org/old": "org/new"}
    answer = ask(runner)
    assert (answer["error"]["code"], "password" in answer) == ("RepositoryAccessDenied", False)
    assert "secret" not in str(answer)
    assert ask(runner, "org/old")["password"]


def test_no_session_asks_github_without_end(ports: MemoryPorts, runner: Runner) -> None:
    for _ in range(MOST_A_MINUTE):
        assert ask(runner)["password"]
    ports.clock.advance(seconds=20)
    refused = ask(runner)["error"]
    assert (refused["code"], "40 s" in refused["reason"]) == ("GitHubUnavailable", True)
    assert ask(runner, "stranger/thing") == NOTHING
    assert len(ports.github.asked) == MOST_A_MINUTE
    assert "CredentialsFailed" not in [name for name, *_ in ports.metrics.measured]
    ports.clock.advance(seconds=40)
    assert ask(runner)["password"]


def test_only_the_current_connection_of_the_runner_is_answered(
    ports: MemoryPorts, runner: Runner
) -> None:
    connect_viewer(ports, "v1", stream_ticket(ports, "alice", runner.session_id)["ticket"])
    receive(ports, "v1", '{"action":"subscribe","after":0}')
    asked = {"requestId": "q1", "host": "github.com", "repository": "org/name"}
    frame = {"action": "credential", "sessionId": runner.session_id, **asked}
    receive(ports, "v1", json.dumps(frame))
    receive(ports, "stranger", json.dumps(frame))
    later = another(runner, "r2", number=1)
    later.hello()
    runner.send("credential", **asked)
    assert ports.github.asked == []
    assert "ghs_" not in str(ports.sockets.sent)
    assert ask(later)["password"] == "ghs_1"


def test_a_deleted_session_is_lent_nothing(ports: MemoryPorts, runner: Runner) -> None:
    delete_session(ports, "alice", runner.session_id)
    runner.send("credential", requestId="q", host="github.com", repository="org/name")
    assert ports.github.asked == []


def test_a_token_is_in_no_row(ports: MemoryPorts, runner: Runner) -> None:
    ask(runner)
    begin(ports, runner.session_id, StepName.DISK)
    assert "ghs_" not in repr(vars(ports.store))


def test_nobody_reads_a_token_by_chance() -> None:
    token = MemoryPorts().github.token("org/name", write=False)
    answer = CredentialAnswer(request_id="q", password=token.value)
    assert "ghs_" not in f"{token!r} {token} {answer!r} {answer}"
