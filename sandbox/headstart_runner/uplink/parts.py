"""Puts frames together that came in parts; bounded, because a lost part never comes."""

from collections import OrderedDict

from headstart.domain.channel import Part
from headstart_runner.log import logger

MAX_SETS = 16
MAX_BYTES = 1024 * 1024


class Parts:
    """The sets in flight; the oldest is given up when there are too many."""

    def __init__(self) -> None:
        self._sets: OrderedDict[str, dict[int, str]] = OrderedDict()

    def add(self, part: Part) -> str | None:
        """Return the frame's JSON text when this was its last missing part."""
        if not 0 <= part.index < part.count:
            logger.warning("part %d of %d makes no sense", part.index, part.count)
            return None
        pieces = self._sets.setdefault(part.id, {})
        pieces[part.index] = part.data
        if sum(len(piece) for piece in pieces.values()) > MAX_BYTES:
            logger.warning("a frame in parts is over %d bytes and was dropped", MAX_BYTES)
            del self._sets[part.id]
            return None
        if len(pieces) == part.count:
            del self._sets[part.id]
            return "".join(pieces[index] for index in range(part.count))
        if len(self._sets) > MAX_SETS:
            self._sets.popitem(last=False)
        return None
