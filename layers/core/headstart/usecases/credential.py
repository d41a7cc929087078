"""What opens a repository, for the one runner that may ask."""

import logging
from functools import partial

from headstart.domain.change import CONFIG
from headstart.domain.channel import CredentialAnswer, CredentialRequest, ErrorInfo
from headstart.domain.connections import Role
from headstart.domain.errors import GitHubUnavailable, NotTheRunner, SessionNotFound, StepError
from headstart.domain.life import lending
from headstart.usecases import outbox
from headstart.usecases.change import change
from headstart.usecases.ports import Ports
from headstart.usecases.runner import turn_away

USERNAME = "x-access-token"
"""Who a token of an App is the password of ("Authenticating as a GitHub App installation")."""

_log = logging.getLogger(__name__)


def give_credential(
    ports: Ports, session_id: str, connection_id: str, frame: CredentialRequest
) -> None:
    """Answer a runner's request: with a token of the App, with nothing, or with why there is none.

    A token is minted each time and kept nowhere here: its runner keeps it, and asks again when
    it expires or is refused, which one that was kept might be once more.
    """
    lend = partial(lending.lend, connection_id=connection_id, asked=frame)
    answer = CredentialAnswer(request_id=frame.request_id)
    try:
        loan = change(ports, session_id, lend, lambda _: [CONFIG])
        if loan is not None:
            _mint(ports, loan, answer)
    except (NotTheRunner, SessionNotFound):
        turn_away(ports, connection_id)
        return
    except StepError as error:
        _log.warning("no credential", extra={"code": error.code, "reason": error.reason})
        answer.error = ErrorInfo.of(error)
    outbox.post_frames(ports, connection_id, Role.RUNNER, [answer])


def _mint(ports: Ports, loan: lending.Loan, answer: CredentialAnswer) -> None:
    try:
        token = ports.github.token(loan.repository, write=loan.write)
    except GitHubUnavailable:
        ports.metrics.count("CredentialsFailed")
        raise
    lending.require_lent(loan, token.repository)
    answer.username, answer.password = USERNAME, token.value
    answer.expires_at = token.expires_at
