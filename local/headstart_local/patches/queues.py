"""SQS: what functions are given of a queue, and bringing dead letters back."""

import time
from collections import Counter
from typing import Any
from uuid import uuid4

from headstart_local.patches.context import PatchContext


def fair(context: PatchContext) -> None:
    """Give the messages of those groups first of which few are in flight.

    Messages without a group are each a group of its own ("How Amazon SQS fair queues work"). AWS
    does so from certain shares on, and looks at processing times too; here it is always so.
    """
    sqs = context.emulator.sqs
    stock = sqs._collect_msgs

    def collect(queue: dict[str, Any], most: int, timeout: int) -> Any:
        now, messages = time.time(), queue["messages"]
        if not queue["is_fifo"]:
            busy = Counter(
                m["group_id"] for m in messages if m["receive_count"] and m["visible_at"] > now
            )
            messages.sort(key=lambda m: busy[m["group_id"]] if m["group_id"] else 0)
        return stock(queue, most, timeout)

    sqs._collect_msgs = collect


def mapped_concurrency(context: PatchContext) -> None:
    """Take for a number what a parameter gives as a mapping's concurrency.

    Values of parameters are texts, and what is made of them has the property's own type
    ("AWS::Lambda::EventSourceMapping ScalingConfig": MaximumConcurrency is an Integer).
    """
    handlers = context.emulator.cloudformation._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    stock = handlers["create"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        scaling = {name: int(value) for name, value in props.get("ScalingConfig", {}).items()}
        return stock(
            logical_id, {**props, **({"ScalingConfig": scaling} if scaling else {})}, stack
        )

    handlers["create"] = create


def move_tasks(context: PatchContext) -> None:
    """Move the messages of a dead-letter queue to where they came from, as new ones.

    "Redriven messages are considered new messages with a new messageID and enqueue time"
    ("Configure a dead-letter queue redrive"; API reference: StartMessageMoveTask,
    ListMessageMoveTasks). All move at once here, so a task is over when it has started, and only
    the source of each message can be its destination.
    """
    sqs = context.emulator.sqs
    tasks: list[dict[str, Any]] = []

    def found(arn: str) -> Any:
        queue = sqs._queue_by_arn(arn)
        if queue is None:
            raise sqs._Err("ResourceNotFoundException", "The resource you requested is not found.")
        return queue

    def start(data: dict[str, Any], _: str) -> dict[str, Any]:
        source, moved, kept = found(data["SourceArn"]), 0, []
        with sqs._queues_lock:
            for message in source["messages"]:
                origin = message.get("sys", {}).get("DeadLetterQueueSourceArn")
                if origin is None or message["visible_at"] > time.time():
                    kept.append(message)
                    continue
                found(origin)["messages"].append(_as_new(message))
                moved += 1
            source["messages"] = kept
        handle = uuid4().hex
        tasks.insert(0, _told(handle, data["SourceArn"], moved))
        sqs.esm_wake.set()
        return {"TaskHandle": handle}

    def listed(data: dict[str, Any], _: str) -> dict[str, Any]:
        found(data["SourceArn"])
        most = int(data.get("MaxResults", 1))
        return {"Results": [t for t in tasks if t["SourceArn"] == data["SourceArn"]][:most]}

    sqs._HANDLERS["StartMessageMoveTask"] = start
    sqs._HANDLERS["ListMessageMoveTasks"] = listed


def _as_new(message: dict[str, Any]) -> dict[str, Any]:
    now = time.time()
    attributes = {k: v for k, v in message["sys"].items() if k != "DeadLetterQueueSourceArn"}
    return {
        **message,
        "id": str(uuid4()),
        "receipt_handle": None,
        "sent_at": now,
        "visible_at": now,
        "receive_count": 0,
        "first_receive_at": None,
        "sys": {**attributes, "SentTimestamp": str(int(now * 1000))},
    }


def _told(handle: str, source: str, moved: int) -> dict[str, Any]:
    return {
        "TaskHandle": handle,
        "Status": "COMPLETED",
        "SourceArn": source,
        "ApproximateNumberOfMessagesMoved": moved,
        "ApproximateNumberOfMessagesToMove": moved,
        "StartedTimestamp": int(time.time() * 1000),
    }
