"""What each step's command is told."""

from dataclasses import dataclass

from headstart.domain.command_args import (
    AgentArgs,
    BranchArgs,
    CloneArgs,
    DiskArgs,
    RestoreArgs,
    SetupArgs,
    SnapshotRef,
)
from headstart.domain.model import OpenModel
from headstart.domain.policy import Policy
from headstart.domain.repository import is_allowed_source
from headstart.domain.session import Session, SessionConfig
from headstart.domain.steps import SETUP_COMMAND_TIMEOUT, StepName


@dataclass(frozen=True, slots=True)
class SavedWork:
    """A snapshot to start from: where it can be had, and the commit it builds on."""

    ref: SnapshotRef
    base_commit: str | None


def step_args(
    step: StepName,
    session: Session,
    config: SessionConfig,
    policy: Policy,
    saved: SavedWork | None = None,
    *,
    secrets: dict[str, str] | None = None,
) -> OpenModel:
    """Return the arguments of a step's command; only steps done by the runner have some."""
    match step:
        case StepName.DISK:
            return DiskArgs(min_free_bytes=policy.min_free_disk)
        case StepName.CLONE:
            return CloneArgs(
                git_url=session.git_url,
                upstream_branch=config.upstream_branch,
                allow_private=is_allowed_source(session.git_url, policy.allowed_git_sources),
                base_commit=saved.base_commit if saved else None,
            )
        case StepName.BRANCH:
            return BranchArgs(branch=session.branch)
        case StepName.RESTORE:
            return RestoreArgs(
                agent=session.agent,
                session_id=session.session_id,
                title=session.title,
                snapshot=saved.ref if saved else None,
                env=config.env_vars,
                repository_config=policy.repository_config,
            )
        case StepName.SETUP:
            return SetupArgs(
                commands=config.setup_commands,
                env=config.env_vars,
                command_timeout=SETUP_COMMAND_TIMEOUT,
                # What was set up well once doesn't stand between a person and their work.
                lenient=session.prepared_at is not None,
            )
        case StepName.AGENT:
            return AgentArgs(
                agent=session.agent,
                session_id=session.session_id,
                mode=session.mode,
                model=session.model,
                env=config.env_vars,
                mcp_servers=config.mcp_servers,
                append_system_prompt=config.append_system_prompt,
                provider=policy.provider,
                secrets=secrets or {},
                repository_config=policy.repository_config,
            )
        case StepName.SANDBOX | StepName.DELIVER:
            raise ValueError(f"{step} is not a command")
