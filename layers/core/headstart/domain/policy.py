"""What a deployment decides: limits and defaults, never secrets."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from headstart.domain.access import AccessRule
from headstart.domain.model import Model

DUE_SHARDS = 8
"""Partitions of the due index; more than one so that no single one takes every write."""

LINE_LENGTH = 1000
"""How many of an owner's sessions may be created to wait in line."""


class Policy(Model):
    """The deployment's choices; times are `timedelta`, sizes bytes.

    `progress_patience` is longer than any command may be silent: a runner's own timeouts and the
    machine's heartbeats come first, and the janitor only where both failed.
    """

    stream_url: str
    github_url: str = "https://github.com"
    allowed_git_sources: list[str] = Field(default_factory=list)
    github_app: bool = False
    """Whether there is an App that opens private repositories."""
    access_rules: list[AccessRule] = Field(default_factory=list)
    groups_claim: str = "cognito:groups"
    """Which claim names a caller's groups."""
    agents: list[str] = Field(default_factory=list)
    """The agents that sandboxes have; empty is all that Headstart knows."""
    models: list[str] = Field(default_factory=list)
    """What is suggested to who chooses a model, as provider/model."""
    default_agent: str = "demo"
    default_mode: str = "code"
    default_model: str | None = None
    provider: dict[str, Any] = Field(default_factory=dict)
    """The agents' settings of model providers; keys are only named in them."""
    repository_config: bool = False
    """Whether agents obey configuration that comes with a repository, which may run code of its."""
    takes_secrets: bool = True
    """Whether there is a key that secrets can be encrypted with."""
    callbacks: bool = True
    """Whether sessions may have a receiver of callbacks."""
    allowed_callback_targets: list[str] = Field(default_factory=list)
    active_sessions: int = 10
    queued_messages: int = 50
    sandbox_dollars_per_hour: float = 0.0
    wait_in_line: bool = False
    prepared_tree_after: timedelta = timedelta(seconds=15)
    """How long clone and setup must take together for their result to be kept as a base."""
    prepared_tree_life: timedelta = timedelta(days=7)
    """How long a prepared tree is adopted; with none at all, none is made or adopted."""
    prepared_trees_bytes: int = 50 * 10**9
    """How much all prepared trees may have together; the oldest go."""
    image: str = ""
    """What sandboxes are started from, by any name that another image changes."""
    commit_author: str = "Headstart <headstart@localhost>"
    """Who has made the commits that publishing makes."""
    min_free_disk: int = 1024 * 1024 * 1024
    ticket_life: timedelta = timedelta(minutes=1)
    connection_life: timedelta = timedelta(hours=3)
    key_life: timedelta = timedelta(hours=24)
    start_patience: timedelta = timedelta(minutes=10)
    sandbox_patience: timedelta = timedelta(seconds=100)
    """How long ago a sandbox may have been heard to be kept for a retry: two heartbeats of 20 s,
    and the minute within which one is written down."""
    heartbeat_patience: timedelta = timedelta(minutes=3)
    progress_patience: timedelta = timedelta(minutes=15)
