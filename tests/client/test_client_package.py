"""The package as others install it: alone in an environment of its own, without a checkout."""

import ast
import inspect
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import headstart_client
from headstart_client import AsyncHeadstart, Headstart

ROOT = Path(__file__).parents[2]
QUIET = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]


def dependencies(folder: Path) -> list[str]:
    found: list[str] = tomllib.loads((folder / "pyproject.toml").read_text())["project"][
        "dependencies"
    ]
    return found


def test_the_repository_installs_what_the_client_needs():
    assert dependencies(ROOT) == dependencies(ROOT / "client")


def test_what_the_client_needs_is_what_is_tested():
    locked = (ROOT / "requirements" / "dev.txt").read_text().lower()
    for name in dependencies(ROOT / "client"):
        assert f"\n{name.partition('>')[0]}==" in locked


@pytest.fixture(scope="module", params=["client", "."], ids=["client", "repository"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel, install it where nothing else of ours is, and return that folder.

    The libraries are those of this environment: a path alone brings no editable installs along.
    """
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip"]
    wheel = [*pip, "wheel", *QUIET, "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*wheel, str(ROOT / request.param)], check=True, timeout=60)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    [built] = folder.glob("*.whl")
    subprocess.run(
        [*pip, f"--python={python}", "install", *QUIET, str(built)], check=True, timeout=60
    )
    [packages] = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "venv" / "bin"


def run(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [program, *arguments],
        env=kept | environment,
        cwd="/",
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def answers(installed: Path) -> Iterator[tuple[int, str, str]]:
    headstart = installed / "headstart"
    for arguments in (["--version"], ["ls"], ["up"], ["demo"], ["completion", "bash"]):
        done = run(headstart, *arguments, HEADSTART_URL="http://127.0.0.1:9", HEADSTART_TOKEN="t")
        yield done.returncode, done.stdout, done.stderr


def test_the_command_line_works_alone(installed):
    code = "import headstart_client, importlib.util as u; print(u.find_spec('headstart_local'))"
    assert run(installed / "python", "-c", code).stdout == "None\n"
    version, ls, up, demo, completion = answers(installed)
    assert version == (0, f"headstart {headstart_client.__version__}\n", "")
    assert (ls[0], ls[1]) == (1, "")
    assert ls[2].startswith("headstart: The API at http://127.0.0.1:9 can't be reached")
    for refused in (up, demo):
        assert refused[0] == 1
        assert refused[2].startswith("headstart: The embedded cloud is not installed: it runs ")
    assert (completion[0], completion[2]) == (0, "")
    assert "headstart" in completion[1]


def test_types_are_shipped(installed):
    code = "import headstart_client; print(*headstart_client.__path__)"
    where = run(installed / "python", "-c", code).stdout.strip()
    assert where.startswith(str(installed.parent))
    assert (Path(where) / "py.typed").exists()


def test_a_name_that_is_none_of_the_package_is_no_attribute():
    assert all(getattr(headstart_client, name) for name in headstart_client.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Mistyped'"):
        headstart_client.Mistyped  # noqa: B018


def test_a_type_checker_is_not_told_that_any_name_may_be_one_of_the_package():
    whole = ast.parse(Path(headstart_client.__file__).read_text())
    assert not [one for one in whole.body if isinstance(one, ast.FunctionDef)]


def ours(kind: Any) -> Iterator[str]:
    """Yield the names of our own classes in a type."""
    for part in get_args(kind):
        yield from ours(part)
    if str(getattr(kind, "__module__", "")).startswith("headstart_client"):
        yield kind.__name__


@pytest.mark.parametrize("client", [Headstart, AsyncHeadstart])
def test_what_methods_take_and_answer_has_its_name_in_the_package(client):
    methods = [one for name, one in inspect.getmembers(client, callable) if name[0] != "_"]
    signatures = [inspect.signature(one, eval_str=True) for one in methods]
    kinds = [s.return_annotation for s in signatures]
    kinds += [one.annotation for s in signatures for one in s.parameters.values()]
    named = {name for kind in kinds for name in ours(kind)}
    assert {"Created", "Clone", "Timing"} <= named <= set(headstart_client.__all__)
