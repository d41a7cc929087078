"""Credentials for git: what is kept of them, and how the cloud is asked."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_cloud import FakeCloud
from runner_kit import SESSION_ID, Sandbox, clone_args, eventually

from headstart.domain.channel import CredentialAnswer, CredentialRequest, ErrorInfo
from headstart.domain.errors import AppNotInstalled, GitHubUnavailable, StepError
from headstart_runner.gateway import credentials as credentials_module
from headstart_runner.gateway.credentials import Credential, SessionCredentials
from headstart_runner.redaction import Redactor
from headstart_runner.uplink import asking
from headstart_runner.uplink.asking import Asking
from headstart_runner.vault import Vault


class Clock:
    """The time, as the test says."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


Made = tuple[SessionCredentials, list[tuple[str, str, bool]], Clock]


def made(answer: Callable[[Clock], Credential | None], vault: Vault | None = None) -> Made:
    asked: list[tuple[str, str, bool]] = []
    clock = Clock()

    async def ask(host: str, repository: str, write: bool) -> Credential | None:
        asked.append((host, repository, write))
        await asyncio.sleep(0)
        return answer(clock)

    return SessionCredentials(vault or Vault(), ask, Redactor(), clock), asked, clock


def for_an_hour(clock: Clock) -> Credential:
    return Credential("x", "password-0123456789", clock.now + timedelta(hours=1))


@pytest.mark.anyio
async def test_a_credential_is_kept_until_shortly_before_its_end() -> None:
    credentials, asked, clock = made(for_an_hour)
    together = [credentials.get("h", "o/n", write=False) for _ in range(9)]
    assert len({id(found) for found in await asyncio.gather(*together)}) == 1
    assert len(asked) == 1
    clock.now += timedelta(minutes=54)
    await credentials.get("h", "o/n", write=False)
    assert len(asked) == 1
    clock.now += timedelta(minutes=2)
    found = await credentials.get("h", "o/n", write=False)
    await credentials.get("h", "o/n", write=True)
    assert len(asked) == 3

    assert found is not None
    credentials.forget(found)
    await credentials.get("h", "o/n", write=False)
    assert len(asked) == 4
    assert "password-0123456789" not in repr(found)
    assert credentials._redactor.text("x:password-0123456789") == "x:[redacted]"


@pytest.mark.anyio
async def test_that_there_is_nothing_is_known_for_a_while() -> None:
    credentials, asked, clock = made(lambda _: None)
    for minutes, times in ((0, 1), (4, 1), (2, 2)):
        clock.now += timedelta(minutes=minutes)
        assert await credentials.get("h", "o/n", write=False) is None
        assert len(asked) == times
    credentials.forget_refusals()
    await credentials.get("h", "o/n", write=False)
    assert len(asked) == 3


@pytest.mark.anyio
async def test_for_another_repository_nothing_is_known_that_was_given_for_the_first() -> None:
    credentials, asked, _ = made(for_an_hour)
    await credentials.get("h", "o/private", write=False)
    on_its_way = asyncio.create_task(credentials.get("h", "o/late", write=False))
    await eventually(lambda: len(asked) == 2)
    credentials.forget_all()
    await on_its_way
    asked.clear()
    for name in ("o/private", "o/late"):
        await credentials.get("h", name, write=False)
    assert asked == [("h", "o/private", False), ("h", "o/late", False)]


@pytest.mark.anyio
async def test_a_refusal_is_remembered_for_seconds_and_one_who_gives_up_stops_nobody_else() -> None:
    def refuse(_: Clock) -> Credential:
        raise AppNotInstalled("not here")

    credentials, asked, clock = made(refuse)
    impatient = asyncio.create_task(credentials.get("h", "o/n", write=False))
    await asyncio.sleep(0)
    impatient.cancel()
    for seconds, times in ((0, 1), (14, 1), (2, 2)):
        clock.now += timedelta(seconds=seconds)
        with pytest.raises(AppNotInstalled):
            await credentials.get("h", "o/n", write=False)
        assert len(asked) == times


@pytest.mark.anyio
async def test_the_sessions_token_is_for_its_host_alone() -> None:
    vault = Vault()
    vault._values = {"GIT_TOKEN": "mine-0123456789"}
    credentials, asked, _ = made(lambda _: None, vault)
    credentials.host = "h"

    assert await credentials.get("other", "o/n", write=True) is None
    assert await credentials.get("h", "a/b", write=True) == Credential(
        "x-access-token", "mine-0123456789"
    )
    assert asked == [("other", "o/n", True)]


@pytest.mark.anyio
async def test_no_more_repositories_are_known_than_can_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials_module, "_MOST", 2)
    credentials, asked, _ = made(for_an_hour)
    for name in "abca":
        await credentials.get("h", name, write=False)
    assert [repository for _, repository, _ in asked] == ["a", "b", "c", "a"]


# The questions themselves, over a real connection.


@pytest.mark.anyio
async def test_a_question_is_asked_again_after_a_reconnect(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Any
) -> None:
    url = repositories.make("private", {"a": "1"})
    name = url.rpartition("/")[2]
    repositories.server.credentials[name] = {"ada": "password-0123456789"}
    cloud.on_credential = lambda asked: None
    await cloud.start("clone", clone_args(url))
    await cloud.until(lambda: cloud.questions)
    before = await cloud.connected()

    def answer(asked: CredentialRequest) -> CredentialAnswer:
        return CredentialAnswer(
            request_id=asked.request_id, username="ada", password="password-0123456789"
        )

    cloud.on_credential = answer
    await cloud.drop()
    await cloud.connected_anew(before)
    done = await cloud.result("1.clone.1")

    assert done["status"] == "completed", done
    first, second = cloud.questions
    assert first == second
    assert first.session_id == SESSION_ID
    assert f"{first.host}/{first.repository}.git" in url
    assert not first.write
    assert "password-0123456789" not in cloud.everything()


@pytest.mark.anyio
async def test_what_the_cloud_says_fails_the_clone_by_its_name(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Any
) -> None:
    url = repositories.make("private", {"a": "1"})
    repositories.server.credentials[url.rpartition("/")[2]] = {"ada": "x"}
    error = AppNotInstalled("Install it at https://github.com/apps/headstart")
    cloud.on_credential = lambda asked: CredentialAnswer(
        request_id=asked.request_id, error=ErrorInfo.of(error)
    )
    failed = await cloud.do("clone", clone_args(url))

    assert failed["error"] == {
        "code": "AppNotInstalled",
        "reason": error.reason,
        "retryable": True,
    }


@pytest.mark.anyio
async def test_a_cloud_that_says_nothing_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "_SECONDS", 0.05)
    monkeypatch.setattr(asking, "_MOST", 1)
    questions = Asking(SESSION_ID)
    first = asyncio.create_task(questions.credential("h", "o/n", False))
    await asyncio.sleep(0)
    with pytest.raises(GitHubUnavailable, match="Too many"):
        await questions.credential("h", "o/n", False)
    with pytest.raises(StepError, match="Nobody said within"):
        await first
    questions.answered(CredentialAnswer(request_id="late"))
