"""`headstart doctor` and `headstart token --check`: what is wrong, and how it is mended."""

import asyncio
import platform
import time
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import httpx

from headstart_client import __version__, advice
from headstart_client.client import AsyncHeadstart
from headstart_client.errors import HeadstartError, NotFound
from headstart_client.reducer import CAUGHT_UP
from headstart_client.terminal import Terminal
from headstart_client.tokens import claims_of
from headstart_client.transport import FAILURES, in_words, parsed
from headstart_client.usage import USAGE

_CLOCK_SECONDS = 60.0
"""What a clock may be off before tokens are refused that are good."""

_SOON_SECONDS = 300.0
STREAM_SECONDS = 15.0
HEALTH_SECONDS = 10.0


class Found(NamedTuple):
    """One thing that was looked at: None where it could not be."""

    what: str
    good: bool | None
    said: str


def check_token(terminal: Terminal, token: str) -> int:
    """Say whose token HEADSTART_TOKEN is and until when it is good; 1 where it is not any more."""
    if not token:
        return terminal.fail(advice.NO_USER, USAGE)
    found = _token(token, time.time())
    if found.good:
        terminal.say(found.said)
        return 0
    return terminal.fail(f"{found.said}.")


async def doctor(terminal: Terminal, client: AsyncHeadstart, _: Namespace) -> int:
    """Look at all that a session takes from here on, and say what is wrong; 1 if anything is."""
    broken = 0
    async for found in _looks(client):
        mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("-", "dim")}[found.good]
        terminal.item(mark, style, f"{found.what}: {found.said}")
        broken += found.good is False
    return terminal.fail("Something is wrong; see above.") if broken else 0


async def _looks(client: AsyncHeadstart) -> AsyncIterator[Found]:
    yield Found("versions", True, _versions())
    async for found in _health(client):
        yield found
        if not found.good and found.what == "API":
            return
    token = client.token()
    yield _token(token, time.time())
    session_id = None
    try:
        defaults = await client.defaults()
        agents = ", ".join(agent.name for agent in defaults.agents)
        yield Found("account", True, f"the token is taken; agents: {agents}")
    except NotFound:
        yield Found("account", None, "this deployment is older and has no GET /defaults")
    except HeadstartError as error:
        yield Found("account", False, advice.on_error(error, client.url))
        return
    async for session in client.list(limit=1):
        session_id = session.session_id
    yield await _stream(client, session_id)


def _versions() -> str:
    names = []
    for name in ("httpx", "websockets", "pydantic", "rich"):
        try:
            names.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            names.append(f"{name} of an unknown version")
    return f"headstart {__version__}, Python {platform.python_version()}, {', '.join(names)}"


async def _health(client: AsyncHeadstart) -> AsyncIterator[Found]:
    began = time.monotonic()
    try:
        async with (
            httpx.AsyncClient(timeout=HEALTH_SECONDS) as http,
            asyncio.timeout(4 * HEALTH_SECONDS),
        ):
            answer = await http.get(f"{client.url}health")
    except FAILURES as error:
        why = in_words(error)
        said = f"{client.url} can't be reached ({why}): check HEADSTART_URL and the network"
        yield Found("API", False, said)
        return
    took = (time.monotonic() - began) * 1000
    if wrong := _no_health(answer):
        said = f"{wrong}: set HEADSTART_URL to the API's whole address, path included"
        yield Found("API", False, f"{client.url}health {said}")
        return
    yield Found("API", True, f"{client.url} answers in {took:.0f} ms")
    yield _clock(answer.headers.get("date"), time.time())


def _no_health(answer: httpx.Response) -> str:
    """Return in what way an answer is not that of a Headstart, empty where it is."""
    if answer.status_code != httpx.codes.OK:
        return f"answered {answer.status_code}"
    healthy = parsed(answer.content)
    if isinstance(healthy, dict) and healthy.get("status") == "ok":
        return ""
    return "answered what no Headstart does"


def _clock(date: str | None, now: float) -> Found:
    try:
        off = now - parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return Found("clock", None, "the API does not say what time it is")
    if abs(off) > _CLOCK_SECONDS:
        way = "ahead of" if off > 0 else "behind"
        said = f"it is {abs(off):.0f} s {way} the API's: set it, or good tokens are refused"
        return Found("clock", False, said)
    return Found("clock", True, f"within {max(1.0, abs(off)):.0f} s of the API's")


def _token(token: str, now: float) -> Found:
    claims = claims_of(token)
    if claims is None:
        return Found("token", None, "it is none whose time can be read: the API decides")
    whose = str(claims.get("username") or claims.get("sub") or "somebody")
    until = claims.get("exp")
    if not isinstance(until, int | float):
        return Found("token", True, f"of {whose}; it says no time")
    try:
        when = datetime.fromtimestamp(until).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    except (ValueError, OverflowError, OSError):
        # Such as one in milliseconds.
        return Found("token", None, f"of {whose}; its time is none in seconds: the API decides")
    if until <= now:
        said = f"of {whose}; it expired at {when}: set HEADSTART_TOKEN to a new one"
        return Found("token", False, said)
    soon = ", which is soon" if until - now < _SOON_SECONDS else ""
    return Found("token", True, f"of {whose}, good until {when}{soon}")


async def _stream(client: AsyncHeadstart, session_id: str | None) -> Found:
    """Connect as a viewer of the newest session: only a session says where that is."""
    if session_id is None:
        return Found("stream", None, "not tried: there is no session yet")
    reason = f"no answer in {STREAM_SECONDS:.0f} s"
    try:
        async with (
            asyncio.timeout(STREAM_SECONDS),
            aclosing(client.follow(session_id)) as events,
        ):
            async for event in events:
                if event.type in {CAUGHT_UP, "session.snapshot"}:
                    return Found("stream", True, "the WebSocket connects and answers")
                reason = str(event.data.get("reason", reason))
    except TimeoutError:
        pass
    except HeadstartError as error:
        reason = str(error)
    said = f"the WebSocket can't be used ({reason}): does a proxy or firewall let wss:// pass?"
    return Found("stream", False, said)
