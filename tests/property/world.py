"""A world to live in for a few sessions: time goes by in rounds, and everything moves by itself.

What AWS, sandboxes and people do is modelled next door; here they are put together.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import (
    CallbackFailed,
    ChangeRefused,
    HeadstartError,
    SandboxStartFailed,
)
from headstart.domain.policy import Policy
from headstart.domain.steps import STEP_BY_NAME
from headstart.usecases.janitor import stop_orphans, sweep
from tests.property.astray import Astray
from tests.property.desk import Manners, Trouble
from tests.property.ecs import Ecs
from tests.property.faults import Crash, Faults
from tests.property.machine import Machine
from tests.property.people import People
from tests.property.receiver import Receiver
from tests.property.torn import TornStore
from tests.property.truth import Truth
from tests.property.viewer import Viewer
from tests.property.wires import Wires

ROUND = 5
"""How many seconds a round takes."""

_JANITOR = timedelta(minutes=1)
_IDLE_ROUND = 60
_LAST_ROUNDS = 400
_PATIENCE = 20
"""How many rounds a moment is waited for."""


class Moment(StrEnum):
    """What may go on in a sandbox when the next disturbance comes."""

    STEP = "a step"
    DELIVERY = "a delivery"
    TURN = "a turn"
    SAVING = "saving"
    REST = "nothing"

    def __repr__(self) -> str:
        return f"Moment.{self.name}"


@dataclass(frozen=True)
class Scene:
    """What a world is like from its beginning."""

    auto_initiate: bool = True
    active_sessions: int = 10
    wait_in_line: bool = False
    viewers: int = 0
    begins_at: int | Moment = 0
    """How many rounds, or until when, it is left alone at first."""
    manners: Manners = field(default_factory=Manners)
    makes_trees: bool = False
    """Whether each setup is worth a prepared tree, not only what takes long."""
    loses_trees: bool = False
    """Whether prepared trees go from the bucket now and then, as its limits have it."""


class World:
    """Everything around the use cases."""

    def __init__(self, scene: Scene) -> None:
        self.faults = Faults()
        self.base = MemoryPorts(store=TornStore(self.faults))
        self.astray = Astray(self)
        self.manners = scene.manners
        self.loses_trees = scene.loses_trees
        self.trouble = Trouble()
        self.numbers = itertools.count(1)
        self.told_agent: dict[str, list[str]] = defaultdict(list)
        self.saved: dict[str, tuple[str, ...]] = {}
        self.pushed: dict[str, list[str]] = defaultdict(list)
        self.adoptions = 0
        self.built_on: dict[str, str] = {}
        """The base of each difference, by their hashes."""
        self.truth = Truth(self)
        self.wires = Wires(self)
        self.machine = Machine(self)
        self.ecs = Ecs(self)
        self.people = People(self)
        self.receiver = Receiver(self)
        self.viewers: list[Viewer] = []
        self._later: list[tuple[datetime, Callable[[], None]]] = []
        self._janitor_at = self.now + _JANITOR
        around = self.faults.around
        self.ports: Any = MemoryPorts(
            store=around(self.base.store),
            machine=around(self.machine),
            sandboxes=around(self.ecs, start=SandboxStartFailed),
            objects=around(self.base.objects),
            secrets=around(self.base.secrets),
            callback_queue=around(self.base.callback_queue),
            receivers=around(self.base.receivers, post=CallbackFailed),
            signing=around(self.base.signing),
            sockets=around(self.wires),
            metrics=self.base.metrics,
            clock=self.base.clock,
            policy=Policy(
                stream_url="wss://stream.test/live",
                active_sessions=scene.active_sessions,
                wait_in_line=scene.wait_in_line,
                prepared_tree_after=timedelta(seconds=0 if scene.makes_trees else 15),
            ),
            identified=self.base.identified,
        )
        self.people.open(auto_initiate=scene.auto_initiate)
        for _ in range(scene.viewers):
            self.viewers.append(Viewer(self, self.people.session_ids[0]))

    @property
    def now(self) -> datetime:
        """The time."""
        return self.base.clock.now

    @property
    def disturbances(self) -> int:
        """How often anything went wrong that is not of anybody's making."""
        of = (self.faults, self.wires, self.ecs, self.astray)
        return sum(one.happened for one in of)

    def invoke(self, name: str, function: Callable[[], object]) -> BaseException | None:
        """Run a function until it ends, is refused, fails or dies; return why it did not end."""
        try:
            with self.faults.within(name):
                function()
        except ChangeRefused:
            raise
        except (HeadstartError, Crash) as failure:
            return failure
        return None

    def later(self, delay: timedelta, act: Callable[[], None]) -> None:
        """Have something happen after a while."""
        self._later.append((self.now + delay, act))

    def round(self, seconds: int = ROUND) -> None:
        """Let time go by, and everything do what it does by itself."""
        self.base.clock.advance(seconds=seconds)
        self.truth.look_around()
        due = [act for at, act in self._later if at <= self.now]
        self._later = [(at, act) for at, act in self._later if at > self.now]
        for act in due:
            act()
        self.wires.deliver_late()
        self.machine.tick()
        self.ecs.tick()
        for box in self.ecs.boxes:
            box.live()
        for viewer in self.viewers:
            viewer.live()
        self.people.insist()
        self.receiver.live()
        if self.now >= self._janitor_at:
            self._janitor_at = self.now + _JANITOR
            if self.loses_trees:
                self.base.objects.delete("trees/")
            self.receiver.janitor()
            self.invoke("janitor", lambda: stop_orphans(self.ports))
            self.invoke("janitor", lambda: sweep(self.ports))

    def go_on(self, pause: int | Moment, *, talk: bool = False) -> None:
        """Let rounds go by, until a moment comes if it does; people who talk go on talking."""
        for _ in range(_PATIENCE if isinstance(pause, Moment) else pause):
            if talk:
                for session_id in list(self.people.session_ids):
                    self.people.go_on(session_id)
            self.round()
            if isinstance(pause, Moment) and self._has_come(pause):
                return

    def _has_come(self, moment: Moment) -> bool:
        tasks = [task for box in self.ecs.boxes for task in box.desk.tasks.values()]
        match moment:
            case Moment.STEP:
                return any(task.kind in STEP_BY_NAME for task in tasks)
            case Moment.DELIVERY:
                return any(task.is_posting for task in tasks)
            case Moment.TURN:
                return any(box.desk.turn for box in self.ecs.boxes)
            case Moment.SAVING:
                return any(task.kind in {"archive", "upload"} for task in tasks)
            case Moment.REST:
                return not self._is_busy()

    def settle(self) -> None:
        """Disturb nothing any more, and wait until nothing is left to be done."""
        self.faults.disarm()
        self.astray.disarm()
        self.wires.calm()
        self.trouble = Trouble()
        for box in self.ecs.boxes:
            box.frozen_until = None
        for _ in range(_LAST_ROUNDS):
            self.round(ROUND if self._is_busy() else _IDLE_ROUND)
            for session_id in self.people.session_ids:
                self.people.answer(session_id)
                if session_id in self.people.deleted:
                    self.people.delete(session_id)
            if self._is_settled():
                break
        self.truth.check()
        self.truth.check_end()
        self.receiver.check_end()

    def _is_busy(self) -> bool:
        working = any(box.desk.running or box.backlog or box.kill_at for box in self.ecs.boxes)
        return working or bool(self.machine.running)

    def _is_settled(self) -> bool:
        sessions = self.base.store.sessions.values()
        at_rest = all(session.due_at is None for session in sessions)
        watching = any(
            viewer.reducer.after < self.base.store.sets[viewer.session_id].session.last_event_id
            for viewer in self.viewers
            if viewer.session_id in self.base.store.sets
        )
        told = not self.receiver.is_waited_for
        return at_rest and told and not watching and not self.ecs.boxes and not self.machine.running
