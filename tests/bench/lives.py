"""The fates of sessions in a soak: each is created, meets what it has to, and comes to rest."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from headstart_client import AsyncHeadstart, Event
from headstart_client.view import STEP_TITLES, Outcome, View
from tests.flow.conftest import Cloud, processes_of
from tests.flow.test_dead_agent import agents_in
from tests.flow.test_faults import connection_of_runner, management, workers
from tests.flow.test_sleep import make_due, repository_of, sweep

REST_SECONDS = 300.0
"""How long anything may take to come to rest, on a machine that is busy."""


class Unsettled(Exception):
    """A session broke a promise: it never came to rest, or lost an event."""


class Life:
    """One session and what it is put through."""

    def __init__(self, cloud: Cloud, client: AsyncHeadstart, lots: random.Random) -> None:
        self.cloud = cloud
        self.client = client
        self.lots = lots
        self.session_id = ""

    async def create(self, **options: Any) -> None:
        """Create the session."""
        options = {"git_url": self.cloud.info["gitUrl"], "setup_commands": ["sleep 1"], **options}
        created = await self.client.create_session("What is in here?", **options)
        self.session_id = created.session_id

    async def send(self) -> str:
        """Send a message, and return how its turn ended."""
        before = await self.client.get(self.session_id)
        sent = await self.client.send(self.session_id, "And now?")
        return await self.rest({sent.message.message_id}, before.last_event_id)

    async def rest(self, awaited: set[str] | None = None, after: int = 0) -> str:
        """Return how the session came to rest; raises Unsettled."""
        view = View(awaited)

        def over(event: Event) -> Outcome | None:
            view.apply(event)
            return view.outcome()

        outcome = await self._follow(over, after)
        return f"{outcome.kind} {outcome.failure.code}" if outcome.failure else outcome.kind

    async def meet(self, *steps: str) -> None:
        """Return when one of these steps, or one by lot, runs, or when it is too late for that."""
        step, view = self.lots.choice(steps or list(STEP_TITLES)), View()

        def runs(event: Event) -> bool:
            view.apply(event)
            return view.steps[step].status != "pending" or view.outcome() is not None

        await self._follow(runs, 0)

    async def _follow(self, wanted: Callable[[Event], Any], after: int) -> Any:
        try:
            async with (
                asyncio.timeout(REST_SECONDS),
                aclosing(self.client.follow(self.session_id, after)) as events,
            ):
                async for event in events:
                    if found := wanted(event):
                        return found
        except TimeoutError:
            pass
        session = await self.client.get(self.session_id)
        raise Unsettled(f"{session.status} for {REST_SECONDS:.0f} s: {session.model_dump_json()}")

    async def sleep(self) -> None:
        """Put the session to sleep; what is not ready, or is disturbed, is asked again."""
        end = time.monotonic() + REST_SECONDS
        while (session := await self.client.get(self.session_id)).status in {"ready", "stopping"}:
            if time.monotonic() > end:
                raise Unsettled(f"{session.status} and not asleep")
            # A janitor that was killed at it is asked again, too.
            with suppress(AssertionError):
                if session.status == "ready":
                    await asyncio.to_thread(make_due, self.cloud, self.session_id)
                await asyncio.to_thread(sweep, self.cloud)
            await self.client.wait(self.session_id, while_status="stopping", seconds=5)

    async def check(self) -> None:
        """Raise Unsettled when an event is missing, or a message came to the agent twice."""
        events = [event async for event in self.client.events(self.session_id)]
        if [event.event_id for event in events] != list(range(1, len(events) + 1)):
            raise Unsettled("its events are not contiguous")
        delivered = [e.data["messageId"] for e in events if e.type == "message.delivered"]
        if len(delivered) != len(set(delivered)):
            raise Unsettled("a message was delivered twice")


def kill(pids: list[int]) -> None:
    """Kill processes as the kernel's out-of-memory killer would."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _cut_socket(life: Life) -> None:
    with suppress(ClientError, IndexError):
        connection = connection_of_runner(life.cloud, life.session_id)
        management(life.cloud).delete_connection(ConnectionId=connection)


def _kill_functions_and_cut(life: Life) -> None:
    kill(workers(life.cloud))
    _cut_socket(life)


def _kill_agent(life: Life) -> None:
    with suppress(ValueError, OSError):
        kill(agents_in(Path(repository_of(life.session_id))))


async def _answered(life: Life) -> str:
    await life.create()
    await life.rest()
    return await life.send()


async def _asleep(life: Life) -> str:
    await life.create()
    await life.rest()
    await life.sleep()
    return await life.send()


async def _left_asleep(life: Life) -> str:
    await life.create()
    how = await life.rest()
    await life.sleep()
    return how


async def _bad_repository(life: Life) -> str:
    await life.create(git_url=life.cloud.info["gitUrl"].replace("sample", "nothing"))
    return await life.rest()


async def _bad_setup(life: Life) -> str:
    await life.create(setup_commands=["echo no; exit 3"])
    how = await life.rest()
    before = await life.client.get(life.session_id)
    if before.status != "failed" or before.attempt is None:
        return how
    await life.client.retry(life.session_id, before.attempt.number, setup_commands=["true"])
    return await life.rest(after=before.last_event_id)


async def _cancelled(life: Life) -> str:
    await life.create()
    await life.meet()
    await life.client.interrupt(life.session_id)
    return await life.rest()


async def _deleted(life: Life) -> str:
    await life.create()
    await life.meet()
    await life.client.delete(life.session_id)
    return "deleted"


async def _held(life: Life) -> str:
    await life.create(auto_initiate=False)
    how = await life.rest()
    before = await life.client.get(life.session_id)
    await life.client.initiate(life.session_id)
    return await life.rest({m.message_id for m in before.queue}, before.last_event_id) or how


def _faulty(fault: Callable[[Life], None], *steps: str) -> Callable[[Life], Awaitable[str]]:
    async def life_with_it(life: Life) -> str:
        await life.create()
        await life.meet(*steps)
        await asyncio.to_thread(fault, life)
        return await life.rest()

    return life_with_it


async def _agent_killed(life: Life) -> str:
    await life.create()
    await life.rest()
    sending = asyncio.create_task(life.send())
    await asyncio.sleep(life.lots.random())
    await asyncio.to_thread(_kill_agent, life)
    await sending
    return await life.send()


LIVES: dict[str, Callable[[Life], Awaitable[str]]] = {
    "answered twice": _answered,
    "slept and woken": _asleep,
    "left asleep": _left_asleep,
    "bad repository": _bad_repository,
    "bad setup, mended": _bad_setup,
    "cancelled": _cancelled,
    "deleted early": _deleted,
    "held, released": _held,
    "agent killed": _agent_killed,
    "runner killed": _faulty(lambda life: kill(processes_of(life.session_id))),
    "functions killed": _faulty(lambda life: kill(workers(life.cloud))),
    "socket cut": _faulty(_cut_socket),
    "functions and socket": _faulty(_kill_functions_and_cut),
}
"""What becomes of a session, by name; each returns how it came to rest."""
