"""Lambda: what a function gets, and what its callers see of it."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conformance.conftest import Probe, eventually


@pytest.mark.proves("lambda_.function_workers")
def test_error_type_is_the_class_name(probe: Probe) -> None:
    answer, failed = probe.invoke(fail="why")
    assert failed
    assert (answer["errorType"], answer["errorMessage"]) == ("PickyError", "why")
    assert any("raise PickyError" in line for line in answer["stackTrace"])


@pytest.mark.proves("lambda_.function_workers")
def test_worker_survives_an_error(probe: Probe) -> None:
    before = {probe.invoke()[0]["pid"] for _ in range(2)}
    probe.invoke(fail="why")
    assert probe.invoke()[0]["pid"] in before


def test_exit_of_the_process_is_reported(probe: Probe) -> None:
    answer, failed = probe.invoke(exit=True)
    assert failed
    assert answer["errorType"] == "Runtime.ExitError"
    assert probe.invoke()[1] is False


def test_workers_that_were_killed_while_idle_leave_no_pipes(probe: Probe) -> None:
    def pipes() -> int:
        found = 0
        for fd in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # the folder itself, while it was read
                found += str(fd.readlink()).startswith("pipe:")
        return found

    probe.invoke()
    before = pipes()
    for _ in range(5):
        pid = probe.invoke()[0]["pid"]
        os.kill(pid, signal.SIGKILL)
        # Dead with all its threads, and left for its parent to wait for.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert probe.invoke()[1] is False
    # Each of the five had three; how many of the pool are alive at a moment is not so sure.
    assert pipes() < before + 5


@pytest.mark.proves("lambda_.function_workers")
def test_environment_is_minimal(probe: Probe) -> None:
    environment = probe.invoke()[0]["environment"]
    assert "SECRET_OF_THE_DEVELOPER" not in environment
    assert environment["LAMBDA_TASK_ROOT"]
    assert environment["AWS_REGION"] == "us-east-1"
    own = {"PATH", "LANG", "TZ", "HOME", "TMPDIR", "LAMBDA_TASK_ROOT", "_HANDLER"}
    template = {"TABLE", "WORD", "MANAGEMENT_URL"}
    others = {name for name in environment if not name.startswith(("AWS_", "_X_AMZN"))}
    assert others == own | template


def test_code_layers_and_parameters_arrive(probe: Probe) -> None:
    answer, _ = probe.invoke(hello=1)
    assert answer["event"] == {"hello": 1}
    assert answer["greeting"] == "from the layer"
    assert answer["word"] == "given"
    assert 9_000 < answer["remaining"] <= 10_000
    assert answer["function"] in probe.cloud.outputs["StepFunction"]


@pytest.mark.proves("lambda_.function_workers")
def test_warm_invocations_have_no_fixed_delay(probe: Probe) -> None:
    probe.invoke()
    times = []
    for _ in range(15):
        start = time.monotonic()
        probe.invoke()
        times.append(time.monotonic() - start)
    assert min(times) < 0.04


@pytest.mark.proves("lambda_.function_workers")
def test_workers_are_limited_and_invocations_wait(probe: Probe) -> None:
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda _: probe.invoke(seconds=0.3), range(9)))
    assert not any(failed for _, failed in answers)
    assert len({answer["pid"] for answer, _ in answers}) <= 4


def test_log_reaches_cloudwatch(probe: Probe) -> None:
    probe.invoke(seconds=0.01)
    name = probe.cloud.outputs["StepFunction"].rpartition(":")[2]
    logs = probe.cloud.client("logs")

    def ask() -> bool | None:
        found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        return any(event["message"] == "sleeping" for event in found) or None

    assert eventually(ask)


@pytest.mark.proves("host.no_docker")
def test_docker_is_left_alone(probe: Probe) -> None:
    probe.docker.settimeout(0.3)
    with pytest.raises(TimeoutError):
        probe.docker.accept()
