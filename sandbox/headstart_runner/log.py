"""Structured logs on stderr: one JSON object a line, without secrets or credentials of URLs."""

import json
import logging
import sys
from collections import Counter
from datetime import UTC, datetime

from headstart.domain.credentials import without_credentials
from headstart.domain.model import format_time
from headstart_runner.redaction import Redactor
from headstart_runner.wire import head

logger = logging.getLogger("headstart_runner")

_MOST_KINDS = 50
_KIND_CHARACTERS = 100


class _JsonFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor, session_id: str) -> None:
        super().__init__()
        self._redactor = redactor
        self._session_id = session_id

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": format_time(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "sessionId": self._session_id,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        clean = json.dumps(self._redactor.frame(line), ensure_ascii=False)
        return without_credentials(clean)


def configure(redactor: Redactor, session_id: str) -> None:
    """Send every log record of the process to stderr, ours from INFO, libraries' from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(redactor, session_id))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logger.setLevel(logging.INFO)


class Oddities:
    """What a stranger does wrong, counted by its kind: a line for the first of a kind, the 10th,
    the 100th and so on, and none for more than 50 kinds.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, kind: str, error: Exception | None = None) -> None:
        """Take note of one, and of the defect of ours that it may have shown."""
        kind = head(kind, _KIND_CHARACTERS)
        if kind not in self.counts and len(self.counts) >= _MOST_KINDS:
            return
        self.counts[kind] += 1
        count = self.counts[kind]
        if count == 10 ** (len(str(count)) - 1):
            logger.warning("odd: %s (so far %d times)", kind, count, exc_info=error)
