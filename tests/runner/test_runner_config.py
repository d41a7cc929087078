"""The runner's environment."""

import pytest
from pydantic import ValidationError
from runner_kit import SESSION_ID

from headstart_runner.config import Config


def environment(**changes: str) -> dict[str, str]:
    return {
        "HEADSTART_URL": "ws://127.0.0.1:1",
        "HEADSTART_SESSION_ID": SESSION_ID,
        "HEADSTART_KEY": "the-key-of-the-sandbox",
        "HEADSTART_ATTEMPT": "2",
        **changes,
    }


def test_the_key_is_taken_out_of_the_environment_and_never_printed() -> None:
    environ = environment(HEADSTART_BATCH_MS="100")
    config = Config.take(environ)

    assert "HEADSTART_KEY" not in environ
    assert (config.attempt, config.batch_ms, config.heartbeat_seconds) == (2, 100, 20)
    assert "the-key" not in repr(config)


@pytest.mark.parametrize(
    "change",
    [
        {"HEADSTART_URL": "http://x"},
        {"HEADSTART_ATTEMPT": "0"},
        {"HEADSTART_SESSION_ID": "nobody"},
        {"HEADSTART_AGENT_UID": "0"},
    ],
)
def test_a_wrong_environment_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Config.take(environment(**change))


def test_another_uid_for_the_agent_is_refused_without_the_rights_to_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("headstart_runner.config._held", lambda: 1 << 5 | 1 << 7)
    with pytest.raises(ValidationError, match="capabilities CHOWN, DAC_OVERRIDE, FOWNER, SETGID"):
        Config.take(environment(HEADSTART_AGENT_UID="10001"))

    assert Config.take(environment()).agent_uid is None
