"""Long texts that don't come to their end cost a watch one wait, and none where all is over."""

import asyncio
from datetime import timedelta

import pytest
from fake_headstart import NOW

from headstart_client.errors import TransportFailed
from headstart_client.events import made
from headstart_client.models import Event, Text
from headstart_client.operations import TEXT_SECONDS
from headstart_client.wholes import Wholes


def at(seconds: float, kind: str = "agent.event") -> Event:
    event = Event.model_validate({"type": kind, "timestamp": NOW})
    when = event.timestamp + timedelta(seconds=seconds)
    return event.model_copy(update={"timestamp": when})


@pytest.mark.parametrize(
    ("seconds", "complete", "waits"),
    [
        ([0, 1, 2], [False] * 3, [TEXT_SECONDS, 0.0, 0.0]),
        ([0, 1, 2, 3], [False, True, False, False], [TEXT_SECONDS, 0.0, TEXT_SECONDS, 0.0]),
        ([0, 1, 2], [True] * 3, [TEXT_SECONDS] * 3),
        ([-3600, -TEXT_SECONDS, 1], [False] * 3, [0.0, TEXT_SECONDS, 0.0]),
    ],
)
def test_there_is_one_patience_until_something_comes_again(seconds, complete, waits):
    waited = []
    ends = iter(complete)

    async def fetch(session_id: str, ref: str, *, patience: float) -> Text:
        waited.append(patience)
        return Text(text="x", complete=next(ends), truncated=False)

    wholes = Wholes(fetch, "s")
    wholes.note(at(0, "session.snapshot"))
    for one in seconds:
        asyncio.run(wholes.whole(at(one), "ref", ""))
    assert waited == waits


def test_what_can_not_be_fetched_is_not_all_there():
    async def fetch(session_id: str, ref: str, *, patience: float) -> Text:
        raise TransportFailed("no", sent=False)

    found = asyncio.run(Wholes(fetch, "s").whole(made("agent.event"), "ref", "had"))
    assert (found.text, found.complete) == ("had", False)
