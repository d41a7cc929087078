"""The queue of callbacks: each message is one call of one receiver."""

import json
from typing import TYPE_CHECKING, Any

from headstart.bootstrap import Event, Services, entry
from headstart.usecases.deliver import take

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@entry
def lambda_handler(event: Event, _: "LambdaContext", services: Services) -> Any:
    stay = [record["messageId"] for record in event["Records"] if not _take(services, record)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in stay]}


def _take(services: Services, record: Event) -> bool:
    body = json.loads(record["body"])
    return take(
        services,
        body["sessionId"],
        body["eventId"],
        tries=int(record["attributes"]["ApproximateReceiveCount"]),
        receipt=record["receiptHandle"],
    )
