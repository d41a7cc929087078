"""What a log line may hold."""

import json

import pytest
from runner_kit import SESSION_ID

from headstart_runner import log
from headstart_runner.redaction import Redactor


def test_a_log_line_holds_no_secret_and_names_nobody_of_a_url(
    capsys: pytest.CaptureFixture[str],
) -> None:
    redactor = Redactor()
    redactor.add("hunter2hunter2")
    log.configure(redactor, SESSION_ID)
    log.logger.info("%s at https://ada:%s@host", "hunter2hunter2", "pw")
    try:
        raise ValueError("no https://ada:pw@host")
    except ValueError:
        log.logger.exception("failed")

    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["message"] == "[redacted] at https://host"
    assert second["exception"].endswith("ValueError: no https://host")
