"""Defects put into the product in memory, to see that walks find them."""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from headstart.adapters import layout
from headstart.domain.life import beating, hosting, saving, sleeping, talking, turns
from headstart.domain.session import Session
from headstart.usecases import callbacks


@dataclass(frozen=True)
class Mutant:
    """One function with some of its text replaced, and what is wrong then.

    `shown_by` is a walk that found it the last time somebody looked: where it still does, no other
    is walked.
    """

    what: str
    function: Callable[..., Any]
    text: str
    instead: str
    shown_by: int

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Have everybody who calls the function call the mutant."""
        source = textwrap.dedent(inspect.getsource(self.function))
        assert source.count(self.text) == 1, f"{self.what}: the function reads otherwise now"
        made: dict[str, Any] = {}
        exec(source.replace(self.text, self.instead), dict(self.function.__globals__), made)  # noqa: S102  our own text
        function: Any = self.function
        before = function.__code__
        function.__code__ = made[function.__name__].__code__
        try:
            yield
        finally:
            function.__code__ = before


MUTANTS = (
    Mutant(
        "a message that a leaving sandbox may have is taken back",
        sleeping._judge_delivery,
        "delivering is not None and not any(map(turn.is_by, delivering))",
        "True",
        shown_by=62,
    ),
    Mutant(
        "a message on its way is taken back",
        talking.withdraw,
        "if message.status is MessageStatus.DELIVERING",
        "if False",
        shown_by=27,
    ),
    Mutant(
        "what was withdrawn comes up all the same",
        Session.number_after,
        "if first == behind",
        "if False",
        shown_by=3,
    ),
    Mutant(
        "a message of unknown fate is released by the next",
        talking.send,
        "session.hold is Hold.PAUSED",
        "session.hold is not None",
        shown_by=26,
    ),
    Mutant(
        "the next runner's batches are counted on from its predecessor's",
        hosting._record,
        "change.session.runner_seq = 0",
        "pass",
        shown_by=0,
    ),
    Mutant(
        "a sandbox is kept whether it is there or not",
        hosting.acquire,
        "sandbox.task_arn == newcomer.living and may_be_kept(change)",
        "sandbox.status is SandboxStatus.CONNECTED",
        shown_by=73,
    ),
    Mutant(
        "only the last invocation of a step is answered, though another one waits",
        hosting.acquire,
        "sandbox.wait_with(token)",
        "sandbox.task_token = token",
        shown_by=12,
    ),
    Mutant(
        "a turn that the sandbox has not goes on",
        beating.take_heartbeat,
        "turns.check_turn(change, frame)",
        "False",
        shown_by=102,
    ),
    Mutant(
        "a message that was never sent is of unknown fate",
        turns.lose_turn,
        "command and not command.offered",
        "False",
        shown_by=72,
    ),
    Mutant(
        "an archive builds on a prepared tree that is not its session's",
        saving.ask_for_upload,
        'source.model_copy(update={"key": f"{folder}base"})',
        "source",
        shown_by=239,
    ),
    Mutant(
        "a callback is forgotten before it is in the queue",
        callbacks.send,
        "    ports.callback_queue.put(owner, session_id, event_ids)\n",
        "    ports.store.forget_callbacks(session_id, event_ids[-1])\n"
        "    ports.callback_queue.put(owner, session_id, event_ids)\n",
        shown_by=198,
    ),
    Mutant(
        "rows of two moments are taken for one",
        layout._check_moment,
        "version > session.version or versions.get(sk, version) != version",
        "False",
        shown_by=1007,
    ),
)
"""What only a sequence of events shows, the worst first."""
