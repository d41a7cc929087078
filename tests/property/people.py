"""What people do through the API: they talk, stop, release, answer, change their minds, repeat."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headstart.domain.errors import DeliveryUnknown, ServiceUnavailable
from headstart.domain.message import Message
from headstart.domain.requests import (
    AnswerInput,
    CallbackTarget,
    CreateSession,
    PatchSession,
    PublishSession,
    RetrySession,
    SendMessage,
)
from headstart.domain.session import Hold, Status
from headstart.usecases import create, delete, talk
from tests.property.faults import Crash
from tests.property.receiver import URL

if TYPE_CHECKING:
    from tests.property.world import World

_ALICE = "alice"


class People:
    """Alice. A request of hers without an answer is made again, with its Idempotency-Key."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._keys = itertools.count(1)
        self._unanswered: list[Callable[[], None]] = []
        self.session_ids: list[str] = []
        self.accepted: dict[str, dict[str, str]] = defaultdict(dict)
        """Texts by message id, by session, of all that was answered well."""
        self.withdrawn: dict[str, set[str]] = defaultdict(set)
        """The ids of messages whose withdrawal was answered well, by session."""
        self.releases: Counter[str] = Counter()
        """How often someone wanted a message sent though the agent may have it."""
        self.deleted: set[str] = set()

    # One request each.

    def open(self, *, auto_initiate: bool = True, auto_commit: bool = False) -> None:
        """Create a session."""
        key = f"key-{next(self._keys)}"
        request = CreateSession(
            prompt=f"first of {key}",
            github_repo="o/n",
            setup_commands=["x"],
            auto_initiate=auto_initiate,
            callback_target=CallbackTarget(url=URL),
            auto_commit=auto_commit,
        )

        def ask() -> None:
            answer = create.create_session(self._world.ports, _ALICE, request, key)
            if answer["sessionId"] not in self.session_ids:
                self.session_ids.append(answer["sessionId"])

        self._ask(ask)

    def say(self, session_id: str) -> None:
        """Send a message."""
        key = f"key-{next(self._keys)}"
        request = SendMessage(prompt=f"text of {key}")

        def ask() -> None:
            answer = talk.send_message(self._world.ports, _ALICE, session_id, request, key)
            self.accepted[session_id][answer["messageId"]] = request.prompt

        self._ask(ask)

    def withdraw(self, session_id: str, place: int = -1) -> None:
        """Take back a message, sensible or not."""
        rows = self._world.base.store.rows[session_id].values()
        messages = sorted((r for r in rows if isinstance(r, Message)), key=lambda row: row.number)
        if not messages:
            return
        message_id = messages[place % len(messages)].message_id

        def ask() -> None:
            talk.withdraw_message(self._world.ports, _ALICE, session_id, message_id)
            self.withdrawn[session_id].add(message_id)

        self._ask(ask)

    def rename(self, session_id: str) -> None:
        """Give it a title."""
        request = PatchSession(title=f"title {next(self._keys)}")
        self._request(lambda: talk.patch_session(self._world.ports, _ALICE, session_id, request))

    def initiate(self, session_id: str) -> None:
        """Release what is held."""
        self._release(session_id, lambda: talk.initiate(self._world.ports, _ALICE, session_id))

    def interrupt(self, session_id: str) -> None:
        """Stop the turn, or the preparation."""
        self._world.truth.excuse(session_id)
        self._request(lambda: talk.interrupt(self._world.ports, _ALICE, session_id))

    def publish(self, session_id: str) -> None:
        """Have the work published."""
        request = PublishSession()
        self._request(lambda: talk.publish(self._world.ports, _ALICE, session_id, request))

    def retry(self, session_id: str) -> None:
        """Begin a new attempt."""
        session = self._world.base.store.sessions.get(session_id)
        if session:
            request = RetrySession(attempt_number=session.attempt_number)
            self._request(lambda: talk.retry(self._world.ports, _ALICE, session_id, request))

    def patch(self, session_id: str, *, auto_initiate: bool | None) -> None:
        """Change the first prompt, or whether it waits."""
        body: dict[str, Any] = {"prompt": f"changed by key-{next(self._keys)}"}
        if auto_initiate is not None:
            body = {"autoInitiate": auto_initiate}
        request = PatchSession.model_validate(body)
        self._release(
            session_id,
            lambda: talk.patch_session(self._world.ports, _ALICE, session_id, request),
        )

    def answer(self, session_id: str) -> None:
        """Answer what the agent asks."""
        session = self._world.base.store.sessions.get(session_id)
        if session and session.pending_inputs:
            asked, reply = session.pending_inputs[0], AnswerInput(reply="once")
            ports = self._world.ports
            self._request(lambda: talk.answer_input(ports, _ALICE, session_id, asked, reply))

    def delete(self, session_id: str) -> None:
        """Delete a session."""
        self.deleted.add(session_id)
        self._world.truth.excuse(session_id)
        self._request(lambda: delete.delete_session(self._world.ports, _ALICE, session_id))

    def _ask(self, request: Callable[[], None]) -> None:
        failure = self._request(request)
        if isinstance(failure, Crash | ServiceUnavailable):
            self._unanswered.append(request)

    def _request(self, function: Callable[[], object]) -> BaseException | None:
        return self._world.invoke("people", function)

    def _release(self, session_id: str, request: Callable[[], None]) -> None:
        store = self._world.base.store
        before = store.sessions.get(session_id)
        uncertain = {m.message_id for m in self._uncertain(session_id)}
        self._request(request)
        after = store.sessions.get(session_id)
        if before and after and before.version != after.version:
            # A rival may have made it uncertain in the meantime.
            news = store.event_log[session_id][before.last_event_id :]
            told = [event.data for event in news if event.type == "message.failed"]
            uncertain |= {d["messageId"] for d in told if d["code"] == DeliveryUnknown.__name__}
            self.releases.update(uncertain)

    def _uncertain(self, session_id: str) -> list[Message]:
        rows = self._world.base.store.rows[session_id].values()
        return [
            row
            for row in rows
            if isinstance(row, Message)
            and row.failure is not None
            and row.failure.code == DeliveryUnknown.__name__
        ]

    # What they do without being told to.

    def insist(self) -> None:
        """Make again what got no answer."""
        unanswered, self._unanswered = self._unanswered, []
        for request in unanswered:
            self._ask(request)

    def go_on(self, session_id: str) -> None:
        """Do what keeps a session going, as it stands."""
        session = self._world.base.store.sessions.get(session_id)
        if session is None or session_id in self.deleted:
            return
        if session.status is Status.FAILED:
            self.retry(session_id)
        elif session.pending_inputs:
            self.answer(session_id)
        elif not session.queue_length or (session.hold and session.queue_length == 1):
            self.say(session_id)
        elif session.hold is Hold.INITIATE:
            self.initiate(session_id)
