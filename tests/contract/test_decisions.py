"""Every decision is the domain's: a use case reaches outside before it or after it, never in it."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import headstart.usecases
from headstart.domain import life
from headstart.domain.change import Change

USECASES = Path(headstart.usecases.__file__).parent
RULES = Path(life.__file__).parent
MAKERS = {"headstart.usecases.change.change", "headstart.usecases.commit.commit"}
"""What is given a decision: as its third argument, or by its name."""

PURE = {"collections", "dataclasses", "datetime", "enum", "re", "typing", "pydantic", "headstart"}
"""What a rule may import; of headstart the import contracts say more."""


@dataclass(frozen=True)
class Function:
    """A function of a use case's module, and how that module knows others."""

    module: str
    node: ast.FunctionDef

    @property
    def parameters(self) -> list[str]:
        """Its parameters, in order."""
        arguments = self.node.args
        return [argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)]


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((USECASES / f"{module.rpartition('.')[2]}.py").read_text())


MODULES = [
    f"headstart.usecases.{path.stem}" for path in USECASES.glob("*.py") if path.stem != "__init__"
]


@cache
def names(module: str) -> dict[str, str]:
    """Return what a module's names stand for: our modules and functions, by their full names."""
    found = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in tree(module).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = f"{module}.{node.name}"
    return found


@cache
def functions() -> dict[str, Function]:
    """Return the functions of the use cases by their full names."""
    return {
        f"{module}.{node.name}": Function(module, node)
        for module in MODULES
        for node in tree(module).body
        if isinstance(node, ast.FunctionDef)
    }


def full_name(module: str, node: ast.expr) -> str | None:
    """Return what a name, or an attribute of a module, stands for."""
    if isinstance(node, ast.Name):
        return names(module).get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        owner = names(module).get(node.value.id)
        return f"{owner}.{node.attr}" if owner else None
    return None


def calls_of(name: str) -> Iterator[tuple[Function, ast.Call]]:
    """Yield every call of a function in any use case, with the function that it stands in."""
    for function in functions().values():
        for node in ast.walk(function.node):
            if isinstance(node, ast.Call) and full_name(function.module, node.func) == name:
                yield function, node


def argument(call: ast.Call, index: int, name: str) -> ast.expr | None:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    return call.args[index] if index < len(call.args) else given.get(name)


def decisions(function: Function, node: ast.expr | None) -> Iterator[str]:
    """Yield the full names of the functions that an expression may stand for."""
    module = function.module
    match node:
        case ast.Call(func=ast.Name(id="partial")):
            yield from decisions(function, node.args[0])
        case ast.Call() if made := functions().get(full_name(module, node.func) or ""):
            # What returns a decision makes it of those that it was given.
            for part in ast.walk(made.node):
                if isinstance(part, ast.Return):
                    yield from decisions(made, part.value)
        case ast.Name() if node.id in function.parameters:
            yield from given(function, node.id)
        case ast.Name() if assigned := list(values(function, node.id)):
            for value in assigned:
                yield from decisions(function, value)
        case ast.Name() | ast.Attribute():
            yield full_name(module, node) or f"{module}: {ast.unparse(node)}"
        case None:
            return
        case _:
            yield f"{module}: {ast.unparse(node)}"


def values(function: Function, name: str) -> Iterator[ast.expr]:
    """Yield what is assigned to a local name."""
    for part in ast.walk(function.node):
        if isinstance(part, ast.Assign) and name in map(ast.unparse, part.targets):
            yield part.value


def given(function: Function, parameter: str) -> Iterator[str]:
    """Yield what callers give for a parameter; those of the makers are looked at for themselves."""
    own = f"{function.module}.{function.node.name}"
    if own in MAKERS:
        return
    for caller, call in calls_of(own):
        index = function.parameters.index(parameter)
        yield from decisions(caller, argument(call, index, parameter))


@cache
def all_decisions() -> dict[str, list[str]]:
    """Return every decision that any use case makes, with the functions that have it made."""
    found: dict[str, list[str]] = {}
    for maker in MAKERS:
        for function, call in calls_of(maker):
            for name in decisions(function, argument(call, 2, "decide")):
                place = f"{function.module.rpartition('.')[2]}.{function.node.name}"
                found.setdefault(name, []).append(place)
    return found


def test_every_decision_is_a_rule_of_the_domains() -> None:
    outside = {
        name: places
        for name, places in all_decisions().items()
        if not name.startswith("headstart.domain.life.")
    }
    assert outside == {}


@pytest.mark.parametrize("name", sorted(all_decisions()))
def test_a_decision_is_a_function_of_a_change_that_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    decide: Any = getattr(import_module(module), attribute)
    first = next(iter(inspect.signature(decide).parameters.values()))
    assert first.annotation is Change
    assert decide.__module__ == module


def test_all_of_them_are_found() -> None:
    """Each file has some, but for those that others rest on; the roundabout ones are among them."""
    found = all_decisions()
    files = {name.split(".")[3] for name in found}
    assert files == {path.stem for path in RULES.glob("*.py")} - {
        "__init__",
        "beginning",
        "locating",
        "progress",
        "publishing",
        "queueing",
        "saving",
        "workspace",
        "writing",
    }
    roundabout = {
        "headstart.domain.life.preparing.take_step",
        "headstart.domain.life.preparing.take_delivery",
        "headstart.domain.life.beating.take_heartbeat",
        "headstart.domain.life.sleeping.leaving",
        "headstart.domain.life.talking.send",
        "headstart.domain.life.hosting.acquire",
    }
    assert roundabout <= found.keys()
    assert len(found) >= 35


@pytest.mark.parametrize("path", sorted(RULES.glob("*.py")), ids=lambda path: path.stem)
def test_a_rule_reaches_neither_the_clock_nor_chance_nor_anything_outside(path: Path) -> None:
    module = ast.parse(path.read_text())
    imports = {
        (node.module or "").partition(".")[0]
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
    }
    plain = {
        alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imports | plain <= PURE
    called = {
        node.func.attr
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert called & {"now", "utcnow", "today", "open", "read_text"} == set()
