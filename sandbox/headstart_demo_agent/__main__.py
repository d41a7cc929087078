"""`python -m headstart_demo_agent serve|import FILE|export ID`."""

import argparse
import json
import os
import sys
from pathlib import Path

from headstart_demo_agent.store import Store


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
    server = commands.add_parser("serve", help="serve the HTTP API in the working directory")
    server.add_argument("--hostname", default="127.0.0.1")
    server.add_argument("--port", type=int, required=True)
    commands.add_parser("import", help="import a session").add_argument("file", type=Path)
    commands.add_parser("export", help="print a session").add_argument("session_id")
    arguments = parser.parse_args()
    if arguments.command == "serve":
        # Only the server needs asyncio: import and export start twice as fast without it.
        from headstart_demo_agent.serving import serve  # noqa: PLC0415

        serve(arguments.hostname, arguments.port)
    elif arguments.command == "import":
        _import(arguments.file)
    else:
        return _export(arguments.session_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
