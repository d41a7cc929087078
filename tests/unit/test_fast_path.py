"""POST /sessions: what it writes, and what repeats and failures of it come to."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import (
    IdempotencyKeyReused,
    QuotaExceeded,
    ServiceUnavailable,
    ValidationFailed,
)
from headstart.domain.message import MessageStatus
from headstart.domain.requests import CreateSession
from headstart.domain.session import Status
from headstart.usecases.create import create_session
from headstart.usecases.janitor import sweep
from headstart.usecases.watch import connect_viewer


def request(**changes: object) -> CreateSession:
    body = {"prompt": "Add a health check", "githubRepo": "org/name", **changes}
    return CreateSession.model_validate({k: v for k, v in body.items() if v is not None})


def test_a_session_exists_with_its_first_events_and_one_execution(ports: MemoryPorts) -> None:
    answer = create_session(ports, "alice", request(), None)

    session_id = answer["sessionId"]
    assert answer["status"] == "preparing"
    assert answer["attemptNumber"] == 1
    assert ports.machine.started == [(session_id, 1)]
    assert [(e.event_id, e.type) for e in ports.store.event_log[session_id]] == [
        (1, "session.preparing"),
        (2, "message.queued"),
    ]
    session = ports.store.session(session_id)
    assert session.git_url == "https://github.com/org/name.git"
    assert session.branch == f"session/{session_id}"
    assert ports.store.commits == 1


def test_the_ticket_in_the_answer_connects(ports: MemoryPorts) -> None:
    answer = create_session(ports, "alice", request(), None)
    connect_viewer(ports, "c1", answer["stream"]["ticket"])
    assert ports.store.known["c1"].session_id == answer["sessionId"]


def test_the_first_message_is_held_without_auto_initiate(ports: MemoryPorts) -> None:
    answer = create_session(ports, "alice", request(autoInitiate=False), None)
    assert ports.store.message(answer["sessionId"], 1).status is MessageStatus.HELD
    assert ports.store.session(answer["sessionId"]).hold


def test_a_repeat_returns_the_session_as_it_stands_with_a_fresh_ticket(ports: MemoryPorts) -> None:
    first = create_session(ports, "alice", request(), "key-1")
    again = create_session(ports, "alice", request(), "key-1")
    assert again["sessionId"] == first["sessionId"]
    assert again["stream"]["ticket"] != first["stream"]["ticket"]
    assert len(ports.store.sessions) == 1
    connect_viewer(ports, "c1", again["stream"]["ticket"])


def test_a_key_is_the_users_own_and_lives_a_day(ports: MemoryPorts) -> None:
    first = create_session(ports, "alice", request(), "key-1")
    assert create_session(ports, "bob", request(), "key-1")["sessionId"] != first["sessionId"]
    ports.clock.advance(hours=24)
    assert create_session(ports, "alice", request(), "key-1")["sessionId"] != first["sessionId"]


def test_the_same_key_with_another_body_is_refused(ports: MemoryPorts) -> None:
    create_session(ports, "alice", request(), "key-1")
    with pytest.raises(IdempotencyKeyReused):
        create_session(ports, "alice", request(prompt="Something else"), "key-1")
    assert len(ports.store.sessions) == 1


def test_over_the_quota_nothing_is_written_or_started(ports: MemoryPorts) -> None:
    ports.policy.active_sessions = 1
    create_session(ports, "alice", request(), None)
    with pytest.raises(QuotaExceeded):
        create_session(ports, "alice", request(), None)
    assert len(ports.store.sessions) == len(ports.machine.started) == 1
    create_session(ports, "bob", request(), None)


def test_a_start_that_fails_is_made_up_for_by_the_janitor_once(ports: MemoryPorts) -> None:
    ports.machine.down = ServiceUnavailable("StartExecution: ThrottlingException")
    session_id = create_session(ports, "alice", request(), None)["sessionId"]
    assert ports.machine.started == []
    ports.machine.down = None
    ports.clock.advance(minutes=1)
    sweep(ports)
    sweep(ports)
    ports.clock.advance(minutes=1)
    sweep(ports)
    assert ports.machine.started == [(session_id, 1)]


def test_a_session_not_started_for_ten_minutes_fails_and_says_so(ports: MemoryPorts) -> None:
    ports.machine.down = ServiceUnavailable()
    session_id = create_session(ports, "alice", request(), None)["sessionId"]
    for _ in range(10):
        ports.clock.advance(minutes=1)
        sweep(ports)
    assert ports.store.session(session_id).status is Status.PREPARING
    ports.machine.down = None
    ports.clock.advance(minutes=1)
    sweep(ports)
    session = ports.store.session(session_id)
    assert session.status is Status.FAILED
    assert session.failure and session.failure.code == "NotStarted"
    assert session.initiated_at is None
    assert ports.store.message(session_id, 1).status is MessageStatus.QUEUED


@pytest.mark.parametrize(
    "url",
    [
        "http://github.com/org/name",
        "https://user:secret@github.com/org/name",
        "https://10.0.0.1/org/name",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/org/name",
        "https://[::ffff:10.0.0.1]/org/name",
        "https://2130706433/org/name",
        "https://0x7f.1/org/name",
        "https://localhost/org/name",
        "https://git.internal/org/name",
        "file:///etc/passwd",
        "ext::sh -c id",
        "--upload-pack=touch /tmp/x",
        "git@github.com:org/name.git",
        "https://github.com",
        "https://github.com/org/name?x=1",
        "https://github.com/org/na me",
        "https://github.com:99999/org/name",
    ],
)
def test_an_address_we_must_not_clone_is_refused_by_name(ports: MemoryPorts, url: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        create_session(ports, "alice", request(githubRepo=None, gitUrl=url), None)
    assert refused.value.errors[0]["loc"] == ["gitUrl"]
    assert "secret" not in str(refused.value)
    assert ports.store.sessions == {}


@pytest.mark.parametrize("repo", ["org", "org/", "../x", "org/..", "org/a b", "-o/x", "a/b/c"])
def test_a_repository_name_that_is_none_is_refused(ports: MemoryPorts, repo: str) -> None:
    with pytest.raises(ValidationFailed):
        create_session(ports, "alice", request(githubRepo=repo), None)


def test_sources_the_deployment_allows_are_taken(ports: MemoryPorts) -> None:
    ports.policy.allowed_git_sources = ["http://127.0.0.1:*", "https://git.internal/team"]
    for url in ("http://127.0.0.1:8080/a.git", "https://git.internal/team/a.git"):
        create_session(ports, "alice", request(githubRepo=None, gitUrl=url), None)
    for url in ("http://127.0.0.2:8080/a.git", "https://git.internal/teamwork/a.git"):
        with pytest.raises(ValidationFailed):
            create_session(ports, "alice", request(githubRepo=None, gitUrl=url), None)
