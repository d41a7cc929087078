"""The API in this process, on ports that write down and read back as the table does."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.adapters.memory_store import MemoryStore
from headstart.domain.change import Change
from headstart.usecases import retry
from headstart_docs.in_process import Api


class WritingStore(MemoryStore):
    """The store in memory, but whatever could not be written as JSON fails here too."""

    def _write(self, change: Change) -> None:
        for row in [change.session, *change.rows, *change.closed, *change.persisted_events]:
            written = row.model_dump_json(by_alias=True, exclude_none=True)
            type(row).model_validate_json(written)
        super()._write(change)


def new_ports() -> MemoryPorts:
    """Return empty ports."""
    return MemoryPorts(store=WritingStore())


@pytest.fixture(autouse=True)
def _no_network_no_waiting(socket_disabled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)


@pytest.fixture
def ports() -> MemoryPorts:
    return new_ports()


@pytest.fixture
def api(ports: MemoryPorts) -> Api:
    return Api(ports)
