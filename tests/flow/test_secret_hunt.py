"""Every secret there is, planted with a value of its own, and looked for wherever it could stay."""

import json
import os
import signal
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import quote

import pytest

from headstart_client.models import EncryptionKey
from headstart_client.sealing import seal
from tests.flow.conftest import PATIENCE, Cloud, git, processes_of
from tests.flow.private import Private, private_cloud
from tests.flow.traces import backup, executions, functions, logs, objects, rows

PROVIDER_SECRET = "planted-provider-AbCdEf"
PROVIDER_KEY = "sk-planted-provider-0a1b2c3d4e5f"
NPM_TOKEN = "planted/npm+4711-0815=Zz"
DEPLOY_KEY = (
    "-----BEGIN THING-----\nplantedLineOne0815xy\nplantedLineTwo4711xy\n-----END THING-----\n"
)
GIT_TOKEN = "planted-git-token-6d5c4b3a"
API_TOKEN = "planted-env-value-77fe12aa90"
MCP_TOKEN = "planted-mcp-header-19b8c7d6"
HOOK_TOKEN = "planted-hook-header-55aa66bb"

KEPT_IN_ROWS = {"env var", "mcp header", "callback header"}
"""What docs/deploy.md says who may read the table, or a backup, can read."""

NOISY = (
    'env; echo "$NPM_TOKEN"; echo "$DEPLOY_KEY"; echo "$API_TOKEN" | base64; '
    'printenv >> "$HEADSTART_ENV"; echo "{\\"$NPM_TOKEN\\": 1}"; cat .git/config; '
    "git remote -v; echo work > work.txt; GIT_TRACE_CURL=1 GIT_CURL_VERBOSE=1 git fetch origin"
)


@dataclass
class Hunt:
    """What is looked for, by what it is, and where it was found."""

    planted: dict[str, list[str]] = field(default_factory=dict)
    found: set[tuple[str, str]] = field(default_factory=set)

    def plant(self, what: str, *values: str) -> None:
        """Look for values from now on, in each form that people meet."""
        for value in values:
            for line in {value, *(ln for ln in value.splitlines() if len(ln) >= 16)}:
                forms = {line, json.dumps(line)[1:-1], quote(line, safe="")}
                forms |= {b64encode(b"." * n + line.encode()).decode()[4:-4] for n in range(3)}
                self.planted.setdefault(what, []).extend(forms)

    def look(self, place: str, text: str) -> None:
        """Look through what is in a place."""
        assert text, f"nothing is in {place}"
        for what, forms in self.planted.items():
            if any(form in text for form in forms):
                self.found.add((what, place))


class Processes:
    """Command lines of all processes, looked at all the time."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._over = Event()
        self._thread = Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(file.read_text(errors="replace"))
                except OSError:
                    continue

    def __enter__(self) -> "Processes":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    arn = f"arn:aws:secretsmanager:us-east-1:000000000000:secret:{PROVIDER_SECRET}"
    with private_cloud(tmp_path_factory, "--parameter", f"ProviderSecretArn={arn}") as found:
        found.cloud.aws("secretsmanager").create_secret(
            Name=PROVIDER_SECRET, SecretString=json.dumps({"ANTHROPIC_API_KEY": PROVIDER_KEY})
        )
        found.github.install("eng")
        yield found
        found.cloud.delete_created()


def asked_for(private: Private, **options: Any) -> dict[str, Any]:
    """Return a session's body with a secret in each place that can hold one."""
    http = private.cloud.client()
    token = http.headers["authorization"].removeprefix("Bearer ")
    key = EncryptionKey.model_validate(http.get("/encryption-key").json())
    sealed = seal({"NPM_TOKEN": NPM_TOKEN, "DEPLOY_KEY": DEPLOY_KEY}, key, token)
    return {
        "gitUrl": None,
        "githubRepo": "eng/api",
        "encryptedSecrets": sealed,
        "envVars": {"API_TOKEN": API_TOKEN},
        "mcpServers": {
            "wiki": {
                "type": "remote",
                "url": "http://127.0.0.1:9/",
                "headers": {"Authorization": f"Bearer {MCP_TOKEN}"},
            }
        },
        "callbackTarget": {
            "url": "http://127.0.0.1:9/hook",
            "headers": {"X-Receiver-Token": HOOK_TOKEN},
        },
        **options,
    }


HEAD = "refs/heads/HEAD"
NO_PLACE_FOR_THE_AGENT = 'rm -rf ~/.local; echo > ~/.local; echo A=1 >> "$HEADSTART_ENV"'


def kill_each_runner(cloud: Cloud, session_id: str) -> None:
    """Kill a session's runners before they can speak, until no other one is started."""
    end = time.monotonic() + PATIENCE
    while cloud.get(session_id)["status"] != "failed":
        assert time.monotonic() < end, "it is tried without end"
        for pid in processes_of(session_id):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def hunted(
    private: Private,
    hunt: Hunt,
    during: Callable[[Cloud, str], None] = lambda cloud, session_id: None,
    **options: Any,
) -> dict[str, Any]:
    """Run a session until it comes to rest, and look wherever it left something."""
    cloud = private.cloud
    made = cloud.create(**asked_for(private, **options))
    session_id = made["sessionId"]
    ticket = cloud.client().post(f"/sessions/{session_id}/stream-ticket").json()["ticket"]
    hunt.plant("ticket", made["stream"]["ticket"], ticket)
    with Processes() as processes, cloud.watch(session_id) as viewer:
        during(cloud, session_id)
        viewer.until_type("turn.completed", "turn.failed", "session.failed")
        if cloud.get(session_id)["status"] != "failed":
            told = viewer.until_type("work.published", "work.publish_failed", "work.unchanged")
            assert told["type"] == "work.published", told
            _wait_for_archive(private, session_id)
            hunt.look("the archive", objects(cloud, session_id).decode(errors="replace"))
        hunt.look("frames", json.dumps(viewer.frames, ensure_ascii=False))
        for pid in processes_of(session_id):
            folder = _workspace_of(pid) / "repo" / ".git"
            if folder.exists():
                hunt.look(".git", _texts(folder))
    hunt.plant("credential of the repository", *private.github.app.tokens)
    hunt.look("the process list", "\n".join(processes.seen))
    session = cloud.get(session_id)
    hunt.look("GET", json.dumps([session, cloud.events(session_id)], ensure_ascii=False))
    hunt.look("executions", executions(cloud, session_id))
    hunt.look("logs", logs(cloud, session_id))
    return session


def _wait_for_archive(private: Private, session_id: str) -> None:
    end, path = time.monotonic() + PATIENCE, f"/sessions/{session_id}/archive"
    while private.cloud.client().get(path).status_code == 404:
        assert time.monotonic() < end, "the work was never saved"
        time.sleep(0.1)


def _workspace_of(pid: int) -> Path:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    named = dict(pair.partition("=")[::2] for pair in pairs)
    return Path(named["HEADSTART_WORKSPACE"])


def _first_keys(private: Private) -> list[str]:
    ecs = private.cloud.aws("ecs")
    [cluster] = ecs.list_clusters()["clusterArns"]
    arns = ecs.list_tasks(cluster=cluster)["taskArns"]
    given = [
        pair
        for task in ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]
        for override in task["overrides"]["containerOverrides"]
        for pair in override["environment"]
    ]
    keys = [pair["value"] for pair in given if pair["name"] == "HEADSTART_KEY"]
    assert keys
    return keys


def _texts(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 10**6]
    return "\n".join(path.read_text(errors="replace") for path in files)


@pytest.mark.long
def test_no_secret_is_where_it_should_not_be(private: Private) -> None:
    cloud, hunt = private.cloud, Hunt()
    body = "".join(private.app_key.splitlines()[1:-1])
    hunt.plant("the App's key", *[body[n : n + 40] for n in range(0, len(body), 64)][:8])
    hunt.plant("the provider's key", PROVIDER_KEY)
    hunt.plant("sealed secret", NPM_TOKEN, DEPLOY_KEY)
    hunt.plant("the git token", GIT_TOKEN)
    hunt.plant("env var", API_TOKEN)
    hunt.plant("mcp header", MCP_TOKEN)
    hunt.plant("callback header", HOOK_TOKEN)
    hunt.plant("a caller's token", cloud.client().headers["authorization"].split()[1])
    signing = cloud.aws("secretsmanager").list_secrets()["SecretList"]
    [arn] = [one["ARN"] for one in signing if one["Name"] != PROVIDER_SECRET]
    signs = cloud.aws("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    hunt.plant("the callbacks' secret", signs)

    good = hunted(private, hunt, setupCommands=[NOISY], autoCommit=True)
    assert good["failure"] is None, good["failure"]
    assert private.github.app.tokens, "no credential was lent"
    failures = []
    # A name that leaves none for the session's branch.
    for arguments in (("update-ref", HEAD, "main"), ("symbolic-ref", "HEAD", HEAD)):
        git(private.bare["eng/lib"], *arguments)
    token = cloud.client().headers["authorization"].removeprefix("Bearer ")
    key = EncryptionKey.model_validate(cloud.client().get("/encryption-key").json())
    for options in (
        {"upstreamBranch": "nowhere"},
        {"encryptedSecrets": seal({"GIT_TOKEN": GIT_TOKEN}, key, token)},
        {"setupCommands": [f"{NOISY}; false"]},
        {"setupCommands": [NOISY, NO_PLACE_FOR_THE_AGENT]},
        {"githubRepo": "eng/lib"},
        {"during": kill_each_runner},
    ):
        failed = hunted(private, hunt, **options)["failure"]
        failures.append((failed["code"], failed["step"]))
    steps = {"sandbox", "clone", "branch", "setup", "agent"}
    assert {step for _, step in failures} == steps, failures

    hunt.plant("a sandbox's first key", *_first_keys(private))
    hunt.look("the table", rows(cloud))
    hunt.look("a backup of the table", backup(cloud))
    hunt.look("the functions", functions(cloud))
    hunt.look("the cloud's log", private.log.read_text())

    allowed = {(what, f"{a}the table") for what in KEPT_IN_ROWS for a in ("", "a backup of ")}
    # A command handed its environment on, and that is saved; of sealed secrets not even so.
    allowed.add(("env var", "the archive"))
    assert hunt.found - allowed == set()
    assert hunt.found >= allowed, "what is said to be readable is not: tell so in docs/deploy.md"
