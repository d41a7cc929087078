"""One embedded cloud for these tests, as `headstart up` runs it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from headstart_local.tokens import endpoint_of

SECONDS = 60.0


# With it end its sandboxes, which tests of the runner would take for their own.
@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of all the AWS APIs of a running cloud."""
    log = tmp_path_factory.mktemp("cloud") / "log"
    command = [sys.executable, "-m", "headstart_client.cli", "up", "--json", "--port", "0"]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout
        line = process.stdout.readline()
        assert line, log.read_text()
        yield endpoint_of(json.loads(line)["httpUrl"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
