"""The layer holds what the code needs: a lock of every package, and the models of its clients."""

import importlib.util
import json
import os
import re
import subprocess
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement

CORE = Path(__file__).parents[2] / "layers" / "core"
LOCK = dict(
    line.split("==")
    for line in (CORE / "requirements.txt").read_text().split()
    if re.fullmatch(r"[\w-]+==[\w.]+", line)
)


def trimmer() -> object:
    spec = importlib.util.spec_from_file_location("trim_botocore", CORE / "trim_botocore.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_ships_is_what_is_tested() -> None:
    assert {name: version(name) for name in LOCK} == LOCK


def test_the_lock_is_whole_and_has_nothing_else() -> None:
    needed, waiting = set(), ["aws-lambda-powertools", "botocore", "pydantic"]
    while waiting:
        name = waiting.pop()
        needed.add(name)
        for text in requires(name) or []:
            requirement = Requirement(text)
            # No extras are asked for, and the target is newer than every python_version bound.
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": "", "python_version": "3.13"}):
                waiting.append(requirement.name.replace("_", "-").lower())
    assert needed == set(LOCK)


def test_every_client_finds_its_model() -> None:
    made = set(
        re.findall(r'make_client(?:\(|, )"(\w+)"', (CORE / "headstart/bootstrap.py").read_text())
    )
    assert {"dynamodb", "kms"} <= made
    assert made <= set(trimmer().SERVICES)  # type: ignore[attr-defined]


def test_trimming_leaves_our_services(tmp_path: Path) -> None:
    (tmp_path / "dynamodb").mkdir()
    (tmp_path / "ec2" / "2016-11-15").mkdir(parents=True)
    (tmp_path / "_retry.json").write_text("{}")
    services = {"dynamodb": {"endpoints": {}}, "ec2": {"endpoints": {}}}
    partition = {"partition": "aws", "services": services, "regions": {}}
    (tmp_path / "endpoints.json").write_text(json.dumps({"version": 3, "partitions": [partition]}))
    trimmer().trim(tmp_path)  # type: ignore[attr-defined]
    assert {path.name for path in tmp_path.iterdir()} == {
        "dynamodb",
        "_retry.json",
        "endpoints.json",
    }
    left = json.loads((tmp_path / "endpoints.json").read_text())["partitions"][0]
    assert left == {**partition, "services": {"dynamodb": {"endpoints": {}}}}


def test_it_is_built_for_lambdas_processor_unless_another_is_named() -> None:
    def platform(**named: str) -> str:
        given = ["--dry-run", "build-CoreLayer", "ARTIFACTS_DIR=out"]
        bare = {key: text for key, text in os.environ.items() if key != "HEADSTART_LAYER_PLATFORM"}
        shown = subprocess.run(
            ["make", *given], check=True, capture_output=True, text=True, cwd=CORE, env=bare | named
        ).stdout
        return re.findall(r"--platform (\S+)", shown)[0]

    assert platform() == "manylinux2014_aarch64"
    assert platform(HEADSTART_LAYER_PLATFORM="manylinux2014_x86_64") == "manylinux2014_x86_64"
