"""What clone and setup take for the second session alike: with `npm ci`, and on the sample."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from headstart_local import sample_repo
from headstart_local.cloud import Cloud
from headstart_local.git_server import GitServer
from tests.bench import report
from tests.bench.in_cloud import ROOT, SETUP, client, post, wait

_PACKAGES = ("typescript", "eslint", "vite", "jest", "webpack", "react", "@angular/cli")
_LOCK = "package-lock.json"


def run(samples: int) -> None:
    """Print what sessions take one after the other; samples are for the smaller repository."""
    with _cloud() as (http, folder, git):
        rows = []
        for _ in range(samples):
            rows += _sample(http, git)
        report.table("The sample repository: clone and setup", _HEAD, rows)
        if shutil.which("npm") is None or not _make_packages(folder):
            report.show("\nnpm, or its registry, is not there: the figures of npm ci are left out")
            return
        report.table(f"npm ci of {', '.join(_PACKAGES)}", _HEAD, _packages(http, folder, git))


_HEAD = ("", "clone s", "setup s", "together")


@contextmanager
def _cloud() -> Iterator[tuple[httpx.Client, Path, GitServer]]:
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as name:
        folder = Path(name)
        sample_repo.create(folder / "sample.git")
        with GitServer(folder) as git:
            parameters = {"AllowedGitSources": f"{git.base_url}/*", "PreparedTreeAfter": "0"}
            template = ROOT / "template.yaml"
            with Cloud(template, parameters=parameters) as running, client(running) as http:
                yield http, folder, git


def _sample(http: httpx.Client, git: GitServer) -> list[tuple[object, ...]]:
    url = git.url("sample.git")
    asked = {"setupCommands": SETUP}
    first = _prepared(http, url, **asked, preparedTree="refresh")
    return [_row("first session", first), _row("second", _prepared(http, url, **asked))]


def _packages(http: httpx.Client, folder: Path, git: GitServer) -> list[tuple[object, ...]]:
    """Time a first session, the same again, one after a change, one after a change of the lock."""
    asked: dict[str, Any] = {
        "setupCommands": ["npm ci --no-audit --no-fund"],
        "setupInputs": [_LOCK],
        # What the registry gave is taken from here, so that its speed is not what is measured.
        "envVars": {"npm_config_cache": str(folder / "cache"), "npm_config_prefer_offline": "true"},
    }
    url = git.url("packages.git")
    rows = [_row("first session", _prepared(http, url, **asked))]
    rows.append(_row("second", _prepared(http, url, **asked)))
    _push(folder, "README.md", "Changed\n")
    rows.append(_row("after a change of another file", _prepared(http, url, **asked)))
    lock = json.loads((folder / "packages" / _LOCK).read_text())
    _push(folder, _LOCK, json.dumps(lock, indent=1))
    rows.append(_row("after a change of the lock file", _prepared(http, url, **asked)))
    return rows


def _prepared(http: httpx.Client, url: str, **asked: Any) -> dict[str, float]:
    """Prepare a session; return what its steps took, once its tree is there for the next."""
    session_id, _, _ = post(http, url, autoInitiate=False, **asked)
    found = wait(http, session_id, "preparing")
    if found["status"] != "prepared":
        raise RuntimeError(f"not prepared: {found}")
    if not any(step["message"].startswith("Skipped") for step in _steps(found, "setup")):
        _wait_for_tree(http, session_id)
    return {step["step"]: _seconds(step) for step in found["attempt"]["steps"]}


def _steps(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [{"message": "", **s} for s in found["attempt"]["steps"] if s["step"] == name]


def _wait_for_tree(http: httpx.Client, session_id: str) -> None:
    """Wait until the base has been sent: a moment later it is a tree."""
    for _ in range(600):
        if http.get(f"/sessions/{session_id}/archive").status_code == 200:
            return
    raise TimeoutError("no tree was made")


def _seconds(step: dict[str, Any]) -> float:
    if not step.get("startedAt") or not step.get("endedAt"):
        return 0.0
    began, ended = (datetime.fromisoformat(step[name]) for name in ("startedAt", "endedAt"))
    return (ended - began).total_seconds()


def _row(name: str, took: dict[str, float]) -> tuple[object, ...]:
    clone, setup = took["clone"], took["setup"]
    return (name, f"{clone:.2f}", f"{setup:.2f}", f"{clone + setup:.2f}")


def _make_packages(folder: Path) -> bool:
    """Make a repository with a lock file, and fill a cache; False without a registry."""
    work = folder / "packages"
    work.mkdir()
    (work / "package.json").write_text("{}\n")
    (work / ".gitignore").write_text("node_modules\n")
    install = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *_PACKAGES)
    cache = ("--cache", str(folder / "cache"))
    if subprocess.run([*install, *cache], cwd=work, check=False, capture_output=True).returncode:
        return False
    _git(work, "init", "--quiet", "-b", "main")
    _git(work, "add", "--all")
    _git(work, "commit", "--quiet", "--message", "Packages")
    _git(folder, "clone", "--quiet", "--bare", str(work), str(folder / "packages.git"))
    return True


def _push(folder: Path, path: str, text: str) -> None:
    work = folder / "packages"
    (work / path).write_text(text)
    _git(work, "add", "--all")
    _git(work, "commit", "--quiet", "--message", path)
    _git(work, "push", "--quiet", str(folder / "packages.git"), "main")


def _git(cwd: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", *who, *arguments], cwd=cwd, check=True)
