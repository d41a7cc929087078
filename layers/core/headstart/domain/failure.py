"""Why something of a session failed, as it is kept and shown."""

from headstart.domain.errors import StepError
from headstart.domain.model import RowModel
from headstart.domain.naming import step_error
from headstart.domain.steps import StepName


class Failure(RowModel):
    """Why a session, message or publication failed: `code` is an error class name, `reason` a
    sentence."""

    step: StepName | None = None
    code: str
    reason: str
    retryable: bool

    @classmethod
    def of(cls, error: StepError, step: StepName | None = None) -> "Failure":
        """Return the failure that a step's error makes."""
        return cls(step=step, code=error.code, reason=error.reason, retryable=error.retryable)

    def error(self) -> StepError:
        """Return the error that it was made of."""
        return step_error(self.code, self.reason)
