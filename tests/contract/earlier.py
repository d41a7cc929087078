"""A session as an earlier version wrote it: each kind of row under a name of its own.

SESSION has no layout and no versions of other rows; commands stay where they are when answered,
and a connection is in its session's partition from the moment it knocks.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from headstart.domain.session import Status

TIME = "2026-01-01T00:00:00.000Z"
EPOCH = 1767225600
STEPS = ("sandbox", "disk", "clone", "branch", "restore", "setup", "agent", "deliver")
ATTEMPT = {
    Status.PREPARING: "running",
    Status.FAILED: "failed",
    Status.DELETING: "cancelled",
}
"""How the attempt of a session in that status stands; of any other it is completed."""


@dataclass
class Earlier:
    """A session in the table, and what is put beside it."""

    client: Any
    status: Status = Status.RUNNING
    session_id: str = "ses_dfd1b4dc2fffA1b2C3d4E5f6G7"
    owner: str = "alice"
    attempt: int = 1
    session: dict[str, Any] = field(default_factory=dict)

    def put(self, sk: str, data: dict[str, Any], **attributes: Any) -> None:
        """Put a row into the session's partition."""
        self._put(f"SESSION#{self.session_id}", sk, data, attributes)

    def _put(self, pk: str, sk: str, data: dict[str, Any], attributes: dict[str, Any]) -> None:
        item = {"pk": {"S": pk}, "sk": {"S": sk}, "data": {"S": json.dumps(data)}}
        self.client.put_item(TableName="headstart", Item={**item, **attributes})

    def put_session(self) -> None:
        """Put SESSION, what was asked for, the first message, and the attempt."""
        is_over = self.status in {Status.RUNNING, Status.READY, Status.STOPPING, Status.ASLEEP}
        running = self.status is Status.RUNNING
        data = {
            "sessionId": self.session_id,
            "version": 17,
            "owner": self.owner,
            "status": self.status.value,
            "title": "Add a health check",
            "createdAt": TIME,
            "updatedAt": TIME,
            "lastEventId": 2,
            "gitUrl": "https://github.com/org/name.git",
            "branch": f"session/{self.session_id}",
            "agent": "demo",
            "mode": "code",
            "attemptNumber": self.attempt,
            "attemptCause": "created",
            "executionArn": "arn:aws:states:eu-west-1:123456789012:execution:p:x",
            "messageCount": 1,
            "nextMessage": 2 if is_over else 1,
            "pendingInputs": [],
            "runnerSeq": 7,
            "dueAt": TIME,
            "counts": {"envVars": 0, "encryptedSecrets": 0, "setupCommands": 1, "mcpServers": 0},
            **({"initiatedAt": TIME, "preparedAt": TIME} if is_over else {}),
            **({"hold": "initiate"} if self.status is Status.PREPARED else {}),
            **({"activeTurn": {**TURN, "startedAt": TIME}} if running else {}),
            **self.session,
        }
        self.put(
            "SESSION",
            data,
            version={"N": "17"},
            status={"S": data["status"]},
            owner={"S": f"USER#{self.owner}"},
            created={"S": f"{TIME}#{self.session_id}"},
            due={"S": "DUE#3"},
            dueAt={"S": TIME},
        )
        self.put("CONFIG", {"setupCommands": ["npm ci"], "autoInitiate": True})
        self.put(
            "MESSAGE#000001",
            {
                "messageId": "msg_1",
                "number": 1,
                "text": "Add a health check",
                "status": "delivered" if is_over else "queued",
                "tries": 1,
                "createdAt": TIME,
            },
        )
        self.put_attempt(self.attempt, ATTEMPT.get(self.status, "completed"))

    def put_attempt(self, number: int, status: str) -> None:
        """Put an attempt."""
        steps = [{"step": step, "status": "pending"} for step in STEPS]
        known = {"number": number, "cause": "created", "status": status, "revision": 3}
        times = {"startedAt": TIME, "progressAt": TIME}
        self.put(f"ATTEMPT#{number:04d}", {**known, **times, "steps": steps, "expected": {}})

    def put_sandbox(self, **more: Any) -> None:
        """Put the sandbox, whose runner is connected."""
        known = {"attemptNumber": self.attempt, "tryNumber": 1, "status": "connected"}
        keys = {"taskArn": "task", "taskToken": "token-sandbox", "resumeKeyHash": "hash"}
        place = {"process": "p1", "connectionId": "r1", "createdAt": TIME, "seenAt": TIME}
        self.put("SANDBOX", {**known, **keys, **place, **more})

    def put_command(self, command_id: str, kind: str, **more: Any) -> None:
        """Put a command that a task waits for."""
        known = {"commandId": command_id, "kind": kind, "attemptNumber": self.attempt, "args": {}}
        told = {"taskToken": f"token-{kind}", "createdAt": TIME, "answered": False, "output": {}}
        self.put(f"COMMAND#{command_id}", {**known, **told, **more})

    def put_connection(self, name: str, role: str = "viewer", *, is_open: bool = True) -> None:
        """Put a connection's two rows: by its own id and among its session's."""
        credential = "resume" if role == "runner" else f"ticket-{name}"
        data = {
            "connectionId": name,
            "sessionId": self.session_id,
            "role": role,
            "credential": credential,
            "isOpen": is_open,
            "expiresAt": "2026-01-01T03:00:00.000Z",
        }
        own = f"CONNECTION#{name}"
        places = ((own, "CONNECTION"), (f"SESSION#{self.session_id}", own))
        ends = {"expires": {"N": str(EPOCH + 3 * 3600)}, "open": {"BOOL": is_open}}
        for pk, sk in places:
            self._put(pk, sk, data, ends)


TURN = {
    "turnId": "turn_1",
    "messageId": "msg_1",
    "messageNumber": 1,
    "claimedAt": TIME,
    "released": False,
}
