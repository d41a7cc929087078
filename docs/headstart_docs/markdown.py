"""The parts of docs/api.md that are made from the code, put between their markers."""

import inspect
import json
import re
from collections.abc import Iterable
from typing import Any

from headstart.domain.calls import EFFECTS, Call
from headstart.domain.errors import (
    STREAM_ERRORS,
    Forbidden,
    HeadstartError,
    StepError,
    TicketRefused,
)
from headstart.domain.events import EVENT_TYPES, Event, EventData
from headstart.domain.model import Model
from headstart.domain.session import TRANSITIONS, Status
from headstart_docs import answers
from headstart_docs.examples import Example, make_examples
from headstart_docs.openapi import make_document
from headstart_docs.operations import OPERATIONS, Operation

_WIDTH = 96
_BEGIN, _END = "<!-- made by `make docs`: {} -->", "<!-- end -->"
# Told once for all calls.
_EVERYWHERE = {"Unauthorized", "ServiceUnavailable", "RowUnreadable", "Conflict", "HeadstartError"}
_SESSION = re.compile(r"ses_\w+")
_BODIES = {"MalformedBody", "BodyTooLarge", "ValidationFailed"}


def fill(text: str) -> str:
    """Return the page with every part between markers made anew."""
    for name, part in _parts().items():
        begin = _BEGIN.format(name)
        before, found, rest = text.partition(begin + "\n")
        _, ended, after = rest.partition(_END)
        if not found or not ended:
            raise ValueError(f"docs/api.md needs {begin} and {_END}")
        text = f"{before}{begin}\n\n{part.strip()}\n\n{_END}{after}"
    return text


def _parts() -> dict[str, str]:
    return {
        "calls": _calls(),
        "statuses": _statuses(),
        "effects": _effects(),
        "stream errors": _stream_errors(),
        "event": _event(),
        "events": _events(),
        "errors": _errors(),
        "failures": _failures(),
    }


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _sentence(cls: type) -> str:
    """Return a class's docstring on one line."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split()).replace("|", "\\|")


# Calls.


def _calls() -> str:
    examples, schemas = make_examples(), make_document()["components"]["schemas"]
    problem = _fenced("json", _pretty(examples["problem"].answer.json))
    parts = [_call(operation, examples.get(operation.name), schemas) for operation in OPERATIONS]
    first, *rest = parts
    return "\n\n".join([first, f"With a body that breaks two rules, `422`:\n\n{problem}", *rest])


def _call(operation: Operation, example: Example | None, schemas: dict[str, Any]) -> str:
    parts = [f"### `{operation.method.upper()} {operation.path}`", operation.text]
    if operation.request:
        parts.append(_fields(schemas[operation.request.__name__], schemas))
    if operation.query:
        rows = [
            (f"`{q.name}`", _type(q.schema, schemas), _note({"description": q.text, **q.schema}))
            for q in operation.query
        ]
        parts.append(_table(("query", "type", ""), rows))
    parts.append(_fenced("sh", _curl(operation, example)))
    if example:
        parts.append(_answer(operation, example))
    refusals = [
        f"`{status}` {', '.join(f'`{error.__name__}`' for error in errors)}"
        for status, all_errors in operation.refused_by().items()
        if (errors := [e for e in all_errors if e.__name__ not in _EVERYWHERE | _BODIES])
    ]
    if refusals:
        parts.append(f"Refused with {'; '.join(refusals)}.")
    return "\n\n".join(parts)


def _answer(operation: Operation, example: Example) -> str:
    if operation.answer is answers.SessionView and operation.name != "get_session":
        return f"`{example.answer.status}` and the session, as `GET /sessions/{{id}}` answers it."
    if operation.answer is answers.ChangedSession:
        more = "and `warnings`, as `POST /sessions` does"
        session = "the session, as `GET /sessions/{id}` answers it"
        return f"`{example.answer.status}` and {session}, {more}."
    body = example.answer.json
    if operation.answer is answers.SessionPage:
        shown = {name: body["items"][0][name] for name in ("sessionId", "title", "status")}
        text = _pretty({**body, "items": [{**shown, "more": 0}]}).replace('"more": 0', "…")
    else:
        text = _pretty(body)
    return f"`{example.answer.status}`\n\n{_fenced('json', text)}"


def _curl(operation: Operation, example: Example | None) -> str:
    if example is None:
        return f'curl -s "$HEADSTART_URL{operation.path}"'
    lines = [f'curl -s "$HEADSTART_URL{_SESSION.sub("$SESSION", example.target)}"']
    method = "POST" if example.body is not None else "GET"
    if operation.method.upper() != method:
        lines[0] = lines[0].replace("-s", f"-s -X {operation.method.upper()}")
    if not operation.is_open:
        lines[0] += ' -H "Authorization: Bearer $HEADSTART_TOKEN"'
    if example.key:
        lines.append(f"-H 'Idempotency-Key: {example.key}'")
    if example.body is not None:
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d '{_pretty(example.body)}'")
    return " \\\n  ".join(lines)


def _fields(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (
            f"**`{name}`**" if name in required else f"`{name}`",
            _type(field, schemas),
            _note(field),
        )
        for name, field in schema["properties"].items()
    ]
    return _table(("field", "type", ""), rows)


def _note(field: dict[str, Any]) -> str:
    texts = [part.get("description", "") for part in (field, *field.get("anyOf", []))]
    default = field.get("default")
    texts += [f"Default `{json.dumps(default)}`."] if default is not None else []
    return " ".join(text for text in texts if text).replace("|", "\\|")


def _type(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Return a schema in a few words."""
    match schema:
        case {"$ref": str(name)}:
            text = _type(schemas[name.rpartition("/")[2]], schemas)
        case {"anyOf": list(parts)}:
            text = " or ".join(_type(part, schemas) for part in parts)
        case {"enum": list(values)}:
            text = ", ".join(f"`{value}`" for value in values)
        case {"minimum": low, "maximum": high}:
            text = f"{low} to {high}"
        case {"minimum": low}:
            text = f"integer from {low}"
        case {"maxLength": 0}:
            text = '`""`'
        case {"maxLength": limit}:
            text = f"string of at most {limit}"
        case {"items": items, "maxItems": limit}:
            text = f"up to {limit} of: {_type(items, schemas)}"
        case {"properties": properties}:
            text = "{" + ", ".join(f"`{name}`" for name in properties) + "}"
        case {"maxProperties": limit}:
            text = f"object of at most {limit}"
        case _:
            text = str(schema["type"])
    return text


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _pretty(value: object, indent: int = 0) -> str:
    """Return JSON with everything on one line that fits there."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= _WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        items = [f"{json.dumps(k)}: {_pretty(v, indent + 2)}" for k, v in value.items()]
        opening, closing = "{", "}"
    else:
        items = [_pretty(item, indent + 2) for item in value]
        opening, closing = "[", "]"
    return f"{opening}\n{pad}" + f",\n{pad}".join(items) + f"\n{' ' * indent}{closing}"


# Tables.


def _statuses() -> str:
    lines = ["stateDiagram-v2", "    [*] --> preparing"]
    for status, following in TRANSITIONS.items():
        # From everywhere, so its arrows would say nothing and hide the rest.
        found = [s for s in Status if s in following and s is not Status.DELETING]
        lines += [f"    {status} --> {other}" for other in found]
    return _fenced("mermaid", "\n".join(lines))


def _effects() -> str:
    statuses = list(Status)
    rows = [
        (f"`{call.value}`", *(EFFECTS[call, status].value for status in statuses)) for call in Call
    ]
    return _table(("call", *(f"`{status}`" for status in statuses)), rows)


def _stream_errors() -> str:
    return _table(
        ("code", "meaning"), ((f"`{cls.__name__}`", _sentence(cls)) for cls in STREAM_ERRORS)
    )


def _event() -> str:
    return f"An event has {_fields_of(Event)}."


def _events() -> str:
    rows = [
        (f"`{kind}`", "yes" if cls.persisted else "", _data(cls), _sentence(cls))
        for kind, cls in EVENT_TYPES.items()
    ]
    return _table(("type", "kept", "data", "what happened"), rows)


def _data(cls: type[EventData]) -> str:
    return "…" if "payload" in cls.model_fields else _fields_of(cls)


def _fields_of(cls: type[Model]) -> str:
    names = [
        f"`{field.alias}`{'' if field.is_required() else '?'}"
        for field in cls.model_fields.values()
    ]
    return ", ".join(names)


def _errors() -> str:
    # These two are said on the stream only.
    unsaid = {TicketRefused, Forbidden}
    found = [cls for cls in _tree(HeadstartError) if _is_answered(cls) and cls not in unsaid]
    rows = [
        (f"`{cls.__name__}`", str(cls.status), "yes" if cls.retryable else "", _meaning(cls))
        for cls in sorted(found, key=lambda cls: cls.status)
    ]
    return _table(("code", "status", "retryable", "meaning"), rows)


def _meaning(cls: type[HeadstartError]) -> str:
    # The root of the tree is what is answered when we don't know what happened.
    return f"{cls.title}." if cls is HeadstartError else _sentence(cls)


def _is_answered(cls: type[HeadstartError]) -> bool:
    return cls is HeadstartError or cls.status != HeadstartError.status


def _failures() -> str:
    rows = [
        (f"`{cls.__name__}`", "yes" if cls.retryable else "", _sentence(cls))
        for cls in _tree(StepError)
        if cls is not StepError
    ]
    return _table(("code", "retryable", "meaning"), rows)


def _tree(cls: type[HeadstartError]) -> list[type[HeadstartError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in _tree(child))]
