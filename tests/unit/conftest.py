"""Unit tests reach no network and wait for nothing."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.usecases import retry


@pytest.fixture(autouse=True)
def _no_network_no_waiting(socket_disabled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)


@pytest.fixture
def ports() -> MemoryPorts:
    return MemoryPorts()


@pytest.fixture
def waiting(ports: MemoryPorts) -> MemoryPorts:
    """Return ports of a deployment where each user has one place, and waits for it in line."""
    ports.policy.active_sessions = 1
    ports.policy.wait_in_line = True
    return ports
