"""The queue of callbacks on Amazon SQS."""

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headstart.adapters.aws import translated
from headstart.domain.errors import ServiceUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_BATCH = 10
"""SendMessageBatch takes 10 messages ("SendMessageBatch", SQS API reference)."""


class SqsCallbacks:
    """The CallbackQueue port; a message is a session's id and an event's, and nothing else.

    A group is an owner: a standard queue gives messages of those first who have few in flight
    ("Amazon SQS fair queues", Developer Guide).
    """

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def put(self, owner: str, session_id: str, event_ids: Sequence[int]) -> None:
        """Put events in the queue; ServiceUnavailable where it does not take them all."""
        # A group's name has 128 characters at most, and not all there are.
        group = hashlib.sha256(owner.encode()).hexdigest()
        for start in range(0, len(event_ids), _BATCH):
            entries: Any = [
                {
                    "Id": str(event_id),
                    "MessageBody": _body(session_id, event_id),
                    "MessageGroupId": group,
                }
                for event_id in event_ids[start : start + _BATCH]
            ]
            with translated():
                answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
            if answer.get("Failed"):
                raise ServiceUnavailable("the queue of callbacks took some messages only")

    def put_off(self, receipt: str, delay: timedelta) -> None:
        """Have a message taken again after a delay, of 12 hours at most."""
        with translated():
            self._client.change_message_visibility(
                QueueUrl=self._url,
                ReceiptHandle=receipt,
                VisibilityTimeout=round(delay.total_seconds()),
            )


def _body(session_id: str, event_id: int) -> str:
    return json.dumps({"sessionId": session_id, "eventId": event_id})
