"""`python -m headstart_runner.demo_agent serve|import FILE|export ID`."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from headstart_runner.demo_agent.server import Server
from headstart_runner.demo_agent.store import Store

_DEFAULT_SECONDS = "1.5"


async def _serve(host: str, port: int) -> None:
    server = Server(
        Store(),
        directory=Path(os.getcwd()),  # noqa: PTH109  (the working directory as it was given)
        password=os.environ.pop("DEMO_AGENT_SERVER_PASSWORD", ""),
        answer_seconds=float(os.environ.get("DEMO_AGENT_SECONDS", _DEFAULT_SECONDS)),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with await asyncio.start_server(server.connected, host, port):
        sys.stdout.write(f"demo agent listening on http://{host}:{port}\n")
        sys.stdout.flush()
        await stop.wait()
        server.stop()


def _import(file: Path) -> None:
    document = json.loads(file.read_text(encoding="utf-8"))
    Store().import_session(document, directory=os.getcwd())  # noqa: PTH109
    sys.stdout.write(f"Imported session: {document['info']['id']}\n")


def _export(session_id: str) -> int:
    document = Store().export_session(session_id)
    if document is None:
        sys.stderr.write(f"Session not found: {session_id}\n")
        return 1
    sys.stderr.write(f"Exporting session: {session_id}\n")
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="demo-agent", description="Headstart's demo agent")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the HTTP API in the working directory")
    serve.add_argument("--hostname", default="127.0.0.1")
    serve.add_argument("--port", type=int, required=True)
    commands.add_parser("import", help="import a session").add_argument("file", type=Path)
    commands.add_parser("export", help="print a session").add_argument("session_id")
    arguments = parser.parse_args()
    if arguments.command == "serve":
        asyncio.run(_serve(arguments.hostname, arguments.port))
    elif arguments.command == "import":
        _import(arguments.file)
    else:
        return _export(arguments.session_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
