"""Calls and their real answers, the same in every run: clock and ids are fixed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from unittest.mock import patch

from headstart.adapters.memory import MemoryClock, MemoryPorts
from headstart.domain import ids
from headstart.domain.archive import Archive, StoredFile
from headstart.domain.life import saving
from headstart.domain.long_texts import Text, TextPiece, log_ref
from headstart.domain.message import Input
from headstart.domain.session import Status, Turn
from headstart.domain.steps import StepName
from headstart.domain.work import ChangedFile, Changes, Counted
from headstart.usecases.commit import read
from headstart.usecases.prepare import StepTask, run_step
from headstart_docs.in_process import Answer, Api

KEY = "9b2f6a52-7d0c-4c53-8c5e-0f3f6f6f2c11"


@dataclass(frozen=True, slots=True)
class Example:
    """One call with its answer."""

    method: str
    target: str
    body: object
    key: str | None
    answer: Answer


def make_examples() -> dict[str, Example]:
    """Return an example of every operation but the document's own, by its name, and `problem`."""
    clock = MemoryClock()
    clock.now = datetime(2026, 11, 22, 10, 50, 0, 123_000, tzinfo=UTC)
    ports = MemoryPorts(clock=clock)
    ports.policy.stream_url = "wss://f6e5d4c3b2.execute-api.eu-west-1.amazonaws.com/live"
    ports.sealing.key_id = "5b0f7a3e-2c41-4d7e-9a55-0c6e2f1d8b90"
    chance = Random()  # noqa: S311  an example keeps no secret
    fixed = SimpleNamespace(
        choice=chance.choice,
        token_urlsafe=lambda length: "".join(chance.choices("ABCDEFGHabcdefgh01234567", k=43)),
    )
    with patch.object(ids, "secrets", fixed):
        return _Story(ports, clock, chance).told()


class _Story:
    """A session's life; each call is kept as an example."""

    def __init__(self, ports: MemoryPorts, clock: MemoryClock, chance: Random) -> None:
        self._ports, self._clock, self._api, self._chance = ports, clock, Api(ports), chance
        self._kept: dict[str, Example] = {}

    def _keep(
        self, name: str, method: str, target: str, body: object = None, key: str | None = None
    ) -> Answer:
        self._clock.advance(milliseconds=870)
        # A call's ids depend on its name alone: one more id minted elsewhere changes no other.
        self._chance.seed(name)
        headers = {"Idempotency-Key": key} if key else {}
        answer = self._api.call(method, target, body, headers=headers)
        self._kept[name] = Example(method, target, body, key, answer)
        return answer

    def told(self) -> dict[str, Example]:
        """Tell it."""
        body = {
            "prompt": "Add a health check",
            "githubRepo": "org/name",
            "setupCommands": ["npm ci"],
            "envVars": {"CI": "1"},
            "autoInitiate": False,
        }
        wrong = {"prompt": "", "githubRepo": "org/name", "colour": "red"}
        self._keep("problem", "POST", "/sessions", wrong)
        session_id = self._keep("create_session", "POST", "/sessions", body, KEY).json["sessionId"]
        one = f"/sessions/{session_id}"
        self._start(session_id)
        self._keep("get_session", "GET", one)
        self._keep("list_sessions", "GET", "/sessions?limit=20")
        self._keep("wait", "GET", f"{one}/wait?while=preparing&seconds=0")
        self._keep("stream_ticket", "POST", f"{one}/stream-ticket")
        self._keep("patch_session", "PATCH", one, {"model": "my/model", "envVars": None})
        self._keep("initiate", "POST", f"{one}/initiate")
        message = {"prompt": "And then the tests"}
        self._keep("send_message", "POST", f"{one}/messages", message, KEY[::-1])
        withdrawn = self._api.call("POST", f"{one}/messages", {"prompt": "No, stop"}).json
        self._keep("withdraw_message", "DELETE", f"{one}/messages/{withdrawn['messageId']}")
        self._keep("list_messages", "GET", f"{one}/messages")
        self._keep("list_events", "GET", f"{one}/events?after=0")
        self._log(session_id)
        self._keep("get_text", "GET", f"{one}/texts/{log_ref(1, StepName.SETUP)}")
        self._keep("list_logs", "GET", f"{one}/logs")
        self._keep("interrupt", "POST", f"{one}/interrupt")
        retry = {"attemptNumber": 1, "setupCommands": ["npm ci --ignore-scripts"]}
        self._keep("retry", "POST", f"{one}/retry", retry)
        self._archive(session_id)
        self._keep("get_archive", "GET", f"{one}/archive")
        self._keep("get_changes", "GET", f"{one}/changes")
        self._keep("get_diff", "GET", f"{one}/diff")
        wanted = {"message": "Add a health check", "pullRequest": {"draft": False}}
        self._keep("publish", "POST", f"{one}/publish", wanted)
        asked = self._ask(session_id)
        self._keep("answer_input", "POST", f"{one}/inputs/{asked}", {"reply": "once"})
        self._keep("delete_session", "DELETE", one)
        self._keep("defaults", "GET", "/defaults")
        self._keep("encryption_key", "GET", "/encryption-key")
        self._keep("health", "GET", "/health")
        return self._kept

    def _start(self, session_id: str) -> None:
        self._chance.seed("start")
        token = ids.new_secret()
        task = StepTask(
            session_id=session_id, attempt_number=1, step=StepName.SANDBOX, task_token=token
        )
        run_step(self._ports, task)

    def _log(self, session_id: str) -> None:
        """Let its setup have printed something."""
        change = read(self._ports, session_id)
        ref, said = log_ref(1, StepName.SETUP), "added 181 packages in 4s\n"
        piece = TextPiece(ref=ref, writer="try", offset=0, text=said)
        change.save(piece)
        change.save(Text(ref=ref, writer="try", bytes=piece.end, ended=True))
        self._ports.store.commit(change)

    def _archive(self, session_id: str) -> None:
        """Let its work be saved."""
        self._chance.seed("archive")
        change = read(self._ports, session_id)
        folder = f"{saving.objects_of(session_id)}{ids.new_id('arc')}/"
        base, difference, diff = (
            "KrvI5AnHbEi3p4QWYZ3t3Y0QJ+k0lP5l4VJxGgWbp2k=",
            "h7V3n0vA8h2u1aYJq1cKrvI5AnHbEi3p4QWYZ3t3Y0Q=",
            "k0lP5l4VJxGgWbp2kKrvI5AnHbEi3p4QWYZ3t3Y0QJ8=",
        )
        changes = Changes(
            base="9b2f6a527d0c4c538c5e0f3f6f6f2c119b2f6a52",
            head="f16744f39ff07d0c4c538c5e0f3f6f6f2c119b2f",
            files=[ChangedFile(path="src/health.py", status="added", additions=12, deletions=0)],
            total=Counted(files=1, additions=12, deletions=0),
        )
        text = changes.model_dump_json(by_alias=True).encode()
        self._ports.objects.contents[f"{folder}changes"] = text
        change.save(
            Archive(
                base=StoredFile(key=f"{folder}base", bytes=184_320_117, sha256=base),
                difference=StoredFile(key=f"{folder}difference", bytes=48_210, sha256=difference),
                changes=StoredFile(key=f"{folder}changes", bytes=len(text), sha256=diff),
                diff=StoredFile(key=f"{folder}diff", bytes=512, sha256=diff),
                created_at=change.now,
            )
        )
        self._ports.store.commit(change)

    def _ask(self, session_id: str) -> str:
        """Let a turn be active and its agent ask for a permission."""
        self._chance.seed("ask")
        change = read(self._ports, session_id)
        session = change.session
        session.status = Status.RUNNING
        session.active_turn = turn = Turn(
            turn_id=ids.new_id("turn"), message_id="msg", message_number=1, claimed_at=change.now
        )
        asked = Input(
            request_id=ids.new_id("per"),
            turn_id=turn.turn_id,
            kind="permission",
            body={"title": "Run npm test"},
            created_at=change.now,
        )
        session.pending_inputs = [asked.request_id]
        change.save(asked)
        self._ports.store.commit(change)
        return asked.request_id
