"""Each event of tests/events, given to its function's real handler against moto's AWS.

The events have the shapes that AWS sends, so that `sam local invoke --event` can use them too.
"""

import json
import random
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from headstart import bootstrap
from headstart.domain import errors
from headstart.domain.change import WorkingSet
from headstart.domain.sandbox import SandboxStatus
from headstart.domain.session import Session, Status
from headstart.domain.steps import STEPS, StepName, StepStatus
from headstart_local.packaging import read_template

from .scene import (
    CLUSTER,
    EVENTS,
    ROOT,
    SECRET,
    SESSION_ID,
    STACK,
    Context,
    event,
    function_of,
    handler,
    invoke,
    make_sandboxes,
    scene,
)

STOPPED_TASK = event("sandbox_stopped")["detail"]["taskArn"]


@pytest.fixture(autouse=True)
def account() -> Iterator[None]:
    with scene():
        yield


def session() -> Session:
    return bootstrap.services().store.session(SESSION_ID)


def working_set() -> WorkingSet:
    return bootstrap.services().store.load(SESSION_ID)


def body(answer: dict[str, Any]) -> Any:
    return json.loads(answer["body"])


def posted(event_name: str) -> tuple[Any, list[dict[str, Any]]]:
    """Invoke, and return the answer with the frames that were sent to WebSocket peers."""
    frames: list[dict[str, Any]] = []
    client = bootstrap.services().sockets._client  # type: ignore[attr-defined]
    name = "before-call.apigatewaymanagementapi.PostToConnection"

    def note(params: dict[str, Any], **_: Any) -> None:
        frames.append(json.loads(params["body"]))

    client.meta.events.register(name, note)
    try:
        return invoke(event_name), frames
    finally:
        client.meta.events.unregister(name, note)


def test_every_function_has_an_event_of_its_own_name() -> None:
    functions = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    names = {path.stem for path in EVENTS.glob("*.json")}
    assert functions <= names
    assert {function_of(name) for name in names} == functions


def test_post_sessions() -> None:
    answer = invoke("http_api")
    assert answer["statusCode"] == 202
    created = body(answer)
    assert (created["sessionId"], created["status"]) == (SESSION_ID, "preparing")
    assert created["stream"]["ticket"] == SECRET
    assert bootstrap.services().machine.status(SESSION_ID, 1) == "running"
    assert (
        session().owner == event("http_api")["requestContext"]["authorizer"]["jwt"]["claims"]["sub"]
    )


def test_post_sessions_twice_with_one_key() -> None:
    first, second = invoke("http_api"), invoke("http_api")
    assert body(second)["sessionId"] == body(first)["sessionId"]


def test_post_sessions_with_an_invalid_body() -> None:
    answer = invoke("http_api-invalid")
    assert answer["statusCode"] == 422
    problem = body(answer)
    assert problem["code"] == "ValidationFailed"
    assert {tuple(error["loc"]) for error in problem["errors"]} == {("prompt",), ("colour",)}
    assert problem["requestId"] == event("http_api-invalid")["requestContext"]["requestId"]


@pytest.mark.parametrize(
    ("claim", "status"), [("[guests eng]", 202), ("[guests]", 403), (None, 403)]
)
def test_post_sessions_asks_for_the_callers_groups(
    monkeypatch: pytest.MonkeyPatch, claim: str | None, status: int
) -> None:
    rules = [{"group": "eng", "repositories": ["octocat/*"]}]
    monkeypatch.setenv("HEADSTART_REPOSITORY_ACCESS", json.dumps(rules))
    monkeypatch.setenv("HEADSTART_GROUPS_CLAIM", "teams")
    asked = event("http_api")
    if claim is not None:
        asked["requestContext"]["authorizer"]["jwt"]["claims"]["teams"] = claim
    answer = handler("http_api")(asked, Context())
    assert answer["statusCode"] == status, answer["body"]
    if status == 403:
        assert body(answer)["code"] == "RepositoryForbidden"


def test_get_session() -> None:
    invoke("http_api")
    found = body(invoke("http_api-get"))
    assert [step["step"] for step in found["attempt"]["steps"]] == [s.name.value for s in STEPS]
    assert found["counts"]["setupCommands"] == 1


def test_get_a_session_that_is_not_there() -> None:
    answer = invoke("http_api-get")
    assert (answer["statusCode"], body(answer)["code"]) == (404, "SessionNotFound")


def test_wait_returns_when_the_status_is_another() -> None:
    invoke("http_api")
    assert body(invoke("wait"))["status"] == "preparing"


def test_a_viewer_connects_by_its_ticket_and_subscribes() -> None:
    assert invoke("socket-connect") == {"statusCode": 401}
    invoke("http_api")
    assert invoke("socket-connect") == {"statusCode": 200}
    answer, frames = posted("socket")
    assert answer == {"statusCode": 200}
    events = [item["type"] for frame in frames for item in frame.get("events", [])]
    assert events == ["session.snapshot", "session.preparing", "message.queued"]
    assert frames[-1] == {"type": "replayed", "through": 2, "more": False}
    assert invoke("socket-disconnect") == {"statusCode": 200}
    assert working_set().connections == {}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic"}])
def test_who_has_neither_ticket_nor_key_is_refused_without_a_read(headers: dict[str, str]) -> None:
    knock = event("socket-connect") | {"headers": headers, "queryStringParameters": None}
    assert handler("socket")(knock, Context()) == {"statusCode": 401}
    # It is made by its first use.
    assert "store" not in vars(bootstrap.services())


def start_sandbox() -> None:
    make_sandboxes()
    invoke("http_api")
    assert invoke("run_step") == {}


def test_the_sandbox_step_starts_one_task() -> None:
    start_sandbox()
    assert invoke("run_step") == {}
    ecs = bootstrap.services().sandboxes._client  # type: ignore[attr-defined]
    tasks = ecs.describe_tasks(cluster=CLUSTER, tasks=ecs.list_tasks(cluster=CLUSTER)["taskArns"])[
        "tasks"
    ]
    # moto knows no clientToken, so the repeat starts another under the same name; AWS does not.
    assert {task["startedBy"] for task in tasks} == {f"{SESSION_ID}-1-1"}
    environment = tasks[0]["overrides"]["containerOverrides"][0]["environment"]
    assert {item["name"]: item["value"] for item in environment}["HEADSTART_KEY"] == SECRET


@pytest.mark.parametrize(
    ("header", "value"),
    [("X-Headstart-Session", "x" * 4000), ("Authorization", "Bearer schlüssel")],
)
def test_a_header_without_sense_is_refused(header: str, value: str) -> None:
    start_sandbox()
    request = event("socket-connect-runner")
    request["headers"] |= {header: value}
    assert handler("socket")(request, Context()) == {"statusCode": 401}


def connect_runner() -> list[dict[str, Any]]:
    start_sandbox()
    assert invoke("socket-connect-runner") == {"statusCode": 200}
    answer, frames = posted("socket-hello")
    assert answer == {"statusCode": 200}
    return frames


def test_the_runner_says_hello() -> None:
    assert connect_runner()[0]["type"] == "welcome"
    assert working_set().attempt.step(StepName.SANDBOX).status is StepStatus.COMPLETED


@pytest.mark.parametrize("route", ["$connect", "$disconnect"])
def test_a_message_stays_one_whatever_route_it_names(route: str) -> None:
    invoke("http_api")
    invoke("socket-connect")
    message = event("socket")
    message["requestContext"]["routeKey"] = route
    message["body"] = json.dumps({"action": route})
    assert handler("socket")(message, Context()) == {"statusCode": 200}
    answer, frames = posted("socket")
    assert answer == {"statusCode": 200}
    assert frames[-1]["type"] == "replayed"


def test_a_step_becomes_a_command() -> None:
    connect_runner()
    answer, frames = posted("run_step-clone")
    assert answer == {}
    assert [(frame["type"], frame["kind"]) for frame in frames] == [("command", "clone")]
    (row,) = working_set().commands.values()
    assert row.task_token == event("run_step-clone")["taskToken"]


def test_the_end_of_a_preparation() -> None:
    start_sandbox()
    assert invoke("finish_preparation") == {}
    assert session().status is not Status.PREPARING


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("finish_preparation-failed", "RepositoryNotFound", "does not exist"),
        ("finish_preparation-crashed", "SandboxStartFailed", "Capacity is unavailable"),
    ],
)
def test_a_caught_error_is_told_in_its_own_words(name: str, code: str, reason: str) -> None:
    invoke("http_api")
    told = invoke(name)
    failure = session().failure
    assert failure
    # What the machine is told it keeps; the reason stays in the table.
    assert told == {"code": code, "reason": getattr(errors, code).title}
    assert failure.code == code
    assert reason in failure.reason
    assert "errorMessage" not in failure.reason


def metrics(written: str) -> list[tuple[str, dict[str, str]]]:
    """Return the names and dimensions of the metrics among a function's lines."""
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    return [
        (directive["Metrics"][0]["Name"], {name: line[name] for name in names})
        for line in lines
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", [])
        for names in directive["Dimensions"]
    ]


def test_every_metric_names_its_stack(capsys: pytest.CaptureFixture[str]) -> None:
    invoke("http_api")
    invoke("finish_preparation-failed")
    found = metrics(capsys.readouterr().out)
    assert ("PreparationsFailed", {"Stack": STACK, "Code": "RepositoryNotFound"}) in found
    assert {dimensions.get("Stack") for _, dimensions in found} == {STACK}


@pytest.mark.parametrize(
    ("name", "rings"),
    [("finish_preparation-crashed", True), ("finish_preparation-failed", False)],
)
def test_the_alarm_watches_what_is_counted_of_failures_that_no_user_caused(
    name: str, rings: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    resources = read_template(ROOT / "template.yaml")["Resources"]
    alarm = resources["InfrastructureFailuresAlarm"]["Properties"]
    invoke("http_api")
    capsys.readouterr()
    invoke(name)
    # An alarm's dimensions are a metric's own, all of them and no others.
    watched = (alarm["MetricName"], {d["Name"]: STACK for d in alarm["Dimensions"]})
    assert (watched in metrics(capsys.readouterr().out)) is rings


def test_a_task_that_ended_is_noted_with_the_reason_of_ecs() -> None:
    start_sandbox()
    assert invoke("sandbox_stopped") == {}
    sandbox = working_set().sandbox
    assert sandbox
    assert sandbox.status is SandboxStatus.STOPPED
    assert "OutOfMemoryError" in (sandbox.stopped_reason or "")
    assert "137" in (sandbox.stopped_reason or "")


def test_a_task_of_nobody_is_none_of_our_business() -> None:
    assert invoke("sandbox_stopped") == {}


def test_the_janitor_finds_nothing_due() -> None:
    make_sandboxes()
    invoke("http_api")
    assert invoke("janitor")["lookedAt"] == 0


def test_a_snapshot_is_taken_of_a_primed_function(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks: list[Any] = []
    restored: list[Any] = []
    runtime = ModuleType("snapshot_restore_py")
    runtime.register_before_snapshot = hooks.append  # type: ignore[attr-defined]
    runtime.register_after_restore = restored.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, runtime.__name__, runtime)
    bootstrap.entry(lambda *_: None)
    assert (hooks, restored) == ([bootstrap.prime], [random.seed])
    hooks[0]()
    made = set(vars(bootstrap.services()))
    assert {"store", "machine", "policy", "metrics"} <= made
