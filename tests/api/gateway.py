"""The HTTP API as WSGI: what API Gateway does before a handler, over a session in any status."""

import copy
from collections.abc import Callable, Iterable
from functools import cache
from http import HTTPStatus
from typing import Any

from headstart.adapters.memory import MemoryMachine, MemoryPorts
from headstart.domain.long_texts import Text, TextPiece
from headstart.domain.message import Input
from headstart.domain.session import Status
from headstart.usecases.commit import read
from headstart_docs.in_process import Answer, Api, find
from tests.api.conftest import WritingStore, new_ports
from tests.unit.test_calls import REACHED

TOKEN = "a.good.token"
MESSAGE_ID = "msg_1_" + "0" * 24
REQUEST_ID = "per_pending"
TEXT_REF = "log.1.setup"


class World:
    """One session, in whatever status is asked for, as good as new each time."""

    def __init__(self) -> None:
        self.ports = new_ports()

    def arrange(self, status: Status) -> str:
        """Begin anew; returns the session's id."""
        ports, session_id = _reached(status)
        machine = MemoryMachine(started=[*ports.machine.started])
        self.ports = MemoryPorts(store=_copied(ports.store), machine=machine)
        self.ports.clock.now = ports.clock.now
        return session_id

    def sleep(self, seconds: float) -> None:
        """Let time pass, for the long polls."""
        self.ports.clock.advance(seconds=seconds)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer as WSGI has it."""
        answer = self._answer(environ)
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        start_response(status, list(answer.headers.items()))
        return [answer.text.encode()]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        method, path = environ["REQUEST_METHOD"], environ["REQUEST_URI"].partition("?")[0]
        headers = {
            name[5:].replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        if environ.get("CONTENT_TYPE"):
            headers["content-type"] = environ["CONTENT_TYPE"]
        known = find(method, path)
        if known and not known[0].is_open and headers.get("AUTHORIZATION") != f"Bearer {TOKEN}":
            gateway = {"content-type": "application/json", "www-authenticate": "Bearer"}
            return Answer(401, gateway, '{"message":"Unauthorized"}')
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        target = f"{path}?{environ.get('QUERY_STRING', '')}"
        return Api(self.ports).call(method, target, body, headers=headers)


@cache
def _reached(status: Status) -> tuple[MemoryPorts, str]:
    ports = new_ports()
    session_id = REACHED[status](ports)
    if status is Status.RUNNING:
        change = read(ports, session_id)
        change.session.pending_inputs = [REQUEST_ID]
        asked = Input(
            request_id=REQUEST_ID, turn_id="turn", kind="permission", body={}, created_at=change.now
        )
        change.save(asked)
        change.save(TextPiece(ref=TEXT_REF, writer="try", offset=0, text="said"))
        change.save(Text(ref=TEXT_REF, writer="try", bytes=4, ended=True))
        ports.store.commit(change)
    return ports, session_id


def _copied(store: Any) -> WritingStore:
    """Return a store of its own; rows are never changed in place, so they can be shared."""
    found = WritingStore()
    for name, value in vars(store).items():
        kept = getattr(found, name)
        if isinstance(kept, dict):
            kept.update({key: copy.copy(item) for key, item in value.items()})
    return found
