"""Which repository a session is about, and what its owner may read for it."""

from headstart.domain import events
from headstart.domain.access import GIT_TOKEN, granted
from headstart.domain.change import CONFIG, Change
from headstart.domain.errors import ValidationFailed, WrongStatus
from headstart.domain.policy import Policy
from headstart.domain.repository import check_git_url, github_url, repository_of
from headstart.domain.requests import CreateSession, PatchSession
from headstart.domain.session import SessionConfig, Status


def address(request: CreateSession | PatchSession, policy: Policy) -> str:
    """Return the address that is asked for; raises ValidationFailed for one that can't be had."""
    try:
        if request.git_url is not None:
            return check_git_url(request.git_url, policy.allowed_git_sources, policy.github_url)
        return github_url(policy.github_url, request.github_repo or "")
    except ValueError as error:
        field = "gitUrl" if request.git_url is not None else "githubRepo"
        raise ValidationFailed([{"loc": [field], "msg": str(error)}]) from error


def access(
    config: SessionConfig, policy: Policy, git_url: str, groups: frozenset[str]
) -> list[str]:
    """Return what a session there may read by its owner's groups; raises RepositoryForbidden."""
    return granted(
        policy.access_rules,
        groups,
        repository_of(git_url, policy.github_url),
        own_token=GIT_TOKEN in (config.encrypted_secrets or {}).get("names", []),
    )


def move(change: Change, request: PatchSession, groups: frozenset[str]) -> SessionConfig | None:
    """Have the session be about another repository; None where it is, or none is asked for.

    Raises WrongStatus once anything was cloned: what ran of one repository would see the other.
    """
    session, policy = change.session, change.policy
    if request.github_repo is None and request.git_url is None:
        return None
    git_url = address(request, policy)
    if git_url == session.git_url:
        return None
    if session.status is not Status.FAILED or session.began or session.kept:
        raise WrongStatus(
            "The repository can be changed only where the preparation failed before anything was "
            "cloned: start another session"
        )
    config = change.get(CONFIG, SessionConfig) or SessionConfig()
    config.access = access(config, policy, git_url, groups)
    session.git_url = git_url
    change.emit(events.SessionMoved(git_url=git_url))
    change.save(config)
    return config
