"""A person's title for a session: at any time, and it stays."""

from typing import Any

import pytest
from pydantic import ValidationError

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import AlreadyInitiated, SessionNotFound
from headstart.domain.requests import PatchSession
from headstart.domain.session import Status
from headstart.usecases import read, talk
from tests.unit.helpers import created, opened, running, types


def patch(ports: MemoryPorts, session_id: str, **body: Any) -> None:
    talk.patch_session(ports, "alice", session_id, PatchSession.model_validate(body))


def title(ports: MemoryPorts, session_id: str) -> str:
    return str(read.get_session(ports, "alice", session_id)["title"])


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.DELETING])
def test_in_every_status(ports: MemoryPorts, status: Status) -> None:
    session_id = created(ports)
    running(ports, session_id)
    change = opened(ports, session_id)
    change.session.status = status
    ports.store.commit(change)
    before = ports.store.session(session_id)
    patch(ports, session_id, title="The lamp")
    after = ports.store.session(session_id)
    assert (after.title, after.status) == ("The lamp", status)
    assert after.attempt_number == before.attempt_number
    last = ports.store.event_log[session_id][-1]
    assert (last.type, last.data) == ("session.renamed", {"title": "The lamp"})


def test_the_same_again_is_no_news(ports: MemoryPorts) -> None:
    session_id = created(ports)
    for _ in range(2):
        patch(ports, session_id, title="  The\n lamp ")
    assert title(ports, session_id) == "The lamp"
    assert types(ports, session_id).count("session.renamed") == 1


def test_with_others_it_goes_where_those_do(ports: MemoryPorts) -> None:
    session_id = created(ports, autoInitiate=False)
    patch(ports, session_id, title="The lamp", prompt="Mend it")
    assert title(ports, session_id) == "The lamp"
    running_id = created(ports)
    running(ports, running_id)
    with pytest.raises(AlreadyInitiated):
        patch(ports, running_id, title="The lamp", mode="plan")
    assert title(ports, running_id) == "Add a health check"


def test_another_prompt_replaces_a_title_that_nobody_gave(ports: MemoryPorts) -> None:
    session_id = created(ports, autoInitiate=False)
    patch(ports, session_id, prompt="Mend the lamp")
    assert title(ports, session_id) == "Mend the lamp"
    last = ports.store.event_log[session_id][-1]
    assert (last.type, last.data) == ("session.renamed", {"title": "Mend the lamp"})
    patch(ports, session_id, title="Mine")
    patch(ports, session_id, prompt="Mend the door")
    assert title(ports, session_id) == "Mine"


def test_another_prompt_is_told_and_the_same_again_is_no_news(ports: MemoryPorts) -> None:
    session_id = created(ports, autoInitiate=False)
    for prompt in ("Mend the lamp", "Mend the lamp", "é" * 5000):
        patch(ports, session_id, prompt=prompt)
    [first, long] = [
        event.data for event in ports.store.event_log[session_id] if event.type == "message.changed"
    ]
    [queued] = read.list_messages(ports, "alice", session_id)["items"]
    assert first == {"messageId": queued["messageId"], "text": "Mend the lamp"}
    assert (long["text"], long["textBytes"]) == ("é" * 4096, 10_000)


@pytest.mark.parametrize("bad", [None, "", " \n ", "x" * 201, 7, "\ud800"])
def test_a_title_is_some_text_on_one_line(bad: object) -> None:
    with pytest.raises(ValidationError):
        PatchSession.model_validate({"title": bad})


def test_somebody_elses_is_not_found(ports: MemoryPorts) -> None:
    session_id = created(ports)
    with pytest.raises(SessionNotFound):
        talk.patch_session(ports, "bob", session_id, PatchSession(title="x"))


@pytest.mark.parametrize("nothing", ["\u200b", "\u202e", "\x07", " \u200b \n", "\u3164 \u2800"])
def test_a_title_has_something_to_read_in_it(nothing: str) -> None:
    with pytest.raises(ValidationError):
        PatchSession.model_validate({"title": nothing})


def test_control_characters_are_no_part_of_a_title() -> None:
    assert (
        PatchSession.model_validate({"title": "\x1b[31mred\x07 👩\u200d💻"}).title
        == "[31mred 👩\u200d💻"
    )
