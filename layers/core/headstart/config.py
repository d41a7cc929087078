"""The environment, read once and checked as a whole: the only place that knows variable names."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Json

from headstart.domain.access import AccessRule
from headstart.domain.policy import Policy


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class Settings(BaseModel):
    """What the template gives every function; names are the template's environment variables."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stack: str = Field(alias="HEADSTART_STACK")
    table: str = Field(alias="HEADSTART_TABLE")
    state_machine_arn: str = Field(alias="HEADSTART_STATE_MACHINE_ARN")
    stream_url: str = Field(alias="HEADSTART_STREAM_URL")
    socket_management_url: str = Field(alias="HEADSTART_SOCKET_MANAGEMENT_URL")
    github_url: str = Field(alias="HEADSTART_GITHUB_URL", default="https://github.com")
    allowed_git_sources: str = Field(alias="HEADSTART_ALLOWED_GIT_SOURCES", default="")
    github_app_id: str = Field(alias="HEADSTART_GITHUB_APP_ID", default="")
    github_app_key: str = Field(alias="HEADSTART_GITHUB_APP_KEY", default="")
    repository_access: Json[list[AccessRule]] = Field(
        alias="HEADSTART_REPOSITORY_ACCESS", default_factory=list
    )
    groups_claim: str = Field(alias="HEADSTART_GROUPS_CLAIM", default="cognito:groups")
    agents: str = Field(alias="HEADSTART_AGENTS", default="")
    models: str = Field(alias="HEADSTART_MODELS", default="")
    default_agent: str = Field(alias="HEADSTART_DEFAULT_AGENT", default="demo")
    default_mode: str = Field(alias="HEADSTART_DEFAULT_MODE", default="code")
    default_model: str = Field(alias="HEADSTART_DEFAULT_MODEL", default="")
    provider: Json[dict[str, Any]] = Field(alias="HEADSTART_PROVIDER", default_factory=dict)
    provider_secret: str = Field(alias="HEADSTART_PROVIDER_SECRET", default="")
    secrets_alias: str = Field(alias="HEADSTART_SECRETS_ALIAS", default="")
    repository_config: bool = Field(alias="HEADSTART_REPOSITORY_CONFIG", default=False)
    commit_author: str = Field(
        alias="HEADSTART_COMMIT_AUTHOR",
        default="Headstart <headstart@localhost>",
        pattern=r"^[^<>\x00-\x1f]+ <[^<>\s]+>$",
    )
    sandbox_dollars_per_hour: float = Field(
        alias="HEADSTART_SANDBOX_DOLLARS_PER_HOUR", default=0.0, ge=0
    )
    over_quota: Literal["reject", "wait"] = Field(alias="HEADSTART_OVER_QUOTA", default="reject")
    callback_queue: str = Field(alias="HEADSTART_CALLBACK_QUEUE", default="")
    callback_secret: str = Field(alias="HEADSTART_CALLBACK_SECRET", default="")
    allowed_callback_targets: str = Field(alias="HEADSTART_ALLOWED_CALLBACK_TARGETS", default="")
    active_sessions: int = Field(alias="HEADSTART_ACTIVE_SESSIONS", default=10, ge=1)
    prepared_tree_after: int = Field(alias="HEADSTART_PREPARED_TREE_AFTER", default=15, ge=0)
    prepared_tree_days: int = Field(alias="HEADSTART_PREPARED_TREE_DAYS", default=7, ge=0)
    prepared_trees_gb: int = Field(alias="HEADSTART_PREPARED_TREES_GB", default=50, ge=1)
    bucket: str = Field(alias="HEADSTART_BUCKET", default="")
    cluster: str = Field(alias="HEADSTART_CLUSTER", default="")
    task_definition: str = Field(alias="HEADSTART_TASK_DEFINITION", default="")
    subnets: str = Field(alias="HEADSTART_SUBNETS", default="")
    security_groups: str = Field(alias="HEADSTART_SECURITY_GROUPS", default="")
    capacity_provider: str = Field(alias="HEADSTART_CAPACITY_PROVIDER", default="FARGATE")
    assign_public_ip: bool = Field(alias="HEADSTART_ASSIGN_PUBLIC_IP", default=True)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings; raises pydantic's ValidationError naming what is missing."""
        return cls.model_validate(dict(environment))

    def policy(self) -> Policy:
        """Return the deployment's choices."""
        return Policy(
            stream_url=self.stream_url,
            github_url=self.github_url,
            allowed_git_sources=_list(self.allowed_git_sources),
            github_app=bool(self.github_app_id),
            access_rules=self.repository_access,
            groups_claim=self.groups_claim,
            agents=_list(self.agents),
            models=_list(self.models),
            default_agent=self.default_agent,
            default_mode=self.default_mode,
            default_model=self.default_model or None,
            provider=self.provider,
            repository_config=self.repository_config,
            takes_secrets=bool(self.secrets_alias),
            callbacks=bool(self.callback_queue),
            allowed_callback_targets=_list(self.allowed_callback_targets),
            commit_author=self.commit_author,
            active_sessions=self.active_sessions,
            sandbox_dollars_per_hour=self.sandbox_dollars_per_hour,
            prepared_tree_after=timedelta(seconds=self.prepared_tree_after),
            prepared_tree_life=timedelta(days=self.prepared_tree_days),
            prepared_trees_bytes=self.prepared_trees_gb * 10**9,
            image=self.task_definition,
            wait_in_line=self.over_quota == "wait",
        )

    def subnet_ids(self) -> list[str]:
        """Return where sandboxes run."""
        return _list(self.subnets)

    def security_group_ids(self) -> list[str]:
        """Return what guards sandboxes."""
        return _list(self.security_groups)
