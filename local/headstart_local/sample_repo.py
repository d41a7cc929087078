"""Builds a small but real repository for demos and tests, the same bytes every time."""

import hashlib
import subprocess
from pathlib import Path

AUTHOR = "Ada Example <ada@example.com>"
FIRST_COMMIT_TIME = 1_760_000_000
NOTES = 280

_README = """# Tally

A counter for things worth counting: a Python library, a small web page and a command line.

    python -m unittest

`notes/` holds what was counted so far, one file a day.
"""

_COUNTER = '''"""Counts things by name."""

from collections import Counter


class Tally:
    """How often each name was seen."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def add(self, name: str, times: int = 1) -> int:
        """Count a name and return its new total."""
        if times < 1:
            raise ValueError("times must be positive")
        self._seen[name] += times
        return self._seen[name]

    def top(self, count: int = 3) -> list[tuple[str, int]]:
        """Return the names seen most."""
        return self._seen.most_common(count)
'''

_COMMAND = '''"""Counts the lines of standard input: python -m tally < file."""

import sys

from tally.counter import Tally


def main() -> None:
    tally = Tally()
    for line in sys.stdin:
        tally.add(line.strip())
    for name, count in tally.top():
        print(f"{count:6} {name}")


if __name__ == "__main__":
    main()
'''

_TEST = """import unittest

from tally.counter import Tally


class TallyTest(unittest.TestCase):
    def test_counts(self) -> None:
        tally = Tally()
        tally.add("apples")
        self.assertEqual(tally.add("apples", 2), 3)

    def test_refuses_nothing(self) -> None:
        with self.assertRaises(ValueError):
            Tally().add("apples", 0)


if __name__ == "__main__":
    unittest.main()
"""

_PAGE = """<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>Tally</title><script src="tally.js" defer></script></head>
  <body><h1>Tally</h1><button id="add">Count</button> <output id="total">0</output></body>
</html>
"""

_SCRIPT = """const total = document.querySelector("#total");
let count = 0;
document.querySelector("#add").addEventListener("click", () => {
  count += 1;
  total.textContent = String(count);
});
"""

_GO = """// Command tally counts the lines of standard input.
package main

import (
\t"bufio"
\t"fmt"
\t"os"
)

func main() {
\tseen := map[string]int{}
\tscanner := bufio.NewScanner(os.Stdin)
\tfor scanner.Scan() {
\t\tseen[scanner.Text()]++
\t}
\tfmt.Println(len(seen), "different lines")
}
"""


def create(path: Path) -> str:
    """Create a bare repository at `path` and return the id of the newest commit on `main`.

    About 300 files in six commits, half a megabyte when cloned, so that progress can be seen.
    """
    _git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
    _git("-C", str(path), "fast-import", "--quiet", content=_history())
    return _git("-C", str(path), "rev-parse", "main").decode().strip()


def _git(*arguments: str, content: bytes = b"") -> bytes:
    git = subprocess.run(  # noqa: S603 - our own arguments
        ["git", *arguments],  # noqa: S607 - the git on the PATH is the one wanted
        input=content,
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
        # A Ctrl-C at the terminal is for us.
        start_new_session=True,
    )
    return git.stdout


def _history() -> bytes:
    notes = [(f"notes/day-{day:03}.md", _note(day)) for day in range(NOTES)]
    commits = [
        ("Say what this is", [("README.md", _README), (".gitignore", "__pycache__/\nbuild/\n")]),
        ("Count things", [("tally/__init__.py", ""), ("tally/counter.py", _COUNTER)]),
        ("Test the counting", [("tests/__init__.py", ""), ("tests/test_counter.py", _TEST)]),
        ("Add a command line", [("tally/__main__.py", _COMMAND), ("go/main.go", _GO)]),
        ("Add a page", [("web/index.html", _PAGE), ("web/tally.js", _SCRIPT)]),
        ("Keep the notes", notes),
    ]
    stream = bytearray()
    for number, (subject, files) in enumerate(commits):
        when = FIRST_COMMIT_TIME + number * 3600
        stream += b"commit refs/heads/main\n"
        stream += f"author {AUTHOR} {when} +0000\ncommitter {AUTHOR} {when} +0000\n".encode()
        stream += _data(subject + "\n")
        for name, content in files:
            stream += f"M 100644 inline {name}\n".encode() + _data(content)
    return bytes(stream)


def _data(text: str) -> bytes:
    content = text.encode()
    return f"data {len(content)}\n".encode() + content + b"\n"


def _note(day: int) -> str:
    """Text that compresses badly, for a repository of half a megabyte should weigh that much."""
    lines = (hashlib.sha256(f"{day}-{line}".encode()).hexdigest() for line in range(50))
    return f"# Day {day}\n\n" + "\n".join(lines) + "\n"
