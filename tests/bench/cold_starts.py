"""Cold starts of every function, as built for Lambda, beside boto3 with one DynamoDB client."""

import contextlib
import io
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart import bootstrap
from headstart.adapters.aws import make_client
from tests.bench import report
from tests.bench.aws_over_http import AwsOverHttp
from tests.bench.runtime_api import Start, cold_start
from tests.handlers import scene

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".cache" / "bench"
PINS = ("awslambdaric==4.2.2", "boto3==1.43.106", "botocore==1.43.106")
YARDSTICK = """\
import boto3

client = boto3.client("dynamodb")


def lambda_handler(event, context):
    client.get_item(TableName="headstart", Key={"pk": {"S": "x"}, "sk": {"S": "y"}})
"""
EMPTY = "def lambda_handler(event, context):\n    pass\n"
LIMIT = 1.5


@dataclass
class Subject:
    """What is started: a folder with app.py, what stands beside it, and an event."""

    name: str
    task: Path
    paths: list[Path]
    event: Any
    environment: dict[str, str]


def run(samples: int) -> None:
    """Build what ships, start everything `samples` times in turn, and print the medians."""
    python, version = _python()
    runtime = _runtime(python, version)
    layer, bare = _layers(python, version)
    with scene.scene():
        _play()
        rows = _rows()
        with AwsOverHttp() as account:
            environment = {
                **scene.ENVIRONMENT,
                "HEADSTART_SUBNETS": bootstrap.services().settings.subnets,
                "HEADSTART_SECURITY_GROUPS": bootstrap.services().settings.security_groups,
                "AWS_ENDPOINT_URL": account.url,
                "HEADSTART_SOCKET_MANAGEMENT_URL": f"{account.url}/live",
            }
            subjects = list(_subjects(layer, bare, environment))
            starts: dict[str, list[Start]] = {subject.name: [] for subject in subjects}
            for _ in range(samples):
                for subject in subjects:
                    _write_back(rows)
                    start = cold_start(
                        runtime, subject.task, subject.paths, subject.environment, subject.event
                    )
                    starts[subject.name].append(start)
    _print(starts, samples, version)


def _play() -> None:
    """Bring the session to where each event has something to do."""
    scene.make_sandboxes()
    steps = ("http_api", "socket-connect", "run_step", "socket-connect-runner", "socket-hello")
    with contextlib.redirect_stdout(io.StringIO()):  # their metrics
        for event in steps:
            scene.invoke(event)
    sandbox = bootstrap.services().store.load(scene.SESSION_ID).sandbox
    # moto's tasks have no createdAt, on which the janitor relies: it must find none.
    bootstrap.services().sandboxes.stop((sandbox and sandbox.task_arn) or "", "bench")


def _rows() -> list[Any]:
    return list(make_client("dynamodb").scan(TableName="headstart")["Items"])


def _write_back(rows: list[Any]) -> None:
    """Put the table back to where it was, so that every start has the same to do."""
    client = make_client("dynamodb")
    for row in _rows():
        client.delete_item(TableName="headstart", Key={key: row[key] for key in ("pk", "sk")})
    for row in rows:
        client.put_item(TableName="headstart", Item=row)


def _subjects(layer: Path, bare: Path, environment: dict[str, str]) -> list[Subject]:
    snap = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}

    def folder(name: str, code: str) -> Path:
        path = WORK / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "app.py").write_text(code)
        return path

    def function(name: str, event: str, beside: Path, **more: str) -> Subject:
        task = ROOT / "functions" / scene.function_of(event)
        return Subject(name, task, [beside], scene.event(event), {**environment, **more})

    events = ("http_api", "wait", "socket", "run_step-clone", "finish_preparation", "janitor")
    return [
        Subject("(empty handler)", folder("empty", EMPTY), [], {}, environment),
        Subject("(boto3, one client)", folder("yardstick", YARDSTICK), [], {}, environment),
        *(function(scene.function_of(event), event, layer) for event in events),
        function("sandbox_stopped", "sandbox_stopped", layer),
        function("http_api without pyc", "http_api", bare),
        function("http_api, SnapStart", "http_api", layer, **snap),
    ]


def _print(starts: dict[str, list[Start]], samples: int, version: str) -> None:
    def column(name: str, value: Callable[[Start], float]) -> float:
        return report.median([value(start) for start in starts[name]])

    rows = [
        (
            name,
            column(name, lambda start: start.init_ms),
            column(name, lambda start: start.first_ms),
            column(name, lambda start: start.init_ms + start.first_ms),
            column(name, lambda start: start.cpu_ms),
            column(name, lambda start: start.memory_mib),
        )
        for name in starts
    ]
    title = f"Cold starts on Python {version}, medians of {samples} (SnapStart's init is paid once)"
    head = ("function", "init ms", "first call ms", "both ms", "CPU ms", "peak MiB")
    report.table(title, head, rows)
    by_name = {row[0]: row for row in rows}
    ours, yardstick = by_name["http_api"], by_name["(boto3, one client)"]
    for what, index in (("init", 1), ("init and first call", 3), ("CPU of both", 4)):
        ratio = ours[index] / yardstick[index]  # type: ignore[operator]
        report.show(f"  http_api / boto3 with one client, {what}: {ratio:.2f}")
    report.show(f"  (init should stay within {LIMIT})")


def _python() -> tuple[Path, str]:
    """Return Lambda's own minor version of Python, or what there is."""
    code = "import sys; print(sys.executable)"
    if shutil.which("python3.13"):
        # Asked, not only found: pyenv's shims are there for versions that don't run.
        asked = subprocess.run(
            ["python3.13", "-c", code], check=False, capture_output=True, text=True
        )
        if asked.returncode == 0:
            return Path(asked.stdout.strip()), "3.13"
    return Path(sys.executable), f"3.{sys.version_info.minor}"


def _call(*arguments: object, cwd: Path | None = None) -> None:
    subprocess.run([str(a) for a in arguments], check=True, cwd=cwd, stdout=subprocess.DEVNULL)


def _compiled(python: Path, folder: Path) -> None:
    _call(python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder)


def _runtime(python: Path, version: str) -> Path:
    """Return an interpreter with the runtime client and an untrimmed boto3, as Lambda has."""
    folder = WORK / f"runtime-{version}-{PINS[0].partition('==')[2]}"
    if not (folder / "ready").exists():
        _call(python, "-m", "venv", "--clear", folder)
        _call(folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PINS)
        _compiled(folder / "bin/python", folder / "lib")
        (folder / "ready").touch()
    return folder / "bin/python"


def _layers(python: Path, version: str) -> tuple[Path, Path]:
    """Build the layer by its own Makefile for this machine; return it with and without pyc."""
    built, bare = WORK / "layer", WORK / "layer-without-pyc"
    for folder in (built, bare):
        shutil.rmtree(folder, ignore_errors=True)
    _call(
        "make",
        "--silent",
        "build-CoreLayer",
        f"ARTIFACTS_DIR={built}",
        f"TARGET_PYTHON={version}",
        f"TARGET_PLATFORM=manylinux2014_{platform.machine()}",
        f"PYTHON={python}",
        cwd=ROOT / "layers" / "core",
    )
    shutil.copytree(built, bare, ignore=shutil.ignore_patterns("__pycache__"))
    return built / "python", bare / "python"
