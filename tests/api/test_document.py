"""The document, the template, the handlers and the page of the docs say the same."""

import json
import re
from typing import Any

import pytest
import schemathesis
import yaml

from headstart.domain.errors import Forbidden, HeadstartError, StepError, TicketRefused
from headstart.domain.model import Model
from headstart_docs import answers
from headstart_docs.examples import make_examples
from headstart_docs.files import DOCUMENT, PAGE, made
from headstart_docs.in_process import ROOT, Api, handler_module
from headstart_docs.operations import OPERATIONS
from headstart_local.packaging import read_template

DOC = json.loads(DOCUMENT.read_text())
TEMPLATE = read_template(ROOT / "template.yaml")["Resources"]
FUNCTIONS = {"http_api": "HttpApiFunction", "wait": "WaitFunction"}


def described() -> set[tuple[str, str, str]]:
    """Return operationId, method and path of every call in the document."""
    return {
        (operation["operationId"], method, path)
        for path, methods in DOC["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize("path", [DOCUMENT, PAGE], ids=lambda path: path.name)
def test_what_is_made_is_current(path: Any) -> None:
    assert path.read_text() == made()[path], "run `make docs`"


def test_the_document_is_valid_openapi() -> None:
    assert DOC["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(DOC).validate()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_handlers_have_the_routes_of_the_document(function: str) -> None:
    app = handler_module(function).app
    routes = {
        (route.func.__name__, route.method.lower(), route.openapi_path)
        for route in app._static_routes + app._dynamic_routes
    }
    # A parameter's name in the code is the code's own, so only its place is compared.
    expected = {
        (operation.name, operation.method, re.sub(r"\{\w+\}", "{}", operation.path))
        for operation in OPERATIONS
        if operation.function == function
    }
    found = {(name, method, re.sub(r"[{<]\w+[}>]", "{}", path)) for name, method, path in routes}
    assert found == expected


def test_the_template_has_the_routes_of_the_document() -> None:
    found = set()
    for function, resource in FUNCTIONS.items():
        for name, event in TEMPLATE[resource]["Properties"]["Events"].items():
            properties = event["Properties"]
            is_open = properties.get("Auth") == {"Authorizer": "NONE"}
            route = (properties["Method"].lower(), properties["Path"])
            found.add((function, name[0].lower() + name[1:], *route, is_open))
    operations = {(o.function, o.operation_id, o.method, o.path, o.is_open) for o in OPERATIONS}
    assert found == operations
    assert {(name, method, path) for _, name, method, path, _ in found} == described()
    unlisted = [
        name
        for name, resource in TEMPLATE.items()
        if name not in FUNCTIONS.values()
        and any(
            event["Type"] == "HttpApi"
            for event in resource.get("Properties", {}).get("Events", {}).values()
        )
    ]
    assert unlisted == []


def test_only_what_is_open_needs_no_token() -> None:
    assert DOC["security"] == [{"token": []}]
    open_ids = {
        operation["operationId"]
        for methods in DOC["paths"].values()
        for operation in methods.values()
        if operation.get("security") == []
    }
    assert open_ids == {"encryptionKey", "health", "openapi"}


def test_browsers_may_send_what_the_document_asks_for() -> None:
    cors = TEMPLATE["HttpApi"]["Properties"]["CorsConfiguration"]
    assert {o.method.upper() for o in OPERATIONS} <= set(cors["AllowMethods"])
    assert {"authorization", "content-type", "idempotency-key"} <= set(cors["AllowHeaders"])
    assert "retry-after" in cors["ExposeHeaders"]


def test_the_document_is_served_as_it_ships(api: Api) -> None:
    answer = api.call("GET", "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.text == DOCUMENT.read_text()


def test_every_error_of_the_api_is_answered_by_a_call() -> None:
    def tree(cls: type[HeadstartError]) -> set[type[HeadstartError]]:
        below = [tree(child) for child in cls.__subclasses__() if child is not StepError]
        return {cls}.union(*below)

    answered = {
        error
        for operation in OPERATIONS
        for errors in operation.refused_by().values()
        for error in errors
    }
    # The gateway knows the paths, so a handler's own 404 for one is never seen; two are the
    # stream's; those of 500 are caught where they are raised.
    never = {Forbidden, TicketRefused}
    known = {cls for cls in tree(HeadstartError) if cls.status != 500} - never
    assert {cls.__name__ for cls in known - answered} == {"RouteNotFound"}
    assert answered - known == {HeadstartError}


EXAMPLES = make_examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_answers_what_is_documented(name: str) -> None:
    example = EXAMPLES[name]
    operation = next((o for o in OPERATIONS if o.name == name), None)
    model: Any = operation.answer if operation else answers.Problem
    assert example.answer.status == (operation.status if operation else 422)
    if isinstance(model, type) and issubclass(model, Model):
        # The models refuse unknown fields, which the document must not.
        model.model_validate_json(example.answer.text)


def test_every_call_has_an_example() -> None:
    assert {o.name for o in OPERATIONS} - set(EXAMPLES) == {"openapi"}


def test_links_of_the_page_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target


def test_the_document_is_plain_yaml_too() -> None:
    assert yaml.safe_load(DOCUMENT.read_text()) == DOC
