"""The OpenAPI 3.1 document."""

from collections import defaultdict
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from headstart.domain.events import EVENT_TYPES, EventData, SessionSnapshot
from headstart.domain.ids import SESSION_ID_PATTERN
from headstart.domain.long_texts import REF
from headstart.domain.model import Model
from headstart.http import RETRY_AFTER_SECONDS
from headstart_docs import answers
from headstart_docs.examples import Example, make_examples
from headstart_docs.operations import OPERATIONS, Error, Operation

Json = dict[str, Any]
_SCHEMAS = "#/components/schemas/"
_PASSED = {"session.snapshot", "agent.event", "agent.delta", "agent.snapshot"}
_DESCRIPTION = """\
Starts cloud coding-agent sessions without making anyone wait. Errors are RFC 9457 problem documents
with a `code` and whether it is `retryable`. Readers must ignore fields, event types and codes that
they don't know: adding one is not a new version."""
_PATH_PARAMETERS: Json = {
    "id": {"type": "string", "pattern": SESSION_ID_PATTERN},
    "messageId": {"type": "string", "pattern": "^msg_[0-9A-Za-z_]+$"},
    "requestId": {"type": "string", "minLength": 1},
    "ref": {"type": "string", "pattern": f"^{REF}$"},
}
# What API Gateway answers by itself, without asking us.
_GATEWAY = {401, 429, 503}


class _Plain(GenerateJsonSchema):
    """JSON Schema without a `title` for each field, which only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def make_document() -> Json:
    """Return the document; the same code gives the same document."""
    examples = make_examples()
    paths: dict[str, Json] = defaultdict(dict)
    refusals: Json = {}
    for operation in OPERATIONS:
        example = examples.get(operation.name)
        paths[operation.path][operation.method] = _operation(operation, example)
        refusals |= {_refusal_name(e): _refusal(s, e) for s, e in operation.refused_by().items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headstart", "version": "1", "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": {name: refusals[name] for name in sorted(refusals)},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _operation(operation: Operation, example: Example | None) -> Json:
    found: Json = {
        "operationId": operation.operation_id,
        "summary": operation.summary,
        "description": operation.text,
        "parameters": _parameters(operation),
        "responses": _responses(operation, example),
    }
    if operation.is_open:
        found["security"] = []
    if operation.request:
        content: Json = {"schema": _ref(operation.request.__name__)}
        if example:
            content["example"] = example.body
        found["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": content},
        }
    return found


def _parameters(operation: Operation) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_PARAMETERS[name]}
        for name in operation.path_parameters()
    ]
    found += [
        {"name": query.name, "in": "query", "description": query.text, "schema": query.schema}
        for query in operation.query
    ]
    if operation.keyed:
        text = "Makes repeats of this call safe for 24 hours: the same key and body, one effect."
        schema = {"type": "string", "pattern": "^[!-~]{1,255}$"}
        found.append(
            {"name": "Idempotency-Key", "in": "header", "description": text, "schema": schema}
        )
    return found


def _responses(operation: Operation, example: Example | None) -> Json:
    name = operation.answer if isinstance(operation.answer, str) else operation.answer.__name__
    content: Json = {"schema": _ref(name)}
    # A session is long, and one shows them all.
    if example and (operation.answer is not answers.SessionView or operation.name == "get_session"):
        content["example"] = example.answer.json
    found: Json = {
        str(operation.status): {
            "description": operation.summary,
            "content": {"application/json": content},
        }
    }
    for status, errors in operation.refused_by().items():
        found[str(status)] = {"$ref": f"#/components/responses/{_refusal_name(errors)}"}
    return found


def _refusal_name(errors: list[Error]) -> str:
    return "Or".join(error.__name__ for error in errors)


def _refusal(status: int, errors: list[Error]) -> Json:
    codes = [error.__name__ for error in errors]
    schema = {"allOf": [_ref("Problem"), {"properties": {"code": {"enum": codes}}}]}
    found: Json = {
        "description": " ".join(f"`{error.__name__}`: {error.title}." for error in errors),
        "content": {"application/problem+json": {"schema": schema}},
    }
    if status in _GATEWAY:
        found["content"]["application/json"] = {"schema": _ref("GatewayMessage")}
    if status in RETRY_AFTER_SECONDS:
        text = "Seconds; absent when API Gateway refused by itself."
        found["headers"] = {"Retry-After": {"description": text, "schema": {"type": "integer"}}}
    return found


def _ref(name: str) -> Json:
    return {"$ref": _SCHEMAS + name}


def _schemas() -> Json:
    asked = {operation.request for operation in OPERATIONS if operation.request}
    answered = {
        operation.answer for operation in OPERATIONS if not isinstance(operation.answer, str)
    }
    more: set[type[Model]] = {answers.Problem, answers.GatewayMessage, answers.SessionSnapshotView}
    data = {cls for kind, cls in EVENT_TYPES.items() if kind not in _PASSED}
    found = {
        **_without_limits(_models(answered | more | data)),
        **_models(asked),
        **_events(),
        "Document": {"type": "object", "description": "An OpenAPI 3.1 document."},
    }
    return {name: _tidy(found[name]) for name in sorted(found)}


def _models(models: set[Any]) -> Json:
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schema = models_json_schema(
        [(model, "validation") for model in ordered],
        ref_template=_SCHEMAS + "{model}",
        schema_generator=_Plain,
    )
    found: Json = schema["$defs"]
    return found


def _without_limits(schemas: Json) -> Json:
    """Allow fields that aren't there yet: a reader that refuses them breaks with every release."""
    return {
        name: {key: value for key, value in schema.items() if key != "additionalProperties"}
        for name, schema in schemas.items()
    }


def _tidy(value: Any) -> Any:
    """Say what pydantic's schema leaves open.

    No `default: null`: where null clears a field, leaving it out does not. The keys of a mapping
    are constrained by `propertyNames`, because `patternProperties` alone allows all other keys.
    """
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {
        key: _tidy(item) for key, item in value.items() if not (key == "default" and item is None)
    }
    if "patternProperties" in found:
        ((pattern, item),) = found.pop("patternProperties").items()
        found["additionalProperties"] = item
        found["propertyNames"] = {"pattern": pattern, **found.get("propertyNames", {})}
    return found


def _events() -> Json:
    """Return a schema an event, discriminated by `type`, and the page of persisted ones."""
    kinds = sorted(EVENT_TYPES)
    found = {_event_name(kind): _event(kind, EVENT_TYPES[kind]) for kind in kinds}
    mapping = {kind: _SCHEMAS + _event_name(kind) for kind in kinds}
    kept = [kind for kind in kinds if EVENT_TYPES[kind].persisted]
    found["Event"] = {
        "description": "What the stream sends in a frame's `events`; persisted ones have an id.",
        "oneOf": [_ref(_event_name(kind)) for kind in kinds],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }
    found["PersistedEvent"] = {
        "description": "An event that is kept: `GET …/events` and the stream's replay have it.",
        "oneOf": [_ref(_event_name(kind)) for kind in kept],
        "discriminator": {
            "propertyName": "type",
            "mapping": {kind: mapping[kind] for kind in kept},
        },
    }
    found["EventPage"] = {
        "type": "object",
        "description": "Persisted events, oldest first.",
        "properties": {
            "items": {"type": "array", "items": _ref("PersistedEvent")},
            "nextCursor": {
                "type": ["string", "null"],
                "description": "The next page's `after`; null on the last.",
            },
        },
        "required": ["items", "nextCursor"],
    }
    return found


def _event_name(kind: str) -> str:
    return EVENT_TYPES[kind].__name__ + "Event"


def _event(kind: str, cls: type[EventData]) -> Json:
    data: Json = {"type": "object"} if kind in _PASSED else _ref(cls.__name__)
    if cls is SessionSnapshot:
        data = _ref(answers.SessionSnapshotView.__name__)
    return {
        "type": "object",
        "description": (cls.__doc__ or "").replace("\n    ", "\n"),
        "properties": {
            "eventId": {"type": "integer" if cls.persisted else "null"},
            "sessionId": {"type": "string"},
            "type": {"const": kind},
            "timestamp": {"type": "string", "format": "date-time"},
            "turnId": {"type": "string"},
            "data": data,
        },
        "required": ["eventId", "sessionId", "type", "timestamp", "data"],
    }
