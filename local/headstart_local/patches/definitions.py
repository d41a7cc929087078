"""Step Functions: definitions that AWS would refuse, and paths that lead nowhere."""

import json
from collections.abc import Iterator
from typing import Any

from headstart_local.patches.context import PatchContext

_TYPES = {"Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"}
_TERMINAL = {"Succeed", "Fail", "Choice"}


def problems(machine: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield what is wrong with the structure of a machine or of a branch of one."""
    states: dict[str, Any] = machine.get("States") or {}
    targets = [(f"{where}/StartAt", machine.get("StartAt"))]
    for name, state in states.items():
        here = f"{where}/States/{name}"
        kind = state.get("Type")
        if kind not in _TYPES:
            yield f"unknown Type {kind!r} at {here}"
        if kind == "Task" and not state.get("Resource"):
            yield f"Resource missing at {here}"
        if kind not in _TERMINAL and ("Next" in state) == bool(state.get("End")):
            yield f"one of Next and End is needed at {here}"
        rules = [*state.get("Choices", []), *state.get("Catch", [])]
        targets += [(here, rule.get("Next")) for rule in rules]
        targets += [(here, state[key]) for key in ("Next", "Default") if key in state]
        iterator = state.get("ItemProcessor") or state.get("Iterator")
        for part in [*state.get("Branches", []), *([iterator] if iterator else [])]:
            yield from problems(part, here)
    for here, target in targets:
        if target not in states:
            yield f"missing target state {target!r} at {here}"


def invalid_definitions_refused(context: PatchContext) -> None:
    """Refuse a definition whose states don't fit together with InvalidDefinition.

    CreateStateMachine and UpdateStateMachine validate the Amazon States Language (API reference);
    through CloudFormation the same fails the resource.
    """
    sfn, cloudformation = context.emulator.stepfunctions, context.emulator.cloudformation
    responses = context.emulator.responses

    def found(definition: Any) -> str:
        try:
            return "; ".join(problems(json.loads(definition or "{}")))
        except ValueError as error:
            return f"not JSON: {error}"

    def checked(stock: Any) -> Any:
        def call(data: dict[str, Any]) -> Any:
            if "definition" in data and (problem := found(data["definition"])):
                message = f"Invalid State Machine Definition: '{problem}'"
                return responses.error_response_json("InvalidDefinition", message, 400)
            return stock(data)

        return call

    stock_definition = cloudformation._sfn_definition

    def provisioned(props: dict[str, Any]) -> Any:
        definition = stock_definition(props)
        if problem := found(definition):
            raise ValueError(f"Invalid State Machine Definition: '{problem}'")
        return definition

    sfn._create_state_machine = checked(sfn._create_state_machine)
    sfn._update_state_machine = checked(sfn._update_state_machine)
    cloudformation._sfn_definition = provisioned


def missing_paths_fail(context: PatchContext) -> None:
    """Fail the execution when a path in Parameters selects nothing.

    The error is States.Runtime, which no Retry or Catch handles: "States.ALL ... can't catch
    States.Runtime" ("Handling errors in Step Functions workflows").
    """
    sfn = context.emulator.stepfunctions
    stock = sfn._resolve_params_obj

    def leads_somewhere(path: str, data: Any) -> bool:
        for kind, step in sfn._parse_jsonpath_tokens(path) or []:
            if kind == "wildcard":
                return True
            try:
                data = data[step]
            except (KeyError, IndexError, TypeError):
                return False
        return True

    def resolve(template: Any, data: Any, ctx: dict[str, Any] | None = None) -> Any:
        for key, path in template.items() if isinstance(template, dict) else ():
            if not (key.endswith(".$") and isinstance(path, str) and path.startswith("$")):
                continue
            source = ctx if path.startswith("$$") else data
            if not leads_somewhere(path.removeprefix("$") if source is ctx else path, source):
                cause = f"The JSONPath '{path}' specified for the field '{key}' could not be found"
                raise sfn._ExecutionError("States.Runtime", cause)
        return stock(template, data, ctx)

    sfn._resolve_params_obj = resolve
