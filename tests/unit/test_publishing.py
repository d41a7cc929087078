"""Publishing: asked for, done once at rest, asked again of who comes after a dead sandbox."""

from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import (
    ArchiveNotFound,
    RestoreFailed,
    SessionBusy,
    SessionNotFound,
    ValidationFailed,
)
from headstart.domain.life.publishing import MOST_TRIES, PATIENCE
from headstart.domain.requests import PatchSession, PublishSession, SendMessage
from headstart.domain.session import Status
from headstart.domain.steps import STEPS, StepName
from headstart.domain.work import Publication, PublicationStatus
from headstart.usecases.change import change
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import fail_preparation, finish_preparation
from headstart.usecases.read import get_changes, get_diff, get_session
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.talk import interrupt, patch_session, publish, send_message
from tests.envelopes import secrets
from tests.unit.archives import archive_of, key_of, last, make, put, save
from tests.unit.helpers import (
    Runner,
    begin,
    begin_sleep,
    created,
    prepared_up_to,
    running,
    turn_ended,
    types,
)

COMMIT, OTHER = "c" * 40, "d" * 40
FILE = {"bytes": 7, "sha256": "listed"}


def idle(ports: MemoryPorts, **body: Any) -> tuple[str, Runner]:
    """Return a session whose first turn is over."""
    session_id = created(ports, **body)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    return session_id, runner


def ask(ports: MemoryPorts, session_id: str, **request: Any) -> None:
    publish(ports, "alice", session_id, PublishSession.model_validate(request))


def state(ports: MemoryPorts, session_id: str) -> Publication:
    found = ports.store.session(session_id).publication
    assert found
    return found


def answer(runner: Runner, commit: str | None = COMMIT, **more: Any) -> None:
    asked = last(runner, "publish")
    runner.complete(asked["id"], **{"status": "published", "commit": commit, **more})


def asked_of(runner: Runner) -> list[dict[str, Any]]:
    return [frame for frame in runner.frames() if frame.get("kind") == "publish"]


def wake(ports: MemoryPorts, session_id: str, attempt: int = 2) -> Runner:
    """Prepare the attempt that a wake-up began, without a message to deliver."""
    begin(ports, session_id, StepName.SANDBOX, attempt)
    runner = Runner(ports, session_id, f"r{attempt}", f"p{attempt}")
    runner.connect()
    runner.hello()
    for step in STEPS[1:]:
        begin(ports, session_id, step.name, attempt)
        if step.name is not StepName.DELIVER:
            runner.complete(f"{attempt}.{step.name.value}.1", adopted="archive")
    finish_preparation(ports, session_id, attempt)
    return runner


def events(ports: MemoryPorts, session_id: str, kind: str) -> list[dict[str, Any]]:
    return [e.data for e in ports.store.event_log[session_id] if e.type == kind]


def test_what_was_asked_for_goes_to_the_runner_and_what_it_saw_is_told(ports: MemoryPorts) -> None:
    session_id, runner = idle(
        ports, pullRequest={"title": None, "base": "next", "draft": False}, upstreamBranch="main"
    )
    ask(ports, session_id, message="Add it")
    args = last(runner, "publish")["args"]
    assert (args["message"], args["branch"]) == ("Add it", f"session/{session_id}")
    assert args["pullRequest"] == {
        "title": "Add a health check", "named": False, "base": "next", "draft": False,
        "number": None,
    }  # fmt: skip
    assert (args["api"], args["author"]) == (
        "https://api.github.com",
        "Headstart <headstart@localhost>",
    )
    assert state(ports, session_id).goes_on
    answer(runner, url="https://x/tree", pullRequest={"number": 3, "url": "https://x/3"})
    [told] = events(ports, session_id, "work.published")
    assert told == {
        "branch": f"session/{session_id}", "commit": COMMIT, "url": "https://x/tree",
        "pullRequest": {"number": 3, "url": "https://x/3"},
    }  # fmt: skip
    view = get_session(ports, "alice", session_id)["publication"]
    assert (view["status"], view["commit"], view["pullRequest"]["number"]) == (
        "published",
        COMMIT,
        3,
    )
    ask(ports, session_id, pullRequest=None)
    assert last(runner, "publish")["args"]["pullRequest"] is None
    assert last(runner, "publish")["args"]["pushed"] == [COMMIT]


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://ghe.example.com/org/name.git", None),
        ("https://github.com/org/name.git", "https://api.github.com"),
    ],
)
def test_only_the_deployments_github_has_pull_requests(
    ports: MemoryPorts, url: str, api: str | None
) -> None:
    session_id, runner = idle(ports, githubRepo=None, gitUrl=url)
    ask(ports, session_id, pullRequest={})
    args = last(runner, "publish")["args"]
    assert (args["api"], args["pullRequest"]["draft"]) == (api, True)


def test_nothing_new_is_said_as_such(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    ask(ports, session_id)
    answer(runner, None, status="unchanged")
    assert state(ports, session_id).status is PublicationStatus.UNCHANGED
    assert events(ports, session_id, "work.unchanged") == [{"branch": f"session/{session_id}"}]


def test_a_refusal_stays_until_it_is_asked_for_again(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    ask(ports, session_id)
    runner.fail(last(runner, "publish")["id"], "PushRejected", "The remote refused it: no")
    view = get_session(ports, "alice", session_id)["publication"]
    assert (view["status"], view["failure"]["code"]) == ("failed", "PushRejected")
    assert events(ports, session_id, "work.publish_failed") == [
        {"code": "PushRejected", "reason": "The remote refused it: no", "retryable": True}
    ]
    assert ports.store.session(session_id).status is Status.READY
    ask(ports, session_id)
    answer(runner)
    assert get_session(ports, "alice", session_id)["publication"]["failure"] is None


def test_the_commit_is_told_though_its_pull_request_failed(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports, pullRequest={})
    ask(ports, session_id)
    failure = {"code": "PullRequestFailed", "reason": "no", "retryable": True}
    answer(runner, failure=failure)
    assert [t for t in types(ports, session_id) if t.startswith("work.")] == [
        "work.published",
        "work.publish_failed",
    ]
    assert (state(ports, session_id).commit, state(ports, session_id).status.value) == (
        COMMIT,
        "failed",
    )


@pytest.mark.parametrize(
    "output",
    [
        {"status": "published", "commit": None},
        {"status": "published", "commit": "main"},
        {"status": "fine"},
        {"status": "published", "commit": COMMIT, "pullRequest": {"number": "x"}},
        {"status": "published", "commit": COMMIT, "url": "x" * 9000},
    ],
)
def test_what_makes_no_sense_is_not_published(ports: MemoryPorts, output: dict[str, Any]) -> None:
    session_id, runner = idle(ports)
    ask(ports, session_id)
    runner.complete(last(runner, "publish")["id"], **output)
    assert state(ports, session_id).status is PublicationStatus.FAILED
    assert not events(ports, session_id, "work.published")


def test_after_a_turn_that_completed_it_is_asked_for_before_the_copy(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports, autoCommit=True)
    kinds = [frame["kind"] for frame in runner.frames() if frame["type"] == "command"]
    assert kinds[-2:] == ["publish", "archive"]
    answer(runner)
    # The copy that is asked for already is made after it.
    kinds = [frame["kind"] for frame in runner.frames() if frame["type"] == "command"]
    assert kinds[-1] == "archive"
    assert kinds.count("archive") == 1
    save(ports, runner)
    assert archive_of(ports, session_id)


def test_what_is_published_by_hand_is_saved_once_more(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    save(ports, runner)
    ask(ports, session_id)
    ports.clock.advance(seconds=1)
    answer(runner)
    kinds = [frame["kind"] for frame in runner.frames() if frame["type"] == "command"]
    assert kinds[-1] == "archive"
    save(ports, runner)
    ask(ports, session_id)
    answer(runner)
    assert [f["kind"] for f in runner.frames() if f["type"] == "command"][-1] == "publish"


@pytest.mark.parametrize("ended", [{"error": {"code": "AgentCrashed", "reason": "x"}}, {}])
def test_after_a_turn_that_did_not_complete_it_is_not(
    ports: MemoryPorts, ended: dict[str, Any]
) -> None:
    session_id = created(ports, autoCommit=True)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id, **ended, interrupted=not ended))
    assert not asked_of(runner)


def test_it_goes_before_the_next_message(ports: MemoryPorts) -> None:
    session_id = created(ports, autoCommit=True)
    runner = running(ports, session_id)
    send_message(ports, "alice", session_id, SendMessage(prompt="And then?"), None)
    runner.report(turn_ended(ports, session_id))
    kinds = [frame["kind"] for frame in runner.frames() if frame["type"] == "command"]
    assert kinds[-3:] == ["publish", "archive", "prompt"]


def test_one_that_was_lost_is_not_sent_again_in_a_turn(ports: MemoryPorts) -> None:
    session_id = created(ports, autoCommit=True)
    runner = running(ports, session_id)
    send_message(ports, "alice", session_id, SendMessage(prompt="And then?"), None)
    runner.report(turn_ended(ports, session_id))
    prompt = last(runner, "prompt")["id"]
    ports.clock.advance(seconds=20)
    assert not [f for f in runner.beat(prompt) if f.get("kind") == "publish"]
    runner.complete(prompt)
    runner.report(turn_ended(ports, session_id))
    ports.clock.advance(seconds=20)
    assert [f for f in runner.beat() if f.get("kind") == "publish"]


@pytest.mark.parametrize("refused", [False, True])
def test_work_of_a_turn_that_ended_meanwhile_is_published_after_it(
    ports: MemoryPorts, refused: bool
) -> None:
    session_id = created(ports, autoCommit=True)
    runner = running(ports, session_id)
    send_message(ports, "alice", session_id, SendMessage(prompt="And then?"), None)
    runner.report(turn_ended(ports, session_id))
    runner.complete(last(runner, "prompt")["id"])
    runner.report(turn_ended(ports, session_id))
    assert len(asked_of(runner)) == 1
    if refused:
        runner.fail(last(runner, "publish")["id"], "PushRejected")
    else:
        answer(runner)
    assert len(asked_of(runner)) == 2
    assert state(ports, session_id).goes_on
    answer(runner, OTHER)
    assert len(asked_of(runner)) == 2
    assert types(ports, session_id).count("work.published") == 2 - refused


def test_a_turn_refuses_it_and_so_does_another_one(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    with pytest.raises(SessionBusy):
        ask(ports, session_id)
    session_id, runner = idle(ports)
    ask(ports, session_id, message="one")
    ask(ports, session_id, message="one")
    with pytest.raises(SessionBusy):
        ask(ports, session_id, message="two")
    assert len(asked_of(runner)) == 1


def asleep(ports: MemoryPorts, **body: Any) -> str:
    session_id, runner = idle(ports, **body)
    save(ports, runner)
    assert begin_sleep(ports, session_id)
    save(ports, runner)
    assert ports.store.session(session_id).status is Status.ASLEEP
    return session_id


def test_a_sleeping_session_wakes_and_publishes_by_itself(ports: MemoryPorts) -> None:
    session_id = asleep(ports)
    ask(ports, session_id, message="Late")
    assert ports.store.session(session_id).status is Status.PREPARING
    runner = wake(ports, session_id)
    assert last(runner, "publish")["args"]["message"] == "Late"
    answer(runner)
    assert state(ports, session_id).status is PublicationStatus.PUBLISHED


def test_it_goes_before_a_message_that_wakes_the_session_too(ports: MemoryPorts) -> None:
    session_id = asleep(ports)
    ask(ports, session_id)
    send_message(ports, "alice", session_id, SendMessage(prompt="And then?"), None)
    runner = wake(ports, session_id)
    kinds = [frame["kind"] for frame in runner.frames() if frame["type"] == "command"]
    assert kinds[-2:] == ["publish", "prompt"]


def test_before_a_message_it_is_said_once_more_for_its_word_may_be_lost(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports, autoCommit=True)
    send_message(ports, "alice", session_id, SendMessage(prompt="And then?"), None)
    said = [frame for frame in runner.frames() if frame["type"] == "command"]
    assert [frame["kind"] for frame in said[-2:]] == ["publish", "prompt"]
    assert len({frame["id"] for frame in said if frame["kind"] == "publish"}) == 1


def test_a_wake_that_is_cancelled_gives_it_up(ports: MemoryPorts) -> None:
    session_id = asleep(ports)
    ask(ports, session_id)
    interrupt(ports, "alice", session_id)
    assert ports.store.session(session_id).status is Status.ASLEEP
    assert state(ports, session_id).status is PublicationStatus.FAILED


def test_a_session_does_not_sleep_in_the_middle_of_one_nor_wait_for_ever(
    ports: MemoryPorts,
) -> None:
    session_id, runner = idle(ports)
    save(ports, runner)
    ask(ports, session_id)
    assert not begin_sleep(ports, session_id)
    ports.clock.advance(minutes=3)
    sweep(ports)
    assert state(ports, session_id).goes_on
    ports.clock.now += PATIENCE
    sweep(ports)
    assert state(ports, session_id).status is PublicationStatus.FAILED
    assert [e["code"] for e in events(ports, session_id, "work.publish_failed")] == ["StepTimedOut"]
    assert begin_sleep(ports, session_id)


def test_a_sandbox_that_dies_in_the_middle_leaves_it_to_the_next(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    save(ports, runner)
    ask(ports, session_id)
    command = last(runner, "publish")["id"]
    runner.report({"type": "work.pushed", "commandId": command, "commit": OTHER})
    for attempt in range(1, MOST_TRIES + 1):
        sandbox_stopped(ports, f"{session_id}-{attempt}-1", f"task-{attempt}", "gone")
        if attempt < MOST_TRIES:
            assert ports.store.session(session_id).status is Status.PREPARING
            runner = wake(ports, session_id, attempt + 1)
            assert last(runner, "publish")["args"]["pushed"] == [OTHER]
    assert ports.store.session(session_id).status is Status.ASLEEP
    assert state(ports, session_id).failure
    assert events(ports, session_id, "work.publish_failed")[0]["code"] == "SandboxStopped"


def test_an_answer_of_another_one_is_nobodys(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    ask(ports, session_id)
    first = last(runner, "publish")["id"]
    answer(runner)
    ask(ports, session_id)
    runner.report({"type": "work.pushed", "commandId": first, "commit": OTHER})
    runner.fail(first, "PushRejected")
    assert state(ports, session_id).goes_on
    assert state(ports, session_id).pushed == [COMMIT]


@pytest.mark.parametrize(
    ("code", "pushed", "number"), [("BranchGone", [], 3), ("PullRequestClosed", [COMMIT], None)]
)
def test_who_asks_after_having_been_told_so_wants_it_anew(
    ports: MemoryPorts, code: str, pushed: list[str], number: int | None
) -> None:
    session_id, runner = idle(ports, pullRequest={})
    ask(ports, session_id)
    answer(runner, pullRequest={"number": 3, "url": "https://x/3"})
    ask(ports, session_id)
    runner.fail(last(runner, "publish")["id"], code)
    ask(ports, session_id)
    args = last(runner, "publish")["args"]
    assert (args["pushed"], args["pullRequest"]["number"]) == (pushed, number)


def test_what_publishing_is_to_do_can_be_changed_before_the_first_message(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports, autoInitiate=False)
    runner = prepared_up_to(ports, session_id, StepName.DELIVER)
    begin(ports, session_id, StepName.DELIVER)
    finish_preparation(ports, session_id, 1)
    wanted = {"autoCommit": True, "pullRequest": {"title": "Mine"}}
    patch_session(ports, "alice", session_id, PatchSession.model_validate(wanted))
    assert ports.store.session(session_id).counts["autoCommit"] == 1
    ask(ports, session_id)
    assert last(runner, "publish")["args"]["pullRequest"]["title"] == "Mine"
    answer(runner)
    patch_session(ports, "alice", session_id, PatchSession.model_validate({"pullRequest": None}))
    ask(ports, session_id)
    assert last(runner, "publish")["args"]["pullRequest"] is None


# What changed.


def changed(runner: Runner, files: int, **more: int) -> None:
    command = last(runner, "archive")["id"]
    counts = {"files": files, "additions": 2, "deletions": 1, **more}
    runner.report({"type": "work.changed", "commandId": command, **counts})


def test_changes_are_told_when_they_are_others_than_before(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    changed(runner, 1)
    changed(runner, 1)
    changed(runner, 2, additions=-5, deletions=10**15)
    assert events(ports, session_id, "work.changed") == [
        {"files": 1, "additions": 2, "deletions": 1},
        {"files": 2, "additions": 0, "deletions": 10**9},
    ]
    assert get_session(ports, "alice", session_id)["changes"]["files"] == 2


def test_they_are_told_though_the_save_fails(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    changed(runner, 1)
    runner.fail(last(runner, "archive")["id"], "ArchiveFailed")
    assert len(events(ports, session_id, "work.changed")) == 1


def test_nothing_is_told_where_nothing_changed(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    changed(runner, 0, additions=0, deletions=0)
    assert not events(ports, session_id, "work.changed")


def test_they_can_be_had_while_it_sleeps(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    with pytest.raises(ArchiveNotFound):
        get_changes(ports, "alice", session_id)
    make(runner, last(runner, "archive"), changes=FILE, diff={**FILE, "sha256": "diff"})
    upload = last(runner, "upload")
    assert [key_of(f).rpartition("/")[2] for f in upload["args"]["files"]] == [
        "base", "difference", "changes", "diff",
    ]  # fmt: skip
    put(ports, upload)
    runner.complete(upload["id"])
    kept = archive_of(ports, session_id)
    assert kept.changes
    with pytest.raises(ArchiveNotFound):
        get_changes(ports, "alice", session_id)  # what is there makes no sense
    total = {"files": 0, "additions": 0, "deletions": 0}
    text = f'{{"base":null,"head":null,"files":[],"total":{total}}}'.replace("'", '"')
    ports.objects.contents[kept.changes.key] = text.encode()
    assert get_changes(ports, "alice", session_id)["total"] == total
    assert get_diff(ports, "alice", session_id)["url"].endswith("/diff")


def test_a_copy_without_them_is_a_copy_all_the_same(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    save(ports, runner, changes=None, diff={"bytes": 10**12, "sha256": "x"})
    assert archive_of(ports, session_id).diff is None
    with pytest.raises(ArchiveNotFound):
        get_diff(ports, "alice", session_id)


def test_where_the_branch_began_is_told_with_each_copy(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, StepName.CLONE)
    begin(ports, session_id, StepName.CLONE)
    runner.complete("1.clone.1", commit=COMMIT, defaultBranch="main")
    began = ports.store.session(session_id).began
    assert began
    assert (began.commit, began.branch) == (COMMIT, "main")


def test_what_a_dead_sandbox_has_pushed_is_told_by_the_next(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    ask(ports, session_id)
    answer(runner, status="unchanged")
    assert events(ports, session_id, "work.published")[0]["commit"] == COMMIT
    ask(ports, session_id)
    answer(runner, status="unchanged")
    assert events(ports, session_id, "work.unchanged")[0]["commit"] == COMMIT
    assert len(events(ports, session_id, "work.published")) == 1


# After one that failed.

DRAFT = {"title": "Mine", "base": None, "draft": False}


@pytest.mark.parametrize("how", ["all", "pull request"])
def test_an_empty_one_does_again_what_failed(ports: MemoryPorts, how: str) -> None:
    session_id, runner = idle(ports)
    ask(ports, session_id, message="Add it", pullRequest=DRAFT)
    failure = {"code": "PullRequestFailed", "reason": "no", "retryable": True}
    if how == "all":
        runner.fail(last(runner, "publish")["id"], "PushRejected")
    else:
        answer(runner, failure=failure)
    first = last(runner, "publish")["args"]
    ask(ports, session_id)
    again = last(runner, "publish")["args"]
    assert len(asked_of(runner)) == 2
    assert (again["message"], again["pullRequest"]) == (first["message"], first["pullRequest"])
    # The same again, whose answer was lost, is that one.
    ask(ports, session_id)
    assert len(asked_of(runner)) == 2
    answer(runner, OTHER, pullRequest={"number": 3, "url": "https://x/3"})
    ask(ports, session_id)
    done = last(runner, "publish")["args"]
    assert (done["message"], done["pullRequest"]) == (None, None)


def test_after_one_that_failed_what_is_given_counts(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    ask(ports, session_id, message="Add it", pullRequest=DRAFT)
    runner.fail(last(runner, "publish")["id"], "PullRequestFailed")
    ask(ports, session_id, message="Then this", pullRequest=None)
    args = last(runner, "publish")["args"]
    assert (args["message"], args["pullRequest"]) == ("Then this", None)


def test_a_turn_opens_the_pull_request_that_failed_under_a_message_of_its_own(
    ports: MemoryPorts,
) -> None:
    session_id, runner = idle(ports, autoCommit=True)
    answer(runner)
    ask(ports, session_id, message="Add it", pullRequest=DRAFT)
    runner.fail(last(runner, "publish")["id"], "PullRequestFailed")
    send_message(ports, "alice", session_id, SendMessage(prompt="And then?"), None)
    runner.complete(last(runner, "prompt")["id"])
    runner.report(turn_ended(ports, session_id))
    args = last(runner, "publish")["args"]
    assert (args["message"], args["pullRequest"]["title"]) == (None, "Mine")


@pytest.mark.parametrize("turn_ended_meanwhile", [False, True])
def test_a_wake_that_fails_ends_what_it_was_for(
    ports: MemoryPorts, turn_ended_meanwhile: bool
) -> None:
    session_id = asleep(ports)
    ask(ports, session_id, pullRequest=DRAFT)
    if turn_ended_meanwhile:
        change(ports, session_id, lambda c: setattr(c.session.publication, "again", True))
    begin(ports, session_id, StepName.SANDBOX, 2)
    fail_preparation(ports, session_id, 2, RestoreFailed("The archive is broken"))
    assert ports.store.session(session_id).status is Status.FAILED
    view = get_session(ports, "alice", session_id)["publication"]
    assert (view["status"], view["failure"]["code"]) == ("failed", "RestoreFailed")
    assert view["failure"]["reason"] == "The archive is broken"
    [told] = events(ports, session_id, "work.publish_failed")
    assert told["reason"] == "The archive is broken"


def test_before_the_first_copy_is_there_it_is_said_that_it_is_being_made(
    ports: MemoryPorts,
) -> None:
    session_id, runner = idle(ports)
    changed(runner, 1)
    with pytest.raises(ArchiveNotFound, match="being saved for the first time"):
        get_changes(ports, "alice", session_id)
    runner.fail(last(runner, "archive")["id"], "ArchiveFailed")
    with pytest.raises(ArchiveNotFound, match="No archive yet"):
        get_changes(ports, "alice", session_id)


# With other secrets.


def test_a_token_that_expired_is_renewed_by_a_wake_that_publishes(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports, encryptedSecrets=secrets("GIT_TOKEN"))
    save(ports, runner)
    change(ports, session_id, lambda c: setattr(c.session, "set_up", True))
    ask(ports, session_id, pullRequest=DRAFT)
    runner.fail(last(runner, "publish")["id"], "RepositoryAccessDenied", "Bad credentials")
    renewed = secrets("GIT_TOKEN", iv="AgICAgICAgICAgIC")
    ask(ports, session_id, encryptedSecrets=renewed)
    ask(ports, session_id, encryptedSecrets=renewed)
    assert len(asked_of(runner)) == 1
    save(ports, runner)
    assert ports.store.session(session_id).status is Status.PREPARING
    runner = wake(ports, session_id)
    assert last(runner, "clone")["args"]["sealed"]["iv"] == "AgICAgICAgICAgIC"
    assert last(runner, "publish")["args"]["pullRequest"]["title"] == "Mine"
    assert ports.store.session(session_id).set_up
    answer(runner)
    assert state(ports, session_id).status is PublicationStatus.PUBLISHED


def test_a_sleeping_session_wakes_with_the_other_secrets(ports: MemoryPorts) -> None:
    session_id = asleep(ports)
    ask(ports, session_id, encryptedSecrets=secrets("GIT_TOKEN"))
    runner = wake(ports, session_id)
    assert last(runner, "clone")["args"]["sealed"]["names"] == ["GIT_TOKEN"]
    assert last(runner, "publish")["args"]["pullRequest"] is None


def test_other_secrets_are_checked_as_at_the_beginning(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    ports.policy = ports.policy.model_copy(update={"takes_secrets": False})
    with pytest.raises(ValidationFailed):
        ask(ports, session_id, encryptedSecrets=secrets("GIT_TOKEN"))
    with pytest.raises(SessionNotFound):
        request = PublishSession.model_validate({"encryptedSecrets": secrets("GIT_TOKEN")})
        publish(ports, "bob", session_id, request)
    assert ports.store.session(session_id).status is Status.READY
    assert not asked_of(runner)


def test_secrets_are_not_passed_over_while_work_is_published(ports: MemoryPorts) -> None:
    session_id, _ = idle(ports, encryptedSecrets=secrets("GIT_TOKEN"))
    ask(ports, session_id)
    ask(ports, session_id, encryptedSecrets=secrets("GIT_TOKEN"))
    with pytest.raises(SessionBusy):
        ask(ports, session_id, encryptedSecrets=secrets("GIT_TOKEN", "OTHER"))
