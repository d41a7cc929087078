"""The commands of docs/sam-local.md, and what their answers come down to."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sam-local.md").read_text()
SESSION_ID = "ses_dfd1b4dc2fffA1b2C3d4E5f6G7"


@dataclass(frozen=True)
class Command:
    """One invocation, and what is said of its answer."""

    function: str
    event: Path
    answer: str


COMMANDS = [
    Command(function, ROOT / event, answer)
    for function, event, answer in re.findall(
        r"^    sam local invoke -t \$T (\w+) --event (tests/\S+) +# (\S+)$", PAGE, re.MULTILINE
    )
]


def told(payload: str | bytes) -> str:
    """Return the word for an answer: its status, its error's name, or the first thing in it."""
    answer: dict[str, Any] = json.loads(payload)
    for name in ("statusCode", "errorType", "code"):
        if name in answer:
            return str(answer[name])
    return min(answer, default="{}")
