"""Many walks from one number: the same ones each time, and a short one for each that fails."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.property.desk import Manners
from tests.property.laboratory import laboratory
from tests.property.violation import Violation
from tests.property.walk import DISTURBANCES, Move, take
from tests.property.world import Moment, Scene, World

MOVES = 14
"""How many disturbances a walk has."""

_SHRINKS = 400
"""How many walks may be tried in search of a shorter one."""


@dataclass(frozen=True)
class Walk:
    """A world and what happens to it."""

    scene: Scene
    moves: tuple[Move, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.scene}", *(f"  {move}" for move in self.moves)])


def draw(number: int) -> Walk:
    """Return a walk: always the same one for a number.

    Each leaves out half of what can happen, and half of the ways: so what is left meets more often.
    """
    chance = random.Random(number)
    names = [name for name in DISTURBANCES if chance.random() < 0.5] or list(DISTURBANCES)
    choices = {
        name: {argument: _fewer(chance, among) for argument, among in DISTURBANCES[name][1].items()}
        for name in names
    }
    scene = _scene(chance)
    return Walk(scene, tuple(_move(chance, choices) for _ in range(MOVES)))


def _fewer(chance: random.Random, among: Sequence[Any]) -> Sequence[Any]:
    return among if chance.random() < 0.5 else chance.sample(among, min(len(among), 2))


def _scene(chance: random.Random) -> Scene:
    return Scene(
        auto_initiate=chance.random() < 0.7,
        active_sessions=chance.choice([1, 10]),
        wait_in_line=chance.random() < 0.5,
        viewers=chance.choice([0, 0, 1, 2]),
        begins_at=chance.choice([0, *Moment]),
        manners=Manners(
            boot=chance.choice([0, 10, 30]),
            step=chance.choice([0, 0, 2]),
            post=chance.choice([0, 1, 3]),
            turn=chance.choice([0, 2, 10]),
            snapshot=chance.choice([0, 1, 3]),
            posts_first=chance.random() < 0.5,
            delivers_anyway=chance.random() < 0.5,
        ),
    )


def _move(chance: random.Random, choices: dict[str, dict[str, Sequence[Any]]]) -> Move:
    name = chance.choice(list(choices))
    return Move(
        name=name,
        args={argument: chance.choice(among) for argument, among in choices[name].items()},
        pause=chance.choice([chance.randint(0, 8), chance.choice(list(Moment))]),
        talk=chance.random() < 0.7,
    )


def run(walk: Walk) -> World:
    """Walk; raises AssertionError where something does not hold."""
    random.seed(0)
    world = World(walk.scene)
    world.go_on(walk.scene.begins_at)
    for move in walk.moves:
        take(world, move)
    world.settle()
    return world


def campaign(first: int, count: int) -> None:
    """Make so many walks from a number on; raises AssertionError with a short one that fails."""
    with laboratory():
        for number in range(first, first + count):
            walk = draw(number)
            failure = _failure(walk)
            if failure:
                short = shrink(walk, failure)
                message = f"walk {number}, {number - first + 1} of {count}: {failure}\n{short}"
                try:
                    run(short)
                except (Exception, Violation) as error:
                    raise AssertionError(message) from error


def _failure(walk: Walk) -> str | None:
    try:
        run(walk)
    except (Exception, Violation) as error:
        # What comes after a colon is of this walk only.
        return str(error).partition(":")[0] or type(error).__name__
    return None


def shrink(walk: Walk, failure: str) -> Walk:
    """Return a shorter walk that fails in the same way."""
    tries = 0
    simpler = True
    while simpler:
        simpler = False
        for candidate in _simpler(walk):
            tries += 1
            if tries > _SHRINKS:
                return walk
            if _failure(candidate) == failure:
                walk, simpler = candidate, True
                break
    return walk


def _simpler(walk: Walk) -> Iterator[Walk]:
    """Yield walks with less in them, the boldest first."""
    moves = walk.moves
    size = len(moves) // 2
    while size:
        for begin in range(0, len(moves), size):
            yield replace(walk, moves=moves[:begin] + moves[begin + size :])
        size //= 2
    for index, move in enumerate(moves):
        calm = Move(pause=move.pause, talk=move.talk)
        for calmer in (calm, replace(move, talk=False), replace(move, pause=0)):
            if calmer != move:
                yield replace(walk, moves=(*moves[:index], calmer, *moves[index + 1 :]))
    plain = Scene()
    for name in vars(plain):
        scene = replace(walk.scene, **{name: getattr(plain, name)})
        if scene != walk.scene:
            yield replace(walk, scene=scene)
