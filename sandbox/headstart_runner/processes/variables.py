"""What setup commands hand on: lines in the files that HEADSTART_ENV and HEADSTART_PATH name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from headstart.domain.variables import is_reserved, names_a_repository

MOST_BYTES = 64 * 1024
_MOST_NAMES = 200
_MOST_FOLDERS = 100
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


@dataclass
class Additions:
    """Variables and folders of PATH that were handed on, and what was not taken of them."""

    variables: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Return the folders as PATH has them: what was added last is looked at first."""
        return ":".join(reversed(self.folders))

    def read_env(self, text: str) -> None:
        """Take the lines of one file of variables; the last value of a name counts."""
        for name, value in self._assignments(_lines(text)):
            if why := refusal(name):
                shown = name if _NAME.fullmatch(name) else "what stands before an ="
                self._note(f"HEADSTART_ENV: {shown} {why}")
                continue
            taken = {**self.variables, name: value}
            if len(taken) > _MOST_NAMES or _bytes(taken) > MOST_BYTES:
                self._note(
                    f"HEADSTART_ENV: {name} is left out: it takes at most {_MOST_NAMES} variables "
                    f"of {MOST_BYTES // 1024} KB together"
                )
                continue
            self.variables = taken

    def read_path(self, text: str, home: str) -> None:
        """Take the lines of one file of folders."""
        for line in _lines(text):
            folder = line.strip()
            if folder == "~" or folder.startswith("~/"):
                folder = home + folder[1:]
            if not folder:
                continue
            folders = [known for known in self.folders if known != folder] + [folder]
            if len(folders) > _MOST_FOLDERS or len(":".join(folders).encode()) > MOST_BYTES:
                self._note(f"HEADSTART_PATH: it takes at most {_MOST_FOLDERS} folders")
                return
            self.folders = folders

    def _assignments(self, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
        for line in lines:
            if heredoc := _HEREDOC.fullmatch(line):
                name, end = heredoc[1].strip(), heredoc[2].strip()
                value = []
                for inner in lines:
                    if inner == end:
                        yield name, "\n".join(value)
                        break
                    value.append(inner)
                else:
                    self._note("HEADSTART_ENV: the end of a value of several lines is missing")
            elif "=" in line:
                name, _, value_of_line = line.partition("=")
                yield name.strip(), value_of_line
            elif line.strip():
                self._note("HEADSTART_ENV: a line is not NAME=value")

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield line.removesuffix("\r")


def _bytes(variables: dict[str, str]) -> int:
    return sum(len(f"{name}={value}".encode()) for name, value in variables.items())
