"""What each kind of command takes, and what it answers when it is done."""

from typing import Any

from pydantic import Field

from headstart.domain.model import OpenModel
from headstart.domain.work import Beginning


class DiskArgs(OpenModel):
    """Answers `{freeBytes, totalBytes}`; fails with DiskFull below the minimum.

    Without the session's `agent` fails with AgentUnavailable, before there is anything to wait for.
    """

    min_free_bytes: int
    agent: str | None = None


class FileRef(OpenModel):
    """A file that can be had for a few minutes, and what it must be; `sha256` in base64."""

    url: str
    bytes: int
    sha256: str


class ArchiveRef(OpenModel):
    """A session's own workspace as it was saved: a base, and the difference on top of it."""

    base: FileRef
    difference: FileRef | None = None


class TreeRef(FileRef):
    """A prepared tree: a base that another session made of `commit`, on its own `branch`.

    `inputs` are the files on which the result of the setup commands depends; with none of them
    named it depends on the commit.
    """

    commit: str
    branch: str
    inputs: list[str] = Field(default_factory=list)


class Sealed(OpenModel):
    """The session's secrets as their owner sealed them, and the key to them, in base64.

    `ciphertext` is a JSON object of name and value under `enc`, its tag at the end, with `subject`,
    the owner, as additional data. Only the runner opens it.
    """

    names: list[str]
    enc: str = "A256GCM"
    key: str = Field(repr=False)
    iv: str
    ciphertext: str
    subject: str


class AgentArgs(OpenModel):
    """Answers `{agent, version}` once the agent's server is healthy and knows the session.

    A server that already runs with the same arguments stays; with others it is started anew.
    A new session is made under its id, with the `title`.
    `provider` is the agent's own settings of model providers, by provider; `secrets` are variables,
    the keys of those providers: the runner keeps them, redacted from everything the agent says,
    and gives it placeholders. Unless `repository_config`, the agent obeys no configuration that
    comes with the repository.
    """

    agent: str
    session_id: str
    mode: str
    title: str = ""
    model: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    mcp_servers: dict[str, Any] = Field(default_factory=dict)
    append_system_prompt: str | None = None
    provider: dict[str, Any] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)
    repository_config: bool = False
    sealed: Sealed | None = None


class CloneArgs(OpenModel):
    """Answers `{commit, defaultBranch, bytes, empty, notes, adopted, setup, fetched}`.

    `commit` is None in an empty repository; `notes` are sentences about what the clone is without
    (submodules, Git LFS, whole history). Unless `allow_private`, a host that resolves to a private,
    loopback, link-local or metadata address is RepositoryRefused. Without `depth` the history is
    whole and its blobs come on demand, where the server can do that. Pushes may go to `branch` of
    the repository, and to nothing else; without one to nothing at all.

    With `archive` the workspace is put back as it was saved and nothing is fetched from the
    repository (`adopted: "archive"`); one that can't be is RestoreFailed. With `tree` that is put
    back and moved to the tip of its branch (`adopted: "tree"`): `setup` says by which likeness the
    setup commands need not run again ("same commit", "same package-lock.json"), else it is None;
    `fetched` is how many commits came. A tree that can't be used is no failure: the repository is
    cloned, `adopted` is None and a note says why.

    `agent` gets ready meanwhile, with the secrets that this command brings (it has none `sealed` of
    its own). Nothing of that is this step's: the agent's step tells what is wrong with it.
    """

    git_url: str
    upstream_branch: str | None = None
    depth: int | None = None
    submodules: bool = False
    allow_private: bool = False
    archive: ArchiveRef | None = None
    tree: TreeRef | None = None
    branch: str | None = None
    sealed: Sealed | None = None
    agent: AgentArgs | None = None


class BranchArgs(OpenModel):
    """Answers `{branch, commit, notes}`; in an empty repository it is unborn, `commit` None.

    `notes` are sentences about what the branch can't be used for.
    """

    branch: str


class RestoreArgs(OpenModel):
    """Answers `{imported, missing}` once the agent's database has what there is of the session.

    Where the clone step put an archive back, the export in it is what is imported; without one the
    session begins anew, and `missing` are the archive's words about that. `imported` is false where
    the agent's own server is to make the new session, once it is started. `env` and
    `repository_config` are those of AgentArgs: the import must find the database that the server
    will use, and obey no more than it does.
    """

    agent: str
    session_id: str
    title: str
    env: dict[str, str] = Field(default_factory=dict)
    repository_config: bool = False


class SetupArgs(OpenModel):
    """Answers `{commands: [{command, exitCode, elapsedMs, skipped}], base, notes}`.

    `command_timeout` is in seconds. Commands that already ran well in this sandbox, with the same
    environment and the same ones before them, are skipped. `cause` is why the attempt was made:
    HEADSTART_ATTEMPT_CAUSE. With `base_after_ms` the workspace is saved as a base once the commands
    have run, if they took longer than that: `base` is `{bytes, sha256, elapsedMs}`, None where none
    was made. `notes` are sentences about what of the shell's start-up files was not taken.
    """

    commands: list[str]
    env: dict[str, str]
    command_timeout: int
    cause: str = "created"
    base_after_ms: int | None = None
    sealed: Sealed | None = None


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


class ArchiveArgs(OpenModel):
    """Save the workspace, whole: a difference on top of `base`, the hash of what the cloud has.

    Answers `{base, difference, changes, diff, leftOut, missing}`: `difference` is `{bytes,
    sha256}`, `sha256` in base64, as S3 wants it; so is `base`, None unless one had to be made:
    where the cloud has none, or another than this sandbox knows. Fails with ArchiveFailed. Above
    `max_bytes` together, what git ignores is left out, and `leftOut` names it, as it does what
    could not be read. An agent that can't tell its session, or more of it than there is room for,
    costs no work: the last export is taken instead, if there is any, and `missing` says so in
    words, else it is None. `changes` and `diff` are files, too: what the work is against where its
    branch `began`, None where that can't be told. It is told first, as `work.changed`: a copy may
    fail.
    """

    agent: str
    session_id: str
    base: str | None = None
    max_bytes: int
    began: Beginning = Field(default_factory=Beginning)


class FileUpload(OpenModel):
    """A file that the sandbox made, by its hash, and where it is to be sent."""

    sha256: str
    url: str
    headers: dict[str, str]


class UploadArgs(OpenModel):
    """PUT the files in order; answers `{}`, fails with ArchiveFailed."""

    files: list[FileUpload]


class PullRequestArgs(OpenModel):
    """The pull request that is wanted; `number` is the one that this session opened before.

    Without `named` its title is made up, and one that a person has changed stays.
    """

    title: str
    named: bool = False
    base: str | None = None
    draft: bool = True
    number: int | None = None


class PublishArgs(OpenModel):
    """Bring the work to `branch` of the remote: commit what is not committed, push, ask for it.

    Answers `headstart.domain.work.Published`. `author` is `Name <mail>`; without a `message` one is
    made of `title` and of what changed. `published` is what the branch was last seen to be at,
    `pushed` are the commits of this session's that it may be at: it is forced over no other. `api`
    is where GitHub's REST API is, None where the repository is on another host. Fails with
    WorkUnfinished, PushRejected, BranchMoved, BranchGone, PublishFailed, and as a clone does where
    the remote can't be reached.
    """

    git_url: str
    branch: str
    began: Beginning = Field(default_factory=Beginning)
    published: str | None = None
    pushed: list[str] = Field(default_factory=list)
    author: str
    session_id: str
    title: str
    message: str | None = None
    pull_request: PullRequestArgs | None = None
    api: str | None = None
    allow_private: bool = False
