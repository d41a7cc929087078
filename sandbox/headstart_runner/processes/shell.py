"""The shell of a session: what one setup command leaves is there for the next and for the agent.

Two ways lead there: the files that HEADSTART_ENV and HEADSTART_PATH name, and the start-up files
of bash, which installers write to. All of them are in HOME, and so in the saved workspace: another
sandbox has the same. They are an untrusted user's and are read as that user, in bounded time;
what they set reaches commands and the agent's server, nothing else that the runner starts.
"""

import asyncio
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from headstart.domain.secrecy import SHORTEST
from headstart_runner.processes.kept import bounded
from headstart_runner.processes.launcher import CommandNotStarted, Launcher
from headstart_runner.processes.variables import MOST_BYTES, Additions, refusal
from headstart_runner.redaction import Redactor

STARTUP_FILES = (".profile", ".bash_profile", ".bashrc")
STARTUP_SECONDS = 10.0
"""How long the start-up files may take: nvm's takes half a second on a busy machine."""

_PROLOGUE = Path(__file__).with_name("prologue.bash")
_FOLDER = Path(".headstart") / "setup"
_FILE = re.compile(r"(env|path)-(\d{1,3})")
_MOST_OUTPUT = 4 * 1024 * 1024
_READ_ALL = (
    "for file in env-* path-*; do "
    f'[ -f "$file" ] && printf "%s\\0" "$file" && head -c {MOST_BYTES} -- "$file" | tr -d "\\0" '
    '&& printf "\\0"; done; :'
)
_OWN = {"_", "BASH_ENV", "OLDPWD", "PWD", "SHLVL"}
"""What each shell has of its own."""


class Shell:
    """Starts out knowing nothing of the files, and looks only at those that changed."""

    def __init__(self, launcher: Launcher, redactor: Redactor, home: Path) -> None:
        self._launcher = launcher
        self._redactor = redactor
        self._home = home
        self._folder = home / _FOLDER
        self._additions = Additions()
        self._looked_at: object = None
        self._startup: str | None = None
        self._told: set[str] = set()
        self._broken: str | None = None
        self._dropped: str | None = None

    async def forget_from(self, number: int) -> None:
        """Remove what the commands from a number on had handed on: they are to run again."""
        stale = [name for name, of in self._files().items() if of >= number]
        if stale:
            await self._run(("rm", "-rf", "--", *stale), cwd=self._folder)

    async def drop(self, secrets: Iterable[str]) -> None:
        """Take the lines that hold one of these out of the files: they are saved with HOME."""
        looked_for = {part for secret in secrets for part in _parts(secret)}
        names = self._files() if looked_for else {}
        if names:
            # What is beyond is not looked at, and not taken from there either.
            size = ("--size", f"<{MOST_BYTES}")
            await self._run(("truncate", *size, "--", *names), cwd=self._folder)
        texts = await self._texts() if names else {}
        for name, text in texts.items():
            lines = enumerate(text.split("\n"), start=1)
            gone = [n for n, line in lines if any(part in line for part in looked_for)]
            if gone:
                script = ";".join(f"{number}d" for number in gone)
                await self._run(("sed", "-i", "-e", script, "--", name), cwd=self._folder)
                self._dropped = _DROPPED

    async def environment(self, env: Mapping[str, str], number: int) -> dict[str, str]:
        """Return the variables of the command of a number, which begins with the prologue."""
        await self.look(env)
        return {
            **self._prologue(env, startup=bool(self._startup) and not self._broken),
            "HEADSTART_ENV": str(self._folder / f"env-{number}"),
            "HEADSTART_PATH": str(self._folder / f"path-{number}"),
        }

    async def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return what the commands, and the start-up files, set beyond the session's variables."""
        await self._read_additions()
        given = self._launcher.environment(env)
        startup = self._has_startup(env) is not None
        found = await self._result(env, startup=startup)
        self._broken = _BROKEN if startup and found is None else None
        if self._broken:
            found = await self._result(env, startup=False)
        if found is None:
            # There is no bash on this PATH.
            return dict(self._additions.variables)
        changed = Additions()
        for name in sorted(found, key=lambda name: name != "PATH"):
            if given.get(name) != found[name] and name not in _OWN and refusal(name) is None:
                changed.take(name, found[name])
        self._redactor.add_settings({n: v for n, v in changed.variables.items() if n != "PATH"})
        return changed.variables

    async def look(self, env: Mapping[str, str]) -> None:
        """Read what changed since the last look, and know its secrets."""
        await self._read_additions()
        startup = self._has_startup(env)
        if startup and startup != self._startup:
            works = await self._result(env, startup=True) is not None
            self._broken = None if works else _BROKEN
        self._startup = startup

    def notes(self) -> list[str]:
        """Return what there is to say that was not said before."""
        notes = [*self._additions.notes, *filter(None, (self._broken, self._dropped))]
        new = [note for note in notes if note not in self._told]
        self._told.update(new)
        return new

    def _prologue(self, env: Mapping[str, str], *, startup: bool) -> dict[str, str]:
        wanted = {**env, **self._additions.variables}
        prologue = {
            "BASH_ENV": str(_PROLOGUE),
            "HEADSTART_ADDED_PATH": self._additions.path,
            "HEADSTART_STARTUP": "1" if startup else "",
            "HEADSTART_BASH_ENV": wanted.get("BASH_ENV", ""),
        }
        return {**wanted, **{name: value for name, value in prologue.items() if value}}

    def _has_startup(self, env: Mapping[str, str]) -> str | None:
        """Return what the start-up files look like from outside, None where there is nothing."""
        home = Path(env.get("HOME", self._home))
        wanted = {**env, **self._additions.variables}.get("BASH_ENV")
        looks = []
        for file in (*(home / name for name in STARTUP_FILES), *([Path(wanted)] if wanted else [])):
            with suppress(OSError, ValueError):
                status = file.stat()
                if status.st_size:
                    looks.append(f"{file} {status.st_ino} {status.st_mtime_ns} {status.st_size}")
        return "\n".join(looks) or None

    async def _result(self, env: Mapping[str, str], *, startup: bool) -> dict[str, str] | None:
        """Return the environment behind the prologue, None where it does not come to its end."""
        variables = self._prologue(env, startup=startup)
        out = await self._run(("bash", "-c", "exec env -0"), cwd=Path("/"), env=variables)
        if out is None:
            return None
        pairs = (entry.partition("=") for entry in out.decode(errors="replace").split("\0"))
        # A start-up file that ended the shell without an error left nothing.
        return {name: value for name, equals, value in pairs if equals} or None

    def _files(self) -> dict[str, int]:
        """Return the numbers of the commands by the names of their files."""
        with suppress(OSError):
            found = (_FILE.fullmatch(name) for name in os.listdir(self._folder))  # noqa: PTH208
            return {match[0]: int(match[2]) for match in found if match}
        return {}

    async def _read_additions(self) -> None:
        files = self._files()
        looks = []
        for name in sorted(files, key=lambda name: files[name]):
            with suppress(OSError):
                status = (self._folder / name).lstat()
                looks.append((name, status.st_size, status.st_mtime_ns))
        if looks == self._looked_at:
            return
        self._looked_at = looks
        additions = Additions()
        texts = await self._texts() if any(size for _, size, _ in looks) else {}
        for name in sorted(files.keys() & texts.keys(), key=lambda name: files[name]):
            if name.startswith("env-"):
                additions.read_env(texts[name])
            else:
                additions.read_path(texts[name], str(self._home))
        self._additions = additions
        self._redactor.add_settings(additions.variables)

    async def _texts(self) -> dict[str, str]:
        """Return what the files hold, by name."""
        out = await self._run(("sh", "-c", _READ_ALL), cwd=self._folder) or b""
        pieces = out.decode(errors="replace").split("\0")
        return dict(zip(pieces[::2], pieces[1::2], strict=False))

    async def _run(
        self, argv: tuple[str, ...], *, cwd: Path, env: Mapping[str, str] | None = None
    ) -> bytes | None:
        """Return what a command printed, None for one that failed or took too long."""
        out = bytearray()
        keep = bounded(out, _MOST_OUTPUT)
        tree = await self._launcher.start(
            argv, cwd=cwd, env=env or {}, stdout=keep, stderr=lambda _: None
        )
        try:
            async with asyncio.timeout(STARTUP_SECONDS):
                code = await tree.finished()
        except (CommandNotStarted, TimeoutError):
            return None
        finally:
            await asyncio.shield(tree.kill())
        return bytes(out) if code == 0 else None


def _parts(secret: str) -> Iterator[str]:
    """Yield what may stand of a secret on one line."""
    for line in secret.splitlines():
        if len(line.strip().encode()) >= SHORTEST:
            yield line.strip()


_DROPPED = (
    "what holds a secret is not handed on by HEADSTART_ENV or HEADSTART_PATH: commands and the "
    "agent have the secret as a variable"
)
_BROKEN = (
    f"none of {', '.join(f'~/{name}' for name in STARTUP_FILES)} is read: "
    f"together they do not come to their end within {STARTUP_SECONDS:.0f} s"
)
