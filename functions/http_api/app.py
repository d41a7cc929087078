"""The REST API, all but the long polls."""

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import Response

from headstart.bootstrap import Event, Services, entry, services
from headstart.domain.requests import (
    AnswerInput,
    CreateSession,
    PatchSession,
    PublishSession,
    RetrySession,
    SendMessage,
)
from headstart.domain.search import Wanted
from headstart.http import (
    answer,
    body,
    document,
    groups,
    idempotency_key,
    new_app,
    owner,
    session_id,
    whole_number,
)
from headstart.usecases import create, delete, read, sealing, talk, texts

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

app = new_app()


@app.post("/sessions")
def create_session() -> Response[str]:
    event = app.current_event
    request = body(event, CreateSession)
    key = idempotency_key(event)
    ports = services()
    known = groups(event, ports.policy.groups_claim)
    return answer(create.create_session(ports, owner(event), request, key, known), 202)


@app.get("/sessions")
def list_sessions() -> Response[str]:
    event = app.current_event
    limit = whole_number(event, "limit", 20, low=1, high=read.PAGE_LIMIT)
    asked = event.query_string_parameters
    wanted = Wanted.of(asked.get("search"), asked.get("repository"))
    cursor = asked.get("cursor")
    return answer(read.list_sessions(services(), owner(event), cursor, limit, wanted))


@app.get("/sessions/<id_>")
def get_session(id_: str) -> Response[str]:
    caller = owner(app.current_event)
    return answer(read.get_session(services(), caller, session_id(id_)))


@app.get("/sessions/<id_>/archive")
def get_archive(id_: str) -> Response[str]:
    caller = owner(app.current_event)
    return answer(read.get_archive(services(), caller, session_id(id_)))


@app.get("/sessions/<id_>/changes")
def get_changes(id_: str) -> Response[str]:
    caller = owner(app.current_event)
    return answer(read.get_changes(services(), caller, session_id(id_)))


@app.get("/sessions/<id_>/diff")
def get_diff(id_: str) -> Response[str]:
    caller = owner(app.current_event)
    return answer(read.get_diff(services(), caller, session_id(id_)))


@app.delete("/sessions/<id_>")
def delete_session(id_: str) -> Response[str]:
    delete.delete_session(services(), owner(app.current_event), session_id(id_))
    return answer({}, 202)


@app.get("/sessions/<id_>/messages")
def list_messages(id_: str) -> Response[str]:
    event = app.current_event
    cursor = event.query_string_parameters.get("cursor")
    return answer(read.list_messages(services(), owner(event), session_id(id_), cursor))


@app.post("/sessions/<id_>/messages")
def send_message(id_: str) -> Response[str]:
    event = app.current_event
    request = body(event, SendMessage)
    key = idempotency_key(event)
    sent = talk.send_message(services(), owner(event), session_id(id_), request, key)
    return answer(sent, 202)


@app.delete("/sessions/<id_>/messages/<message_id>")
def withdraw_message(id_: str, message_id: str) -> Response[str]:
    caller = owner(app.current_event)
    talk.withdraw_message(services(), caller, session_id(id_), message_id)
    return answer({}, 202)


@app.get("/sessions/<id_>/events")
def list_events(id_: str) -> Response[str]:
    event = app.current_event
    after = whole_number(event, "after", 0, high=10**12 - 1)
    return answer(read.list_events(services(), owner(event), session_id(id_), after))


@app.get("/sessions/<id_>/texts/<ref>")
def get_text(id_: str, ref: str) -> Response[str]:
    event = app.current_event
    cursor = event.query_string_parameters.get("cursor")
    return answer(texts.get_text(services(), owner(event), session_id(id_), ref, cursor))


@app.get("/sessions/<id_>/logs")
def list_logs(id_: str) -> Response[str]:
    caller = owner(app.current_event)
    return answer(texts.list_logs(services(), caller, session_id(id_)))


@app.post("/sessions/<id_>/initiate")
def initiate(id_: str) -> Response[str]:
    caller, known = owner(app.current_event), session_id(id_)
    talk.initiate(services(), caller, known)
    return answer(read.get_session(services(), caller, known), 202)


@app.patch("/sessions/<id_>")
def patch_session(id_: str) -> Response[str]:
    event, caller, known = app.current_event, owner(app.current_event), session_id(id_)
    ports = services()
    named = groups(event, ports.policy.groups_claim)
    warnings = talk.patch_session(ports, caller, known, body(event, PatchSession), named)
    return answer({**read.get_session(ports, caller, known), "warnings": warnings})


@app.post("/sessions/<id_>/interrupt")
def interrupt(id_: str) -> Response[str]:
    caller, known = owner(app.current_event), session_id(id_)
    talk.interrupt(services(), caller, known)
    return answer(read.get_session(services(), caller, known), 202)


@app.post("/sessions/<id_>/publish")
def publish(id_: str) -> Response[str]:
    event, caller, known = app.current_event, owner(app.current_event), session_id(id_)
    request = body(event, PublishSession, may_lack=True)
    warnings = talk.publish(services(), caller, known, request)
    return answer({**read.get_session(services(), caller, known), "warnings": warnings}, 202)


@app.post("/sessions/<id_>/retry")
def retry(id_: str) -> Response[str]:
    event, caller, known = app.current_event, owner(app.current_event), session_id(id_)
    warnings = talk.retry(services(), caller, known, body(event, RetrySession))
    return answer({**read.get_session(services(), caller, known), "warnings": warnings}, 202)


@app.post("/sessions/<id_>/inputs/<request_id>")
def answer_input(id_: str, request_id: str) -> Response[str]:
    event, caller, known = app.current_event, owner(app.current_event), session_id(id_)
    request = body(event, AnswerInput)
    return answer(talk.answer_input(services(), caller, known, request_id, request), 202)


@app.post("/sessions/<id_>/stream-ticket")
def stream_ticket(id_: str) -> Response[str]:
    caller = owner(app.current_event)
    return answer(read.stream_ticket(services(), caller, session_id(id_)))


@app.get("/defaults")
def defaults() -> Response[str]:
    owner(app.current_event)
    return answer(read.get_defaults(services()), cached_seconds=300, by="private")


@app.get("/encryption-key")
def encryption_key() -> Response[str]:
    return answer(sealing.encryption_key(services()), cached_seconds=300)


@app.get("/health")
def health() -> Response[str]:
    return answer({"status": "ok"})


@app.get("/openapi.json")
def openapi() -> Response[str]:
    return document()


@entry
def lambda_handler(event: Event, context: "LambdaContext", _: Services) -> Any:
    return app.resolve(event, context)
