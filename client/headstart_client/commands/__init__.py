"""What the commands do once their arguments are read: a function each, by the command's name."""

import asyncio
from argparse import Namespace
from collections.abc import Awaitable, Callable

from headstart_client import advice
from headstart_client.client import AsyncHeadstart
from headstart_client.commands import sessions, turns, work
from headstart_client.commands.checks import check_token, doctor
from headstart_client.commands.texts import logs
from headstart_client.errors import HeadstartError, TransportFailed, ValidationFailed
from headstart_client.requests import Reply, Request
from headstart_client.terminal import Terminal
from headstart_client.usage import USAGE

__all__ = ["COMMANDS", "Command", "check_token", "execute"]

Command = Callable[[Terminal, AsyncHeadstart, Namespace], Awaitable[int]]

COMMANDS: dict[str, Command] = {
    "run": turns.run,
    "follow": turns.follow,
    "send": turns.send,
    "initiate": turns.initiate,
    "retry": turns.retry,
    "stop": turns.stop,
    "answer": turns.answer,
    "withdraw": turns.withdraw,
    "ls": sessions.ls,
    "show": sessions.show,
    "open": sessions.open_page,
    "rename": sessions.rename,
    "rm": sessions.rm,
    "logs": logs,
    "diff": work.diff,
    "publish": work.publish,
    "archive": work.archive,
    "doctor": doctor,
}

_TOO_LARGE = 413

SLOW_SECONDS = 5.0
"""How long a person is left without a word: until a silent API is given up takes a minute."""


def execute(command: Command, terminal: Terminal, args: Namespace, url: str, token: str) -> int:
    """Run a command to its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""

    client = _Client(url, token)
    client.slow = lambda: None if terminal.following else terminal.note(advice.SLOW)

    async def main() -> int:
        async with client:
            if several := await sessions.complete(client, args):
                return terminal.fail(several, USAGE)
            return await command(terminal, client, args)

    try:
        return asyncio.run(main())
    except ValidationFailed as error:
        if not error.errors:
            too_large = error.status == _TOO_LARGE
            return terminal.fail(advice.on_error(error, url), USAGE if too_large else 1)
        return terminal.fail(advice.on_arguments(error.errors, args), USAGE)
    except HeadstartError as error:
        return terminal.fail(advice.on_error(error, url, getattr(args, "session_id", None)))
    except KeyboardInterrupt:
        if terminal.following and terminal.lasting:
            terminal.say(f"The session goes on: headstart follow {terminal.following}")
        elif client.unsure and terminal.lasting:
            said = advice.on_unsure(getattr(args, "session_id", None))
            terminal.fail(f"No answer had come from the API: {said}")
        return 130


class _Client(AsyncHeadstart):
    """A client that knows whether a change may have been made of which no answer came.

    `slow` is called where an answer lets wait for itself.
    """

    unsure = False
    slow: Callable[[], None]

    async def _outcome(self, request: Request) -> Reply | TransportFailed:
        self.unsure = request.changes
        waiting = asyncio.get_running_loop().call_later(SLOW_SECONDS, self.slow)
        try:
            outcome = await super()._outcome(request)
        finally:
            waiting.cancel()
        self.unsure = request.changes and isinstance(outcome, TransportFailed) and outcome.sent
        return outcome
