"""Which agents a sandbox names."""

from pathlib import Path

import pytest

from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents import find_agent, start_error

INSTEAD = ". Start a session with one of these, or have the deployment's image hold it"


def test_only_agents_whose_programs_are_here_are_named(tmp_path: Path) -> None:
    (tmp_path / "kilo").touch(0o755)
    with pytest.raises(AgentStartFailed) as unknown:
        find_agent("other", str(tmp_path))
    missing = start_error("opencode", "it is gone", "/nonexistent")
    broken = start_error("kilo", "Permission denied", str(tmp_path))

    known = f"This sandbox has no other, only demo, kilo: Headstart knows no such agent{INSTEAD}"
    assert unknown.value.reason == known
    assert missing.reason == f"This sandbox has no opencode, only demo: it is gone{INSTEAD}"
    assert broken.reason == "kilo could not be started: Permission denied"
