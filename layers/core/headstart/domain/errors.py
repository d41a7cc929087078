"""One tree of errors: a class name is the API's `code`, the ASL error name and the failure code.

Errors of a step are raised in the sandbox as well as in the cloud; they cross the wire as
`{code, reason, retryable}` and come back as the same class through `naming.step_error`.
"""

from typing import ClassVar

from headstart.domain.credentials import without_credentials


class HeadstartError(Exception):
    """Anything Headstart refuses or fails at, with a reason a person can act on.

    Reasons go far, and quote what others said: they hold no credentials of URLs.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, reason: str = "") -> None:
        self.reason = without_credentials(reason) or self.title
        super().__init__(self.reason)

    @property
    def code(self) -> str:
        """The class name, which is what the outside sees."""
        return type(self).__name__


# What the API answers.


class MalformedBody(HeadstartError):
    """The body is not a JSON object."""

    status, title = 400, "The body is not valid JSON"


class BodyTooLarge(HeadstartError):
    """The body is over 256 KB."""

    status, title = 413, "The body is too large"


class ValidationFailed(HeadstartError):
    """One or more fields break a limit or format; `errors` lists `{loc, msg}`."""

    status, title = 422, "The request is not valid"

    def __init__(self, errors: list[dict[str, object]]) -> None:
        super().__init__("; ".join(f"{_dotted(e['loc'])}: {e['msg']}" for e in errors[:5]))
        self.errors = errors


def _dotted(loc: object) -> str:
    return ".".join(str(part) for part in loc) if isinstance(loc, (list, tuple)) else str(loc)


class IdempotencyKeyReused(HeadstartError):
    """The same Idempotency-Key came with another body."""

    status, title = 422, "This Idempotency-Key was used with another body"


class Unauthorized(HeadstartError):
    """No valid identity."""

    status, title = 401, "Authentication required"


class TicketRefused(HeadstartError):
    """A stream ticket is unknown, used or expired, or a key is of another role or sandbox."""

    status, title = 401, "The ticket is not valid"


class Forbidden(HeadstartError):
    """The credential is valid for something else."""

    status, title = 403, "Forbidden"


class RepositoryForbidden(HeadstartError):
    """The access rules give this repository to other callers."""

    status, title = 403, "The repository is not yours to use"


class SessionNotFound(HeadstartError):
    """No such session for this user."""

    status, title = 404, "No such session"


class RouteNotFound(HeadstartError):
    """No such path."""

    status, title = 404, "No such resource"


class WrongStatus(HeadstartError):
    """The call makes no sense in the session's present status."""

    status, title = 409, "Not possible in this status"


class StaleAttempt(HeadstartError):
    """The attempt that the caller wants retried is not the last one."""

    status, title = 409, "Another attempt has begun"


class AlreadyInitiated(HeadstartError):
    """The first message is delivered or on its way; what it was sent with is fixed."""

    status, title = 409, "The first message was delivered"


class MessageNotFound(HeadstartError):
    """The session has no such message."""

    status, title = 404, "No such message"


class AlreadyDelivered(HeadstartError):
    """The message is delivered, or on its way: it can't be withdrawn any more."""

    status, title = 409, "The message was delivered"


class EncryptionKeyNotFound(HeadstartError):
    """This deployment takes no secrets."""

    status, title = 404, "There is no key for secrets"


class InputNotFound(HeadstartError):
    """The agent asks nothing of that id, or not any more."""

    status, title = 404, "The agent asks nothing of that id"


class ArchiveNotFound(HeadstartError):
    """Nothing of the session is saved yet."""

    status, title = 404, "No archive yet"


class TextNotFound(HeadstartError):
    """The session has no text of that ref: no event names it, and the step has printed nothing."""

    status, title = 404, "No such text"


class SessionDeleting(HeadstartError):
    """The session that the Idempotency-Key stands for is being deleted; the key goes with it."""

    status, title, retryable = 409, "The session of this Idempotency-Key is being deleted", True


class SessionBusy(HeadstartError):
    """A turn is active, or a publication under way, and the call can't wait for its end."""

    status, title, retryable = 409, "The session is busy", True


class QueueFull(HeadstartError):
    """The session's message queue is at its limit."""

    status, title, retryable = 429, "The message queue is full", True


class QuotaExceeded(HeadstartError):
    """The user has as many active sessions as the deployment allows, or others wait for a place."""

    status, title, retryable = 429, "Too many active sessions", True


class ServiceUnavailable(HeadstartError):
    """A service under us did not answer; the call may be repeated with its Idempotency-Key."""

    status, title, retryable = 503, "Temporarily unavailable", True


class RowUnreadable(ServiceUnavailable):
    """A row can't be read: a newer version wrote it, or it is broken. It is left as it is."""

    title = "Written by a newer version"


# What is said on the stream.


class BadFrame(HeadstartError):
    """A frame that is not understood: nothing of it was done, and the connection goes on."""

    title = "The frame is not understood"


class TooManyViewers(HeadstartError):
    """As many connections watch the session as may."""

    title, retryable = "Too many viewers", True


STREAM_ERRORS = (BadFrame, TicketRefused, TooManyViewers, SessionNotFound)
"""The codes of `error` frames; after all but the first the connection is closed."""


# What adapters raise towards use cases.


class Conflict(ServiceUnavailable):
    """A row changed between read and write; the use case is run again."""


class ChangeRefused(HeadstartError):
    """The table can't take a change, and never will: too many rows, or too large ones."""

    title = "The change is too large to be written"


class AttemptSuperseded(HeadstartError):
    """The work belongs to an attempt that is over; nothing it does may be written."""

    title = "The attempt is over"


class ConnectionGone(HeadstartError):
    """A WebSocket is closed; normal, and never an error of the caller."""


class NotTheRunner(HeadstartError):
    """A frame came over another connection than the one that has the channel."""


class TaskTokenGone(HeadstartError):
    """A Step Functions task no longer waits for this answer."""


# What a callback can fail with.


class CallbackFailed(HeadstartError):
    """A receiver did not take a callback."""

    title, retryable = "The callback was not taken", True


class CallbackTimedOut(CallbackFailed):
    """A receiver did not answer in time, this time or a moment ago."""

    title = "The receiver did not answer in time"


class CallbackGone(HeadstartError):
    """A receiver wants no more callbacks of this session: it answered 410."""

    title = "The receiver wants no more callbacks"


# What a step can fail with.


class StepError(HeadstartError):
    """A preparation step failed; the class decides what Step Functions does next."""


class SandboxStartFailed(StepError):
    """The container task could not be started."""

    title, retryable = "The sandbox could not be started", True


class SandboxStopped(StepError):
    """The container task ended while it was needed."""

    title, retryable = "The sandbox stopped", True


class SandboxUnresponsive(StepError):
    """The runner stopped sending heartbeats."""

    title, retryable = "The sandbox stopped answering", True


class NotStarted(StepError):
    """The preparation could not be started for ten minutes."""

    title, retryable = "The preparation was never started", True


class StepTimedOut(StepError):
    """A step took longer than its limit."""

    title, retryable = "The step took too long", True


class DiskFull(StepError):
    """Not enough free disk for the work."""

    title, retryable = "The sandbox's disk is full", True


class RepositoryNotFound(StepError):
    """The repository does not exist, has moved, or is not public."""

    title, retryable = "The repository was not found", True


class NotARepository(StepError):
    """Something answers at the address, but it is no git repository: a page, or an error's."""

    title, retryable = "There is no git repository at the address", True


class SecretsUnavailable(StepError):
    """The session's encrypted secrets can't be opened: a retry may bring others."""

    title, retryable = "Encrypted secrets can't be opened", True


class RepositoryAccessDenied(StepError):
    """The git server wants credentials: the repository is not public, or does not exist.

    Or there are some, and they are not good for it: the reason says which permission is lacking.
    """

    title, retryable = "Access to the repository was denied", True


class AppNotInstalled(StepError):
    """The deployment's GitHub App is not installed where the repository is; the reason says where.

    A retry after the installation goes on.
    """

    title, retryable = "The GitHub App is not installed for the repository", True


class GitHubUnavailable(StepError):
    """GitHub's API did not give a credential; the clone is tried again."""

    title, retryable = "GitHub is unavailable", True


class RepositoryRefused(StepError):
    """The address resolves to a place the deployment does not allow."""

    title = "The repository's address is not allowed"


class BranchNotFound(StepError):
    """The upstream branch does not exist."""

    title, retryable = "The branch was not found", True


class BranchImpossible(StepError):
    """A branch of the repository leaves no room for the name of the session's."""

    title = "The session's branch can't be made"


class GitNetworkError(StepError):
    """The connection to the git server failed; the clone is tried again."""

    title, retryable = "The git server could not be reached", True


class CloneFailed(StepError):
    """git failed for a reason we have no better word for."""

    title, retryable = "The clone failed", True


class SetupCommandFailed(StepError):
    """A setup command exited with a status other than 0."""

    title, retryable = "A setup command failed", True


class SetupCommandTimedOut(StepError):
    """A setup command ran longer than its limit and was killed."""

    title, retryable = "A setup command took too long", True


class WorkspaceGone(StepError):
    """The work tree, or the agent's session, is gone; a retry begins with a new sandbox."""

    title, retryable = "The workspace is gone", True


class RestoreFailed(StepError):
    """The saved workspace could not be put back, or the agent's session not be imported."""

    title, retryable = "The session could not be restored", True


class AgentStartFailed(StepError):
    """The agent's server did not become healthy."""

    title, retryable = "The agent could not be started", True


class AgentUnavailable(AgentStartFailed):
    """The sandbox has no such agent, or the agent no such mode; the reason names those there are.

    A session keeps its agent: another session can have another.
    """

    title, retryable = "The agent is not available", False


class AgentRefused(StepError):
    """The agent took the message and gave it up; the reason is what it said.

    An unknown model or provider, or a conversation too long for it: the same again ends the same
    way.
    """

    title = "The agent gave up"


class AgentCrashed(StepError):
    """The agent's server died during a turn."""

    title, retryable = "The agent crashed", True


class DeliveryFailed(StepError):
    """The agent refused the message, or is not there; the message is kept."""

    title, retryable = "The message could not be delivered", True


class DeliveryUnknown(StepError):
    """It can't be known whether the agent got the message; it is kept.

    It is never sent again by itself; a person may have it sent again by POST …/initiate.
    """

    title = "It is not known whether the message was delivered"


class SandboxLeaving(StepError):
    """The sandbox is about to stop and took the message no more: it goes back into the queue."""

    title, retryable = "The sandbox is about to stop", True


class TurnLost(StepError):
    """The sandbox has no such turn any more, or it outlived its limit: its end is not known."""

    title, retryable = "The turn was lost", True


class ArchiveFailed(StepError):
    """The workspace could not be saved; the last good archive is kept."""

    title, retryable = "The work could not be saved", True


class WorkUnfinished(StepError):
    """A merge, a rebase or the like is in the middle: what is there is no commit to publish."""

    title, retryable = "The work is in the middle of a merge or a rebase", True


class PushRejected(StepError):
    """The remote took the commits and refused the branch: a hook, a rule, a protected branch."""

    title, retryable = "The remote refused the push", True


class BranchMoved(StepError):
    """The session's branch has commits on the remote that the session did not make."""

    title, retryable = "Somebody else pushed to the session's branch", True


class BranchGone(StepError):
    """The session's branch was deleted on the remote; asked for again it is made anew."""

    title, retryable = "The session's branch was deleted on the remote", True


class PullRequestClosed(StepError):
    """The session's pull request was closed or merged; asked for again another is opened."""

    title, retryable = "The session's pull request is closed", True


class PullRequestFailed(StepError):
    """The commits are on the remote, and the pull request could not be opened or updated."""

    title, retryable = "The pull request could not be opened", True


class PublishFailed(StepError):
    """The work could not be committed or pushed for a reason we have no better word for."""

    title, retryable = "The work could not be published", True


class InputGone(StepError):
    """The agent no longer waits for that answer."""

    title = "The agent no longer waits for this answer"


class ProviderUnavailable(StepError):
    """The model provider kept failing."""

    title, retryable = "The model provider is unavailable", True


class Cancelled(StepError):
    """A person stopped it."""

    title, retryable = "Cancelled", True


class InternalStepError(StepError):
    """A defect of ours; the log has the details."""

    title, retryable = "An internal error occurred", True
