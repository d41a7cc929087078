"""Reads a repository: its files and languages, its history, and where some words occur.

Everything is bounded, for the repository may be any: counts, bytes and seconds.
"""

import os
import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

_MOST_FILES = 20_000
_MOST_SECONDS = 1.0
_MOST_BYTES = 256 * 1024
_GIT_SECONDS = 5
_OPTIONS = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.quotePath=false"),
    *("-c", "diff.ignoreSubmodules=all"),
)
_COMMITS = 5
_QUOTES = 6
_QUOTES_PER_FILE = 2
_QUOTE_CHARACTERS = 140

_LANGUAGES = {
    "Python": ".py .pyi", "TypeScript": ".ts .tsx .mts", "JavaScript": ".js .jsx .mjs .cjs",
    "Go": ".go", "Rust": ".rs", "Java": ".java", "Kotlin": ".kt .kts", "C": ".c .h",
    "C++": ".cc .cpp .cxx .hpp .hh", "C#": ".cs", "Ruby": ".rb", "PHP": ".php", "Swift": ".swift",
    "Scala": ".scala", "Shell": ".sh .bash .zsh", "HTML": ".html .htm", "CSS": ".css .scss .less",
    "SQL": ".sql", "YAML": ".yaml .yml", "JSON": ".json", "TOML": ".toml", "Markdown": ".md",
    "Terraform": ".tf", "Vue": ".vue", "Svelte": ".svelte", "Dart": ".dart", "Lua": ".lua",
    "Elixir": ".ex .exs", "Haskell": ".hs", "R": ".r", "Protocol Buffers": ".proto",
}  # fmt: skip
_BY_SUFFIX = {suffix: name for name, suffixes in _LANGUAGES.items() for suffix in suffixes.split()}
_BY_NAME = {"Dockerfile": "Docker", "Makefile": "Make"}

_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about add all also an and any are as at be by can change could create do does each fix
        for from get give has have help how i if implement in into is it its just like make me my
        need new no not of on one or our out please put repo repository run see should show so
        some tell than that the their them then there these this to update us use using very want
        was we what when where which who why will with work would write you your
        """,
    )
)


def _git(where: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  (git on the working directory is the whole point)
            ["git", *_OPTIONS, *arguments],  # noqa: S607
            cwd=where,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def _text(path: Path) -> str | None:
    """Return a file's text; None for a link, a pipe, a binary, or one that is large."""
    try:
        found = path.lstat()
        if not S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return None if b"\0" in data[:8192] else data.decode(errors="replace")


@dataclass(slots=True)
class Files:
    """What is in the work tree: paths, and a language's files and lines, the largest first."""

    paths: list[str] = field(default_factory=list)
    languages: list[tuple[str, int, int]] = field(default_factory=list)
    title: str = ""
    about: str = ""

    def top_level(self) -> list[tuple[str, int]]:
        """Return the entries of the top folder; a folder comes with its number of files."""
        folders = Counter(path.partition("/")[0] for path in self.paths if "/" in path)
        names = sorted(path for path in self.paths if "/" not in path)
        return [(f"{name}/", count) for name, count in sorted(folders.items())] + [
            (name, 0) for name in names
        ]

    def summary(self) -> str:
        """Return what the tool shows."""
        entries = [f"{name} ({count})" if count else name for name, count in self.top_level()]
        return "\n".join(entries[:60]) or "(no files)"


def read_files(where: Path) -> Files:
    """List the files git knows or could know, and count their lines."""
    listed = _git(where, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    paths = sorted({path for path in listed.split("\0") if path})[:_MOST_FILES]
    paths = [path for path in paths if os.path.lexists(where / path)]
    counts: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    deadline = time.monotonic() + _MOST_SECONDS
    for path in paths:
        pure = Path(path)
        language = _BY_NAME.get(pure.name) or _BY_SUFFIX.get(pure.suffix.lower())
        if language is None:
            continue
        counts[language] += 1
        if time.monotonic() < deadline and (text := _text(where / path)) is not None:
            lines[language] += len(text.splitlines())
    languages = sorted(
        ((name, count, lines[name]) for name, count in counts.items()),
        key=lambda item: (item[2], item[1]),
        reverse=True,
    )
    title, about = _readme(where, paths)
    return Files(paths, languages, title, about)


def _readme(where: Path, paths: list[str]) -> tuple[str, str]:
    """Return the README's first heading and first real paragraph."""
    name = next((path for path in paths if re.fullmatch(r"(?i)readme(\.\w+)?", path)), None)
    text = _text(where / name) if name else None
    if not text:
        return "", ""
    text = re.sub(r"(?s)<!--.*?(?:-->|\Z)|```.*?(?:```|\Z)", "", text)
    heading = re.search(r"(?m)^#[ \t]+(\S.*)", text)
    title = heading[1].rstrip("# \t") if heading else ""
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines() if not line.lstrip().startswith("#")]
        paragraph = " ".join(line for line in lines if line and not set(line) <= set("=-"))
        if re.search(r"\w{3}", re.sub(r"!?\[[^][]*\]\([^()]*\)|<[^<>]*>", "", paragraph)):
            return title, paragraph[:600]
    return title, ""


@dataclass(slots=True)
class History:
    """Where the repository stands: its branch, the last commits, what is not committed."""

    branch: str = ""
    commits: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Short hash, date, author, subject."""
    changes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return what the tool shows."""
        shown = [f"{commit[0]} {commit[1]} {commit[3]}" for commit in self.commits]
        return "\n".join(shown) or "(no commits yet)"


def read_history(where: Path) -> History:
    """Ask git for the branch, the last commits and the uncommitted changes."""
    log = _git(where, "log", f"-{_COMMITS}", "--format=%h%x1f%as%x1f%an%x1f%s")
    commits = []
    for line in log.splitlines():
        short, date, author, subject = (line.split("\x1f") + [""] * 4)[:4]
        commits.append((short, date, author, subject))
    status = _git(where, "status", "--porcelain", "--untracked-files=normal")
    branch = _git(where, "symbolic-ref", "--short", "HEAD").strip()
    return History(branch, commits, status.splitlines())


@dataclass(slots=True)
class Found:
    """Where the words of a prompt occur: file names, and quotes of `(path, line, text)`."""

    words: list[str]
    names: list[str] = field(default_factory=list)
    quotes: list[tuple[str, int, str]] = field(default_factory=list)
    files: int = 0

    def summary(self) -> str:
        """Return what the tool shows."""
        lines = [f"{path}:{number}: {text}" for path, number, text in self.quotes]
        return "\n".join(lines) or "(no match)"


def search_words(prompt: str) -> list[str]:
    """Return the words of a prompt worth looking for, at most eight, in their order."""
    words = []
    for word in re.findall(r"[^\W\d_][\w-]{2,}", prompt.lower()):
        stem = word[:-1] if word.endswith("s") and len(word) > 4 else word
        if word not in _STOP_WORDS and stem not in words:
            words.append(stem)
    return words[:8]


def search(where: Path, files: Files, words: list[str]) -> Found:
    """Look for words in file names and contents; lines with more of the words come first."""
    pattern = re.compile("|".join(map(re.escape, words)), re.IGNORECASE)
    found = Found(words)
    scored: list[tuple[int, str, int, str]] = []
    deadline = time.monotonic() + _MOST_SECONDS
    for path in files.paths:
        in_name = bool(pattern.search(path))
        if in_name:
            found.names.append(path)
        if time.monotonic() > deadline or not (text := _text(where / path)):
            continue
        hits = []
        for number, line in enumerate(text.splitlines(), start=1):
            distinct = {match.lower() for match in pattern.findall(line)}
            if distinct:
                hits.append((len(distinct) * 2 + in_name, path, number, line.strip()))
        found.files += bool(hits)
        scored += sorted(hits, key=lambda hit: -hit[0])[:_QUOTES_PER_FILE]
    scored.sort(key=lambda hit: (-hit[0], hit[1], hit[2]))
    found.quotes = [(path, n, line[:_QUOTE_CHARACTERS]) for _, path, n, line in scored[:_QUOTES]]
    return found
