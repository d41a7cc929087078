"""follow() over real sockets: drops anywhere, deaf servers, refused tickets, deletion."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest
from fake_headstart import SESSION_ID, FakeHeadstart, FakeSession, Script, problem
from session_scripts import good_session

from headstart_client import AsyncHeadstart, Event, NotFound, Unauthorized
from headstart_client.follow import RECONNECTING, Timing
from headstart_client.reducer import CAUGHT_UP


async def at_once(_: float) -> None:
    """A sleep that only lets others run."""


FAST = Timing(sleep=at_once)
EVENTS = good_session()
PERSISTED = [kind for kind, _ in EVENTS if kind not in {"preparing", "agent.delta"}]


def watch(
    cloud: FakeHeadstart,
    *,
    until: str = "turn.completed",
    after: int = 0,
    timing: Timing = FAST,
    use_stream: bool = False,
    on_caught_up: Callable[[], None] | None = None,
) -> list[Event]:
    """Follow until an event of a type, and return all that came."""

    async def main() -> list[Event]:
        seen: list[Event] = []
        async with AsyncHeadstart(cloud.url, "token", sleep=at_once) as client:
            stream = await client.stream_ticket(SESSION_ID) if use_stream else None
            following = client.follow(SESSION_ID, after, stream=stream, timing=timing)
            async with asyncio.timeout(10), aclosing(following) as events:
                async for event in events:
                    seen.append(event)
                    if event.type == CAUGHT_UP and on_caught_up:
                        on_caught_up()
                    if event.type == until:
                        break
        return seen

    return asyncio.run(main())


def persisted(events: list[Event]) -> list[tuple[int, str]]:
    return [(event.event_id, event.type) for event in events if event.event_id]


def test_a_session_is_seen_from_beginning_to_end(cloud):
    cloud.add(FakeSession(script=EVENTS))
    events = watch(cloud)
    assert persisted(events) == list(enumerate(PERSISTED, start=1))
    assert [e.type for e in events[:2]] == ["session.snapshot", CAUGHT_UP]
    text = "".join(e.data["text"] for e in events if e.type == "agent.delta")
    assert text == "Hello, world"
    assert cloud.tickets_made == 1


def test_the_ticket_of_the_post_saves_the_first_call(cloud):
    cloud.add(FakeSession(script=EVENTS))
    watch(cloud, use_stream=True)
    assert cloud.tickets_made == 1


def test_following_on_starts_after_the_last_event(cloud):
    session = cloud.add(FakeSession())
    for kind, data in EVENTS:
        cloud.emit(session, kind, data)
    events = watch(cloud, after=4, until=CAUGHT_UP)
    assert persisted(events) == list(enumerate(PERSISTED, start=1))[4:]


@pytest.mark.parametrize("frames", range(len(EVENTS) + 2))
def test_a_drop_at_any_point_loses_and_repeats_nothing(cloud, frames):
    cloud.add(FakeSession(script=EVENTS))
    cloud.drops.extend([frames, 2])
    events = watch(cloud)
    assert persisted(events) == list(enumerate(PERSISTED, start=1))
    assert RECONNECTING in {event.type for event in events}
    assert cloud.tickets_made >= 2


def unheard(cloud: FakeHeadstart, session: FakeSession, script: Script) -> None:
    """Let things happen that no viewer is told of."""
    viewers, session.viewers = session.viewers, []
    for kind, data in script:
        cloud.emit(session, kind, data)
    session.viewers = viewers


@pytest.mark.parametrize("text", ["[]", "5", "null", "{", "[" * 30_000, '{"type": []}'])
def test_what_is_no_frame_does_no_harm(cloud, text):
    session = cloud.add(FakeSession())

    def garble() -> None:
        if not session.events:
            for viewer in session.viewers:
                viewer.connection.send(text)
            cloud.emit(session, "turn.completed", {"turnId": "t", "messageId": "m"})

    events = watch(cloud, on_caught_up=garble)
    assert persisted(events) == [(1, "turn.completed")]


def test_a_gap_is_asked_for_again(cloud, monkeypatch):
    monkeypatch.setattr("headstart_client.reducer.GAP_WAIT", 0.01)
    session = cloud.add(FakeSession())

    def leave_a_hole() -> None:
        if not session.events:
            unheard(cloud, session, EVENTS[:1])
            cloud.emit(session, "turn.completed", {"turnId": "t", "messageId": "m"})

    events = watch(cloud, on_caught_up=leave_a_hole)
    assert [event_id for event_id, _ in persisted(events)] == [1, 2]
    assert cloud.tickets_made == 1


def test_a_pong_ahead_fetches_what_was_missed(cloud):
    session = cloud.add(FakeSession())
    cloud.page_size = 2

    def say_nothing() -> None:
        if not session.events:
            unheard(cloud, session, EVENTS)

    timing = Timing(ping_every=0.02, sleep=at_once)
    events = watch(cloud, timing=timing, on_caught_up=say_nothing)
    assert persisted(events) == list(enumerate(PERSISTED, start=1))
    assert cloud.tickets_made == 1


def test_a_deaf_cloud_is_connected_to_again(cloud):
    cloud.add(FakeSession())
    cloud.answers_pings = False
    timing = Timing(ping_every=0.02, pong_within=0.02, sleep=at_once)
    events = watch(cloud, until=RECONNECTING, timing=timing)
    assert events[-1].data["reason"] == "the cloud stopped answering"
    assert cloud.pings == 1


def test_a_cloud_that_is_deaf_from_the_beginning_is_noticed_before_the_second_ping(cloud):
    cloud.add(FakeSession())
    cloud.answers_pings = False
    watch(cloud, until=RECONNECTING, timing=Timing(pong_within=0.02, sleep=at_once))
    assert cloud.pings == 1


def test_a_cloud_that_answers_pings_is_stayed_with(cloud):
    session = cloud.add(FakeSession())

    def end_after_a_few(count: int) -> None:
        if count == 2:
            cloud.emit(session, "turn.completed", {"turnId": "t", "messageId": "m"})

    cloud.on_ping = end_after_a_few
    events = watch(cloud, timing=Timing(ping_every=0.3, pong_within=0.25, sleep=at_once))
    assert RECONNECTING not in {event.type for event in events}
    assert cloud.tickets_made == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem(404, "SessionNotFound", "gone"), NotFound),
        (problem(401, "Unauthorized", "no"), Unauthorized),
    ],
)
def test_the_ticket_call_is_the_verdict(cloud, reply, kind):
    cloud.add(FakeSession(script=EVENTS))
    with pytest.raises(kind):
        cloud.canned.append(reply)
        watch(cloud)
    assert cloud.tickets_made == 0


def test_an_api_that_is_away_for_long_is_waited_for(cloud):
    cloud.add(FakeSession(script=EVENTS))
    cloud.canned.extend([problem(503, "ServiceUnavailable", "later")] * 9)
    events = watch(cloud)
    assert [e.type for e in events].count(RECONNECTING) == 2
    assert persisted(events) == list(enumerate(PERSISTED, start=1))


def test_a_refused_handshake_is_tried_with_a_fresh_ticket(cloud):
    cloud.add(FakeSession(script=EVENTS))
    refusals = iter([True, True, False])
    admit = cloud.stream

    def stream(session):
        answer = admit(session)
        if next(refusals, False):
            cloud.tickets.clear()
        return answer

    cloud.stream = stream
    events = watch(cloud)
    assert [e.type for e in events].count(RECONNECTING) == 2
    assert cloud.tickets_made == 3


def test_pauses_grow_while_nothing_comes_and_start_over_afterwards(cloud):
    cloud.add(FakeSession(script=EVENTS))
    cloud.drops.extend([0, 0, 0, 4, 0])
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    watch(cloud, timing=Timing(sleep=note, reconnect_base=1, reconnect_cap=3))
    assert len(pauses) == 5
    for pause, ceiling in zip(pauses, [1, 2, 3, 1, 2], strict=True):
        assert ceiling / 2 <= pause <= ceiling


def test_it_ends_with_the_session(cloud):
    cloud.add(FakeSession(script=[*EVENTS[:2], ("session.deleted", {})]))
    events = watch(cloud, until="never")
    assert events[-1].type == "session.deleted"
