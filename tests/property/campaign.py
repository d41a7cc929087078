"""Many walks from one number: the same ones each time, and a short one for each that fails."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.property.desk import Manners
from tests.property.laboratory import laboratory
from tests.property.violation import Violation
from tests.property.walk import DISTURBANCES, SECOND_THOUGHTS, Choices, Move, take
from tests.property.world import Moment, Scene, World

MOVES = 14
"""How many disturbances a walk has."""

_MORE = 5
"""How many second thoughts people have in the walks in which they have some."""

_SHRINKS = 400
"""How many walks may be tried in search of a shorter one."""


@dataclass(frozen=True)
class Walk:
    """A world and what happens to it."""

    scene: Scene
    moves: tuple[Move, ...]

    def __str__(self) -> str:
        moves = "".join(f"\n    {move!r}," for move in self.moves)
        return f"Walk(\n  {self.scene},\n  ({moves}\n  ),\n)"


def draw(number: int) -> Walk:
    """Return a walk: always the same one for a number.

    Each leaves out half of what can happen, and half of the ways: so what is left meets more often.
    """
    chance = random.Random(number)
    names = [name for name in DISTURBANCES if chance.random() < 0.5] or list(DISTURBANCES)
    choices = {name: _fewer(chance, DISTURBANCES[name][1]) for name in names}
    # By its number instead of by chance: the other walks are what they would be without.
    scene = replace(_scene(chance), makes_trees=number % 4 == 3, loses_trees=number % 8 == 3)
    moves = [_move(chance, choices) for _ in range(MOVES)]
    if number % 8 in {3, 5}:
        also = {name: choices for name, (_, choices) in SECOND_THOUGHTS.items()}
        for _ in range(_MORE):
            moves.insert(chance.randrange(len(moves) + 1), _move(chance, also))
    return Walk(scene, tuple(moves))


def _fewer(chance: random.Random, choices: Choices) -> Choices:
    return {
        argument: among if chance.random() < 0.5 else chance.sample(among, min(len(among), 2))
        for argument, among in choices.items()
    }


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
            post=chance.choice([0, 2, 4]),
            turn=chance.choice([0, 2, 30]),
            archive=chance.choice([0, 2]),
            upload=chance.choice([0, 0, 3]),
            posts_first=chance.random() < 0.5,
            delivers_anyway=chance.random() < 0.5,
        ),
    )


def _move(chance: random.Random, choices: dict[str, Choices]) -> Move:
    name = chance.choice(list(choices))
    return Move(
        name=name,
        args={argument: chance.choice(among) for argument, among in choices[name].items()},
        pause=_pause(chance),
        talk=chance.random() < 0.7,
    )


def _pause(chance: random.Random) -> int | Moment:
    return chance.randint(0, 8) if chance.random() < 0.5 else chance.choice(list(Moment))


def run(walk: Walk) -> World:
    """Walk; raises Violation where something does not hold."""
    random.seed(0)
    with laboratory():
        world = World(walk.scene)
        with world.astray.at_work():
            world.go_on(walk.scene.begins_at)
            for move in walk.moves:
                take(world, move)
            world.settle()
    return world


def failure_of(walk: Walk) -> str | None:
    """Say what does not hold in a walk, by a text that is the same for the like."""
    try:
        run(walk)
    except (Exception, Violation) as error:
        return str(error).partition(":")[0] or type(error).__name__
    return None


def find(first: int, count: int) -> tuple[int, str] | None:
    """Return the number of the first of so many walks that fails, and what does not hold."""
    for number in range(first, first + count):
        failure = failure_of(draw(number))
        if failure:
            return number, failure
    return None


def campaign(first: int, count: int) -> None:
    """Make so many walks; raises AssertionError, with a short walk that shows what fails."""
    found = find(first, count)
    if found is None:
        return
    number, failure = found
    short = shrink(draw(number), failure)
    try:
        run(short)
    except (Exception, Violation) as error:
        raise AssertionError(f"walk {number}: {error}\n{short}") from error


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
            if failure_of(candidate) == failure:
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
