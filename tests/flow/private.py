"""An embedded cloud with a GitHub of its own: an App, private repositories, two groups' rules."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from headstart_local.git_server import GitServer
from tests.flow.conftest import Cloud, Repositories, running
from tests.github import GitHubStub, app_key

RULES = [
    {"group": "eng", "repositories": ["eng/*"]},
    {"group": "ops", "repositories": ["ops/*"]},
]


@dataclass
class Private:
    """A cloud whose `githubRepo` is the stub's, and `demo` a member of `eng`."""

    cloud: Cloud
    github: GitHubStub
    server: GitServer
    bare: dict[str, Path]
    log: Path
    app_key: str

    def failed(self, repository: str) -> dict[str, Any]:
        """Create a session whose preparation fails, and return it."""
        made = self.cloud.create(gitUrl=None, githubRepo=repository)
        session = self.cloud.wait(made["sessionId"])
        assert session["status"] == "failed", session
        return session


@contextmanager
def private_cloud(tmp_path_factory: pytest.TempPathFactory, *arguments: str) -> Iterator[Private]:
    """Run a cloud of its own with a GitHub and its App, given more options of `headstart up`."""
    key, folder, root = app_key(), tmp_path_factory.mktemp("app"), tmp_path_factory.mktemp("git")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "app.pem").write_bytes(pem)
    with (
        GitServer(root) as server,
        GitHubStub(key.public_key(), git=server.base_url) as github,
    ):
        bare = {}
        for name in ("eng/api", "eng/lib", "eng/was", "eng/left", "ops/secret", "open/site"):
            (root / name).parent.mkdir(exist_ok=True)
            Repositories(root, server).make(name, {"README.md": f"This is {name}.\n"})
            bare[name] = root / f"{name}.git"
            github.add(name, folder=bare[name], private=name != "open/site")
        server.authorize = github.authorize
        parameters = {
            "GitHubUrl": github.url,
            "GitHubAppId": github.app.app_id,
            "RepositoryAccess": json.dumps(RULES),
        }
        given = [
            w for name, value in parameters.items() for w in ("--parameter", f"{name}={value}")
        ]
        log = folder / "log"
        with running(log, "--app-key", str(folder / "app.pem"), *given, *arguments) as cloud:
            cloud.info["token"] = cloud.token("demo", "eng", "guests")
            yield Private(cloud, github, server, bare, log, pem.decode())
