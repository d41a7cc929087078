"""Whatever happens, in any order, with anything dying anywhere: the invariants hold.

1. A prompt reaches the agent at most once, in order, and none is lost.
2. Every attempt ends and says why.
3. One accepted sandbox at most; all others are stopped.
4. Persisted events are contiguous.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headstart.domain.requests import RetrySession, SendMessage
from headstart.domain.session import (
    AttemptStatus,
    Hold,
    MessageStatus,
    SandboxStatus,
    Session,
    Status,
    holds_a_place,
)
from headstart.usecases import delete, talk
from tests.property.world import World

ERRORS = ["GitNetworkError", "CloneFailed", "SetupCommandFailed", "DeliveryFailed", "AgentCrashed"]


class Life(RuleBasedStateMachine):
    """One session's life."""

    world: World

    @initialize(auto=st.booleans())
    def begin(self, auto: bool) -> None:
        self.world = World(auto_initiate=auto)
        self.released_unknown: dict[str, int] = {}
        self.deleted = False

    # What people do.

    @rule(crash=st.none() | st.integers(0, 8), after=st.booleans())
    def send(self, crash: int | None, after: bool) -> None:
        request = SendMessage(prompt="more")
        self._do(crash, after, talk.send_message, request, None)

    @rule(crash=st.none() | st.integers(0, 8), after=st.booleans())
    def initiate(self, crash: int | None, after: bool) -> None:
        session = self.session
        if session and session.hold is Hold.INITIATE and session.queue_length:
            head = self.world.base.store.message(session.session_id, session.next_message)
            self.released_unknown[head.message_id] = (
                self.released_unknown.get(head.message_id, 0) + 1
            )
        self._do(crash, after, talk.initiate)

    @rule(crash=st.none() | st.integers(0, 12), after=st.booleans())
    def interrupt(self, crash: int | None, after: bool) -> None:
        self._do(crash, after, talk.interrupt)

    @rule(crash=st.none() | st.integers(0, 8), after=st.booleans())
    def retry(self, crash: int | None, after: bool) -> None:
        session = self.session
        if session:
            request = RetrySession(attempt_number=session.attempt_number)
            self._do(crash, after, talk.retry, request)

    @precondition(lambda self: self.session is not None)
    @rule(crash=st.none() | st.integers(0, 12), after=st.booleans(), really=st.integers(0, 9))
    def delete(self, crash: int | None, after: bool, really: int) -> None:
        if really == 0:
            self.deleted = True
            self._do(crash, after, delete.delete_session)

    def _do(self, crash: int | None, after: bool, action: Any, *args: Any) -> None:
        self.world.crash_in, self.world.crash_after = crash, after
        self.world.run(lambda: action(self.world.ports, "alice", self.world.session_id, *args))

    @rule(action=st.sampled_from(["send", "interrupt", "initiate", "die", "report"]))
    def rival(self, action: str) -> None:
        """Have something happen between the next read and its commit."""
        world = self.world
        request = SendMessage(prompt="rival")

        def act() -> None:
            match action:
                case "send":
                    talk.send_message(world.ports, "alice", world.session_id, request, None)
                case "interrupt":
                    talk.interrupt(world.ports, "alice", world.session_id)
                case "initiate" if not self._holds_an_unknown():
                    talk.initiate(world.ports, "alice", world.session_id)
                case "die":
                    for box in world.boxes:
                        box.die("killed")
                    world.hear_of_ends()
                case "report":
                    for box in world.boxes:
                        box.report()

        world.rival = act

    def _holds_an_unknown(self) -> bool:
        return self.session is not None and self.session.hold is Hold.INITIATE

    # What happens by itself.

    @rule(crash=st.none() | st.integers(0, 8), after=st.booleans())
    def machine(self, crash: int | None, after: bool) -> None:
        self.world.crash_in, self.world.crash_after = crash, after
        self.world.step_machine()

    @rule(error=st.none() | st.sampled_from(ERRORS), rounds=st.integers(1, 30))
    def go_on(self, error: str | None, rounds: int) -> None:
        for index in range(rounds):
            self.world.move_everything(error if index == rounds - 1 else None)

    @rule(crash=st.none() | st.integers(0, 12), after=st.booleans(), again=st.booleans())
    def runner_reports(self, crash: int | None, after: bool, again: bool) -> None:
        for box in self.world.boxes:
            self.world.crash_in, self.world.crash_after = crash, after
            self.world.run(box.report)
            if again:
                self.world.run(box.report)
            box.listen()

    @rule(error=st.none() | st.sampled_from(ERRORS))
    def runner_works(self, error: str | None) -> None:
        for box in self.world.boxes:
            box.listen()
            box.work(error)

    @rule(error=st.none() | st.sampled_from(ERRORS))
    def turn_ends(self, error: str | None) -> None:
        for box in self.world.boxes:
            box.end_turn(error)

    @rule(crash=st.none() | st.integers(0, 12), after=st.booleans())
    def runner_connects_anew(self, crash: int | None, after: bool) -> None:
        for box in self.world.boxes:
            self.world.crash_in, self.world.crash_after = crash, after
            self.world.run(box.connect)
            box.listen()

    @rule()
    def connection_drops(self) -> None:
        for box in self.world.boxes:
            box.drop()

    @rule()
    def container_dies(self) -> None:
        for box in self.world.boxes:
            box.die("killed")

    @rule()
    def container_must_stop(self) -> None:
        for box in self.world.boxes:
            box.must_stop()

    @rule(crash=st.none() | st.integers(0, 8), after=st.booleans())
    def ecs_tells(self, crash: int | None, after: bool) -> None:
        self.world.crash_in, self.world.crash_after = crash, after
        self.world.hear_of_ends()

    @rule()
    def ecs_forgets_to_tell(self) -> None:
        self.world.told_of_ends.clear()

    @rule(
        minutes=st.sampled_from([0.5, 1, 3, 11, 16]),
        crash=st.none() | st.integers(0, 20),
        after=st.booleans(),
    )
    def time_passes(self, minutes: float, crash: int | None, after: bool) -> None:
        self.world.base.clock.advance(minutes=minutes)
        self.world.kill_late()
        self.world.crash_in, self.world.crash_after = crash, after
        self.world.janitor()

    # What must hold after each of these.

    @property
    def session(self) -> Session | None:
        return self.world.base.store.sessions.get(self.world.session_id)

    @invariant()
    def events_are_contiguous(self) -> None:
        session = self.session
        if session:
            log = self.world.base.store.event_log[session.session_id]
            assert [e.event_id for e in log] == list(range(1, session.last_event_id + 1))

    @invariant()
    def a_prompt_reaches_the_agent_once_and_in_order(self) -> None:
        told = self.world.told_agent
        for message_id in set(told):
            assert told.count(message_id) <= 1 + self.released_unknown.get(message_id, 0)
        if self.session:
            rows = self.world.base.store.messages(self.session.session_id)
            numbers = {row.message_id: row.number for row in rows}
            order = [numbers[message_id] for message_id in told]
            assert order == sorted(order)

    @invariant()
    def what_the_agent_said_is_kept_once_and_in_order(self) -> None:
        log = self.world.base.store.event_log[self.world.session_id]
        said = [int(e.data["partId"]) for e in log if e.type == "agent.event"]
        assert said == sorted(set(said))

    @invariant()
    def no_message_is_lost(self) -> None:
        session = self.session
        if session is None:
            return
        rows = self.world.base.store.messages(session.session_id)
        assert [row.number for row in rows] == list(range(1, session.message_count + 1))
        for row in rows:
            delivered = row.number < session.next_message
            assert (row.status is MessageStatus.DELIVERED) == delivered
            if delivered:
                assert row.message_id in self.world.told_agent

    @invariant()
    def the_quota_counts_exactly_who_may_have_a_container(self) -> None:
        session = self.session
        sandbox = self.world.base.store.sandbox(self.world.session_id)
        counts = session is not None and holds_a_place(session, sandbox)
        assert bool(self.world.base.store.quota["alice"]) == counts

    @invariant()
    def a_sandbox_that_is_stopped_serves_nobody(self) -> None:
        session = self.session
        sandbox = self.world.base.store.sandbox(self.world.session_id)
        if session and sandbox and sandbox.status is SandboxStatus.STOPPED:
            assert session.status in {
                Status.PREPARING,
                Status.ASLEEP,
                Status.FAILED,
                Status.DELETING,
            }

    @invariant()
    def one_turn_and_its_message_belong_together(self) -> None:
        session = self.session
        if session and session.active_turn and not session.active_turn.started_at:
            number = session.active_turn.message_number
            message = self.world.base.store.message(session.session_id, number)
            assert message.status is MessageStatus.DELIVERING

    @invariant()
    def nothing_is_initiated_before_it_is_delivered(self) -> None:
        session = self.session
        if session and session.initiated_at:
            first = self.world.base.store.message(session.session_id, 1)
            assert first.status is MessageStatus.DELIVERED

    @invariant()
    def nothing_that_was_reported_is_dropped(self) -> None:
        assert "BatchesDropped" not in {name for name, *_ in self.world.base.metrics.measured}

    # And in the end.

    def teardown(self) -> None:
        world = self.world
        for _ in range(40):
            for _ in range(12):
                world.move_everything()
                for box in world.boxes:
                    box.end_turn(None)
            world.lose_heartbeats()
            world.base.clock.advance(minutes=4)
            world.kill_late()
            world.janitor()
        session = self.session
        if self.deleted or session is None:
            if session is not None:
                world.run(lambda: delete.delete_session(world.ports, "alice", world.session_id))
            if self.session is None:
                assert not world.boxes
            return
        assert session.status in {Status.ASLEEP, Status.FAILED}, session.status
        attempt = world.base.store.attempt(session.session_id, session.attempt_number)
        assert attempt.status is not AttemptStatus.RUNNING
        assert session.active_turn is None
        assert not world.boxes, "a container lives on"
        if session.status is Status.FAILED:
            assert session.failure
            assert session.failure.reason
        elif session.queue_length:
            assert session.hold


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
