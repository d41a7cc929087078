"""An agent that gets ready beside a clone that comes to nothing: the retry has one of its own."""

import contextlib
import time
from pathlib import Path

from headstart_local.git_server import Behaviour
from headstart_local.processes import descendants
from tests.flow.conftest import PATIENCE, Cloud, Repositories


def lamps(cloud: Cloud, name: str) -> list[str]:
    """Return what a variable is to each agent's server of the cloud that has it."""
    found = []
    for pid in descendants(cloud.pid):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            if b"headstart_demo_agent" in command and b"serve" in command:
                found += [pair[len(name) + 1 :] for pair in pairs if pair.startswith(f"{name}=")]
    return found


def test_a_clone_cancelled_beside_an_agent_leaves_the_retry_one_of_its_own(
    cloud: Cloud, repositories: Repositories
) -> None:
    url = repositories.make("lamp", {"README.md": "# Lamp\n"})
    repositories.server.behaviour = Behaviour(delay_seconds=PATIENCE)
    try:
        session_id = cloud.create(gitUrl=url, envVars={"EARLY_LAMP": "one"})["sessionId"]
        end = time.monotonic() + PATIENCE
        while lamps(cloud, "EARLY_LAMP") != ["one"]:
            assert time.monotonic() < end, "no agent gets ready beside the clone"
            time.sleep(0.05)
        cloud.client().post(f"/sessions/{session_id}/interrupt").raise_for_status()
        session = cloud.wait(session_id)
    finally:
        repositories.server.behaviour = Behaviour()
    retry = {"attemptNumber": 1, "envVars": {"EARLY_LAMP": "two"}}
    cloud.client().post(f"/sessions/{session_id}/retry", json=retry).raise_for_status()
    again = cloud.wait(session_id)

    assert session["failure"]["code"] == "Cancelled"
    assert again["status"] in {"running", "ready"}, again["failure"]
    assert lamps(cloud, "EARLY_LAMP") == ["two"]
