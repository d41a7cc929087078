"""What a shell is offered while a command is typed: sessions, messages, agents and modes."""

import argparse
import os
from argparse import Namespace
from collections.abc import Callable, Iterable
from threading import Event
from typing import TYPE_CHECKING

import argcomplete
from argcomplete.completers import FilesCompleter

from headstart_client import embedded
from headstart_client.arguments import LISTED
from headstart_client.blocking import within
from headstart_client.errors import HeadstartError
from headstart_client.text import flat
from headstart_client.tokens import bare
from headstart_client.usage import is_address

if TYPE_CHECKING:
    from headstart_client.client import Headstart

_SECONDS = 1.0
"""How long a person who typed Tab is kept waiting for the API."""

_TOKEN_SECONDS = 3.0
"""The same for a token of this machine's cloud: what asks for it has to be loaded first."""

Offered = dict[str, str]
"""Values, each with what some shells show beside it."""

_Ask = Callable[["Headstart", Namespace], Offered]


def _sessions(client: "Headstart", _: Namespace) -> Offered:
    return {one.session_id: flat(f"{one.status} {one.title}") for one in client.list(limit=LISTED)}


def _waiting(client: "Headstart", typed: Namespace) -> Offered:
    return {one.message_id: one.status for one in client.get(typed.session_id).queue}


def _asked(client: "Headstart", typed: Namespace) -> Offered:
    return {one.request_id: one.kind for one in client.get(typed.session_id).pending_inputs}


def _steps(client: "Headstart", typed: Namespace) -> Offered:
    return {log.step: f"attempt {log.attempt_number}" for log in client.logs(typed.session_id)}


def _agents(client: "Headstart", _: Namespace) -> Offered:
    return {one.name: "" for one in client.defaults().agents}


def _modes(client: "Headstart", typed: Namespace) -> Offered:
    found = client.defaults()
    agent = typed.agent or found.agent
    return {mode: "" for one in found.agents if one.name == agent for mode in one.modes}


def _models(client: "Headstart", typed: Namespace) -> Offered:
    found = client.defaults()
    agent = typed.agent or found.agent
    return {model: "" for one in found.agents if one.name == agent for model in one.models}


_ASK: dict[str, _Ask] = {
    "session_id": _sessions,
    "others": _sessions,
    "message_id": _waiting,
    "request_id": _asked,
    "agent": _agents,
    "mode": _modes,
    "model": _models,
    "step": _steps,
}
_FILES = {"file", "folder", "setup_input"}
"""What names a file of this machine, or of the checkout that one stands in."""


def complete(whole: argparse.ArgumentParser) -> None:
    """Answer a shell that asks and end the process; where no shell asks, do nothing."""
    for parser in (whole, *_commands(whole)):
        for action in parser._actions:
            if ask := _ASK.get(action.dest):
                action.completer = _from_the_api(ask)  # type: ignore[attr-defined]
            elif action.dest in _FILES:
                action.completer = FilesCompleter()  # type: ignore[attr-defined]
    argcomplete.autocomplete(
        whole,
        # Options are offered to who begins one: beside ids they are in the way.
        always_complete_options=False,
        default_completer=lambda **_: (),  # type: ignore[arg-type]
    )


def _commands(whole: argparse.ArgumentParser) -> Iterable[argparse.ArgumentParser]:
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _from_the_api(ask: _Ask) -> Callable[..., Offered]:
    def completer(*, parsed_args: Namespace, **_: object) -> Offered:
        from headstart_client.client import Headstart  # noqa: PLC0415 - commands need no API

        url, token = (os.environ.get(f"HEADSTART_{name}", "").strip() for name in ("URL", "TOKEN"))
        if not is_address(url):
            return {}

        def asking(_: Event) -> Offered:
            with Headstart(url, token) as client:
                return ask(client, parsed_args)

        try:
            token = bare(token) or within(_TOKEN_SECONDS, lambda _: embedded.token(url)[0])
            return within(_SECONDS, asking) if token else {}
        except (HeadstartError, TimeoutError):
            return {}

    return completer
