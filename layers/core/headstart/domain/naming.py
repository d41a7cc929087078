"""The errors of steps by their names, as they cross the wire and are kept in rows."""

from headstart.domain.errors import InternalStepError, StepError


def _leaves(cls: type[StepError]) -> dict[str, type[StepError]]:
    found = {cls.__name__: cls}
    for child in cls.__subclasses__():
        found |= _leaves(child)
    return found


def step_error(code: str, reason: str) -> StepError:
    """Return the error a peer named; an unknown code is kept in an InternalStepError."""
    known = _leaves(StepError).get(code)
    return known(reason) if known else InternalStepError(f"{code}: {reason}")


def is_step_error(code: str) -> bool:
    """Say whether a name is one of our errors of steps."""
    return code in _leaves(StepError)
