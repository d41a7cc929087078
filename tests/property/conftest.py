"""Property tests reach no network, wait for nothing, and let no defect pass as bad luck."""

import logging
from collections.abc import Iterator

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import HeadstartError
from headstart.usecases import janitor, retry


class _Defects(logging.Handler):
    """Raises what the janitor survives, unless it is an error that was meant."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error and not isinstance(error, HeadstartError):
            raise error


@pytest.fixture(autouse=True)
def _no_defect_survives() -> Iterator[None]:
    handler = _Defects()
    janitor._log.addHandler(handler)
    yield
    janitor._log.removeHandler(handler)


@pytest.fixture(autouse=True)
def _no_network_no_waiting(socket_disabled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)


@pytest.fixture
def ports() -> MemoryPorts:
    return MemoryPorts()
