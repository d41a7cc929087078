"""Callbacks survive the death of a function anywhere: each call that it makes may be its last."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.usecases import deliver, janitor
from tests.unit.archives import save
from tests.unit.helpers import Runner, begin_sleep, created, running, turn_ended

TARGET = {"url": "https://hooks.test/", "headers": {}}
PORTS = ("store", "callback_queue", "receivers", "machine", "sockets", "objects")
MOST_CALLS = 60


class Killed(BaseException):
    """The function is no more: nothing of it may catch this."""


class Mortal:
    """A port whose every call may be the last thing that its caller sees, before it or after."""

    def __init__(self, port: Any, tick: Callable[[], None]) -> None:
        self._port, self._tick = port, tick

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found):
            return found

        def call(*given: Any, **named: Any) -> Any:
            self._tick()
            answer = found(*given, **named)
            self._tick()
            return answer

        return call


def mortal(ports: MemoryPorts, life: int) -> tuple[MemoryPorts, list[int]]:
    """Return the ports of a function that dies at the n-th of its moments, and how many it had."""
    lived = [0]

    def tick() -> None:
        lived[0] += 1
        if lived[0] > life:
            raise Killed

    dying = MemoryPorts(
        **{**vars(ports), **{name: Mortal(getattr(ports, name), tick) for name in PORTS}}
    )
    return dying, lived


def dies(ports: MemoryPorts, life: int, do: Callable[[MemoryPorts], object]) -> bool:
    """Have a function do something and die at a moment of it; False where it was done before."""
    dying, _ = mortal(ports, life)
    try:
        do(dying)
    except Killed:
        return True
    return False


def told(ports: MemoryPorts) -> Counter[tuple[str, int]]:
    bodies = [json.loads(body) for _, _, body in ports.receivers.told]
    return Counter((body["type"], body["data"]["eventId"]) for body in bodies)


def recovered(ports: MemoryPorts) -> None:
    """Let the janitor run, and the queue be delivered, as time goes on."""
    ports.clock.advance(minutes=2)
    janitor.send_due(ports)
    for session_id, event_id in list(ports.callback_queue.waiting):
        if deliver.take(ports, session_id, event_id, tries=2, receipt="r"):
            ports.callback_queue.waiting.remove((session_id, event_id))


def expected(ports: MemoryPorts, session_id: str) -> set[tuple[str, int]]:
    kinds = {"session.ready", "turn.completed", "session.asleep"}
    log = ports.store.event_log[session_id]
    return {(event.type, event.event_id or 0) for event in log if event.type in kinds}


def all_moments(one: Callable[[int], bool]) -> int:
    """Do something again and again, dying a moment later each time, until it is survived."""
    life = 0
    while one(life):
        life += 1
        assert life < MOST_CALLS
    return life


def test_the_function_that_ends_a_turn_may_die_anywhere() -> None:
    def one(life: int) -> bool:
        ports = MemoryPorts()
        session_id = created(ports, callbackTarget=TARGET)
        runner = running(ports, session_id)
        ended = turn_ended(ports, session_id)

        def report(dying: MemoryPorts) -> None:
            Runner(dying, session_id, seq=runner.seq).report(ended)

        died = dies(ports, life, report)
        # What is not acknowledged comes again.
        runner.report(ended)
        recovered(ports)
        assert told(ports).keys() == expected(ports, session_id)
        assert ("turn.completed", max(n for _, n in expected(ports, session_id))) in told(ports)
        assert max(told(ports).values()) <= 2
        assert ports.callback_queue.waiting == []
        assert janitor.send_due(ports) == 0
        return died

    assert all_moments(one) > 8


def test_the_function_that_puts_a_session_to_sleep_may_die_anywhere() -> None:
    """Nothing looks at a sleeping session any more, but at its callbacks."""

    def one(life: int) -> bool:
        ports = MemoryPorts()
        session_id = created(ports, callbackTarget=TARGET)
        runner = running(ports, session_id)
        runner.report(turn_ended(ports, session_id))
        save(ports, runner)
        begin_sleep(ports, session_id)
        before = runner.seq
        died = dies(ports, life, lambda dying: save(dying, again(dying, runner)))
        if died:
            runner.seq = max(before, ports.store.session(session_id).runner_seq)
            ports.clock.advance(minutes=12)
            janitor.sweep(ports)
        recovered(ports)
        assert told(ports).keys() == expected(ports, session_id)
        assert "session.asleep" in {kind for kind, _ in told(ports)}
        return died

    assert all_moments(one) > 8


def again(ports: MemoryPorts, runner: Runner) -> Runner:
    return Runner(ports, runner.session_id, seq=runner.seq, key=runner.key)


def test_the_janitor_that_sends_what_is_due_may_die_anywhere() -> None:
    def one(life: int) -> bool:
        ports = MemoryPorts()
        session_id = created(ports, callbackTarget=TARGET)
        # Whoever was to send them died at once.
        ports.callback_queue.put = lambda *_: None  # type: ignore[method-assign]
        forget, ports.store.forget_callbacks = ports.store.forget_callbacks, lambda *_: None  # type: ignore[method-assign]
        runner = running(ports, session_id)
        runner.report(turn_ended(ports, session_id))
        del ports.callback_queue.put
        ports.store.forget_callbacks = forget  # type: ignore[method-assign]
        ports.clock.advance(minutes=2)
        died = dies(ports, life, janitor.send_due)
        recovered(ports)
        assert told(ports).keys() == expected(ports, session_id)
        assert max(told(ports).values()) <= 2
        return died

    assert all_moments(one) > 8


@pytest.mark.parametrize("answer", [204, 500, 410])
def test_the_function_that_delivers_may_die_anywhere(answer: int) -> None:
    def one(life: int) -> bool:
        ports = MemoryPorts()
        session_id = created(ports, callbackTarget=TARGET)
        runner = running(ports, session_id)
        runner.report(turn_ended(ports, session_id))
        ports.callback_queue.waiting.sort()
        _, event_id = ports.callback_queue.waiting[-1]
        ports.receivers.answers = [answer]
        done: list[bool] = []

        def take(dying: MemoryPorts) -> None:
            done.append(deliver.take(dying, session_id, event_id, tries=1, receipt="r"))

        died = dies(ports, life, take)
        if done == [True]:
            ports.callback_queue.waiting.remove((session_id, event_id))
        if answer == 410 and not ports.store.session(session_id).callback.failure:  # type: ignore[union-attr]
            # It says so again.
            ports.receivers.answers = [410]
            deliver.take(ports, session_id, event_id, tries=2, receipt="r")
        recovered(ports)
        recovered(ports)
        callback = ports.store.session(session_id).callback
        assert callback is not None
        assert callback.status.value == ("stopped" if answer == 410 else "active")
        assert ("turn.completed", event_id) in told(ports)
        assert ports.callback_queue.waiting == []
        return died

    assert all_moments(one) > 5
