"""A store whose reads may be torn: of rows of two moments it makes what the real one does."""

import random
from contextlib import suppress
from typing import Any

from headstart.adapters import layout
from headstart.adapters.memory_store import MemoryStore
from headstart.domain.change import Change, WorkingSet
from headstart.domain.errors import SessionNotFound
from tests.property.faults import Faults

Items = dict[str, dict[str, Any]]


class TornStore(MemoryStore):
    """The store in memory, which knows at which version each row was written."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults
        self._versions: dict[str, dict[str, int]] = {}

    def _write(self, change: Change) -> None:
        super()._write(change)
        versions = layout.written(change)[1]
        self._versions[change.session.session_id] = versions
        change.receipt = layout.Receipt(versions)

    def load(self, session_id: str) -> WorkingSet:
        """Return what belongs to a session now, or what a read finds while a rival is at it."""
        if session_id in self.sets and self._faults.is_read_torn():
            before = self._items(session_id)
            self._faults.let_rival_in()
            after = self._items(session_id) if session_id in self.sets else {}
            # What is torn is read again, as is what may have gone on the way.
            with suppress(layout.Torn, SessionNotFound):
                return self._mixture(before, after)
        found = super().load(session_id)
        found.receipt = layout.Receipt(dict(self._versions[session_id]))
        return found

    def _items(self, session_id: str) -> Items:
        found, versions = self.sets[session_id], self._versions[session_id]
        session = found.session
        rows = [found.attempt, *found.commands.values(), *found.connections.values()]
        items = [layout.hot_item(session, row) for row in rows]
        items += [layout.hot_item(session, found.sandbox)] if found.sandbox else []
        by_sk = {item["sk"]["S"]: item for item in items}
        for sk, item in by_sk.items():
            item["version"] = {"N": str(versions[sk])}
        return by_sk | {layout.PREFIX: layout.session_item(session, versions)}

    @staticmethod
    def _mixture(before: Items, after: Items) -> WorkingSet:
        chosen = (random.choice((before, after)).get(sk) for sk in sorted({*before, *after}))
        return layout.working_set([item for item in chosen if item], _never, looks=1)


def _never(session_id: str) -> None:
    raise AssertionError(f"a row of {session_id} can't be read")
