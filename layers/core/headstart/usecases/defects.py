"""How what went wrong in our own code is logged: loudly, and without anybody's words."""

import logging
import traceback

from headstart.domain.errors import ServiceUnavailable

_log = logging.getLogger(__name__)


def log_defect(message: str, error: Exception) -> None:
    """Log where something went wrong, and its words only where they are a service's.

    Those of a defect may hold what an agent or a person said.
    """
    told = error.reason if isinstance(error, ServiceUnavailable) else None
    place = traceback.format_tb(error.__traceback__)
    _log.error(message, extra={"error": type(error).__name__, "reason": told, "place": place})
