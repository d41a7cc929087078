"""Long texts, in memory."""

from headstart.domain.long_texts import Text, TextPiece
from headstart.domain.model import RowModel

_PAGE_BYTES = 1024 * 1024


class MemoryTexts:
    """The part of the Store port that is about long texts."""

    rows: dict[str, dict[str, RowModel]]

    def texts(self, session_id: str, beginning: str) -> list[Text]:
        """Return how texts stand."""
        known = (row for row in self.rows[session_id].values() if isinstance(row, Text))
        found = [row.model_copy() for row in known if row.ref.startswith(beginning)]
        return sorted(found, key=lambda text: text.ref)

    def text_pieces(self, session_id: str, text: Text, offset: int) -> list[TextPiece]:
        """Return pieces."""
        known = (row for row in self.rows[session_id].values() if isinstance(row, TextPiece))
        wanted = [row for row in known if (row.ref, row.writer) == (text.ref, text.writer)]
        rest = sorted((r for r in wanted if r.offset >= offset), key=lambda piece: piece.offset)
        page: list[TextPiece] = []
        size = 0
        while rest and size < _PAGE_BYTES:
            page.append(rest.pop(0).model_copy())
            size += len(page[-1].model_dump_json().encode())
        return page
