"""The page's JavaScript does as the Python client does; node is optional on a user's machine."""

import random
from typing import Any

from test_client_reducer import VECTORS, Cloud, reduce
from web_page import needs_node

pytestmark = needs_node


class Recorder(Cloud):
    """A cloud that notes down what its viewer was fed, to be played to the other one."""

    def __init__(self, page_size: int) -> None:
        super().__init__(page_size)
        self.steps: list[dict[str, Any]] = []

    def subscribe(self) -> None:
        self.steps.append({})
        super().subscribe()

    def take(self, frame: dict[str, Any]) -> None:
        self.steps.append({"frame": frame})
        super().take(frame)


def random_script(seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    cloud = Recorder(chance.randint(1, 4))
    cloud.connect()
    kinds = ["turn.started", "session.preparing", "session.failed", "preparing"]
    actions = {
        "happen": lambda: cloud.happen(chance.choice(kinds)),
        "deliver": lambda: cloud.deliver(chance.randrange(50)),
        "duplicate": lambda: cloud.duplicate(chance.randrange(50)),
        "lose": lambda: cloud.lose(chance.randrange(50)),
        "connect": cloud.connect,
        "ping": cloud.ping,
        "elapse": cloud.elapse,
    }
    for name in chance.choices(list(actions), [6, 8, 1, 1, 1, 1, 2], k=60):
        actions[name]()
    cloud.settle()
    return cloud.steps


def test_the_pages_modules_answer_as_the_python_ones(page):
    scripts = [(v["after"], v["steps"]) for v in VECTORS["reducer"]]
    scripts += [(0, random_script(seed)) for seed in range(100)]
    answers = page(
        reducer=[{"after": after, "steps": steps} for after, steps in scripts],
        parts=VECTORS["parts"],
        inputs=VECTORS["inputs"],
        answers=VECTORS["answers"],
        shapes=VECTORS["shapes"],
        rests=VECTORS["rests"],
        agos=VECTORS["agos"],
        texts=VECTORS["texts"],
    )
    for (after, steps), answer in zip(scripts, answers["reducer"], strict=True):
        assert answer == reduce(after, steps)
    assert answers["parts"] == [vector["text"] for vector in VECTORS["parts"]]
    assert answers["inputs"] == [vector["open"] for vector in VECTORS["inputs"]]
    assert answers["answers"] == [vector["told"] for vector in VECTORS["answers"]]
    assert answers["shapes"] == [vector["shaped"] for vector in VECTORS["shapes"]]
    assert answers["rests"] == [vector["rest"] for vector in VECTORS["rests"]]
    assert answers["agos"] == [words for _, words in VECTORS["agos"]]
    assert answers["texts"] == [[v["plain"], v["visible"]] for v in VECTORS["texts"]]
