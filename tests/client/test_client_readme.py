"""The client's README against the command line and the client: what each takes, and no other."""

import argparse
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.domain import requests
from headstart_client import AsyncHeadstart, Headstart, Session, arguments, operations, options
from headstart_client.errors import Conflict, RateLimited, api_error
from headstart_docs.operations import OPERATIONS

README = (Path(__file__).parents[2] / "client" / "README.md").read_text()

ELSEWHERE = {"up"}
"""What hands its arguments on to the embedded cloud, whose document has them."""


def commands() -> dict[str, argparse.ArgumentParser]:
    [choice] = [a for a in arguments.parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(choice.choices)


def taken_by(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options that a command has, and the names of its arguments."""
    taken: set[str] = set()
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            taken.update(action.option_strings or [str(action.metavar)])
    return taken


def test_each_command_has_its_row_with_what_it_takes():
    rows = dict(re.findall(r"^\| `headstart (\w+)(.*)\|$", README, re.MULTILINE))
    assert set(rows) == set(commands())
    for name, parser in commands().items():
        usage = rows[name].partition("`")[0]
        named = set(re.findall(r"--[\w-]+", rows[name]))
        named |= set(re.findall(r"(?<!-)\b[A-Z]+\b", re.sub(r"--[\w-]+ [A-Z]+", "", usage)))
        if name not in ELSEWHERE:
            assert named == taken_by(parser), name


def test_the_examples_are_understood():
    [block] = re.findall(r"```sh\n(headstart .+?)```", README, re.DOTALL)
    for line in block.splitlines():
        words = re.findall(r'"[^"]*"|[^\s"]+', line.partition(" # ")[0].replace("ses_…", "ses_1"))
        assert arguments.parser().parse_args([word.strip('"') for word in words[1:]])


METHODS = {
    name: member
    for name, member in inspect.getmembers(AsyncHeadstart, inspect.isfunction)
    if not name.startswith("_") and name != "token"
}
ROWS = {
    name: (f"{name}{taken}", *(cell.strip() for cell in cells.split("|")))
    for name, taken, cells in re.findall(r"^\| `(\w+)(\(.*?\))` \|(.*)\|$", README, re.MULTILINE)
}
CALLS = {
    "get": "get_session",
    "messages": "list_messages",
    "patch": "patch_session",
    "delete": "delete_session",
    "send": "send_message",
    "withdraw": "withdraw_message",
}
"""What the API's document calls a method, where it says something else."""


def usage(name: str) -> str:
    """Return a method with its arguments and their defaults, and without types."""
    made: Callable[..., Any] = getattr(operations, name, METHODS[name])
    signature = inspect.signature(made)
    # What `help` spells out is told once for all methods that take it.
    every = options.SessionOptions.__annotations__.keys()
    spelled = every if every <= signature.parameters.keys() else set()
    given = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name not in {"self", *spelled}
    ]
    if spelled:
        given.append(inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD))
    shown = signature.replace(parameters=given, return_annotation=inspect.Signature.empty)
    return f"{name}{re.sub(r'=Timing.*', '=…)', str(shown))}"


def test_each_method_has_its_row_with_what_it_takes():
    assert {name: row[0] for name, row in ROWS.items()} == {name: usage(name) for name in METHODS}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_row_says_what_the_api_refuses_that_call_with(operation):
    named = {method for method in METHODS if CALLS.get(method, method) == operation.name}
    refusals = {type(api_error(status, {})) for status in operation.refused_by()}
    for method in named:
        raised = {cls for cls in (Conflict, RateLimited) if cls.__name__ in ROWS[method][2]}
        assert raised == refusals & {Conflict, RateLimited}, method


@pytest.mark.parametrize(
    ("name", "fields", "request_", "own"),
    [
        (
            "options",
            options.SessionOptions,
            requests.CreateSession,
            {"prompt", "auto_initiate"},
        ),
        ("changes", options.SessionChanges, requests.PatchSession, set()),
    ],
)
def test_what_a_session_is_asked_for_with_is_what_the_api_takes(name, fields, request_, own):
    listed = README.partition(f"- `{name}` are ")[2].partition("\n- ")[0]
    named = re.findall(r"`(\w+)`", re.split(r", and mean|: ", listed)[0])
    assert named == list(fields.__annotations__)
    # What the client seals before it is sent.
    assert {*named, *own} - {"secrets"} == set(request_.model_fields)


def test_help_shows_what_an_operation_takes_and_answers():
    for client in (Headstart, AsyncHeadstart):
        shown = inspect.signature(client.answer_input)
        assert list(shown.parameters) == ["self", "session_id", "request_id", "answer"]
        assert shown.return_annotation is None
        assert '{"reply": "once"}' in (client.answer_input.__doc__ or "")
        changes = inspect.signature(client.patch).parameters
        assert list(changes) == ["self", "session_id", *options.SessionChanges.__annotations__]
        run = inspect.signature(client.run).parameters
        assert list(run)[3:] == ["timeout", *options.SessionOptions.__annotations__]
        assert inspect.signature(client.get).return_annotation is Session
        assert client.list.__name__ == "list"
    # Mocks and frameworks ask so what has to be awaited.
    assert inspect.iscoroutinefunction(AsyncHeadstart.get)
    assert not inspect.iscoroutinefunction(Headstart.get)
