"""What a tool did, in its own terms: the command of a shell, the path of a file, its output.

The line is that of web/tool.js.
"""

from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len, set_cell_size

from headstart_client.receipts import duration
from headstart_client.text import flat, plain

_COMMAND = ("command", "cmd")
_PATH = ("filePath", "file_path", "path", "file")

_SHORT_SECONDS = 1.0
"""What takes less is not worth a word."""

Data = Mapping[str, Any]


def ended(data: Data) -> bool:
    """Say whether the tool has ended."""
    return data.get("status") != "running"


def failed(data: Data) -> bool:
    """Say whether it ended badly: for some agents a shell is completed with any exit code."""
    return bool(data.get("exitCode")) or data.get("status") in {"error", "failed"}


def line(data: Data, seconds: float, width: int) -> str:
    """Return in one line what it does or did, cut to a width, and how it ended if that matters."""
    code = data.get("exitCode")
    took = duration(seconds) if ended(data) and seconds >= _SHORT_SECONDS else ""
    how = ", ".join(filter(None, [f"exit {code}" if code else "", took]))
    end = f" ({how})" if how else ""
    room = width - cell_len(end)
    said = flat(f"{'✗' if failed(data) else '▸'} {data.get('tool') or 'tool'} {_deed(data)}")
    return (said if cell_len(said) <= room else set_cell_size(said, max(0, room - 1)) + "…") + end


def printed(data: Data) -> list[str]:
    """Return the lines of its output."""
    return plain(data.get("output", "")).rstrip().splitlines()


def _deed(data: Data) -> str:
    tool, title, given = data.get("tool"), data.get("title", ""), data.get("input", {})
    command = _field(given, _COMMAND).strip().split("\n")[0]
    said = command or _field(given, _PATH)
    if not title or title == tool:
        return said
    return title if not said or said in title or title in said else f"{title}: {said}"


def _field(given: Data, names: tuple[str, ...]) -> str:
    return next((given[name] for name in names if isinstance(given.get(name), str)), "")
