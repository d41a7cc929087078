"""A walk through a world: one disturbance after another, and after each everything goes on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from headstart.usecases.change import DOERS
from tests.property.astray import How
from tests.property.box import Box
from tests.property.faults import Mishap, When
from tests.property.viewer import Viewer
from tests.property.wires import Frame
from tests.property.world import Moment, World

_UP = ("", "hello", "report", "heartbeat", "leaving", "subscribe")
_DOWN = ("", "welcome", "ack", "heard", "command", "cancel", "leave", "events")
_FRAMES: list[Frame] = [*(("up", kind) for kind in _UP), *(("down", kind) for kind in _DOWN)]
_FUNCTIONS = (
    "",
    "people",
    "run_step",
    "finish",
    "stopped",
    "janitor",
    "connect",
    "hello",
    "report",
    "heartbeat",
    "leaving",
    "disconnect",
)
_CALLS = range(12)


@dataclass(frozen=True)
class Move:
    """One disturbance, and how long everything goes on after it, people talking or not."""

    name: str = "nothing_happens"
    args: dict[str, Any] = field(default_factory=dict)
    pause: int | Moment = 0
    talk: bool = False


Disturb = Callable[..., None]
Choices = dict[str, Sequence[Any]]
"""What each argument may be; what is there twice is chosen twice as often."""

DISTURBANCES: dict[str, tuple[Disturb, Choices]] = {}
"""What can happen to a world, by name."""


def take(world: World, move: Move) -> None:
    """Disturb the world, let it go on, and look at it."""
    disturb, _ = (DISTURBANCES | SECOND_THOUGHTS)[move.name]
    disturb(world, **move.args)
    world.go_on(move.pause, talk=move.talk)
    world.truth.check()


def _disturbance(**choices: Sequence[Any]) -> Callable[[Disturb], Disturb]:
    def register(disturb: Disturb) -> Disturb:
        DISTURBANCES[disturb.__name__] = disturb, choices
        return disturb

    return register


@_disturbance()
def nothing_happens(world: World) -> None:
    """Leave the world alone."""


@_disturbance(minutes=(1, 4, 16))
def time_goes_by(world: World, minutes: int) -> None:
    """Let a heartbeat come each round."""
    for _ in range(3 * minutes):
        world.round(20)


@_disturbance(
    what=("say", "interrupt", "initiate", "retry", "patch", "hold", "release", "answer", "publish"),
    whose=(0, 0, 1),
)
def people_ask(world: World, what: str, whose: int) -> None:
    """Have someone make a request, sensible or not."""
    session_id = world.people.session_ids[whose % len(world.people.session_ids)]
    match what:
        case "patch":
            world.people.patch(session_id, auto_initiate=None)
        case "hold" | "release":
            world.people.patch(session_id, auto_initiate=what == "release")
        case _:
            getattr(world.people, what)(session_id)


@_disturbance()
def people_open_another(world: World) -> None:
    """Have a second session beside the first."""
    if len(world.people.session_ids) < 2:
        world.people.open(auto_commit=True)


@_disturbance(really=(False, False, False, True))
def people_delete(world: World, really: bool) -> None:
    """Delete the newest session."""
    if really:
        world.people.delete(world.people.session_ids[-1])


@_disturbance(mishap=tuple(Mishap), function=_FUNCTIONS, calls=_CALLS)
def a_call_goes_wrong(world: World, mishap: Mishap, function: str, calls: int) -> None:
    """Have a call of a function fail, or the function die around it."""
    world.faults.arm(mishap, function, calls)


@_disturbance(
    act=(
        "say",
        "interrupt",
        "initiate",
        "publish",
        "sandbox",
        "machine",
        "late",
        "dies",
    ),
    function=_FUNCTIONS,
    calls=_CALLS,
    # Few reads that are torn are of rows that tell.
    when=("call", "commit", "read", "read"),
)
def someone_comes_in_between(world: World, act: str, function: str, calls: int, when: When) -> None:
    """Have something happen between two calls of a function, before it commits, or as it reads."""
    calls = calls if when == "call" else calls % 3

    def rival() -> None:
        commits = world.base.store.commits
        _act(world, act)
        if when == "read" and world.base.store.commits == commits:
            # Without a change there is nothing to tear.
            world.people.say(world.people.session_ids[0])

    world.faults.arm_rival(rival, function, calls, when)


def _act(world: World, act: str) -> None:
    match act:
        case "sandbox":
            _each_box(world, Box.live)
        case "machine":
            world.machine.tick()
        case "late":
            world.wires.deliver_late(everything=True)
        case "dies":
            _kill(world)
            world.ecs.tick()
        case _:
            getattr(world.people, act)(world.people.session_ids[0])


def people_think_again(world: World, what: str, place: int, whose: int) -> None:
    """Have someone take back a message, or give a session a title."""
    session_id = world.people.session_ids[whose % len(world.people.session_ids)]
    if what == "rename":
        world.people.rename(session_id)
        return
    # Mostly there is something to take back: two that wait, or one that is just delivered.
    world.people.say(session_id)
    world.people.say(session_id)
    world.people.withdraw(session_id, place)


def someone_takes_back_in_between(world: World, function: str, calls: int, when: When) -> None:
    """Have a message withdrawn between two calls of a function, or before it commits."""

    def rival() -> None:
        world.people.withdraw(world.people.session_ids[0])

    world.faults.arm_rival(rival, function, calls if when == "call" else calls % 3, when)


SECOND_THOUGHTS: dict[str, tuple[Disturb, Choices]] = {
    "people_think_again": (
        people_think_again,
        {"what": ("withdraw", "withdraw", "rename"), "place": (-1, -1, -2), "whose": (0, 0, 1)},
    ),
    "someone_takes_back_in_between": (
        someone_takes_back_in_between,
        {"function": _FUNCTIONS, "calls": _CALLS, "when": ("call", "commit", "read")},
    ),
}
"""What some walks have besides: the others are what they would be without."""


@_disturbance(function=_FUNCTIONS, commits=(0, 0, 1), mishap=(None, *Mishap), calls=_CALLS)
def a_function_is_slow(
    world: World, function: str, commits: int, mishap: Mishap | None, calls: int
) -> None:
    """Have one go on only after a while, when it comes to a commit, and perhaps die then."""

    def others() -> None:
        world.faults.happened += 1
        for _ in range(4):
            world.round()
        if mishap:
            world.faults.arm(mishap, function, calls)

    world.faults.arm_rival(others, function, commits)


@_disturbance(
    kind=tuple(kind.__name__ for kind in DOERS),
    how=tuple(How),
    count=(1, 1, 3),
    seconds=(0, 15, 60),
)
def errands_go_astray(world: World, kind: str, how: How, count: int, seconds: int) -> None:
    """Have what follows commits not be done, or twice, or after what comes later."""
    world.astray.arm(kind, how, count, seconds)


@_disturbance(
    frame=_FRAMES,
    count=(1, 2),
    seconds=(None, 5, 15, 45),
)
def frames_go_astray(world: World, frame: Frame, count: int, seconds: int | None) -> None:
    """Lose the next frames of a kind, or have them come later."""
    if seconds is None:
        world.wires.lose(frame, count)
    else:
        world.wires.delay(frame, count, seconds)


@_disturbance(how=("drop", "silence", "late hello", "no goodbye"))
def connections_break(world: World, how: str) -> None:
    """Cut off the sandboxes, with or without their knowledge."""
    world.wires.loses_goodbyes = how == "no goodbye"
    if how == "late hello":
        world.wires.delay(("up", "hello"), 1, 20)
    for box in world.ecs.boxes:
        if box.end:
            world.wires.happened += 1
            box.end.is_silent = how == "silence"
            if how != "silence":
                box.reconnect()


@_disturbance()
def containers_must_stop(world: World) -> None:
    """Have ECS retire the hosts."""
    for box in world.ecs.boxes:
        world.truth.doomed.add(box.handle)
        box.must_stop("the host is retired")


@_disturbance(told=("once", "never", "twice"))
def containers_die(world: World, told: str) -> None:
    """Kill what runs."""
    _kill(world)
    if told == "never":
        world.ecs.forget_events()
    elif told == "twice":
        world.ecs.tell_twice()


@_disturbance(seconds=(15, 60, 300))
def containers_freeze(world: World, seconds: int) -> None:
    """Have nothing move in what runs, for a while."""
    for box in world.ecs.boxes:
        world.truth.excuse(box.session_id)
        box.frozen_until = world.now + timedelta(seconds=seconds)


@_disturbance(how=("refuse", "refuse often", "lose answer", "slow", "dead slow"))
def ecs_is_no_help(world: World, how: str) -> None:
    """Have the next containers not start, or late, or without anybody knowing."""
    match how:
        case "refuse":
            world.ecs.refusals += 1
        case "refuse often":
            world.ecs.refusals += 3
        case "lose answer":
            world.ecs.loses_answer = True
        case _:
            world.ecs.boot_seconds = 60 if how == "slow" else 270


@_disturbance(
    what=(
        "GitNetworkError",
        "SetupCommandFailed",
        "DeliveryUnknown",
        "AgentCrashed",
        "asks",
        "loses its turn",
        "loses copies",
        "loses uploads",
        "invents uploads",
        "uploads slowly",
        "tells news",
    )
)
def sandboxes_misbehave(world: World, what: str) -> None:
    """Have something go wrong in the next sandbox that comes to it."""
    match what:
        case "AgentCrashed":
            world.trouble.turn_error = what
        case "asks":
            world.trouble.asks = 1
        case "loses its turn":
            _each_box(world, lambda box: box.desk.lose_turn())
        case "loses copies":
            world.trouble.loses_copies = 1
        case "loses uploads":
            world.trouble.loses_uploads = 1
        case "invents uploads":
            world.trouble.invents_uploads = 1
        case "uploads slowly":
            world.trouble.slow_uploads = 1
        case "tells news":
            world.trouble.news = 1
        case error:
            world.trouble.failing = error


@_disturbance(seconds=(0, 5, 30))
def the_machine_repeats_itself(world: World, seconds: int) -> None:
    """Have it give up an invocation of run_step that goes on, and make another one."""
    world.machine.overlap = timedelta(seconds=seconds)


@_disturbance(how=("come", "come", "leave", "vanish"))
def viewers_come_and_go(world: World, how: str) -> None:
    """Have a page opened, closed or cut off."""
    if how == "come":
        world.viewers.append(Viewer(world, world.people.session_ids[-1]))
    elif world.viewers:
        world.viewers[0].leave(silently=how == "vanish")


def _kill(world: World) -> None:
    for box in world.ecs.boxes:
        world.truth.excuse(box.session_id)
        box.die("killed")


def _each_box(world: World, act: Callable[[Box], object]) -> None:
    for box in world.ecs.boxes:
        act(box)
