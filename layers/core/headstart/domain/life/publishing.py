"""What a session's work changed, and its way to the remote: asked for, done once at rest, told."""

from datetime import timedelta

from headstart.domain import channel, events
from headstart.domain.change import Change
from headstart.domain.command_kinds import PUBLISH_TIMEOUT, CommandKind
from headstart.domain.errands import Measure, SendPublish
from headstart.domain.errors import (
    PublishFailed,
    SandboxStopped,
    StepError,
    StepTimedOut,
)
from headstart.domain.failure import Failure
from headstart.domain.life import hosting
from headstart.domain.sandbox import Command, SandboxStatus
from headstart.domain.session import Status
from headstart.domain.work import (
    Counted,
    Publication,
    PublicationStatus,
    PublishOptions,
    said_published,
)

PATIENCE = timedelta(seconds=PUBLISH_TIMEOUT) + timedelta(minutes=2)
"""How long a publication at rest may go on without its end: the runner's own time, and some for its
word to arrive."""

MOST_TRIES = 3
"""How many sandboxes may be lost in the middle of one."""

AT_REST = {Status.READY, Status.PREPARED}


def told_changes(change: Change, event: channel.WorkChanged) -> None:
    """Tell what the work changed, if that is another than was told last."""
    command = change.commands.get(event.command_id)
    if command is None or command.kind is not CommandKind.ARCHIVE:
        return
    counts = (event.files, event.additions, event.deletions)
    now = Counted(**dict(zip(Counted.model_fields, map(_counted, counts), strict=True)))
    if now != (change.session.changed or Counted()):
        change.session.changed = now
        change.emit(events.WorkChanged(**now.model_dump()))


def _counted(number: int) -> int:
    return min(max(0, number), 10**9)


def after_turn(change: Change) -> None:
    """Have the work published after a turn that completed, where that was asked for.

    Before a copy of it is asked for, so that the copy has the commit.
    """
    session = change.session
    if not session.counts.get("autoCommit"):
        return
    if session.publication and session.publication.goes_on:
        session.publication.again = True
    else:
        _begin_anew(change)
    go_on(change)


def _begin_anew(change: Change) -> None:
    """Publish what a turn brought, with the pull request that an earlier one failed to open."""
    before = change.session.publication
    # Its message was for what there was then.
    options = before.options.model_copy(update={"message": None}) if before else PublishOptions()
    begin(change, options)


def begin(change: Change, options: PublishOptions) -> None:
    """Note that the work is to be published."""
    session, before = change.session, change.session.publication
    session.publication = Publication(
        status=PublicationStatus.PUBLISHING,
        options=options,
        since=change.now,
        commit=before.commit if before else None,
        pushed=before.pushed if before else [],
        url=before.url if before else None,
        pull_request=before.pull_request if before else None,
    )
    session.updated_at = change.now


def is_awaited(change: Change) -> bool:
    """Say whether the work is to be published and no living sandbox has been asked to."""
    publication, sandbox = change.session.publication, change.sandbox
    if publication is None or not publication.goes_on:
        return False
    command = change.commands.get(publication.command_id or "")
    has_ended = sandbox is None or sandbox.status is SandboxStatus.STOPPED
    return command is None or command.answered or has_ended


def go_first(change: Change) -> None:
    """Have what is to be published reach the runner before the message that is about to.

    Once more where it was sent: the word may have been lost, and a runner that has it does nothing.
    """
    publication = change.session.publication
    if publication is None or not publication.goes_on:
        return
    if is_awaited(change):
        _send(change, publication)
    elif publication.command_id:
        change.then(SendPublish(publication.command_id))


def go_on(change: Change) -> None:
    """Ask the runner to publish, where that is awaited and the session rests."""
    session, publication = change.session, change.session.publication
    if publication is None or not is_awaited(change):
        return
    if publication.tries >= MOST_TRIES:
        reason = f"The sandbox was lost {MOST_TRIES} times while the work was published"
        fail(change, SandboxStopped(reason))
        return
    if session.status in AT_REST and session.active_turn is None:
        _send(change, publication)


def _send(change: Change, publication: Publication) -> None:
    if not hosting.is_reachable(change):
        return
    publication.tries += 1
    publication.again = False
    publication.since = change.now
    publication.command_id = f"{change.new_id('pub')}.publish"
    command = Command(
        command_id=publication.command_id,
        kind=CommandKind.PUBLISH,
        attempt_number=change.session.attempt_number,
        created_at=change.now,
    )
    change.save(command)
    change.then(SendPublish(command.command_id))


def will_push(change: Change, event: channel.WorkPushed) -> None:
    """Know a commit as the session's own before the remote has it: its sandbox may die then."""
    publication = change.session.publication
    if publication and publication.command_id == event.command_id:
        publication.will_push(event.commit[:64])


def answered(change: Change, command: Command, error: StepError | None) -> bool:
    """Take what came of it; True where there is a new commit that no copy has."""
    session, publication = change.session, change.session.publication
    if publication is None or publication.command_id != command.command_id:
        return False
    if error:
        fail(change, error)
        return False
    said = said_published(command.output)
    if said is None:
        fail(change, PublishFailed("The sandbox's answer makes no sense"))
        return False
    is_new = said.commit is not None and said.commit != publication.commit
    publication.command_id = None
    publication.failure = None
    publication.commit = said.commit or publication.commit
    publication.url = said.url or publication.url
    publication.pull_request = said.pull_request or publication.pull_request
    publication.note = said.note
    session.updated_at = change.now
    if said.commit:
        publication.will_push(said.commit)
    # One that died before it could tell has left the commit there.
    if said.status == "unchanged" and not is_new:
        publication.status = PublicationStatus.UNCHANGED
        told = events.WorkUnchanged(branch=session.branch, commit=said.commit, note=said.note)
        change.emit(told)
    else:
        publication.status = PublicationStatus.PUBLISHED
        _tell_published(change, said.commit or "")
    if said.failure:
        fail(change, said.failure.error())
    else:
        publication.options = PublishOptions()
        _once_more(change)
    return is_new


def _tell_published(change: Change, commit: str) -> None:
    publication = change.session.publication
    if publication is None:
        return
    change.emit(
        events.WorkPublished(
            branch=change.session.branch,
            commit=commit,
            url=publication.url,
            pull_request=publication.pull_request,
            note=publication.note,
        )
    )
    change.then(Measure("WorkPublished"))


def fail(change: Change, error: StepError) -> None:
    """Note why the work, or its pull request, is not where it should be; it is kept."""
    publication = change.session.publication
    if publication is None:
        return
    publication.status = PublicationStatus.FAILED
    publication.failure = Failure.of(error)
    publication.command_id = None
    change.session.updated_at = change.now
    change.emit(
        events.WorkPublishFailed(code=error.code, reason=error.reason, retryable=error.retryable)
    )
    change.then(Measure("PublicationsFailed", dimensions=(("Code", error.code),)))
    _once_more(change)


def _once_more(change: Change) -> None:
    publication = change.session.publication
    if publication and publication.again:
        _begin_anew(change)


def give_up(change: Change, error: StepError) -> None:
    """Give up what was asked for, together with the preparation that it was to have."""
    publication = change.session.publication
    if publication and publication.goes_on:
        publication.again = False
        fail(change, error)


def give_up_overdue(change: Change) -> bool:
    """Wait no longer for a publication of which nothing is heard; False where there is none."""
    publication = change.session.publication
    is_overdue = publication and change.now - publication.since > PATIENCE
    if not (publication and publication.goes_on and is_overdue):
        return False
    minutes = PATIENCE // timedelta(minutes=1)
    fail(change, StepTimedOut(f"Nothing was heard of it for {minutes} minutes"))
    return True
