"""What belongs to a user on DynamoDB: places and the line for them, keys, durations."""

import json
from typing import Any

from headstart.adapters import rows
from headstart.adapters.dynamodb_rows import StoredRows
from headstart.adapters.transaction import Writes
from headstart.domain.archive import Tree
from headstart.domain.change import Change, IdempotencyKey, QuotaChange
from headstart.domain.errors import Conflict, QuotaExceeded
from headstart.domain.policy import LINE_LENGTH
from headstart.domain.session import Waiting
from headstart.usecases.retry import CONFLICT_TRIES, backoff


class StoredOwners(StoredRows):
    """The part of the Store port that is about an owner's own rows."""

    def forget_key(self, owner: str, used: IdempotencyKey) -> None:
        """Forget a key, unless it stands for another session by now."""
        self._table.delete_if(
            rows.key(rows.owner_pk(owner), f"KEY#{used.key}"),
            "sessionId = :read",
            {"S": used.session_id},
        )

    def places(self, owner: str) -> set[str]:
        """Return the ids that count against an owner's quota."""
        item = self._table.get(rows.owner_pk(owner), "QUOTA")
        return set(item["active"]["SS"]) if item and "active" in item else set()

    def free_places(self, owner: str, session_ids: set[str]) -> None:
        """Have sessions not count any more."""
        ids = {":ids": {"SS": sorted(session_ids)}}
        self._table.update(rows.key(rows.owner_pk(owner), "QUOTA"), "DELETE active :ids", ids)

    def line(self, owner: str) -> list[Waiting]:
        """Return who waits, the first first."""
        answer = self._table.page(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": rows.owner_pk(owner)},
                ":sk": {"S": rows.LINE},
            },
            ConsistentRead=True,
        )
        return self._readable(answer["Items"], Waiting)

    def forget_waiting(self, owner: str, waiting: Waiting) -> None:
        """Take a place out of the line, and out of the number of those who wait."""
        writes = self._table.writes()
        writes.delete(rows.key_of(rows.waiting_item(owner, waiting)), "attribute_exists(pk)")
        writes.update(
            rows.key(rows.owner_pk(owner), "QUOTA"), "ADD waiting :change", {":change": {"N": "-1"}}
        )
        self._table.transact_if(writes)

    def prepared_before(
        self, owner: str, git_url: str, tree_key: str | None
    ) -> tuple[dict[str, int], Tree | None]:
        """Return how long each step took before, and a prepared tree, in one call."""
        times = rows.key(rows.owner_pk(owner), rows.durations_sk(git_url))
        asked = [times, rows.tree_place(tree_key)] if tree_key else [times]
        items = self._table.get_all(asked)
        found = [item for item in items if rows.key_of(item) == times]
        durations: dict[str, int] = json.loads(found[0]["data"]["S"]) if found else {}
        trees = self._readable([item for item in items if item not in found], Tree)
        return durations, next(iter(trees), None)

    def put_tree(self, tree: Tree) -> Tree | None:
        """Write a tree in the place of the one that was read, unless that is as new."""
        place = rows.tree_place(tree.key)
        for attempt in range(CONFLICT_TRIES):
            item = self._table.get(place["pk"]["S"], place["sk"]["S"])
            known = next(iter(self._readable([item], Tree)), None) if item else None
            if known and known.created_at >= tree.created_at:
                return None if known.file.key == tree.file.key else tree
            if self._table.put_over(rows.tree_item(tree), item):
                return known
            backoff(attempt)
        raise Conflict("a prepared tree kept changing")


def add_place(writes: Writes, change: Change, line_length: int | None) -> None:
    """Add the one update of the owner's QUOTA row: the set of places, and how many wait.

    Whoever has no place yet may not overtake: while others wait it is refused, unless it comes out
    of the line itself. `line_length` is how many may wait, None for any number.
    """
    waiting = (1 if change.joined_line else 0) - (1 if change.left_line else 0)
    own = change.session.session_id
    verbs: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    condition: str | None = None
    if change.quota:
        verbs["ADD" if change.quota is QuotaChange.JOIN else "DELETE"] = ["active :ids"]
        values[":ids"] = {"SS": [own]}
    if waiting:
        verbs.setdefault("ADD", []).append("waiting :change")
        values[":change"] = {"N": str(waiting)}
    if change.quota is QuotaChange.JOIN:
        condition = "attribute_not_exists(active) OR size(active) < :limit"
        values |= {":own": {"S": own}, ":limit": {"N": str(change.policy.active_sessions)}}
        if not change.left_line:
            condition = f"({condition}) AND (attribute_not_exists(waiting) OR waiting < :most)"
            values[":most"] = {"N": "1"}
        condition = f"contains(active, :own) OR ({condition})"
    elif change.joined_line and line_length is not None:
        condition = "attribute_not_exists(waiting) OR waiting < :most"
        values[":most"] = {"N": str(line_length)}
    if verbs:
        expression = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in verbs.items())
        quota_row = rows.key(rows.owner_pk(change.session.owner), "QUOTA")
        writes.quota_index = writes.update(quota_row, expression, values, condition)


def quota_exceeded(change: Change) -> QuotaExceeded:
    """Return what to raise for a change whose update of QUOTA was refused."""
    if change.joined_line:
        return QuotaExceeded(f"at most {LINE_LENGTH} sessions may wait for a place")
    return QuotaExceeded(f"at most {change.policy.active_sessions} sessions may be active")
