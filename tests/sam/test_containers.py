"""Each command of docs/sam-local.md, typed: functions in containers against the embedded cloud."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart_local import sam

from .commands import COMMANDS, ROOT, Command, told

SECONDS = 120

pytestmark = pytest.mark.skipif(
    not os.environ.get("HEADSTART_SAM"),
    reason="HEADSTART_SAM is not set: `make sam` builds the functions and sets it",
)


@pytest.fixture(scope="module")
def template(endpoint: str) -> Iterator[Path]:
    with sam.connected(endpoint, sam.bridge_address()) as path:
        yield path


def invoke(template: Path, function: str, event: Path) -> str:
    # What the image already is, no registry needs to be asked for.
    options = os.environ.get("HEADSTART_SAM_OPTIONS", "").split()
    # Made up credentials are worse than none: SAM asks STS who they are.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        ["sam", "local", "invoke", "-t", str(template), function, "--event", str(event), *options],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=ROOT,
        env={**environment, "SAM_CLI_TELEMETRY": "0"},
    )
    assert done.stdout.strip(), done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.event.stem)
def test_the_function_in_its_container_answers_as_the_page_says(
    template: Path, command: Command
) -> None:
    assert told(invoke(template, command.function, command.event)) == command.answer


def test_what_needs_no_aws_needs_no_cloud() -> None:
    answer = invoke(sam.BUILT, "HttpApiFunction", ROOT / "tests/events/http_api-invalid.json")
    assert told(answer) == "422"
