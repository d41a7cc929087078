"""The page's own modules in node, which is optional on a user's machine."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NODE = shutil.which("node")
HERE = Path(__file__).parent
WEB = HERE.parents[1] / "web"
SECONDS = 20

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def check(folder: Path, checks: dict[str, Any]) -> dict[str, Any]:
    """Run the checks of web_check.mjs; `folder` takes a copy that node reads as modules."""
    web = shutil.copytree(WEB, folder / "web")
    (web / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(
        [str(NODE), HERE / "web_check.mjs"],
        input=json.dumps({"web": str(web), "checks": checks}),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers
