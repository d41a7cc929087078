"""What each kind of command takes, and what it answers when it is done."""

from typing import Any

from pydantic import Field

from headstart.domain.model import OpenModel


class DiskArgs(OpenModel):
    """Answers `{freeBytes, totalBytes}`; fails with DiskFull below the minimum."""

    min_free_bytes: int


class CloneArgs(OpenModel):
    """Answers `{commit, defaultBranch, bytes, empty}`; `commit` is None in an empty repository.

    Unless `allow_private`, a host that resolves to a private, loopback, link-local or metadata
    address is RepositoryRefused. With `base_commit`, exactly that commit is fetched and checked
    out, however far its branch has moved on; a commit that is gone is SnapshotBaseMissing.
    """

    git_url: str
    upstream_branch: str | None = None
    depth: int
    allow_private: bool = False
    base_commit: str | None = None


class BranchArgs(OpenModel):
    """Answers `{branch, commit}`; in an empty repository the branch is unborn, commit None."""

    branch: str


class SnapshotRef(OpenModel):
    """Where a saved snapshot is, for a few minutes, and what it must be: else RestoreFailed."""

    url: str
    bytes: int
    sha256: str


class RestoreArgs(OpenModel):
    """Answers `{imported: true, missing}` once the agent's database knows the session id.

    With a snapshot, the saved commits and work tree are put back on top of the base commit, and
    the saved export is what is imported; without an export in it the session begins anew, and
    `missing` are the snapshot's words about that. `env` and `repository_config` are those of
    AgentArgs: the import must find the database that the server will use, and obey no more than it
    does.
    """

    agent: str
    session_id: str
    title: str
    snapshot: SnapshotRef | None = None
    env: dict[str, str] = Field(default_factory=dict)
    repository_config: bool = False


class SetupArgs(OpenModel):
    """Answers `{commands: [{command, exitCode, elapsedMs, skipped}]}`; times in seconds.

    Commands that already ran well in this sandbox, with the same environment and the same ones
    before them, are skipped. `lenient` (a wake-up) goes on after a failure, with a warning in the
    answer's `warnings`.
    """

    commands: list[str]
    env: dict[str, str]
    command_timeout: int
    lenient: bool = False


class AgentArgs(OpenModel):
    """Answers `{agent, version}` once the agent's server is healthy and knows the session.

    A server that already runs with the same arguments stays; with others it is started anew.
    `provider` is the agent's own settings of model providers, by provider; `secrets` are variables
    that only the agent's process gets, and that are redacted from everything it says. Unless
    `repository_config`, the agent obeys no configuration that comes with the repository.
    """

    agent: str
    session_id: str
    mode: str
    model: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    mcp_servers: dict[str, Any] = Field(default_factory=dict)
    append_system_prompt: str | None = None
    provider: dict[str, Any] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)
    repository_config: bool = False


class PromptArgs(OpenModel):
    """Answers `{agentMessageId}` once the agent shows the message: delivered, and never again."""

    session_id: str
    message_id: str
    turn_id: str
    text: str
    mode: str
    model: str | None = None


class AbortArgs(OpenModel):
    """Answers `{}` once the agent was told to stop; the turn's end says `interrupted`.

    A turn whose message is still being delivered is aborted as soon as it is accepted. A turn that
    is over, or never was, is fine.
    """

    turn_id: str


class InputArgs(OpenModel):
    """Answers `{}` once the agent has the answer; fails with InputGone when it asks no more.

    `answer` is `{reply: once|always|reject}` for a permission and `{answers: [[label]]}` or
    `{reject: true}` for a question.
    """

    request_id: str
    answer: dict[str, Any]


class SnapshotArgs(OpenModel):
    """Save the work tree and the agent's export into one file in the sandbox.

    Answers `{bytes, sha256, baseCommit, headCommit, skipped: [path], missing}`; `sha256` in base64,
    as S3 wants it. Tracked and untracked files, not ignored ones; files over `max_file_bytes` are
    named and skipped. Fails with SnapshotFailed, also when the work is above `max_bytes`. An agent
    that can't tell its session, or more of it than there is room for, costs no work: the last
    export is taken instead, if there is any, and `missing` says so in words, else it is None.
    """

    agent: str
    session_id: str
    max_file_bytes: int
    max_bytes: int


class UploadArgs(OpenModel):
    """PUT the file of the snapshot with that hash; answers `{}`, fails with SnapshotFailed."""

    sha256: str
    url: str
    headers: dict[str, str]
