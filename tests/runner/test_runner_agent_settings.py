"""When what an agent's server read at its start is still what it would read."""

import os
import stat
from pathlib import Path

import pytest

from headstart_runner.agents import settings
from headstart_runner.agents.kilo import KiloAgent
from headstart_runner.agents.opencode import OpencodeAgent


def look(home: Path, **env: str) -> object:
    return settings.look(OpencodeAgent(), env, home)


def put(home: Path, name: str, text: str = "{}") -> Path:
    file = home / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "name",
    [
        ".config/opencode/opencode.json",
        ".config/opencode/plugins/lamp.ts",
        ".opencode/agent/keeper.md",
        ".local/share/opencode/auth.json",
    ],
)
def test_a_file_that_comes_changes_or_goes_is_seen(tmp_path: Path, name: str) -> None:
    looks = [look(tmp_path)]
    file = put(tmp_path, name)
    looks.append(look(tmp_path))
    # Of the same length, in the same moment, at the same place: as an editor does it.
    new = put(tmp_path, "new", "[]")
    os.utime(new, ns=(0, file.stat().st_mtime_ns))
    new.rename(file)
    looks.append(look(tmp_path))
    file.unlink()
    looks.append(look(tmp_path))

    assert looks[0] == looks[3]
    assert len({*map(repr, looks)}) == 3


def test_what_agents_put_there_themselves_and_what_they_do_not_read_is_not_seen(
    tmp_path: Path,
) -> None:
    before = look(tmp_path)
    for name in (
        ".config/opencode/node_modules/zod/index.js",
        ".config/opencode/package.json",
        ".config/opencode/.gitignore",
        ".local/share/opencode/opencode.db",
        ".cache/opencode/version",
        ".config/kilo/kilo.json",
        "notes.txt",
    ):
        put(tmp_path, name)

    assert look(tmp_path) == before
    assert settings.look(KiloAgent(), {}, tmp_path) != settings.look(
        KiloAgent(), {}, tmp_path / "x"
    )


def test_variables_lead_elsewhere(tmp_path: Path) -> None:
    put(tmp_path, "a/opencode/opencode.json")
    put(tmp_path, "b.json")

    elsewhere = look(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "a"))
    named = look(tmp_path, OPENCODE_CONFIG=str(tmp_path / "b.json"))
    assert len({repr(look(tmp_path)), repr(elsewhere), repr(named)}) == 3


def test_links_are_followed_and_circles_come_to_an_end(tmp_path: Path) -> None:
    file = put(tmp_path, "dotfiles/opencode.json")
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config/opencode").symlink_to(tmp_path / "dotfiles")
    before = look(tmp_path)
    assert before == look(tmp_path)
    file.write_text('{"model": "a/b"}')
    assert look(tmp_path) != before

    for name in "abc":
        (tmp_path / "dotfiles" / name).symlink_to(tmp_path / "dotfiles")
    # More than is looked at: nobody can say that it is the same.
    assert look(tmp_path) != look(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / ".opencode").mkdir()
    os.mkfifo(tmp_path / ".opencode/opencode.json")
    assert stat.S_ISFIFO((tmp_path / ".opencode/opencode.json").stat().st_mode)
    assert look(tmp_path) == look(tmp_path)


def test_what_kilo_makes_where_there_is_nothing_is_as_good_as_nothing(tmp_path: Path) -> None:
    def seen() -> object:
        return settings.look(KiloAgent(), {}, tmp_path)

    before = seen()
    made = {".config/kilo/.bash-permission-migrated": "", ".config/kilo/kilo.jsonc": _KILOS}
    for name, text in made.items():
        put(tmp_path, name, text)
    assert seen() == before

    put(tmp_path, ".config/kilo/kilo.jsonc", _KILOS.replace("kilo.ai", "kilo.io"))
    other = seen()
    put(tmp_path, ".config/kilo/kilo.jsonc", _KILOS + " ")
    longer = seen()
    (tmp_path / ".config/kilo/kilo.jsonc").unlink()
    os.mkfifo(tmp_path / ".config/kilo/kilo.jsonc")
    assert len({repr(look) for look in (before, other, longer, seen())}) == 4


_KILOS = '{\n  "$schema": "https://app.kilo.ai/config.json"\n}'
