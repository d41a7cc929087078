"""Every call over real HTTP: paths and bodies, retries, errors, and the blocking prepare()."""

import asyncio
import inspect
import ssl

import pytest
from fake_headstart import SESSION_ID, FakeHeadstart, FakeSession, Reply, problem
from session_scripts import good_start

from headstart_client import (
    ApiError,
    AsyncHeadstart,
    Conflict,
    Headstart,
    HeadstartError,
    NotFound,
    NotHeadstart,
    PreparationFailed,
    RateLimited,
    TransportFailed,
    Unauthorized,
    Unavailable,
    ValidationFailed,
    operations,
    transport,
)
from headstart_client.requests import Reply as Answer

ARCHIVE = {
    "savedAt": "2026-01-02T03:04:05.678Z",
    "base": {"url": "https://s3/base", "bytes": 5, "sha256": "x"},
    "difference": None,
    "leftOut": ["a.bin"],
    "missing": None,
}


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(cloud: FakeHeadstart, pauses: list[float]):
    with Headstart(cloud.url, "token-1", sleep=pauses.append) as client:
        yield client


def test_creating_sends_camel_case_and_reads_the_stream(client, cloud):
    created = client.create_session(
        "Say hello", git_url="https://example.com/r.git", setup_commands=["npm ci"]
    )
    assert (created.session_id, created.status) == (SESSION_ID, "preparing")
    assert created.stream.url == cloud.stream_url
    assert created.stream.ticket not in repr(created)
    [seen] = cloud.seen
    assert seen.path == "/stage/sessions"
    assert seen.headers["authorization"] == "Bearer token-1"
    assert seen.body == {
        "prompt": "Say hello",
        "autoInitiate": True,
        "gitUrl": "https://example.com/r.git",
        "setupCommands": ["npm ci"],
    }


@pytest.mark.parametrize(
    ("call", "method", "path", "body"),
    [
        (lambda c: c.get(SESSION_ID), "GET", "", None),
        (lambda c: c.archive(SESSION_ID), "GET", "/archive", None),
        (lambda c: c.messages(SESSION_ID), "GET", "/messages", None),
        (lambda c: c.wait(SESSION_ID), "GET", "/wait", None),
        (lambda c: c.stream_ticket(SESSION_ID), "POST", "/stream-ticket", None),
        (lambda c: c.initiate(SESSION_ID), "POST", "/initiate", None),
        (lambda c: c.interrupt(SESSION_ID), "POST", "/interrupt", None),
        (lambda c: c.delete(SESSION_ID), "DELETE", "", None),
        (lambda c: c.logs(SESSION_ID), "GET", "/logs", None),
        (lambda c: c.rename(SESSION_ID, "A title"), "PATCH", "", {"title": "A title"}),
        (lambda c: c.withdraw(SESSION_ID, "msg_1"), "DELETE", "/messages/msg_1", None),
        (
            lambda c: c.retry(SESSION_ID, 2, setup_commands=["make"]),
            "POST",
            "/retry",
            {"attemptNumber": 2, "setupCommands": ["make"]},
        ),
        (
            lambda c: c.retry(SESSION_ID, 2, without_archive=True),
            "POST",
            "/retry",
            {"attemptNumber": 2, "withoutArchive": True},
        ),
        (
            lambda c: c.answer_input(SESSION_ID, "req/1", {"reply": "once"}),
            "POST",
            "/inputs/req%2F1",
            {"reply": "once"},
        ),
        (
            lambda c: c.patch(SESSION_ID, model=None, env_vars={"CI": "1"}),
            "PATCH",
            "",
            {"model": None, "envVars": {"CI": "1"}},
        ),
    ],
)
def test_each_call_goes_where_the_design_says(client, cloud, *, call, method, path, body):
    cloud.add(FakeSession(archive=ARCHIVE))
    call(client)
    [seen] = cloud.seen
    assert (seen.method, seen.path) == (method, f"/stage/sessions/{SESSION_ID}{path}")
    assert seen.body == body
    assert ("idempotency-key" in seen.headers) == (method == "POST")


def test_how_a_session_is_prepared_is_sent_as_it_was_given(client, cloud):
    client.create_session(
        "Say hello",
        github_repo="a/b",
        clone={"depth": 1, "submodules": True},
        setup_inputs=["package-lock.json"],
        prepared_tree="refresh",
    )
    assert cloud.seen[0].body["clone"] == {"depth": 1, "submodules": True}
    assert cloud.seen[0].body["setupInputs"] == ["package-lock.json"]
    assert cloud.seen[0].body["preparedTree"] == "refresh"


def test_saved_work_has_its_files_and_what_is_not_in_it(client, cloud):
    cloud.add(FakeSession(archive=ARCHIVE, left_out=["a.bin"]))
    saved = client.archive(SESSION_ID)
    assert (saved.base.bytes, saved.difference, saved.left_out) == (5, None, ["a.bin"])
    assert "https://s3" not in repr(saved)
    assert client.get(SESSION_ID).left_out == ["a.bin"]


def test_lists_and_events_are_fetched_page_by_page(client, cloud):
    for number in range(5):
        cloud.add(FakeSession(session_id=f"ses_{number}"))
    assert [s.session_id for s in client.list()] == [f"ses_{number}" for number in range(5)]
    assert len(cloud.seen) == 3
    session = cloud.add(FakeSession())
    for kind, data in good_start()[:2] * 4:
        cloud.emit(session, kind, data)
    assert [event.event_id for event in client.events(SESSION_ID, after=1)] == list(range(2, 9))
    assert len(cloud.requests("GET", "/events")) == 3


def test_all_messages_are_fetched_page_by_page(client, cloud):
    cloud.add(FakeSession())
    cloud.messages = 3
    assert [m.message_id for m in client.messages(SESSION_ID)] == ["msg_1", "msg_2", "msg_3"]
    assert len(cloud.requests("GET", "/messages")) == 3


@pytest.mark.parametrize("part", ["", ".", ".."])
def test_what_would_make_the_address_that_of_another_call_is_no_id(client, cloud, part):
    with pytest.raises(HeadstartError, match="can't be an id"):
        client.withdraw(SESSION_ID, part)
    with pytest.raises(HeadstartError, match="can't be an id"):
        client.delete(part)
    assert cloud.seen == []


def test_the_async_client_has_the_same_calls(cloud):
    session = cloud.add(FakeSession())
    for kind, data in good_start()[:2] * 2:
        cloud.emit(session, kind, data)

    async def main() -> None:
        async with AsyncHeadstart(cloud.url, "token") as client:
            assert (await client.get(SESSION_ID)).title == "Say hello"
            assert [s.session_id async for s in client.list()] == [SESSION_ID]
            assert [e.event_id async for e in client.events(SESSION_ID)] == [1, 2, 3, 4]

    asyncio.run(main())
    public = {
        name
        for name, member in vars(Headstart).items()
        if not name.startswith("_") and callable(member)
    }
    assert public | {"follow"} == {
        name
        for name, member in vars(AsyncHeadstart).items()
        if not name.startswith("_") and callable(member)
    }
    assert all(inspect.getdoc(getattr(Headstart, name)) for name in public)


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (problem(401, "Unauthorized", "no"), Unauthorized, "Unauthorized"),
        (Reply(401, {"message": "Unauthorized"}), Unauthorized, "Unauthorized"),
        (problem(404, "SessionNotFound", "no"), NotFound, "SessionNotFound"),
        (problem(409, "SessionBusy", "turn t is active"), Conflict, "SessionBusy"),
        (problem(413, "BodyTooLarge", "no"), ValidationFailed, "BodyTooLarge"),
        (problem(422, "IdempotencyKeyReused", "no"), ValidationFailed, "IdempotencyKeyReused"),
        (Reply(403, {"message": "Forbidden"}), ApiError, "ApiError"),
        (Reply(403, ["not", "an", "object"]), ApiError, "ApiError"),
        (problem(500, "HeadstartError", "no"), ApiError, "HeadstartError"),
    ],
)
def test_a_refusal_becomes_its_class_at_once(client, cloud, pauses, *, reply, kind, code):
    cloud.canned.append(reply)
    with pytest.raises(kind) as caught:
        client.create_session("x", github_repo="a/b")
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.status) == (code, reply.status)
    assert isinstance(caught.value, HeadstartError)
    assert pauses == []
    assert len(cloud.seen) == 1


def test_validation_errors_keep_their_fields(client, cloud):
    errors = [{"loc": ["prompt"], "msg": "must not be empty"}]
    cloud.canned.append(problem(422, "ValidationFailed", "prompt: …", errors=errors))
    with pytest.raises(ValidationFailed) as caught:
        client.create_session("", github_repo="a/b")
    assert caught.value.errors == errors
    assert caught.value.request_id == "req-1"
    assert not caught.value.retryable


def test_a_lost_answer_is_asked_for_again_with_the_same_key(client, cloud, pauses):
    died = Reply(500, {"message": "Internal Server Error"})
    cloud.canned.extend([Reply(0), problem(503, "ServiceUnavailable", "later"), died])
    created = client.create_session("Say hello", github_repo="a/b")
    keys = {seen.headers["idempotency-key"] for seen in cloud.seen}
    assert (len(cloud.seen), len(keys), len(pauses)) == (4, 1, 3)
    assert created.session_id == SESSION_ID
    client.create_session("Say hello", github_repo="a/b")
    assert cloud.seen[-1].headers["idempotency-key"] not in keys


def test_retries_are_bounded_and_grow(client, cloud, pauses):
    cloud.canned.extend([problem(503, "ServiceUnavailable", "later")] * 10)
    with pytest.raises(Unavailable):
        client.get(SESSION_ID)
    assert len(cloud.seen) == 4
    for pause, ceiling in zip(pauses, [0.5, 1.0, 2.0], strict=True):
        assert ceiling / 2 <= pause <= ceiling


def test_retry_after_is_honoured_but_not_for_ever(client, cloud, pauses):
    cloud.add(FakeSession())
    cloud.canned.append(Reply(429, {"message": "Too Many Requests"}, {"retry-after": "7"}))
    client.get(SESSION_ID)
    assert pauses == [7.0]
    cloud.canned.append(Reply(429, {"message": "Too Many Requests"}, {"retry-after": "600"}))
    with pytest.raises(RateLimited) as caught:
        client.get(SESSION_ID)
    assert caught.value.retry_after == 600
    assert pauses == [7.0]


@pytest.mark.parametrize("code", ["QuotaExceeded", "QueueFull"])
def test_a_place_that_no_pause_frees_is_not_waited_for(client, cloud, pauses, code):
    cloud.canned.append(problem(429, code, "too many"))
    cloud.canned[-1].headers["retry-after"] = "10"
    with pytest.raises(RateLimited) as caught:
        client.create_session("x", github_repo="a/b")
    assert (len(cloud.seen), pauses, caught.value.retryable) == (1, [], True)


def test_what_the_api_calls_final_is_not_repeated(client, cloud):
    cloud.canned.append(problem(503, "ServiceUnavailable", "no", retryable=False))
    with pytest.raises(Unavailable):
        client.get(SESSION_ID)
    assert len(cloud.seen) == 1


@pytest.mark.parametrize(
    "reply", [Reply(0), Reply(500, {"message": "died"}), Reply(504, {"message": "timed out"})]
)
def test_an_interrupt_that_may_have_worked_is_not_repeated(client, cloud, reply):
    cloud.add(FakeSession())
    cloud.canned.append(reply)
    with pytest.raises((TransportFailed, ApiError)) as caught:
        client.interrupt(SESSION_ID)
    assert caught.value.unsure
    assert len(cloud.seen) == 1


@pytest.mark.parametrize("last", [Reply(429, {}), Reply(503, {})])
def test_an_earlier_try_may_have_worked_whatever_the_last_one_says(client, cloud, last):
    session = cloud.add(FakeSession())
    cloud.canned.extend([Reply(0), *[last] * 3])
    with pytest.raises(ApiError) as caught:
        client.rename(session.session_id, "x")
    assert caught.value.unsure


@pytest.mark.parametrize("reply", [Reply(429, {}), Reply(503, {}), Reply(409, {})])
def test_what_was_refused_has_surely_not_been_done(client, cloud, reply):
    cloud.canned.extend([reply] * 4)
    with pytest.raises(ApiError) as caught:
        client.interrupt(SESSION_ID)
    assert not caught.value.unsure


def test_what_only_asks_changes_nothing(client, cloud):
    cloud.canned.extend([Reply(0)] * 4)
    with pytest.raises(TransportFailed) as caught:
        client.get(SESSION_ID)
    assert not caught.value.unsure


def test_no_connection_is_tried_again_and_named(pauses):
    with (
        Headstart("http://127.0.0.1:9", "token", sleep=pauses.append) as client,
        pytest.raises(TransportFailed) as caught,
    ):
        client.interrupt(SESSION_ID)
    assert not caught.value.sent
    assert len(pauses) == 3


def test_a_token_may_be_a_function_that_renews_it(cloud):
    cloud.add(FakeSession())
    tokens = iter(["one", "two"])
    with Headstart(cloud.url, lambda: next(tokens)) as client:
        client.get(SESSION_ID)
        client.get(SESSION_ID)
    assert [s.headers["authorization"] for s in cloud.seen] == ["Bearer one", "Bearer two"]


def test_prepare_polls_until_the_session_is_prepared(client, cloud):
    cloud.wait_statuses.extend(["preparing", "preparing", "prepared"])
    session = client.prepare("Say hello", github_repo="a/b")
    assert session.status == "prepared"
    assert cloud.seen[0].body["autoInitiate"] is False
    polls = cloud.requests("GET", "/wait")
    assert len(polls) == 3
    assert polls[0].query == {"while": ["preparing"], "seconds": ["25"]}


def test_prepare_raises_the_step_that_failed(client, cloud):
    cloud.wait_statuses.extend(["preparing", "failed"])
    cloud.next_session.failure = {
        "step": "clone",
        "code": "RepositoryNotFound",
        "reason": "no such repository",
        "retryable": True,
    }
    with pytest.raises(PreparationFailed) as caught:
        client.prepare("Say hello", github_repo="a/b")
    error = caught.value
    assert (error.step, error.code, error.reason) == (
        "clone",
        "RepositoryNotFound",
        "no such repository",
    )
    assert error.session_id == SESSION_ID


def test_prepare_ends_when_the_session_is_deleted_meanwhile(client, cloud):
    cloud.canned.extend([cloud_reply(cloud), problem(404, "SessionNotFound", "gone")])
    with pytest.raises(NotFound):
        client.prepare("Say hello", github_repo="a/b")


def cloud_reply(cloud: FakeHeadstart) -> Reply:
    stream = {"url": "ws://x", "ticket": "t", "expiresAt": "2026-01-02T03:04:05.678Z"}
    created = {"sessionId": SESSION_ID, "status": "preparing", "attemptNumber": 1}
    return Reply(202, {**created, "createdAt": "2026-01-02T03:04:05.678Z", "stream": stream})


def test_a_deletion_whose_answer_was_lost_is_done_when_nothing_is_there_any_more():
    gone = Answer(404, {"code": "SessionNotFound", "title": "No such session"})
    steps = operations.delete(SESSION_ID)
    next(steps)
    steps.send(Answer(504, {"code": "Unavailable", "retryable": True}))
    with pytest.raises(StopIteration):
        steps.send(gone)
    steps = operations.delete(SESSION_ID)
    next(steps)
    with pytest.raises(NotFound):
        steps.send(gone)


@pytest.mark.parametrize(
    ("call", "body", "what"),
    [
        (lambda c: c.get(SESSION_ID), {"x": 1}, "HTTP 200 without a proper sessionId"),
        (lambda c: list(c.list()), {"items": 1}, "HTTP 200 without a proper items"),
        (lambda c: list(c.events(SESSION_ID)), {"items": {}}, "HTTP 200 without a proper items"),
        (lambda c: c.delete(SESSION_ID), {"x": 1}, "HTTP 200 instead of 202"),
        (lambda c: c.get(SESSION_ID), b"[" * 100_000, "HTTP 200 and no JSON object"),
        (
            lambda c: c.create_session("x", github_repo="a/b", secrets={"TOKEN": "long enough"}),
            {"x": 1},
            "HTTP 200 without a proper keyId",
        ),
    ],
)
def test_an_answer_that_is_none_of_headstarts_is_an_error_of_its_own(
    client, cloud, *, call, body, what
):
    cloud.answer = lambda _: Reply(200, body)
    with pytest.raises(NotHeadstart) as caught:
        call(client)
    assert str(caught.value).endswith(what)
    assert len(cloud.seen) == 4


@pytest.mark.parametrize(
    "problem",
    [
        {"code": 1003, "detail": {"why": "no"}, "errors": {"name": ["is odd"]}},
        {"message": ["no"], "errors": ["no", {"loc": "name"}, {"msg": 5}], "requestId": 7},
    ],
)
def test_a_refusal_of_another_api_is_read_as_far_as_it_goes(client, cloud, problem):
    cloud.canned.append(Reply(422, problem))
    with pytest.raises(ValidationFailed) as caught:
        client.get(SESSION_ID)
    error = caught.value
    texts = [error.detail, error.code, *(one["msg"] for one in error.errors)]
    assert all(isinstance(text, str) for text in texts)


def test_a_second_client_reads_no_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    Headstart("https://api.example", "token").close()
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: pytest.fail("it reads them"))
    Headstart("https://api.example", "token").close()
    asyncio.run(AsyncHeadstart("https://api.example", "token").close())


def test_a_client_of_an_address_in_the_open_reads_no_authorities(monkeypatch) -> None:
    monkeypatch.setattr(transport, "authorities", lambda: pytest.fail("it reads them"))
    Headstart("http://127.0.0.1:9", "token").close()
    asyncio.run(AsyncHeadstart("http://127.0.0.1:9", "token").close())
