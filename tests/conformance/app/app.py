"""The functions of the conformance tests: each does what its event tells it to."""

import json
import os
import time
from typing import Any

import boto3
from conformance_layer import GREETING


class PickyError(Exception):
    """An error whose name matters."""


def table() -> Any:
    return boto3.resource("dynamodb").Table(os.environ["TABLE"])


def note(pk: str, sk: str, **fields: Any) -> None:
    table().put_item(Item={"pk": pk, "sk": sk, "body": json.dumps(fields)})


def response(body: Any, status: int = 200) -> dict[str, Any]:
    return {"statusCode": status, "body": json.dumps(body)}


def api(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if event["routeKey"] == "POST /boom":
        raise PickyError("the secret of the function")
    return response(event)


def management() -> Any:
    return boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["MANAGEMENT_URL"])


def socket(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = event["requestContext"]
    connection = request["connectionId"]
    if request["eventType"] == "CONNECT":
        return connect(event, connection)
    if request["eventType"] == "DISCONNECT":
        note("disconnected", connection, event=event)
        return response(None)
    order = json.loads(event["body"])
    if order["action"] == "boom":
        raise PickyError("the secret of the function")
    if order["action"] == "sleep":
        time.sleep(order["seconds"])
    if order["action"] == "close":
        management().delete_connection(ConnectionId=connection)
    if order["action"] in {"echo", "sleep"}:
        data = json.dumps({"order": order, "event": event})
        management().post_to_connection(ConnectionId=connection, Data=data)
    note("received", str(order.get("id")), event=event)
    return response("the body of a route is not sent")


def connect(event: dict[str, Any], connection: str) -> dict[str, Any]:
    query = event.get("queryStringParameters") or {}
    if query.get("fail"):
        raise PickyError("no connection")
    fields: dict[str, Any] = {"event": event}
    if query.get("post"):
        try:
            management().post_to_connection(ConnectionId=connection, Data="early")
        except Exception as error:
            fields["error"] = type(error).__name__
    if query.get("id"):
        note("connected", query["id"], **fields)
    return response(None, int(query.get("status", "200")))


def step(event: dict[str, Any], context: Any) -> Any:
    if "token" in event:
        note("token", f"{event['id']}#{event.get('count', 0)}", token=event["token"])
    if event.get("fail"):
        raise PickyError(event["fail"])
    if event.get("exit"):
        os._exit(3)
    if event.get("seconds"):
        print("sleeping")  # noqa: T201 - what the log test looks for
        time.sleep(event["seconds"])
    return {
        "event": event,
        "greeting": GREETING,
        "word": os.environ["WORD"],
        "environment": dict(os.environ),
        "pid": os.getpid(),
        "remaining": context.get_remaining_time_in_millis(),
        "function": context.function_name,
    }


def event(event: dict[str, Any], context: Any) -> None:
    if event.get("source") == "aws.ecs":
        detail = event["detail"]
        note(detail["taskArn"], f"{detail['version']:04d}", event=event)
    elif event.get("source") == "conformance":
        count = table().update_item(
            Key={"pk": "flaky", "sk": event["detail"]["id"]},
            UpdateExpression="ADD tries :one",
            ExpressionAttributeValues={":one": 1},
            ReturnValues="ALL_NEW",
        )["Attributes"]["tries"]
        if count <= event["detail"]["failures"]:
            raise PickyError("not yet")
    elif event.get("fail"):
        raise PickyError(event["fail"])
    else:
        note("scheduled", context.aws_request_id, event=event)


def queue(event: dict[str, Any], context: Any) -> dict[str, Any]:
    failed = []
    for record in event["Records"]:
        order = json.loads(record["body"])
        count = int(record["attributes"]["ApproximateReceiveCount"])
        note(f"queue#{order['id']}", f"{time.time():.6f}", count=count, message=record["messageId"])
        time.sleep(order.get("seconds", 0))
        if order.get("failures", 0) >= count:
            boto3.client("sqs").change_message_visibility(
                QueueUrl=os.environ["QUEUE"],
                ReceiptHandle=record["receiptHandle"],
                VisibilityTimeout=order.get("again", 0),
            )
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
