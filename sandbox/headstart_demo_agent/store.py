"""The demo agent's database: sessions and their messages, in SQLite under XDG_DATA_HOME."""

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, info TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS message (
  id TEXT PRIMARY KEY, session_id TEXT NOT NULL REFERENCES session (id), info TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS part (
  id TEXT PRIMARY KEY, message_id TEXT NOT NULL REFERENCES message (id), data TEXT NOT NULL);
"""

Json = dict[str, Any]


def now_ms() -> int:
    """Return the time in milliseconds, as messages carry it."""
    return int(time.time() * 1000)


class Store:
    """One connection; every write is its own transaction."""

    def __init__(self) -> None:
        home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        folder = home / "demo-agent"
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "demo-agent.db", isolation_level=None)
        self._db.executescript(_SCHEMA)

    def import_session(self, document: Json, *, directory: str) -> None:
        """Take a session as `export` wrote it; one that is known is replaced."""
        info = {**document["info"], "directory": directory}
        self.save_session(info)
        for message in document.get("messages") or []:
            self.save_message(message["info"])
            for part in message.get("parts") or []:
                self.save_part(part)

    def export_session(self, session_id: str) -> Json | None:
        """Return a session with its messages, None for an unknown one."""
        info = self.session(session_id)
        return None if info is None else {"info": info, "messages": self.messages(session_id)}

    def session(self, session_id: str) -> Json | None:
        """Return what is known about a session."""
        row = self._db.execute("SELECT info FROM session WHERE id = ?", (session_id,)).fetchone()
        found: Json | None = json.loads(row[0]) if row else None
        return found

    def directory(self, session_id: str) -> Path:
        """Return where a session works."""
        return Path((self.session(session_id) or {}).get("directory", "."))

    def create_session(self, session_id: str, directory: str) -> Json:
        """Return a session under an id, a new one where there is none."""
        found = self.session(session_id)
        if found is None:
            now = now_ms()
            found = {
                "id": session_id,
                "directory": directory,
                "title": "New session",
                "time": {"created": now, "updated": now},
            }
            self.save_session(found)
        return found

    def save_session(self, info: Json) -> None:
        """Write a session."""
        self._db.execute(
            "INSERT INTO session VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET info = excluded.info",
            (info["id"], json.dumps(info)),
        )

    def messages(self, session_id: str) -> list[Json]:
        """Return a session's messages with their parts, ordered by id."""
        rows = self._db.execute(
            "SELECT id, info FROM message WHERE session_id = ? ORDER BY id", (session_id,)
        ).fetchall()
        return [{"info": json.loads(info), "parts": self._parts(key)} for key, info in rows]

    def _parts(self, message_id: str) -> list[Json]:
        rows = self._db.execute(
            "SELECT data FROM part WHERE message_id = ? ORDER BY id", (message_id,)
        )
        return [json.loads(row[0]) for row in rows]

    def save_message(self, info: Json) -> None:
        """Write a message."""
        self._db.execute(
            "INSERT INTO message VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET info = excluded.info",
            (info["id"], info["sessionID"], json.dumps(info)),
        )

    def save_part(self, part: Json) -> None:
        """Write a part of a message."""
        self._db.execute(
            "INSERT INTO part VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data",
            (part["id"], part["messageID"], json.dumps(part)),
        )
