"""ECS: container tasks that boot, are told to stop, die, and whose end an event tells."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from headstart.domain.errors import SandboxStartFailed
from headstart.usecases.ports import SandboxSpec, StartedSandbox
from headstart.usecases.sandbox import sandbox_stopped
from tests.property.box import Box
from tests.property.violation import hold

if TYPE_CHECKING:
    from tests.property.world import World

_EVENT_TRIES = 3
"""How often an event's function is invoked: twice more when it failed."""


@dataclass
class _Stopped:
    name: str
    handle: str
    reason: str
    tries: int = 0


class Ecs:
    """The SandboxProvider port; a container task is a Box."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._events: list[_Stopped] = []
        self.tasks: dict[str, Box] = {}
        self.happened = 0
        self.refusals = 0
        self.loses_answer = False
        self.boot_seconds = 0
        """How long the next task takes longer than usual to start."""

    @property
    def boxes(self) -> list[Box]:
        """The tasks that have not stopped."""
        return [box for box in self.tasks.values() if box.is_alive]

    # The port.

    def start(self, spec: SandboxSpec) -> str:
        """Start a task, or return the one that was started with the same token."""
        if self.refusals:
            self.refusals -= 1
            self.happened += 1
            raise SandboxStartFailed("ECS could not place the task")
        handle = f"task:{spec.name}"
        if handle in self.tasks:
            hold(self.tasks[handle].spec == spec, "RunTask was repeated with other parameters")
        else:
            seconds = self._world.manners.boot + self.boot_seconds
            boots_at = self._world.now + timedelta(seconds=seconds)
            self.tasks[handle] = Box(self._world, spec, handle, boots_at)
            self.boot_seconds = 0
        if self.loses_answer:
            self.loses_answer = False
            self.happened += 1
            raise SandboxStartFailed("ECS could not be reached")
        return handle

    def is_alive(self, handle: str) -> bool:
        """Say whether a task has not stopped."""
        return handle in self.tasks and self.tasks[handle].is_alive

    def stop(self, handle: str, reason: str) -> None:
        """Tell a task to stop; a task that does not run yet never will."""
        box = self.tasks.get(handle)
        if box and box.is_alive:
            if box.has_booted:
                box.must_stop(reason)
            else:
                box.die(reason)

    def started(self) -> list[StartedSandbox]:
        """Return the tasks that have not stopped."""
        return [
            StartedSandbox(handle=box.handle, name=box.spec.name, started_at=box.born)
            for box in self.boxes
        ]

    # What it does by itself.

    def ended(self, box: Box, reason: str) -> None:
        """Have an event tell that a task has stopped."""
        self._events.append(_Stopped(box.spec.name, box.handle, reason))

    def forget_events(self) -> None:
        """Lose the events that were not told yet."""
        self._events.clear()

    def tell_twice(self) -> None:
        """Tell of every task that has stopped once more."""
        self._events += [
            _Stopped(box.spec.name, box.handle, "told again")
            for box in self.tasks.values()
            if not box.is_alive
        ]

    def tick(self) -> None:
        """Kill what had its time to stop, and tell of the ends."""
        for box in self.boxes:
            if box.kill_at and box.kill_at <= self._world.now:
                box.die("killed")
        told, self._events = self._events, []
        for event in told:
            self._tell(event)

    def _tell(self, event: _Stopped) -> None:
        ports = self._world.ports
        failure = self._world.invoke(
            "stopped",
            lambda: sandbox_stopped(ports, event.name, event.handle, event.reason),
        )
        event.tries += 1
        if failure and event.tries < _EVENT_TRIES:
            self._events.append(event)
