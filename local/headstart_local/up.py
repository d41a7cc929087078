"""`headstart up`: runs the whole of Headstart on this machine until it is told to stop.

What sessions run (repositories, setup commands, agents) runs as you, isolated by nothing.
"""

import argparse
import json
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urldefrag, urlencode, urlsplit
from urllib.request import urlopen

from headstart.domain.agents import MODES
from headstart_local import processes, sample_repo, tokens
from headstart_local.cloud import Cloud
from headstart_local.deploy import DeploymentError, RefusedError
from headstart_local.emulator import EmulatorError
from headstart_local.git_server import GitServer
from headstart_local.packaging import TemplateError
from headstart_local.page_server import PageServer
from headstart_local.reaching import DEFAULT_PORT
from headstart_local.scratch import Scratch
from headstart_local.stop import Stop

REPOSITORY = Path(__file__).resolve().parents[2]
READY_SECONDS = 30.0
CLEAN_UP_SECONDS = 10.0


class _Log:
    """Shows the functions' logs where asked to, and remembers the last line."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self.last = ""

    def __call__(self, function: str, line: str) -> None:
        self.last = f"{function}: {line}"
        if self._shown:
            sys.stderr.write(f"{self.last}\n")


def _check_health(url: str, log: _Log) -> None:
    """Make sure that the deployed API answers; the function's last word is the reason if not."""
    try:
        with urlopen(url, timeout=READY_SECONDS):  # noqa: S310 - our own loopback address
            return
    except OSError as error:
        reason = f"{url} did not answer with success: {error}. {log.last}"
        raise DeploymentError(reason.strip()) from error


def _started(stack: ExitStack, arguments: argparse.Namespace, stop: Stop) -> dict[str, str]:
    """Start all parts and return the addresses to print."""
    folder = stack.enter_context(Scratch("git"))
    stop.check()
    sample_repo.create(folder / "sample.git")
    git = stack.enter_context(GitServer(folder))
    sources = ",".join([f"{git.base_url}/*", *arguments.allow_git])
    page = stack.enter_context(PageServer(REPOSITORY / "web"))
    stop.check()

    log = _Log(arguments.verbose)
    cloud = Cloud(
        arguments.template,
        port=arguments.port,
        parameters=dict(arguments.parameter),
        offered={"AllowedGitSources": sources, "Agents": _agents_here()},
        keys={"GitHubAppKeyArn": arguments.app_key} if arguments.app_key else {},
        on_log=log,
        origins=[page.origin, *arguments.allow_origin],
        between=stop.check,
    )
    stack.enter_context(cloud)
    stop.check()
    _check_health(f"{cloud.http_url}/health", log)
    token = tokens.issue(cloud.endpoint, "demo")
    kept = [f"{cloud.endpoint}/{b}/" for b in [cloud.outputs.get("ArchiveBucket")] if b]
    stack.enter_context(page.serving([f"{cloud.http_url}/", cloud.websocket_url, *kept]))
    sample = git.url("sample.git")
    link = urlencode({"api": cloud.http_url, "token": token, "repo": sample})
    return {
        "httpUrl": cloud.http_url,
        "wsUrl": cloud.websocket_url,
        "pageUrl": f"{page.origin}/#{link}",
        "token": token,
        "gitUrl": sample,
    }


def _agents_here() -> str:
    """Return the agents whose programs are on PATH, and the demo, which is built in."""
    return ",".join(name for name in sorted(MODES) if name == "demo" or shutil.which(name))


def _described(addresses: dict[str, str]) -> str:
    page = urldefrag(addresses["pageUrl"]).url
    return (
        "Headstart is up. Ctrl-C stops it and leaves nothing behind.\n\n"
        f"  page       {addresses['pageUrl']}\n"
        f"  HTTP API   {addresses['httpUrl']}\n"
        f"  WebSocket  {addresses['wsUrl']}\n"
        f"  sample     {addresses['gitUrl']}\n"
        f"  token      {addresses['token']}\n\n"
        "Try it:\n\n"
        f"  export HEADSTART_URL={addresses['httpUrl']} HEADSTART_PAGE={page}\n"
        f"  {sys.argv[0]} run 'Say hello' --repo {addresses['gitUrl']}\n"
    )


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    if name == "DefaultAgent" and value != "demo" and shutil.which(value) is None:
        raise argparse.ArgumentTypeError(
            f"{value} is not on PATH: `make agents` installs it, and `make run` finds it"
        )
    return name, value


def _key(text: str) -> bytes:
    from headstart_local.signing_keys import BadKeyError, read_key  # noqa: PLC0415 - slow

    try:
        return read_key(Path(text).read_bytes())
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from error
    except BadKeyError as error:
        raise argparse.ArgumentTypeError(f"{text} {error}") from error


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text} is not a port, 0 to 65535")
    return int(text)


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
        raise argparse.ArgumentTypeError(f"{text} is not an origin such as http://localhost:5173")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="headstart up", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON line when ready")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="0 takes a free one")
    parser.add_argument(
        "--allow-git",
        action="append",
        default=[],
        metavar="PATTERN",
        help="allow git sources beside https, such as 'http://127.0.0.1:*' (repeatable)",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        type=_origin,
        metavar="ORIGIN",
        help="allow pages of another origin, such as http://localhost:5173 (repeatable)",
    )
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=_parameter,
        metavar="NAME=VALUE",
        help="set a parameter of the template (repeatable)",
    )
    parser.add_argument(
        "--app-key",
        type=_key,
        metavar="PEM",
        help="sign as a GitHub App with its private key; needs --parameter GitHubAppId=…",
    )
    parser.add_argument("--verbose", action="store_true", help="show the functions' logs")
    parser.add_argument(
        "--template", type=Path, default=REPOSITORY / "template.yaml", help="what to deploy"
    )
    arguments = parser.parse_args(argv)
    if bool(arguments.app_key) != any(name == "GitHubAppId" for name, _ in arguments.parameter):
        parser.error("a GitHub App needs both: --app-key PEM and --parameter GitHubAppId=…")
    return arguments


def _failed(error: Exception, status: int) -> int:
    sys.stderr.write(f"headstart up: {error}\n")
    return status


def main(argv: list[str]) -> int:
    """Run `headstart up`.

    Returns 0 after SIGINT or SIGTERM, 1 when the deployment failed, and 2 when it can't begin with
    what it was given: template, parameters, port, a place for temporary files.
    """
    arguments = _arguments(argv)
    stop = Stop()
    processes.adopt_orphans()
    try:
        with ExitStack() as stack:
            addresses = _started(stack, arguments, stop)
            stop.check()
            shown = json.dumps(addresses) if arguments.json else _described(addresses)
            sys.stdout.write(f"{shown}\n")
            sys.stdout.flush()
            stop.wait()
    except SystemExit:
        return 0
    except BrokenPipeError:
        # Nobody reads the addresses, which the command line knows how to end by.
        raise
    except (RefusedError, TemplateError, OSError) as error:
        return _failed(error, 2)
    except (DeploymentError, EmulatorError, tokens.NoUserPoolError) as error:
        return _failed(error, 1)
    finally:
        processes.kill_descendants(CLEAN_UP_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
