"""Schemathesis against the document: whatever is sent, the answer is one that is written down.

`test_fuzz.py` runs it: what is sent is made up while tests are looked for, which each process does.
The same requests in every run. Those without a body go to a session in every status; those with
one, of which there are many, to one in a status that the body itself decides.
"""

import copy
import json
import zlib
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, Config, GenerationMode
from schemathesis.core import NotSet
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection

from headstart.domain.session import Status
from headstart.usecases import read
from headstart_docs.in_process import Api
from headstart_docs.operations import OPERATIONS
from tests.api.gateway import MESSAGE_ID, REQUEST_ID, TEXT_REF, TOKEN, World

WORLD = World()
CONFIG = Config.from_dict(
    {
        "checks": {
            # API Gateway answers 404 where this wants 405.
            "unsupported_method": {"enabled": False},
            # A schema can't say all that is wrong.
            "positive_data_acceptance": {"enabled": False},
            "negative_data_rejection": {"expected-statuses": [400, 401, 404, 409, 413, 422]},
        },
        # What one answer says must not change what is asked next: tests come in any order.
        "phases": {
            "fuzzing": {
                "extra-data-sources": {"responses": False},
                "error-feedback": {"enabled": False},
            }
        },
    }
)
SCHEMA = schemathesis.openapi.from_wsgi("/openapi.json", WORLD, config=CONFIG)
GENTLY = settings(
    max_examples=8,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
SMALLEST: dict[str, dict[str, Any]] = {
    "createSession": {"prompt": "Add a health check", "githubRepo": "org/name"},
    "patchSession": {},
    "sendMessage": {"prompt": "And then the tests"},
    "answerInput": {"reply": "once"},
    "publish": {},
    "retry": {"attemptNumber": 1},
}


@pytest.fixture(autouse=True)
def _time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read.wait_while.__kwdefaults__
    monkeypatch.setitem(read.wait_while.__kwdefaults__, "sleep", WORLD.sleep)


def statuses(case: Case) -> list[Status]:
    """Return the statuses in which to try a case."""
    every = list(Status)
    if isinstance(case.body, NotSet):
        return every if case.path_parameters else every[:1]
    text = json.dumps(case.body, sort_keys=True, default=lambda _: "")
    return [every[zlib.crc32(text.encode()) % len(every)]]


def arrange(case: Case, status: Status) -> None:
    """Let the case find a session in that status, and what its agent asks."""
    known = {
        "id": WORLD.arrange(status),
        "messageId": MESSAGE_ID,
        "requestId": REQUEST_ID,
        "ref": TEXT_REF,
    }
    for name in set(known) & set(case.path_parameters):
        case.path_parameters[name] = known[name]


def is_wrong(case: Case, location: ParameterLocation) -> bool:
    """Say whether a part of the case breaks the document on purpose."""
    components = case.meta.components if case.meta else {}
    return location in components and components[location].mode is GenerationMode.NEGATIVE


@SCHEMA.parametrize()
@GENTLY
def test_every_answer_is_a_documented_one(case: Case) -> None:
    # Headers and queries that we don't know are nobody's fault, and the path was replaced.
    excluded = [] if is_wrong(case, ParameterLocation.BODY) else [negative_data_rejection]
    for status in statuses(case):
        arrange(case, status)
        case.call_and_validate(
            headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=excluded
        )


@SCHEMA.include(operation_id=list(SMALLEST)).parametrize()
@GENTLY
def test_without_what_is_named_as_wrong_a_body_is_taken(case: Case) -> None:
    operation = case.operation
    if case.method != operation.method.upper() or is_wrong(case, ParameterLocation.BODY):
        return
    if isinstance(case.body, NotSet):
        return  # which the test above sends
    (status,) = statuses(case)
    arrange(case, status)
    smallest = SMALLEST[operation.definition.raw["operationId"]]
    body: dict[str, Any] = copy.deepcopy(case.body)
    api, path = Api(WORLD.ports), case.formatted_path
    answer = api.call(case.method, path, body)
    for _ in range(5):
        if answer.status != 422:
            break
        # A field may have several things wrong in it.
        for name in dict.fromkeys(error["loc"][0] for error in answer.json["errors"]):
            assert name in {"body", *body, *smallest}, answer.text
            body = smallest if name == "body" else {k: v for k, v in body.items() if k != name}
            body = body | {name: smallest[name]} if name in smallest else body
        answer = api.call(case.method, path, body)
    assert answer.status not in {400, 422}, answer.text
    if answer.status != 413:
        answer = api.call(case.method, path, body | {"colour": 1})
        errors = [{"loc": ["colour"], "msg": "is not known here"}]
        assert answer.json.get("errors") == errors, answer.text


def test_every_body_is_fuzzed() -> None:
    assert {o.operation_id for o in OPERATIONS if o.request} == set(SMALLEST)
