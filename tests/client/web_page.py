"""The page's own modules in node, which is optional on a user's machine."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fake_headstart import SESSION_ID, FakeSession

NODE = shutil.which("node")
HERE = Path(__file__).parent
WEB = HERE.parents[1] / "web"
SECONDS = 20

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def check(folder: Path, checks: dict[str, Any]) -> dict[str, Any]:
    """Run the checks of web_check.mjs; `folder` takes a copy that node reads as modules."""
    return _run("web_check.mjs", folder, {"checks": checks})


def drive(folder: Path, steps: list[list[Any]]) -> dict[str, Any]:
    """Do the steps of app_check.mjs on the whole page; `folder` as above."""
    ids = re.findall(r'\bid="([\w-]+)"', (WEB / "index.html").read_text())
    return _run("app_check.mjs", folder, {"ids": ids, "steps": steps})


def _run(script: str, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    web = shutil.copytree(WEB, folder / "web", dirs_exist_ok=True)
    (web / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(
        [str(NODE), HERE / script],
        input=json.dumps({"web": str(web), **given}),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


# What is done on the page, for `drive`.

STREAM = {"url": "ws://api", "ticket": "t", "expiresAt": ""}

PATH = f"/sessions/{SESSION_ID}"

OPEN = [
    ["answer", f"POST /sessions/{SESSION_ID}/stream-ticket", 200, STREAM],
    ["go", SESSION_ID],
]

CREATED = [
    ["answer", "POST /sessions", 202, {"sessionId": SESSION_ID}],
    ["fill", "create", {"repo": "o/n", "prompt": "p", "branch": "dev", "setup": "make"}],
    ["submit", "create"],
]


def failed(**failure: Any) -> FakeSession:
    reason = {"step": "clone", "code": "CloneFailed", "reason": "no", "retryable": True, **failure}
    return FakeSession(status="failed", failure=reason)


def snapshot(session: FakeSession) -> list[Any]:
    event = {"eventId": None, "type": "session.snapshot", "data": session.view()}
    return ["event", event]


def sent(page: dict[str, Any], method: str, path: str) -> list[Any]:
    """The bodies of a call, in order."""
    return [body for *call, body in page["requests"] if call == [method, path]]
