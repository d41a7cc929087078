"""What setup commands hand on: lines in the files that HEADSTART_ENV and HEADSTART_PATH name."""

import re
from collections.abc import Iterator

from headstart.domain.variables import is_reserved, names_a_repository

MOST_BYTES = 64 * 1024
_MOST_NAMES = 200
_MOST_FOLDERS = 100
_FOLDER_BYTES = 512
_MOST_NOTES = 10
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_HEREDOC = re.compile(r"([^=]*?)<<(.+)")
_SETTLED = {"HOME", "XDG_DATA_HOME"}
"""Where the agent's database is: the session was imported there before any command ran."""


def refusal(name: str) -> str | None:
    """Return why a variable is not taken from a command, None for one that is."""
    if not _NAME.fullmatch(name):
        return "is no name of a variable"
    if is_reserved(name):
        return "is a reserved name"
    if names_a_repository(name):
        return "would have git work on another repository"
    if name in _SETTLED:
        return "is settled before the first command; set it in envVars"
    return None


class Additions:
    """Variables and folders of PATH that were handed on, and what was not taken of them."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self._folders: dict[str, None] = {}
        self._notes: dict[str, None] = {}
        self._bytes = 0

    @property
    def path(self) -> str:
        """Return the folders as PATH has them: what was added last is looked at first."""
        return ":".join(reversed(self._folders))

    @property
    def notes(self) -> list[str]:
        """Return the first few sentences about what was not taken; they show no values."""
        return list(self._notes)

    def take(self, name: str, value: str) -> None:
        """Take a variable, unless it is refused or one too many; its last value counts."""
        if why := refusal(name):
            self._note(f"{name if _NAME.fullmatch(name) else 'what stands before an ='} {why}")
            return
        before = _bytes(name, self.variables[name]) if name in self.variables else 0
        size = self._bytes - before + _bytes(name, value)
        if size > MOST_BYTES or (not before and len(self.variables) == _MOST_NAMES):
            most = f"{_MOST_NAMES} variables of {MOST_BYTES // 1024} KB together"
            self._note(f"what would be more than {most} is left out")
            return
        self._bytes = size
        self.variables[name] = value

    def read_env(self, text: str) -> None:
        """Take the lines of one file of variables."""
        for name, value in self._assignments(_lines(text)):
            self.take(name, value)

    def read_path(self, text: str, home: str) -> None:
        """Take the lines of one file of folders."""
        for line in _lines(text):
            folder = line.strip()
            if folder == "~" or folder.startswith("~/"):
                folder = home + folder[1:]
            self._folders.pop(folder, None)
            if len(self._folders) == _MOST_FOLDERS or len(folder.encode()) > _FOLDER_BYTES:
                self._note(f"what would be more than {_MOST_FOLDERS} folders on PATH is left out")
            elif folder:
                self._folders[folder] = None

    def _assignments(self, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
        for line in lines:
            if heredoc := _HEREDOC.fullmatch(line):
                name, end = heredoc[1].strip(), heredoc[2].strip()
                value: list[str] = []
                for inner in lines:
                    if inner == end:
                        yield name, "\n".join(value)
                        break
                    value.append(inner)
                else:
                    self._note("the end of a value of several lines is missing")
            elif "=" in line:
                name, _, value_of_line = line.partition("=")
                yield name.strip(), value_of_line
            elif line.strip():
                self._note("a line is not NAME=value")

    def _note(self, note: str) -> None:
        if len(self._notes) < _MOST_NOTES:
            self._notes[note] = None


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield line.removesuffix("\r")


def _bytes(name: str, value: str) -> int:
    return len(f"{name}={value}".encode())
