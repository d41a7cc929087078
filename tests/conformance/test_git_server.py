"""The git server: clones and pushes over real HTTP, credentials, slowness and failures."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart_local import sample_repo
from headstart_local.git_server import Behaviour, GitServer

PRIVATE = {"private.git": {"ada": "s3cret"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repositories")
    for name in ("sample.git", "private.git"):
        sample_repo.create(root / name)
    return root


@pytest.fixture
def server(folder: Path) -> Iterator[GitServer]:
    with GitServer(folder, credentials=PRIVATE) as git:
        yield git


def git(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    quiet = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
    }
    return subprocess.run(
        ["git", *arguments],
        check=False,
        env={**quiet, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_sample_is_always_the_same(tmp_path: Path, folder: Path) -> None:
    again = sample_repo.create(tmp_path / "again.git")
    assert git("-C", str(folder / "sample.git"), "rev-parse", "main").stdout.strip() == again


def test_clone_shows_progress(server: GitServer, tmp_path: Path) -> None:
    done = git("clone", "--progress", server.url("sample.git"), str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    assert "Receiving objects:  50%" in done.stderr
    assert (tmp_path / "copy/tally/counter.py").exists()
    log = git("-C", str(tmp_path / "copy"), "log", "--oneline").stdout
    assert len(log.splitlines()) == 6


def test_sample_passes_its_own_tests(server: GitServer, tmp_path: Path) -> None:
    git("clone", "--quiet", server.url("sample.git"), str(tmp_path / "copy"))
    done = subprocess.run(
        ["python3", "-m", "unittest"],
        check=False,
        cwd=tmp_path / "copy",
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr


def test_push_and_large_bodies(server: GitServer, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy")
    git("clone", "--quiet", server.url("sample.git"), copy)
    (tmp_path / "copy/large.bin").write_bytes(os.urandom(3_000_000))
    git("-C", copy, "add", "large.bin")
    git("-C", copy, "commit", "--quiet", "--message", "Add a large file")
    # Above this size git sends the body in chunks instead of with a length.
    small = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.postBuffer"}
    done = git("-C", copy, "push", "origin", "HEAD:other", **small, GIT_CONFIG_VALUE_0="65536")
    assert done.returncode == 0, done.stderr
    listed = git("ls-remote", server.url("sample.git"), "refs/heads/other").stdout
    assert listed.split()[0] == git("-C", copy, "rev-parse", "HEAD").stdout.strip()


def test_missing_repository_is_404(server: GitServer, tmp_path: Path) -> None:
    done = git("clone", server.url("missing.git"), str(tmp_path / "copy"))
    assert done.returncode != 0
    assert "not found" in done.stderr


def test_credentials_are_asked_for(server: GitServer, tmp_path: Path) -> None:
    url = server.url("private.git")
    refused = git("ls-remote", url)
    assert refused.returncode != 0
    assert "could not read Username" in refused.stderr
    wrong = git("ls-remote", url.replace("http://", "http://ada:wrong@"))
    assert "Authentication failed" in wrong.stderr
    right = git("ls-remote", url.replace("http://", "http://ada:s3cret@"), "main")
    assert right.returncode == 0, right.stderr


def test_slow_and_delayed(server: GitServer, tmp_path: Path) -> None:
    server.behaviour = Behaviour(delay_seconds=0.2, bytes_per_second=1_000_000)
    start = time.monotonic()
    done = git("clone", "--quiet", server.url("sample.git"), str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start > 0.6


def test_breaks_off_in_the_middle(server: GitServer, tmp_path: Path) -> None:
    server.behaviour = Behaviour(close_after_bytes=100_000)
    done = git("clone", "--quiet", server.url("sample.git"), str(tmp_path / "copy"))
    assert done.returncode != 0
    assert "early EOF" in done.stderr or "RPC failed" in done.stderr


def test_stops_with_a_clone_hanging(folder: Path, tmp_path: Path) -> None:
    with GitServer(folder, behaviour=Behaviour(bytes_per_second=10)) as server:
        clone = subprocess.Popen(
            ["git", "clone", "--quiet", server.url("sample.git"), str(tmp_path / "copy")],
            stderr=subprocess.PIPE,
        )
        time.sleep(0.3)
        start = time.monotonic()
    assert time.monotonic() - start < 2
    clone.communicate(timeout=10)
    assert clone.returncode != 0
