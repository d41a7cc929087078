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
