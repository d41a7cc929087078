"""Awaiting where nothing else is asynchronous: an event loop in a thread of its own.

In a thread, and not in the caller's, as a notebook's runs a loop already.
"""

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Self, TypeVar
from weakref import WeakSet

T = TypeVar("T")


class Loop:
    """An event loop for the time of a block; at its end nothing goes on in it."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="headstart", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(_end_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what comes of the work; where the wait is interrupted, the work is as well."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except BaseException:
            # It must be over, not only told to: a generator that still runs can't be closed.
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
            raise


_going_on: WeakSet[Generator[Any, None, None]] = WeakSet()


def closed_at_exit(iteration: Generator[T, None, None]) -> Generator[T, None, None]:
    """Return an iteration that is closed as the process ends, where it still goes on then.

    Thrown away with the rest, a moment later, it would wait for ever for its loop, whose thread
    does not run any more.
    """
    _going_on.add(iteration)
    return iteration


@atexit.register
def _close_all() -> None:
    for iteration in list(_going_on):
        # One that another thread is in ends with that.
        with suppress(ValueError):
            iteration.close()


def within(seconds: float, work: Callable[[threading.Event], T]) -> T:
    """Return what comes of the work, or raise TimeoutError; the event tells it that it is given up.

    In a thread, as nothing ends a read that gets a byte now and then. A request that is given up
    ends with the next piece of its answer's body. It keeps its thread and connection longer only
    where not even the head of the answer has come, and goes on coming: at most for 100 KiB of it,
    where httpx stops. The thread is none that the end of the process would wait for.
    """
    done: Future[T] = Future()
    given_up = threading.Event()

    def run() -> None:
        try:
            done.set_result(work(given_up))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="headstart-request", daemon=True).start()
    try:
        return done.result(seconds)
    finally:
        given_up.set()


async def _end_all() -> None:
    await _cancel_all()
    await asyncio.get_running_loop().shutdown_asyncgens()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
