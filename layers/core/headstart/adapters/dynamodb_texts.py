"""Long texts, on DynamoDB."""

from headstart.adapters import rows
from headstart.adapters.dynamodb_rows import StoredRows
from headstart.domain.long_texts import TEXT_BYTES, Text, TextPiece


class StoredTexts(StoredRows):
    """The part of the Store port that is about long texts."""

    def texts(self, session_id: str, beginning: str) -> list[Text]:
        """Return how texts stand; a Query ends after 1 MB, thousands of them."""
        answer = self._table.page(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": rows.session_pk(session_id)},
                ":sk": {"S": rows.named_sk(Text, beginning)},
            },
            ConsistentRead=True,
        )
        return self._readable(answer["Items"], Text)

    def text_pieces(self, session_id: str, text: Text, offset: int) -> list[TextPiece]:
        """Return pieces; a Query ends after 1 MB of rows, where what JSON escapes is escaped."""
        first, last = (
            rows.named_sk(TextPiece, text.ref, text.writer, at) for at in (offset, TEXT_BYTES)
        )
        answer = self._table.page(
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":pk": {"S": rows.session_pk(session_id)},
                ":first": {"S": first},
                ":last": {"S": last},
            },
            ConsistentRead=True,
        )
        return [rows.decode(item, TextPiece) for item in answer["Items"]]
