"""The page's JavaScript does as the Python client does; node is optional on a user's machine."""

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_client_reducer import VECTORS, Cloud, reduce

NODE = shutil.which("node")
HERE = Path(__file__).parent
WEB = HERE.parents[1] / "web"

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


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


def test_the_pages_modules_answer_as_the_python_ones():
    scripts = [(v["after"], v["steps"]) for v in VECTORS["reducer"]]
    scripts += [(0, random_script(seed)) for seed in range(100)]
    cases = {
        "web": str(WEB),
        "reducer": [{"after": after, "steps": steps} for after, steps in scripts],
        "parts": VECTORS["parts"],
        "markdown": VECTORS["markdown"],
        "inputs": VECTORS["inputs"],
        "keys": [["a", 500], ["a", 200], ["a", 200], ["a", 500], ["b", 500], ["b", 200]],
    }
    done = subprocess.run(
        [NODE, HERE / "web_check.mjs"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    for (after, steps), answer in zip(scripts, answers["reducer"], strict=True):
        assert answer == reduce(after, steps)
    assert answers["parts"] == [vector["text"] for vector in VECTORS["parts"]]
    assert answers["inputs"] == [vector["open"] for vector in VECTORS["inputs"]]
    # One key until it succeeds or the text changes.
    assert answers["keys"] == [0, 0, 2, 3, 4, 4]
    assert answers["markdown"] == [vector["blocks"] for vector in VECTORS["markdown"]]
