"""The document holds, whatever is sent: `fuzz.py`, in a process of its own."""

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).with_name("fuzz.py")


def test_whatever_is_sent_is_answered_as_the_document_says() -> None:
    plugins = ["-p", "no:randomly", "-p", "schemathesis.pytest.plugin"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, str(FUZZ)]
    done = subprocess.run(
        command, cwd=FUZZ.parents[2], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
