"""A message behind a turn that ends badly: followed to its own end, or said to be held."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flow.conftest import PATIENCE, Cloud, kill_runner

ASKS = "Please ask me first"
"""A prompt whose turn lasts until somebody answers."""


@contextlib.contextmanager
def headstart(cloud: Cloud, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command line against the cloud."""
    environment = {"HEADSTART_URL": cloud.info["httpUrl"], "HEADSTART_TOKEN": cloud.info["token"]}
    with subprocess.Popen(
        [sys.executable, "-m", "headstart_client.cli", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def busy(cloud: Cloud) -> str:
    """Return a session whose turn lasts."""
    session_id: str = cloud.create(prompt=ASKS)["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_type("input.requested")
    return session_id


def follows(process: subprocess.Popen[str]) -> None:
    """Wait until a message that is sent shows as queued."""
    assert process.stdout
    assert any(line == "> And now?\n" for line in process.stdout), process.communicate()


def ends(cloud: Cloud, session_id: str) -> list[tuple[str, str]]:
    """Return what became of each message, in order."""
    events: list[dict[str, Any]] = cloud.events(session_id)
    told = [e for e in events if e["type"].startswith("turn.") or e["type"] == "message.held"]
    messages = cloud.client().get(f"/sessions/{session_id}/messages").json()["items"]
    texts = {m["messageId"]: m["text"] for m in messages}
    return [(texts[e["data"]["messageId"]], e["type"]) for e in told]


@pytest.mark.long
def test_send_follows_its_message_through_the_death_of_the_sandbox(cloud: Cloud) -> None:
    session_id = busy(cloud)
    with headstart(cloud, "send", session_id, "And now?") as process:
        follows(process)
        kill_runner(session_id)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    before, _, after = out.partition("\nready in ")
    assert "\nthe turn failed: " in before
    assert "> And now?" in after
    assert ends(cloud, session_id) == [
        (ASKS, "turn.started"),
        (ASKS, "turn.failed"),
        ("And now?", "turn.started"),
        ("And now?", "turn.completed"),
    ]


def test_send_says_that_its_message_is_held_and_initiate_has_it_answered(cloud: Cloud) -> None:
    session_id = busy(cloud)
    with headstart(cloud, "send", session_id, "And now?") as process:
        follows(process)
        assert cloud.client().post(f"/sessions/{session_id}/interrupt").status_code == 202
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err == (
        "headstart: The message is held: The turn was interrupted (Interrupted); "
        f"`headstart initiate {session_id}` releases it, and so does another message.\n"
    )
    assert [m["status"] for m in cloud.get(session_id)["queue"]] == ["held"]

    with headstart(cloud, "initiate", session_id) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "> And now?" in out
    assert ends(cloud, session_id) == [
        (ASKS, "turn.started"),
        (ASKS, "turn.interrupted"),
        ("And now?", "message.held"),
        ("And now?", "turn.started"),
        ("And now?", "turn.completed"),
    ]
