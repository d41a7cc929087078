"""What people ask for at rest: to have the work published, perhaps with other secrets."""

from headstart.domain.calls import Call, require
from headstart.domain.change import CONFIG, Change, NoPlace
from headstart.domain.errors import BranchGone, PullRequestClosed, SessionBusy
from headstart.domain.life import hosting, publishing, sleeping, talking
from headstart.domain.requests import PublishSession
from headstart.domain.session import SessionConfig
from headstart.domain.work import PublishOptions, PullRequestOptions


def publish(change: Change, *, owner: str, request: PublishSession) -> None:
    """Have the work published as soon as the session rests; the same again is harmless.

    What the request leaves out is as in the one that is not done, because it failed or goes on.
    Raises SessionBusy while a turn is active, or another publication is under way.
    """
    session = change.session
    require(session, owner, Call.PUBLISH)
    if session.active_turn and session.status in publishing.AT_REST:
        raise SessionBusy("Publishing is not possible while a message is delivered")
    publication = session.publication
    options = _options(request, publication.options if publication else PublishOptions())
    if publication and publication.goes_on and publication.options != options:
        raise SessionBusy("Another publication is under way")
    if "encrypted_secrets" in request.model_fields_set:
        _take_secrets(change, request)
    if publication and publication.goes_on:
        return
    publishing.begin(change, options)
    if publication and publication.failure and session.publication:
        # Whoever asks after having been told so wants them anew.
        match publication.failure.code:
            case BranchGone.__name__:
                session.publication.commit, session.publication.pushed = None, []
            case PullRequestClosed.__name__:
                session.publication.pull_request = None
    change.no_place = NoPlace.ASK


def _take_secrets(change: Change, request: PublishSession) -> None:
    """Have other secrets from now on: a sandbox that has the old ones is left for another.

    A preparation brings them, and it alone: to open them is the right of who sends its commands.
    """
    session, set_up = change.session, change.session.set_up
    config = change.get(CONFIG, SessionConfig)
    before = config.encrypted_secrets if config else None
    talking.configure(change, request, {"encrypted_secrets"})
    # Who renews a token has not asked for the commands to be run again.
    session.set_up = set_up
    config = change.get(CONFIG, SessionConfig)
    is_same = before == (config.encrypted_secrets if config else None)
    if is_same or session.status not in publishing.AT_REST:
        return
    if not hosting.is_reachable(change) or not sleeping.begin_sleep(change):
        raise SessionBusy(
            "New secrets are not taken while a message is delivered or work is published"
        )


def _options(request: PublishSession, open_ones: PublishOptions) -> PublishOptions:
    message = request.message or open_ones.message
    if "pull_request" not in request.model_fields_set:
        return open_ones.model_copy(update={"message": message})
    wanted = request.pull_request
    return PublishOptions(
        message=message,
        as_configured=False,
        pull_request=PullRequestOptions.model_validate(wanted.model_dump()) if wanted else None,
    )
