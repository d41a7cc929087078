"""What each step's command is told."""

from datetime import timedelta

from headstart.domain.attempt import Attempt
from headstart.domain.command_args import (
    AgentArgs,
    ArchiveRef,
    BranchArgs,
    CloneArgs,
    DiskArgs,
    PublishArgs,
    PullRequestArgs,
    RestoreArgs,
    Sealed,
    SetupArgs,
    TreeRef,
)
from headstart.domain.model import OpenModel
from headstart.domain.policy import Policy
from headstart.domain.repository import github_api, is_allowed_source
from headstart.domain.session import Session, SessionConfig
from headstart.domain.steps import SETUP_COMMAND_TIMEOUT, StepName
from headstart.domain.work import Beginning, Publication


def step_args(
    step: StepName,
    session: Session,
    attempt: Attempt,
    config: SessionConfig,
    policy: Policy,
    *,
    archive: ArchiveRef | None = None,
    tree: TreeRef | None = None,
    secrets: dict[str, str] | None = None,
    sealed: Sealed | None = None,
) -> OpenModel:
    """Return the arguments of a step's command; only steps done by the runner have some.

    A clone without the providers' `secrets` has no agent get ready beside it.
    """
    match step:
        case StepName.DISK:
            return DiskArgs(min_free_bytes=policy.min_free_disk, agent=session.agent)
        case StepName.CLONE:
            return CloneArgs(
                git_url=session.git_url,
                upstream_branch=config.upstream_branch,
                depth=config.clone.depth,
                submodules=config.clone.submodules,
                allow_private=is_allowed_source(session.git_url, policy.allowed_git_sources),
                archive=archive,
                tree=tree,
                branch=session.branch,
                sealed=sealed,
                agent=None if secrets is None else _agent_args(session, config, policy, secrets),
            )
        case StepName.BRANCH:
            return BranchArgs(branch=session.branch)
        case StepName.RESTORE:
            return RestoreArgs(
                agent=session.agent,
                session_id=session.session_id,
                title=session.title,
                env=config.env_vars,
                repository_config=policy.repository_config,
            )
        case StepName.SETUP:
            return SetupArgs(
                commands=config.setup_commands,
                env=config.env_vars,
                command_timeout=SETUP_COMMAND_TIMEOUT,
                cause=attempt.cause,
                base_after_ms=base_after_ms(session, attempt, policy),
                sealed=sealed,
            )
        case StepName.AGENT:
            return _agent_args(session, config, policy, secrets or {}, sealed)
        case StepName.SANDBOX | StepName.DELIVER:
            raise ValueError(f"{step} is not a command")


def _agent_args(
    session: Session,
    config: SessionConfig,
    policy: Policy,
    secrets: dict[str, str],
    sealed: Sealed | None = None,
) -> AgentArgs:
    return AgentArgs(
        agent=session.agent,
        session_id=session.session_id,
        mode=session.mode,
        title=session.title,
        model=session.model,
        env=config.env_vars,
        mcp_servers=config.mcp_servers,
        append_system_prompt=config.append_system_prompt,
        provider=policy.provider,
        secrets=secrets,
        repository_config=policy.repository_config,
        sealed=sealed,
    )


def publish_args(
    session: Session, publication: Publication, config: SessionConfig, policy: Policy
) -> PublishArgs:
    """Return the arguments of the command that publishes a session's work."""
    options, began = publication.options, session.began or Beginning()
    wanted = config.pull_request if options.as_configured else options.pull_request
    opened = publication.pull_request
    pull_request = wanted and PullRequestArgs(
        title=wanted.title or session.title,
        named=wanted.title is not None,
        base=wanted.base or config.upstream_branch or began.branch,
        draft=wanted.draft,
        number=opened.number if opened else None,
    )
    return PublishArgs(
        git_url=session.git_url,
        branch=session.branch,
        began=began,
        published=publication.commit,
        pushed=publication.pushed,
        author=policy.commit_author,
        session_id=session.session_id,
        title=session.title,
        message=options.message,
        pull_request=pull_request,
        api=github_api(policy.github_url, session.git_url),
        allow_private=is_allowed_source(session.git_url, policy.allowed_git_sources),
    )


def base_after_ms(session: Session, attempt: Attempt, policy: Policy) -> int | None:
    """Return how long the setup commands must take to be worth a base; None where none is made.

    What the clone took counts as well: both would have to be done again. Who asks for a tree to be
    made anew gets one however short that is, and so does who had to set up one that was adopted:
    the next would have to, too.
    """
    if session.prepared_tree == "off" or session.put_back:
        return None
    if session.prepared_tree == "refresh" or (attempt.adopted == "tree" and not attempt.likeness):
        return 0
    left = policy.prepared_tree_after - attempt.took(StepName.CLONE)
    return max(0, round(left / timedelta(milliseconds=1)))
