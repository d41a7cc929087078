"""What the runner must not forget when it is killed: one SQLite file in the state directory.

Every public method is one transaction. The file is readable only by the runner's uid, for it holds
the resume key and commands with the user's environment; it is never part of an archive.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS commands (
  id TEXT PRIMARY KEY, frame TEXT, state TEXT NOT NULL, result TEXT);
CREATE TABLE IF NOT EXISTS spool (id INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS texts (
  ref TEXT PRIMARY KEY, writer TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS batch (seq INTEGER PRIMARY KEY, frame TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
  message_id TEXT PRIMARY KEY, agent_message_id TEXT NOT NULL, turn_id TEXT NOT NULL,
  command_id TEXT NOT NULL, state TEXT NOT NULL);
"""

Entry = dict[str, Any]
"""A spooled item on its way to a report: `{"event": …}` or `{"result": …}`."""

DeliveryState = Literal["minted", "posting", "shown", "ended"]


@dataclass(frozen=True, slots=True)
class KnownCommand:
    """A command we were given: `result` is set once it is finished; `frame` until then."""

    id: str
    state: Literal["running", "finished", "cancelled"]
    frame: str | None
    result: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """The pair of a message's id and the agent's own id for it, and how far its delivery got.

    `minted`: certainly not posted; `posting`: perhaps; `shown`: the agent has it and the turn
    runs; `ended`: nothing more will come of it. Turn and command are those that asked for the
    message last: it may be released again while the agent has it.
    """

    message_id: str
    agent_message_id: str
    turn_id: str
    command_id: str
    state: DeliveryState


class Journal:
    """The file and its tables."""

    def __init__(self, state_dir: Path) -> None:
        path = state_dir / "journal.db"
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None)
        # The file must outlive our process, not the machine: a sandbox's disk dies with it.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk may have ended it
                self._db.execute("ROLLBACK")
            raise

    def get(self, key: str) -> str | None:
        """Return a single value."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def put(self, key: str, value: str) -> None:
        """Keep a single value."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def remember(self, key: str, value: str, most: int) -> None:
        """Keep a value among the newest so many of its key."""
        self.put(key, json.dumps([*self.remembered(key), value][-most:]))

    def remembered(self, key: str) -> list[str]:
        """Return the values kept of a key, oldest first."""
        found: list[str] = json.loads(self.get(key) or "[]")
        return found

    def command(self, command_id: str) -> KnownCommand | None:
        """Return a command we know."""
        row = self._db.execute(
            "SELECT id, state, frame, result FROM commands WHERE id = ?", (command_id,)
        ).fetchone()
        return _command(row) if row else None

    def running_commands(self) -> list[KnownCommand]:
        """Return the unfinished commands, oldest first."""
        rows = self._db.execute(
            "SELECT id, state, frame, result FROM commands WHERE state = 'running' ORDER BY rowid"
        )
        return [_command(row) for row in rows]

    def begin_command(self, command_id: str, frame: str) -> None:
        """Note that a command is being worked on."""
        self._db.execute(
            "INSERT OR REPLACE INTO commands VALUES (?, ?, 'running', NULL)", (command_id, frame)
        )

    def cancel_command(self, command_id: str, result: dict[str, Any]) -> None:
        """Note that a command was cancelled; `result` answers whoever still asks."""
        self._db.execute(
            "UPDATE commands SET state = 'cancelled', frame = NULL, result = ? WHERE id = ?",
            (json.dumps(result), command_id),
        )

    def finish_command(self, command_id: str, result: dict[str, Any]) -> int:
        """Note a command's result and spool it, in one; return its place in the spool."""
        with self._transaction() as db:
            db.execute(
                "UPDATE commands SET state = 'finished', frame = NULL, result = ? WHERE id = ?",
                (json.dumps(result), command_id),
            )
            return _spool(db, {"result": result})

    def spool(self, entry: Entry) -> int | None:
        """Keep an item until its batch is acknowledged; return its place.

        None where the disk has no room for it: it is in memory alone, and dies with its runner.
        """
        with suppress(sqlite3.OperationalError):
            return _spool(self._db, entry)
        return None

    def spool_piece(
        self, entry: Entry, ref: str, written: tuple[str, str, int] | None
    ) -> int | None:
        """Keep a piece of a text, and how far that is `written`, None when it is over.

        Returns as `spool` does.
        """
        with suppress(sqlite3.OperationalError), self._transaction() as db:
            if written is None:
                db.execute("DELETE FROM texts WHERE ref = ?", (ref,))
            else:
                db.execute("INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", written)
            return _spool(db, entry)
        return None

    def open_texts(self) -> list[tuple[str, str, int]]:
        """Return the texts that were being written: their refs, writers, and bytes so far."""
        return list(self._db.execute("SELECT ref, writer, bytes FROM texts"))

    def spooled(self) -> list[tuple[int, Entry]]:
        """Return what waits to be sent, in order."""
        return [
            (row[0], json.loads(row[1]))
            for row in self._db.execute("SELECT id, entry FROM spool ORDER BY id")
        ]

    def drop(self, places: list[int]) -> None:
        """Forget items that there is no room for."""
        self._db.executemany("DELETE FROM spool WHERE id = ?", [(place,) for place in places])

    @property
    def last_seq(self) -> int:
        """The number of the newest batch, 0 before the first."""
        return int(self.get("last_seq") or 0)

    def begin_batch(self, seq: int, frame: str, places: list[int]) -> None:
        """Move items from the spool into the one unacknowledged batch."""
        with self._transaction() as db:
            db.execute("INSERT INTO batch VALUES (?, ?)", (seq, frame))
            db.execute("INSERT OR REPLACE INTO meta VALUES ('last_seq', ?)", (str(seq),))
            db.executemany("DELETE FROM spool WHERE id = ?", [(place,) for place in places])

    def batch(self) -> tuple[int, str] | None:
        """Return the unacknowledged batch exactly as it was sent."""
        row = self._db.execute("SELECT seq, frame FROM batch ORDER BY seq LIMIT 1").fetchone()
        return (row[0], row[1]) if row else None

    def end_batch(self, seq: int) -> None:
        """Forget an acknowledged batch."""
        self._db.execute("DELETE FROM batch WHERE seq = ?", (seq,))

    def delivery(self, message_id: str) -> Delivery | None:
        """Return how far a message's delivery got."""
        row = self._db.execute(
            "SELECT message_id, agent_message_id, turn_id, command_id, state FROM deliveries"
            " WHERE message_id = ?",
            (message_id,),
        ).fetchone()
        return Delivery(*row) if row else None

    def open_turns(self) -> list[Delivery]:
        """Return the turns that have begun and not ended."""
        rows = self._db.execute(
            "SELECT message_id, agent_message_id, turn_id, command_id, state FROM deliveries"
            " WHERE state = 'shown' ORDER BY rowid"
        )
        return [Delivery(*row) for row in rows]

    def put_delivery(self, delivery: Delivery) -> None:
        """Note how far a message's delivery got, and for which turn, in place of what was known."""
        self._db.execute(
            "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?)",
            (
                delivery.message_id,
                delivery.agent_message_id,
                delivery.turn_id,
                delivery.command_id,
                delivery.state,
            ),
        )

    def end_turn(self, turn_id: str, entry: Entry) -> int | None:
        """Note a turn's end and spool it, in one; None if it had ended before."""
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE deliveries SET state = 'ended' WHERE turn_id = ? AND state = 'shown'",
                (turn_id,),
            )
            return _spool(db, entry) if changed.rowcount else None


def _spool(db: sqlite3.Connection, entry: Entry) -> int:
    cursor = db.execute("INSERT INTO spool (entry) VALUES (?)", (json.dumps(entry),))
    return cast(int, cursor.lastrowid)


def _command(row: tuple[Any, ...]) -> KnownCommand:
    return KnownCommand(
        id=row[0], state=row[1], frame=row[2], result=json.loads(row[3]) if row[3] else None
    )


def prepare_state_dir(path: Path) -> None:
    """Make the state directory, closed to everybody else."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(path, 0o700)  # noqa: PTH101  (mkdir leaves an existing directory's mode as it is)
