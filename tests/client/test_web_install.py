"""web/install.sh: what the page draws text with, installed, or left as it is."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "web" / "install.sh"
LIBRARIES = (
    "marked/lib/marked.esm.js",
    "dompurify/dist/purify.min.js",
    "@highlightjs/cdn-assets/es/highlight.min.js",
    "ansi_up/ansi_up.js",
)


def install(folder: Path, npm: str) -> int:
    """Run the script with this as its npm; return its exit status."""
    programs = folder.parent / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "npm").write_text(f"#!/bin/sh\n{npm}\n")
    (programs / "npm").chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", SCRIPT, folder], check=False, env=environment, timeout=30)
    return done.returncode


def installing() -> str:
    """Return what puts something in place of each library."""
    one = 'mkdir -p "$3/node_modules/$(dirname {0})"; echo {0} > "$3/node_modules/{0}"'
    return "\n".join(one.format(name) for name in LIBRARIES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "web"


def test_a_registry_that_does_not_answer_costs_nothing_of_what_is_there(folder: Path) -> None:
    (folder / "vendor").mkdir(parents=True)
    (folder / "vendor" / "marked.js").write_text("an older one")
    (folder / "vendor" / ".installed").write_text("an older lock")
    assert install(folder, "exit 1") != 0
    assert (folder / "vendor" / "marked.js").read_text() == "an older one"
    assert [path.name for path in folder.parent.iterdir() if path.name != "bin"] == ["web"]


def test_what_is_installed_takes_the_place_of_what_was_there(folder: Path) -> None:
    (folder / "vendor").mkdir(parents=True)
    (folder / "vendor" / "old.js").write_text("gone")
    assert install(folder, installing()) == 0
    there = sorted(path.name for path in (folder / "vendor").iterdir())
    assert there == [".installed", "ansi.js", "highlight.js", "marked.js", "purify.js"]
    assert install(folder, "exit 1") == 0, "nothing is asked of a registry again"
