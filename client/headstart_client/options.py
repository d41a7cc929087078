"""What calls take by name, as typed dictionaries: an absent field is not sent."""

from typing import Any, Literal, TypedDict


class Clone(TypedDict, total=False):
    """How much of the repository is cloned; without a `depth`, or with None, all of its history."""

    depth: int | None
    submodules: bool


class PullRequestOptions(TypedDict, total=False):
    """The pull request that publishing opens; it is a draft unless `draft` is False."""

    title: str | None
    base: str | None
    draft: bool


class PublishOptions(TypedDict, total=False):
    """How to publish: without `pull_request` as the session was asked for, with None none."""

    message: str
    pull_request: PullRequestOptions | None
    secrets: dict[str, str] | None
    encrypted_secrets: dict[str, Any] | None


class SessionOptions(TypedDict, total=False):
    """What a session may be created with beside its prompt; see POST /sessions."""

    github_repo: str
    git_url: str
    upstream_branch: str
    agent: str
    mode: str
    model: str
    clone: Clone
    setup_commands: list[str]
    setup_inputs: list[str]
    prepared_tree: Literal["use", "refresh", "off"]
    env_vars: dict[str, str]
    secrets: dict[str, str]
    encrypted_secrets: dict[str, Any]
    mcp_servers: dict[str, Any]
    append_system_prompt: str
    auto_commit: bool
    pull_request: PullRequestOptions
    callback_target: dict[str, Any]


class SessionChanges(TypedDict, total=False):
    """What PATCH may change: absent leaves, None or empty clears; the title in every status."""

    title: str
    prompt: str
    github_repo: str
    git_url: str
    upstream_branch: str | None
    mode: str | None
    model: str | None
    setup_commands: list[str] | None
    env_vars: dict[str, str] | None
    secrets: dict[str, str] | None
    encrypted_secrets: dict[str, Any] | None
    mcp_servers: dict[str, Any] | None
    append_system_prompt: str | None
    auto_initiate: bool | None
    auto_commit: bool | None
    pull_request: PullRequestOptions | None
    callback_target: dict[str, Any] | None
