"""What a sandbox is lent to open repositories: which it may have, for what, and how often."""

from dataclasses import dataclass
from datetime import timedelta

from headstart.domain.access import matches
from headstart.domain.change import CONFIG, Change
from headstart.domain.channel import CredentialRequest
from headstart.domain.errors import GitHubUnavailable, RepositoryAccessDenied
from headstart.domain.life.hosting import require_runner
from headstart.domain.repository import repository_at, repository_of
from headstart.domain.session import SessionConfig

MOST_A_MINUTE = 60
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Loan:
    """What GitHub is to be asked for; `access` are the patterns that the session may read by."""

    repository: str
    write: bool
    access: tuple[str, ...]


def lend(change: Change, connection_id: str, asked: CredentialRequest) -> Loan | None:
    """Return what a runner's request comes to; None where there is nothing to give.

    There is for what the access rules gave the session, where the deployment has an App; for
    writing, for the session's own repository alone. Raises NotTheRunner, and GitHubUnavailable for
    more than MOST_A_MINUTE: each is two calls to GitHub, which counts them for all sessions.
    """
    require_runner(change, connection_id)
    policy, config = change.policy, change.get(CONFIG, SessionConfig) or SessionConfig()
    repository = repository_at(asked.host, asked.repository, policy.github_url)
    if not policy.github_app or repository is None or not matches(config.access, repository):
        return None
    own = repository_of(change.session.git_url, policy.github_url) or ""
    if asked.write and repository.lower() != own.lower():
        return None
    _count(change)
    return Loan(repository, asked.write, tuple(config.access))


def _count(change: Change) -> None:
    sandbox = change.sandbox
    if sandbox is None:
        return
    if sandbox.lent_since is None or change.now - sandbox.lent_since >= _MINUTE:
        sandbox.lent_since, sandbox.lent = change.now, 0
    if sandbox.lent >= MOST_A_MINUTE:
        left = (sandbox.lent_since + _MINUTE - change.now).total_seconds()
        raise GitHubUnavailable(
            f"The session asked for more than {MOST_A_MINUTE} credentials within a minute: the "
            f"next is given in {left:.0f} s"
        )
    sandbox.lent += 1
    change.save(sandbox)


def require_lent(loan: Loan, name: str) -> None:
    """Make sure that what GitHub opens is what was asked for, by its present name.

    A repository that was renamed or given away is found by its old name, and may by now be one that
    the rules give to others. Raises RepositoryAccessDenied.
    """
    if name.lower() != loan.repository.lower() and not matches(loan.access, name):
        raise RepositoryAccessDenied(
            f"{loan.repository} has moved, to where the access rules don't let this session in"
        )
