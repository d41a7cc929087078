"""What the tests of the command line share."""

import os
import re
import subprocess
import sys
import textwrap

RUN = ["run", "--repo", "https://example.com/r.git", "Say hello"]
FAILURE = {
    "step": "setup",
    "code": "SetupCommandFailed",
    "reason": "`npm ci` exited with status 1.",
    "retryable": True,
}


def steady(text: str) -> str:
    """Take out what differs from run to run."""
    text = re.sub(r"in \d+ ms\)", "in N ms)", text)
    text = re.sub(r" +", " ", text)
    text = re.sub(r"(answer to the POST) \d+ ms", r"\1 N ms", text)
    text = re.sub(r"(first word of the answer) [\d.]+ m?s", r"\1 N ms", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def lines(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def command_line(
    *arguments: str | bytes, given: bytes | None = None, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "headstart_client.cli", *arguments],
        input=given,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        timeout=60,
    )


def nobody_reads(*arguments: str, at_all: bool = False) -> tuple[int, bytes]:
    """Return the exit code and standard error of a command whose output goes to a closed pipe.

    `at_all`: so does its standard error, and none of that is returned.
    """
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "headstart_client.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing if at_all else subprocess.PIPE,
            env={n: v for n, v in os.environ.items() if n != "PYTHONUNBUFFERED"},
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr or b""
