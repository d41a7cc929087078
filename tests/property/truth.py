"""What must hold whatever happens, held against what really happened.

1. A prompt reaches the agent at most once, in order, and none is lost.
2. Every attempt ends and says why; nothing fails without a cause.
3. One accepted sandbox at most; all others are stopped.
4. Persisted events are contiguous; what was acknowledged of a turn is among them.
5. A running session has a turn in its sandbox, and a sandbox no turn that its session has not.
6. What is said to be saved is all that was there.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headstart.domain.attempt import AttemptStatus
from headstart.domain.change import WorkingSet
from headstart.domain.connections import Role
from headstart.domain.errors import DeliveryUnknown, SandboxUnresponsive
from headstart.domain.events import Event
from headstart.domain.message import Message, MessageStatus
from headstart.domain.sandbox import SandboxStatus, holds_a_place
from headstart.domain.session import Session, Status
from headstart.domain.work import PublicationStatus
from tests.property.desk import RUNNERS_WORD
from tests.property.violation import hold

if TYPE_CHECKING:
    from tests.property.box import Box
    from tests.property.world import World

_FAILURES = {"session.failed", "message.failed", "turn.failed"}
_DONE = {MessageStatus.DELIVERED, MessageStatus.WITHDRAWN}
_ENDS = {"turn.completed", "turn.failed", "turn.interrupted"}
_WITHOUT_SANDBOX = {Status.PREPARING, Status.ASLEEP, Status.FAILED, Status.DELETING}
_AT_REST = {Status.ASLEEP, Status.FAILED}
_BEATS = 3
"""A lie that heartbeats show lives for two of them."""

_LOST_TURN = timedelta(minutes=10)
"""How long a turn may be nowhere, if its sandbox is nowhere either."""

_SLOW = timedelta(minutes=3)
"""How long a task may take to start before its attempt may fail."""

_BORNE = timedelta(minutes=5)
_BORNE_BY_BEATS = timedelta(seconds=60)
"""One small disturbance in that time fails nothing."""


class Truth:
    """The witness: it knows what was done to the world, and looks at what the world says."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._store = world.base.store
        self._excused: set[tuple[str, int]] = set()
        self._small: list[datetime] = []
        self._read: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._beats: Counter[tuple[str, ...]] = Counter()
        self._quiet: dict[tuple[str, ...], int] = {}
        self._last_had: dict[str, datetime] = {}
        self.doomed: set[str] = set()
        """The tasks that will not live long, and not because the cloud wants it."""

    # What was done.

    def excuse(self, session_id: str) -> None:
        """Let the present attempt of a session, and what it delivers and saves, fail."""
        session = self._session(session_id)
        if session:
            self._excused.add((session_id, session.attempt_number))

    def look_around(self) -> None:
        """Note what lasts, and what must be borne unless another such thing comes with it."""
        happened = self._world.disturbances - len(self._small)
        self._small += [self._world.now] * happened
        for box in self._world.ecs.boxes:
            is_slow = not box.has_booted and self._world.now - box.born > _SLOW
            if box.is_frozen or is_slow or box.handle in self.doomed:
                self.excuse(box.session_id)

    # What a sandbox knows.

    def acked(self, box: "Box", items: list[dict[str, Any]]) -> None:
        """What was acknowledged of a turn is in the log, unless the cloud had given the turn up."""
        session = self._session(box.session_id)
        if session is None or session.status is Status.DELETING:
            return
        log = self._store.event_log[box.session_id]
        said = {event.data["partId"] for event in log if event.type == "agent.event"}
        ended = {event.turn_id for event in log if event.type in _ENDS}
        told = [item["event"] for item in items if "turnId" in item.get("event", {})]
        for event in told:
            if self._is_given_up(session, event["turnId"], log):
                continue
            if event["type"] == "agent.event":
                hold(event["data"]["partId"] in said, "what was acknowledged is not in the log")
            elif event["type"] == "turn.ended":
                hold(event["turnId"] in ended, "the end of a turn was acknowledged and dropped")

    def _is_given_up(self, session: Session, turn_id: str, log: list[Event]) -> bool:
        is_active = session.active_turn is not None and session.active_turn.turn_id == turn_id
        of_it = [event for event in log if event.turn_id == turn_id]
        if not any(event.type == "turn.started" for event in of_it):
            return not is_active
        ends = [event for event in of_it if event.type == "turn.failed"]
        return any(event.data["reason"] != RUNNERS_WORD for event in ends)

    def heard_beat(self, box: "Box") -> None:
        """A heartbeat was served well: what it shows to be wrong is put right soon."""
        found = self._store.sets.get(box.session_id)
        if found is None or found.sandbox is None or box.end is None:
            return
        if found.sandbox.connection_id != box.end.connection_id:
            return
        turn, active = box.desk.turn, found.session.active_turn
        if active and active.started_at:
            has_it = turn is not None and turn.turn_id == active.turn_id
            is_told = box.waits_with("turn.ended", active.turn_id)
            self._count(has_it or is_told, "a turn that is nowhere", active.turn_id)
        if turn:
            is_known = active is not None and active.turn_id == turn.turn_id
            self._count(is_known, "a turn that the session has not", turn.turn_id)
        watching = sum(
            connection.role is Role.VIEWER and connection.is_open
            for connection in found.connections.values()
        )
        self._count(box.viewers == watching, "viewers counted wrong", box.handle, str(watching))

    def _count(self, is_true: bool, what: str, *of: str) -> None:
        """Count the heartbeats in a row that showed a lie, and nothing else went wrong in."""
        key = (what, *of)
        is_disturbed = self._quiet.get(key) != self._world.disturbances
        self._quiet[key] = self._world.disturbances
        self._beats[key] = 0 if is_true else 1 if is_disturbed else self._beats[key] + 1
        hold(self._beats[key] < _BEATS, f"{what}, heartbeat after heartbeat")

    # What must hold at any moment.

    def check(self) -> None:
        """Look at everything."""
        self.look_around()
        for found in self._store.sets.values():
            self._check_log(found)
            self._check_messages(found.session)
            self._check_turn(found)
            self._check_rest(found)
        places = {
            session_id
            for session_id, found in self._store.sets.items()
            if holds_a_place(found.session, found.sandbox)
        }
        hold(self._store.quota["alice"] == places, "places are counted that nobody has")
        measured = {name for name, *_ in self._world.base.metrics.measured}
        hold("BatchesDropped" not in measured, "a batch was dropped")

    def _check_log(self, found: WorkingSet) -> None:
        session_id = found.session.session_id
        log = self._store.event_log[session_id]
        begin, self._read[session_id] = self._read[session_id], len(log)
        hold(len(log) == found.session.last_event_id, "events are not contiguous")
        for number, event in enumerate(log[begin:], begin + 1):
            hold(event.event_id == number, "events are not contiguous")
            if event.type == "session.preparing":
                self._attempts[session_id] = event.data["attemptNumber"]
            elif event.type in _FAILURES:
                self._check_unknown(event)
                self._check_cause(event, event.data.get("failure", event.data)["code"])
            elif event.type == "session.asleep" and not event.data["saved"]:
                self._check_cause(event, "asleep")
            elif event.type == "session.asleep":
                self._check_saved(found, event, log[: number - 1])
        said = [int(event.data["partId"]) for event in log if event.type == "agent.event"]
        hold(said == sorted(set(said)), "what the agent said is doubled or out of order")

    def _check_unknown(self, event: Event) -> None:
        """What was never sent is not unknown, unless who was about to send it was held up."""
        world = self._world
        held_up = world.faults.happened or world.faults.rivals or world.astray.happened
        blind = held_up or world.wires.loses_goodbyes
        if event.data.get("code") == DeliveryUnknown.__name__ and not blind:
            was_sent = event.data["messageId"] in world.wires.offered
            hold(was_sent, "said to be unknown, and was never sent")

    def _check_cause(self, event: Event, code: str) -> None:
        if (event.session_id, self._attempts[event.session_id]) in self._excused:
            return
        beats = code == SandboxUnresponsive.__name__
        since = event.timestamp - (_BORNE_BY_BEATS if beats else _BORNE)
        small = [at for at in self._small if since <= at]
        hold(len(small) > 1, f"{event.type} without a cause: {event.data}")

    def _check_saved(self, found: WorkingSet, event: Event, log: list[Event]) -> None:
        box = self._accepted(found)
        if box is None or event.data["reason"] == "The wake-up was cancelled":
            return
        over = {event.data["messageId"] for event in log if event.type in _ENDS}
        work = {message_id for message_id in box.desk.done if message_id in over}
        archive = self._store.archive(event.session_id)
        hold(archive and archive.difference, "said to be saved, and there is no copy")
        if archive and archive.difference:
            saved = self._world.saved[archive.difference.sha256]
            hold(work <= set(saved), "said to be saved and is not")

    def _check_messages(self, session: Session) -> None:
        people, session_id = self._world.people, session.session_id
        told = self._world.told_agent[session_id]
        for message_id, times in Counter(told).items():
            hold(times <= 1 + people.releases[message_id], "the agent was told twice")
        if session.status is Status.DELETING:
            return
        rows = self._messages(session_id)
        counted = list(range(1, session.message_count + 1))
        hold([row.number for row in rows] == counted, "messages are missing")
        numbers = {row.message_id: row.number for row in rows}
        order = [numbers[message_id] for message_id in told]
        hold(order == sorted(order), "the agent was told out of order")
        for row in rows:
            is_over = row.number not in {*session.waiting}
            is_delivered = row.status is MessageStatus.DELIVERED
            is_withdrawn = row.status is MessageStatus.WITHDRAWN
            hold((is_delivered or is_withdrawn) == is_over, "a message was passed over")
            hold(not is_delivered or row.message_id in told, "delivered, and the agent has it not")
            # Where it was not known whether the agent has it, it may have it.
            hold(row.failure or not is_withdrawn or row.message_id not in told, "told in vain")
        waiting = session.message_count - sum(row.status in _DONE for row in rows)
        hold(waiting == session.queue_length, "the queue is counted wrong")
        log = self._store.event_log[session_id]
        taken_back = [e.data["messageId"] for e in log if e.type == "message.withdrawn"]
        gone = [row.message_id for row in rows if row.status is MessageStatus.WITHDRAWN]
        hold(sorted(taken_back) == sorted(gone), "a withdrawal was told wrong")
        hold(people.withdrawn[session_id] <= {*gone}, "what was withdrawn is not")
        texts = Counter(row.text for row in rows)
        for message_id, text in people.accepted[session_id].items():
            hold(message_id in numbers, "an accepted message is lost")
            hold(texts[text] == 1, "a message was queued twice")

    def _check_turn(self, found: WorkingSet) -> None:
        turn = found.session.active_turn
        if turn is None or found.session.status is Status.DELETING:
            return
        if turn.started_at is None:
            message = self._messages(found.session.session_id)[turn.message_number - 1]
            hold(message.status is MessageStatus.DELIVERING, "a turn without its message")
            return
        box, now = self._accepted(found), self._world.now
        has_it = box is not None and box.is_alive and box.desk.turn is not None
        if has_it or turn.turn_id not in self._last_had:
            self._last_had[turn.turn_id] = now
        hold(now - self._last_had[turn.turn_id] < _LOST_TURN, "running, and no turn runs")

    def _check_rest(self, found: WorkingSet) -> None:
        session, sandbox = found.session, found.sandbox
        hold(session.status in _AT_REST or session.due_at, "nobody will look again")
        if sandbox and sandbox.status is SandboxStatus.STOPPED:
            hold(session.status in _WITHOUT_SANDBOX, "a stopped sandbox serves")
        self._check_archive(session)
        self._check_publication(session)
        self._check_trees()
        first = self._messages(session.session_id)[:1]
        if session.initiated_at and session.status is not Status.DELETING:
            hold(first[0].status is MessageStatus.DELIVERED, "initiated, and not delivered")

    def _check_archive(self, session: Session) -> None:
        archive = self._store.archive(session.session_id)
        if archive is None or session.status is Status.DELETING:
            return
        stored = {file.key for file in archive.files} <= self._world.base.objects.stored.keys()
        hold(stored, "the saved work is gone")
        kept = session.kept
        hold(kept and kept.base == archive.base.sha256, "a session does not know of its archive")
        if archive.difference:
            base = self._world.built_on[archive.difference.sha256]
            hold(base == archive.base.sha256, "a difference is kept on another base")

    def _check_publication(self, session: Session) -> None:
        publication = session.publication
        if publication and publication.status is PublicationStatus.PUBLISHED:
            pushed = self._world.pushed[session.session_id]
            hold(publication.commit in pushed, "said to be published and is not")

    def _check_trees(self) -> None:
        for tree in self._store.trees.values():
            made_of = self._world.saved[tree.file.sha256]
            hold(not made_of, "an agent's work is a prepared tree")
            there = self._world.loses_trees or self._world.base.objects.is_there(tree.file)
            hold(there, "a row names a tree that is gone")

    def _session(self, session_id: str) -> Session | None:
        found = self._store.sets.get(session_id)
        return found.session if found else None

    def _messages(self, session_id: str) -> list[Message]:
        rows = self._store.rows[session_id].values()
        return sorted((r for r in rows if isinstance(r, Message)), key=lambda row: row.number)

    def _accepted(self, found: WorkingSet) -> "Box | None":
        process = found.sandbox.process if found.sandbox else None
        boxes = self._world.ecs.tasks.values()
        return next((box for box in boxes if box.process == process), None)

    # What must hold in the end.

    def check_end(self) -> None:
        """Look at a world that was left alone for long: nothing runs, everything is said."""
        hold(not self._world.ecs.boxes, "a container lives on")
        for session_id in self._world.people.deleted:
            hold(session_id not in self._store.sets, "a deleted session lives on")
        for found in self._store.sets.values():
            session = found.session
            hold(session.status in _AT_REST, f"still {session.status}")
            hold(found.attempt.status is not AttemptStatus.RUNNING, "an attempt never ends")
            hold(session.active_turn is None, "a turn never ends")
            going_on = session.publication is not None and session.publication.goes_on
            hold(not going_on or session.status is Status.FAILED, "a publication never ends")
            if session.status is Status.FAILED:
                hold(session.failure and session.failure.reason, "failed for no reason")
            elif session.queue_length:
                hold(session.hold, "a message waits for nothing")
                head = self._messages(session.session_id)[session.next_message - 1]
                hold(head.status is MessageStatus.HELD, "nobody was told that a message waits")
        for viewer in self._world.viewers:
            if viewer.session_id in self._store.sets:
                log = self._store.event_log[viewer.session_id]
                happened = [(event.event_id, event.type, event.data) for event in log]
                hold(viewer.applied == happened, "a viewer saw something else than what happened")
