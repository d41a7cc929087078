"""Agents come from a registry by the hash in their lock, or not at all."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.template.test_sandbox import ROOT

AGENTS = ROOT / "sandbox" / "agents"
NAMES = ("opencode", "kilo")
VERSION = "1.2.3"

needs_npm = pytest.mark.skipif(not shutil.which("npm"), reason="npm is not on PATH")


def packages(agent: str) -> dict[str, Any]:
    lock = json.loads((AGENTS / agent / "package-lock.json").read_text())
    return {
        path.removeprefix("node_modules/"): entry
        for path, entry in lock["packages"].items()
        if path
    }


@pytest.mark.parametrize("agent", NAMES)
def test_programs_without_a_hash_are_named(agent: str) -> None:
    page = (ROOT / "docs" / "agents.md").read_text()
    bare = {name for name, entry in packages(agent).items() if "integrity" not in entry}
    assert {name for name in bare if f"`{name}`" not in page} == set()


def tarball(text: str) -> bytes:
    """Return a package with one program, which prints a text."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        files = {
            "package/package.json": json.dumps({"name": "any", "version": VERSION}),
            "package/bin/opencode": f"#!/bin/sh\necho {text}\n",
        }
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content.encode()))
    return buffer.getvalue()


def integrity(content: bytes) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


class Registry(ThreadingHTTPServer):
    """A registry with some packages in one version; keeps which were asked for."""

    daemon_threads = True

    def __init__(self, content: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = content
        self.asked: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """A package's description, or its tarball."""

    server: Registry

    def do_GET(self) -> None:
        name, _, file = self.path.strip("/").partition("/")
        self.server.asked.add(name)
        content = self.server.content[name]
        body = content if file else json.dumps(self.described(name, content)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def described(self, name: str, content: bytes) -> dict[str, Any]:
        dist = {
            "integrity": integrity(content),
            "tarball": f"{self.server.url}/{name}/{name}.tgz",
        }
        version = {"name": name, "version": VERSION, "dist": dist}
        return {"name": name, "dist-tags": {"latest": VERSION}, "versions": {VERSION: version}}

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Say nothing."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    content = {"opencode-good": tarball("good"), "opencode-bare": tarball("bare")}
    with Registry(content) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    """Return a copy of the installer, with opencode's folder empty."""
    copy = tmp_path / "agents"
    (copy / "opencode").mkdir(parents=True)
    for name in ("install.sh", "lock.mjs"):
        shutil.copy(AGENTS / name, copy)
    return copy


def lock(agents: Path, hashes: dict[str, str | None]) -> None:
    """Lock programs to their hashes, or to their version only."""
    wanted = dict.fromkeys(hashes, VERSION)
    entries: dict[str, Any] = {"": {"optionalDependencies": wanted}}
    for name, known in hashes.items():
        entry = {"version": VERSION, "optional": True}
        entries[f"node_modules/{name}"] = entry | ({"integrity": known} if known else {})
    content = {"name": "opencode", "lockfileVersion": 3, "requires": True, "packages": entries}
    (agents / "opencode" / "package-lock.json").write_text(json.dumps(content))
    manifest = {"private": True, "optionalDependencies": wanted}
    (agents / "opencode" / "package.json").write_text(json.dumps(manifest))


def run(registry: Registry, folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            "npm_config_registry": registry.url,
            "npm_config_cache": str(folder / "cache"),
            "npm_config_update_notifier": "false",
        },
    )


def installed(folder: Path) -> str | None:
    program = folder / "bin" / "opencode"
    if not program.exists():
        return None
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.strip()


@needs_npm
def test_a_program_without_a_hash_is_not_even_asked_for(
    registry: Registry, agents: Path, tmp_path: Path
) -> None:
    lock(
        agents,
        {"opencode-bare": None, "opencode-good": integrity(registry.content["opencode-good"])},
    )
    done = run(registry, tmp_path, "sh", agents / "install.sh", "opencode", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert installed(tmp_path / "out") == "good"
    assert registry.asked == {"opencode-good"}


@needs_npm
def test_another_program_than_the_locked_one_is_not_installed(
    registry: Registry, agents: Path, tmp_path: Path
) -> None:
    lock(agents, {"opencode-good": integrity(b"what was there when it was locked")})
    done = run(registry, tmp_path, "sh", agents / "install.sh", "opencode", tmp_path / "out")
    assert done.returncode != 0
    assert installed(tmp_path / "out") is None


@needs_npm
def test_what_is_locked_by_its_version_only_is_installed_once_it_has_a_hash(
    registry: Registry, agents: Path, tmp_path: Path
) -> None:
    lock(agents, {"opencode-bare": None})
    done = run(registry, tmp_path, "sh", agents / "install.sh", "opencode", tmp_path / "out")
    assert done.returncode == 1
    assert "make lock AGENT=opencode" in done.stderr
    assert registry.asked == set()

    done = run(registry, tmp_path, "node", agents / "lock.mjs", "complete", "opencode")
    expected = integrity(registry.content["opencode-bare"])
    assert done.stdout == f"opencode-bare@{VERSION} {expected}\n", done.stderr
    done = run(registry, tmp_path, "sh", agents / "install.sh", "opencode", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert installed(tmp_path / "out") == "bare"
