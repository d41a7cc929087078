"""What the embedded cloud of this machine knows, which the client alone comes without."""

import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from types import ModuleType
from urllib.parse import urlsplit

_LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}


def part(name: str) -> ModuleType:
    """Return a module of the embedded cloud; ends the command where that is not installed."""
    if not find_spec("headstart_local"):
        sys.exit(
            "headstart: The embedded cloud is not installed: it runs from a checkout of the "
            "repository, after `make setup` there."
        )
    return import_module(f"headstart_local.{name}")


def token(url: str) -> tuple[str, str]:
    """Return a token for an API of this machine, or else why there is none, where that is known."""
    if not _may_be_at(url):
        return "", ""
    with redirect_stdout(StringIO()) as printed, redirect_stderr(StringIO()) as why:
        part("tokens").main(["--sub", "demo"])
    said = why.getvalue().strip().removeprefix("headstart token: ")
    return printed.getvalue().strip(), f"{said[:1].upper()}{said[1:]}." if said else ""


def page(url: str) -> str:
    """Return the address of the page that came up with an API of this machine, else nothing."""
    return str(part("page_address").page_beside(url) or "") if _may_be_at(url) else ""


def _may_be_at(url: str) -> bool:
    return urlsplit(url).hostname in _LOCAL_HOSTS and find_spec("headstart_local") is not None
