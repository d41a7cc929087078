"""The git server: clones and pushes over real HTTP, credentials, slowness and failures."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart_local import git_server, sample_repo
from headstart_local.git_server import Asked, Behaviour, GitServer, Reply

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


def test_who_is_let_in_is_decided_with_each_request_and_noted(folder: Path, tmp_path: Path) -> None:
    let_in = [("ada", "s3cret", "sample", False)]

    def authorize(user: str, password: str, repository: str, write: bool) -> bool:
        return (user, password, repository, write) in let_in

    copy = str(tmp_path / "copy")
    with GitServer(folder, authorize=authorize) as server:
        url = server.url("sample.git").replace("http://", "http://ada:s3cret@")
        cloned = git("clone", "--quiet", url, copy)
        pushed = git("-C", copy, "push", "origin", "HEAD:refs/heads/x")
        let_in.clear()
        expired = git("-C", copy, "fetch")

    assert cloned.returncode == 0, cloned.stderr
    assert "Authentication failed" in pushed.stderr
    assert "Authentication failed" in expired.stderr
    packed = next(asked for asked in server.asked if asked.method == "POST")
    assert (packed.repository, packed.user, packed.write) == ("sample", "ada", False)
    assert packed.received > 50
    assert max(asked.sent for asked in server.asked) > 10_000
    assert "s3cret" not in repr(packed)
    assert [asked.write for asked in server.asked if "receive" in asked.path] == [True] * 2


def test_what_was_asked_last_is_remembered(
    server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_server, "MOST_ASKED", 2)
    for name in ("first", "second", "third"):
        git("ls-remote", server.url(f"{name}.git"))
    assert [asked.repository for asked in server.asked] == ["second", "third"]


def test_it_answers_as_told_and_sends_people_elsewhere(server: GitServer) -> None:
    def renamed(asked: Asked) -> Reply | None:
        if asked.repository != "old":
            return Reply(429, {"Retry-After": "7"}) if asked.repository == "busy" else None
        return Reply(301, {"Location": asked.path.replace("/old", "/sample")})

    server.reply = renamed
    followed = git("ls-remote", server.url("old"), "main")
    busy = git("ls-remote", server.url("busy.git"))

    assert followed.stdout.endswith("refs/heads/main\n"), followed.stderr
    assert "429" in busy.stderr
