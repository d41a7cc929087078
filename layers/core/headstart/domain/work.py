"""A session's work: what it changed since its branch began, and how far that has come."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, ValidationError

from headstart.domain.archive import words
from headstart.domain.failure import Failure
from headstart.domain.model import OpenModel, RowModel, Timestamp

MOST_FILES = 1000
"""How many changed files are named; the others are counted."""

CHANGES_BYTES = 1024 * 1024
"""The most of all changed files' names together, as the JSON object that is kept."""

DIFF_LINES = 100_000
DIFF_BYTES = 8 * 1024 * 1024
"""Where a unified diff is cut, whichever comes first."""

MESSAGE_CHARACTERS = 1000
"""The longest message of a commit: until it is made, the message is in the session's own row."""

_MOST_PUSHED = 5
_URL_CHARACTERS = 500
_COMMIT = r"^[0-9a-f]{40,64}$"


class Beginning(RowModel):
    """Where a session's branch began: a commit of upstream, None where there is none."""

    commit: str | None = None
    branch: str | None = None


class Counted(RowModel):
    """How many files are different, and lines in those that are text."""

    files: int = Field(default=0, ge=0)
    additions: int = Field(default=0, ge=0)
    deletions: int = Field(default=0, ge=0)


class ChangedFile(OpenModel):
    """A file that is different; `source` is where a renamed or copied one was.

    `additions` and `deletions` are lines, None in a binary file; `mode` is told where it changed.
    """

    path: str
    status: Literal["added", "modified", "deleted", "renamed", "copied", "retyped", "unmerged"]
    source: str | None = None
    additions: int | None
    deletions: int | None
    mode: str | None = None


class Changes(OpenModel):
    """What is different from `base` in the work tree, whose HEAD is `head`.

    Commits count, and so does what is not committed and what git neither tracks nor ignores. `base`
    is the newest commit of the work's history that is upstream's too: the one its branch began at,
    or a later one that was merged or rebased upon, so that nobody else's commits count. None is an
    empty tree. `truncated` where there are more files than are named.
    """

    base: str | None
    head: str | None
    files: list[ChangedFile]
    total: Counted
    truncated: bool = False


class PublicationStatus(StrEnum):
    """Where a publication stands: all but the first stay until another is asked for."""

    PUBLISHING = "publishing"
    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    FAILED = "failed"


class PullRequest(RowModel):
    """A pull request of the session's branch."""

    number: int = Field(ge=1)
    url: str = Field(max_length=_URL_CHARACTERS)


class PullRequestOptions(RowModel):
    """The pull request that publishing opens; without a title the first prompt's beginning is it.

    `base` is the branch it asks to be merged into, None for the one that the session began from.
    """

    title: str | None = None
    base: str | None = None
    draft: bool = True


class PublishOptions(RowModel):
    """What a publication was asked for with; `as_configured` has the session's own pull request."""

    message: str | None = None
    as_configured: bool = True
    pull_request: PullRequestOptions | None = None


class Publication(RowModel):
    """How far a session's work has come to the remote.

    `commit` is what the remote was last seen to have, `pushed` what this session put there or was
    about to: only over these it may force. `options` stay until what they ask for is done.
    `command_id` is the command under way, `since` when that was sent, or the publication asked for;
    `tries` counts the sandboxes that were asked. `again` has another one follow: a turn ended
    meanwhile, whose work this one may be without.
    """

    status: PublicationStatus
    options: PublishOptions = Field(default_factory=PublishOptions)
    since: Timestamp
    tries: int = 0
    again: bool = False
    command_id: str | None = None
    commit: str | None = None
    pushed: list[str] = Field(default_factory=list)
    url: str | None = None
    pull_request: PullRequest | None = None
    note: str | None = None
    failure: Failure | None = None

    @property
    def goes_on(self) -> bool:
        """Whether it was asked for and its end is not known."""
        return self.status is PublicationStatus.PUBLISHING

    def will_push(self, commit: str) -> None:
        """Know a commit as the session's own from now on."""
        if commit not in self.pushed:
            self.pushed = [*self.pushed, commit][-_MOST_PUSHED:]


class Published(OpenModel):
    """What a sandbox says to have published: `commit` is what it saw on the remote afterwards.

    `failure` is why there is no pull request though the commit is there.
    """

    status: Literal["published", "unchanged"]
    commit: str | None = Field(default=None, pattern=_COMMIT)
    url: str | None = Field(default=None, max_length=_URL_CHARACTERS)
    pull_request: PullRequest | None = None
    note: str | None = None
    failure: Failure | None = None


def said_published(said: dict[str, Any]) -> Published | None:
    """Return what a sandbox says to have published, None where that makes no sense."""
    try:
        found = Published.model_validate(said)
    except ValidationError:
        return None
    if found.status == "published" and found.commit is None:
        return None
    return found.model_copy(update={"note": words(found.note)})


def read_changes(text: bytes) -> Changes | None:
    """Return what a sandbox has written down of its changes, None where that makes no sense."""
    try:
        return Changes.model_validate_json(text)
    except ValidationError:
        return None
