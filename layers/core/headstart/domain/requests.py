"""The bodies callers send, with the limits of the API; what they break is named field by field."""

import json
import unicodedata
from math import isfinite
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from headstart.domain.callbacks import HEADERS, check_headers
from headstart.domain.envelope import SECRETS_BYTES, EncryptedSecrets
from headstart.domain.model import Model
from headstart.domain.repository import check_branch
from headstart.domain.session import PreparedTree
from headstart.domain.texts import SOUND, sound
from headstart.domain.variables import is_reserved, names_a_repository
from headstart.domain.work import MESSAGE_CHARACTERS

BODY_BYTES = 256 * 1024
"""The most a body may be as JSON that escapes and spaces out nothing without need."""

RAW_BODY_BYTES = 6 * BODY_BYTES
"""The most that escapes can make of it: one byte, six characters (`\\u0061`)."""

PROMPT_BYTES = 100_000
ENV_VARS = 50
ENV_VARS_BYTES = 64 * 1024
MCP_SERVERS = 20
MCP_SERVERS_BYTES = 64 * 1024
MCP_SERVERS_DEPTH = 16
TITLE_CHARACTERS = 256
"""The longest title of a pull request that GitHub takes."""


def _prompt_size(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    if len(text.encode()) > PROMPT_BYTES:
        raise ValueError(f"must be at most {PROMPT_BYTES} bytes of UTF-8")
    return text


def _sound_env(env: dict[str, str]) -> dict[str, str]:
    if sum(len(key.encode()) + len(value.encode()) for key, value in env.items()) > ENV_VARS_BYTES:
        raise ValueError(f"must be at most {ENV_VARS_BYTES} bytes together")
    reserved = sorted(filter(is_reserved, env))
    if reserved:
        raise ValueError(f"must not use the reserved prefix HEADSTART_: {reserved[0]}")
    if elsewhere := sorted(filter(names_a_repository, env)):
        raise ValueError(f"must not have git work on another repository: {elsewhere[0]}")
    return env


def _mcp_size(servers: dict[str, Any]) -> dict[str, Any]:
    _check_json(servers, MCP_SERVERS_DEPTH)
    # Only now: what the check refuses, these two would fail on.
    if len(json.dumps(servers, ensure_ascii=False).encode()) > MCP_SERVERS_BYTES:
        raise ValueError(f"must be at most {MCP_SERVERS_BYTES} bytes together")
    return servers


def _check_json(value: object, depth: int) -> None:
    """Refuse what Python reads from JSON but nothing after it can keep: 1e999, half a surrogate."""
    if depth < 0:
        raise ValueError(f"must not be nested deeper than {MCP_SERVERS_DEPTH} levels")
    sound(value)
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("must not contain numbers that are too large")
    if isinstance(value, dict):
        for key, item in value.items():
            sound(key)
            _check_json(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check_json(item, depth - 1)


Prompt = Annotated[
    str,
    AfterValidator(_prompt_size),
    SOUND,
    Field(
        description=f"Not blank; at most {PROMPT_BYTES} bytes of UTF-8.",
        json_schema_extra={"minLength": 1, "maxLength": PROMPT_BYTES},
    ),
]
Branch = Annotated[
    str,
    AfterValidator(check_branch),
    SOUND,
    Field(
        description="A branch name that git accepts; `refs/heads/` in front is left out.",
        json_schema_extra={"minLength": 1, "maxLength": 250},
    ),
]
_KEY_CHARACTERS = 128
_VALUE_CHARACTERS = 4096
EnvKey = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=_KEY_CHARACTERS),
    SOUND,
]
EnvValue = Annotated[str, StringConstraints(max_length=_VALUE_CHARACTERS), SOUND]
EnvVars = Annotated[
    dict[EnvKey, EnvValue],
    Field(
        max_length=ENV_VARS,
        description=f"Names of at most {_KEY_CHARACTERS} characters, values of at most "
        f"{_VALUE_CHARACTERS}, {ENV_VARS_BYTES} bytes together; HEADSTART_ is a reserved prefix, "
        "and GIT_DIR and its kin are refused: git works on the clone. Nothing in values is "
        "expanded; PATH and HOME take the place of the sandbox's own. "
        "Kept as they are sent: no place for secrets. What is a secret by name or shape is "
        "redacted from all output.",
    ),
    AfterValidator(_sound_env),
]
COMMANDS = 20
COMMAND_CHARACTERS = 10_000
COMMANDS_CHARACTERS = 100_000


def _commands_size(commands: list[str]) -> list[str]:
    if sum(map(len, commands)) > COMMANDS_CHARACTERS:
        raise ValueError(f"must be at most {COMMANDS_CHARACTERS} characters together")
    return commands


def _relative(path: str) -> str:
    # One that begins with a slash begins with an empty part.
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise ValueError("must be a file's path within the repository, without . and ..")
    return path


SetupCommand = Annotated[str, StringConstraints(min_length=1, max_length=COMMAND_CHARACTERS), SOUND]
SetupCommands = Annotated[
    list[SetupCommand],
    Field(
        max_length=COMMANDS,
        description=f"Scripts of a shell's, {COMMANDS_CHARACTERS} characters together.",
    ),
    AfterValidator(_commands_size),
]
InputPath = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(_relative), SOUND
]
SetupInputs = Annotated[list[InputPath], Field(max_length=20)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), SOUND]
# The length is apart from the pattern: \w up to 127 times takes 50 ms to compile, at every start.
ModelName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][\w./:@-]*$", max_length=128), SOUND
]
ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$"), SOUND]
SYSTEM_PROMPT_CHARACTERS = 10_000
SystemPrompt = Annotated[str, StringConstraints(max_length=SYSTEM_PROMPT_CHARACTERS), SOUND]
McpServers = Annotated[
    dict[ServerName, dict[str, Any]],
    Field(
        max_length=MCP_SERVERS,
        description=f"The agent's own settings, by server; at most {MCP_SERVERS_BYTES} bytes "
        f"together, {MCP_SERVERS_DEPTH} levels deep.",
    ),
    AfterValidator(_mcp_size),
]


LIMITS = {
    "promptBytes": PROMPT_BYTES,
    "envVars": ENV_VARS,
    "setupCommands": COMMANDS,
    "setupCommandCharacters": COMMAND_CHARACTERS,
    "mcpServers": MCP_SERVERS,
    "appendSystemPromptCharacters": SYSTEM_PROMPT_CHARACTERS,
    "bodyBytes": BODY_BYTES,
}
"""What forms tell people before they send anything."""


_DEFAULT = "Where absent or null, the deployment's default."


class CallbackTarget(Model):
    """The receiver of a session's callbacks; what its name resolves to is checked at each call."""

    url: Annotated[
        str,
        StringConstraints(max_length=2000),
        SOUND,
        Field(
            description="An https URL without credentials, of a public host, at port 443 or one "
            "from 1024 up; or a receiver the deployment allows."
        ),
    ]
    headers: Annotated[
        dict[str, str],
        AfterValidator(check_headers),
        Field(
            description=f"Sent along: at most {HEADERS}, names of 64 characters, values of 1024 "
            "printable ASCII characters; not those the call sets itself, such as webhook-…, "
            "content-… and host. Kept as they are sent: who reads the table reads them.",
            json_schema_extra={"maxProperties": HEADERS},
        ),
    ] = Field(default_factory=dict)


class CloneRequest(Model):
    """How much of the repository is cloned."""

    depth: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="How many commits of history; null is all of it, file contents as they are "
        "needed.",
    )
    submodules: bool = Field(
        default=False,
        description="Whether submodules are cloned too; without, the clone step names them.",
    )


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


class PullRequestRequest(Model):
    """The pull request that publishing opens on GitHub, and later keeps up to date."""

    title: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=TITLE_CHARACTERS),
            AfterValidator(_not_blank),
            SOUND,
        ]
        | None
    ) = Field(default=None, description="The first prompt's beginning where null.")
    base: Branch | None = Field(
        default=None,
        description="The branch it asks to be merged into; the one that the session began from "
        "where null.",
    )
    draft: bool = True


GithubRepo = Annotated[
    str,
    SOUND,
    Field(description="`org/name`, public or one that the access rules give you."),
]
GitUrl = Annotated[
    str,
    SOUND,
    Field(
        description="The address of a repository, not of a page about it: https and a public "
        "host, or a source the deployment allows."
    ),
]


class CreateSession(Model):
    """POST /sessions. `prompt` and one of `githubRepo` and `gitUrl` are required."""

    prompt: Prompt
    github_repo: GithubRepo | None = None
    git_url: GitUrl | None = None
    upstream_branch: Branch | None = None
    agent: Name | None = Field(default=None, description=_DEFAULT)
    mode: Name | None = Field(default=None, description=_DEFAULT)
    model: ModelName | None = Field(default=None, description=_DEFAULT)
    clone: CloneRequest = Field(
        default_factory=CloneRequest,
        description="`depth`: how many commits of history, 1 to 1 000 000, all of it where null; "
        "`submodules`: whether they are cloned too.",
    )
    setup_commands: SetupCommands = Field(default_factory=list)
    setup_inputs: SetupInputs = Field(
        default_factory=list,
        description="The files that the result of `setupCommands` depends on, such as a lock file: "
        "in a prepared tree in which they are the same the commands need not run again. Without "
        "them it depends on the commit.",
    )
    prepared_tree: PreparedTree = Field(
        default="use",
        description="Whether a workspace that was prepared for an earlier session alike may be "
        "this one's beginning; `refresh` prepares it anew for those to come.",
    )
    env_vars: EnvVars = Field(default_factory=dict)
    encrypted_secrets: EncryptedSecrets | None = Field(
        default=None,
        description="For setup commands and the agent, as variables beside `envVars` (where a name "
        "is in both, the secret counts), and for `{secret:NAME}` in `mcpServers` and "
        f"`appendSystemPrompt`; {SECRETS_BYTES // 1024} KB together, values of 8 bytes and more. "
        "`GIT_TOKEN` and `GIT_USERNAME` open the repository and go nowhere else. See "
        '"Send secrets".',
    )
    mcp_servers: McpServers = Field(default_factory=dict)
    append_system_prompt: SystemPrompt | None = None
    auto_initiate: bool = Field(
        default=True, description="`false` holds the first message until `initiate`."
    )
    auto_commit: bool = Field(
        default=False,
        description="Whether the work is published after each turn that completed: committed, and "
        "pushed to the session's branch.",
    )
    pull_request: PullRequestRequest | None = Field(
        default=None, description="What publishing opens beside; null is none."
    )
    callback_target: CallbackTarget | None = Field(
        default=None,
        description="What is called when the session is prepared, ready, failed or asleep, when a "
        "turn ends or the agent asks: see Callbacks.",
    )

    @model_validator(mode="after")
    def _one_repository(self) -> Self:
        if (self.github_repo is None) == (self.git_url is None):
            raise ValueError("exactly one of githubRepo and gitUrl is required")
        return self


class PublishSession(Model):
    """POST /sessions/{id}/publish: each field may be left out."""

    message: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=MESSAGE_CHARACTERS),
            AfterValidator(_not_blank),
            SOUND,
        ]
        | None
    ) = Field(
        default=None,
        description="The commit's; without one it is made of the session's title and what changed.",
    )
    pull_request: PullRequestRequest | None = Field(
        default=None, description="Absent: as the session was asked for; null: none."
    )
    encrypted_secrets: EncryptedSecrets | None = Field(
        default=None,
        description="Absent: as they are; else instead of all there are, for good: null is none.",
    )


class SendMessage(Model):
    """POST /sessions/{id}/messages."""

    prompt: Prompt
    if_busy: Literal["queue", "reject"] = "queue"


def _cleared(value: object) -> object:
    """Take an empty text for null."""
    return None if value == "" else value


def _or_empty(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "string", "maxLength": 0})


_EMPTY_CLEARS = (BeforeValidator(_cleared), Field(json_schema_extra=_or_empty))


SESSION_TITLE_CHARACTERS = 200

# By their categories these are letters and a symbol.
_EMPTY_SIGNS = "\u115f\u1160\u2800\u3164\uffa0"


def _one_line(text: str) -> str:
    line = "".join(sign for sign in " ".join(text.split()) if unicodedata.category(sign) != "Cc")
    if all(sign in _EMPTY_SIGNS or unicodedata.category(sign)[0] in "CZ" for sign in line):
        raise ValueError("must have something to read in it")
    return line


class PatchSession(Model):
    """PATCH /sessions/{id}: absent leaves a field, null or empty clears it.

    The title can be changed at any time; the repository, by one of `githubRepo` and `gitUrl`, where
    the preparation failed before anything was cloned.
    """

    title: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=SESSION_TITLE_CHARACTERS),
            AfterValidator(_one_line),
            SOUND,
        ]
        | None
    ) = Field(default=None, description="Put on one line; it can't be cleared.")
    prompt: Prompt | None = None
    github_repo: GithubRepo | None = None
    git_url: GitUrl | None = None
    upstream_branch: Annotated[Branch | None, *_EMPTY_CLEARS] = None
    mode: Annotated[Name | None, *_EMPTY_CLEARS] = None
    model: Annotated[ModelName | None, *_EMPTY_CLEARS] = None
    setup_commands: SetupCommands | None = None
    env_vars: EnvVars | None = None
    encrypted_secrets: EncryptedSecrets | None = None
    mcp_servers: McpServers | None = None
    append_system_prompt: SystemPrompt | None = None
    auto_initiate: bool | None = None
    auto_commit: bool | None = None
    pull_request: PullRequestRequest | None = None
    callback_target: CallbackTarget | None = None

    @model_validator(mode="after")
    def _what_it_needs_stays(self) -> Self:
        for name in ("title", "prompt", "github_repo", "git_url"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{to_camel(name)} can't be cleared")
        if self.github_repo is not None and self.git_url is not None:
            raise ValueError("at most one of githubRepo and gitUrl can be given")
        return self

    @property
    def only_renames(self) -> bool:
        """Whether it asks for nothing but another title."""
        return self.model_fields_set == {"title"}


class RetrySession(Model):
    """POST /sessions/{id}/retry: absent leaves what was asked for, null or empty clears it."""

    attempt_number: Annotated[int, Field(ge=1)]
    setup_commands: SetupCommands | None = None
    env_vars: EnvVars | None = None
    encrypted_secrets: EncryptedSecrets | None = None
    without_archive: bool = Field(
        default=False,
        description="`true` leaves what is saved aside: the repository is cloned and set up anew, "
        "and the agent's session begins anew. What is saved next replaces it.",
    )


_Label = Annotated[str, StringConstraints(max_length=2000), SOUND]
_Labels = Annotated[list[_Label], Field(max_length=20)]


class AnswerInput(Model):
    """POST /sessions/{id}/inputs/{requestId}: `reply` to a permission, `answers` to a question.

    `reject` declines either.
    """

    reply: Literal["once", "always", "reject"] | None = None
    answers: Annotated[list[_Labels], Field(max_length=20)] | None = None
    reject: bool = False

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if (self.reply is not None) + (self.answers is not None) + self.reject != 1:
            raise ValueError("exactly one of reply, answers and reject is required")
        return self

    def answer(self, kind: str) -> dict[str, Any]:
        """Return the answer to that kind of request as the runner's channel has it."""
        if self.reply is not None:
            return {"reply": self.reply}
        if self.reject and kind == "permission":
            return {"reply": "reject"}
        return {"answers": self.answers} if self.answers is not None else {"reject": True}
