"""How a walk says that something does not hold."""


class Violation(BaseException):
    """Something does not hold. No function survives it, as one does an Exception."""


def hold(is_so: object, otherwise: str) -> None:
    """Raise Violation unless something is so."""
    if not is_so:
        raise Violation(otherwise)
