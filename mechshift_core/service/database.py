"""The database: tables, how it is opened, and what is done where it is damaged.

It holds nothing that is not in the files beside it: where it can't be read, it is put aside and made anew.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mechshift_core.errors import ExecutionError

VERSION = 1
"""Of the tables; a database of another one is made anew."""
SCHEMA = """
CREATE TABLE runs (
    name TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    title TEXT NOT NULL,
    state TEXT NOT NULL,
    message TEXT NOT NULL,
    submitted_by TEXT NOT NULL,
    submitted TEXT,
    started TEXT,
    ended TEXT,
    last TEXT,
    seconds REAL,
    models TEXT NOT NULL,
    tasks TEXT NOT NULL,
    spec_sha256 TEXT NOT NULL,
    supported INTEGER NOT NULL,
    refuted INTEGER NOT NULL,
    inconclusive INTEGER NOT NULL,
    not_estimable INTEGER NOT NULL
);
CREATE INDEX runs_by_last ON runs (last DESC, name);
CREATE INDEX runs_by_state ON runs (state, last DESC, name);
CREATE INDEX runs_by_study ON runs (study, last DESC, name);
CREATE TABLE findings (
    run TEXT NOT NULL REFERENCES runs (name) ON DELETE CASCADE,
    sort TEXT NOT NULL,
    choice TEXT NOT NULL,
    id TEXT NOT NULL,
    claim TEXT NOT NULL,
    measure TEXT NOT NULL,
    pair TEXT NOT NULL,
    task TEXT NOT NULL,
    side TEXT NOT NULL,
    estimate REAL,
    low REAL,
    high REAL,
    confidence REAL NOT NULL,
    p REAL,
    p_corrected REAL,
    verdict TEXT NOT NULL,
    status TEXT NOT NULL,
    message TEXT NOT NULL,
    prompts INTEGER
);
CREATE INDEX findings_by_run ON findings (run);
CREATE INDEX findings_by_measure ON findings (measure, sort, choice);
CREATE INDEX findings_by_id ON findings (id, sort, choice);
CREATE TABLE jobs (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    submitted_by TEXT NOT NULL,
    client_key TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    open INTEGER NOT NULL
);
CREATE UNIQUE INDEX jobs_by_key ON jobs (submitted_by, client_key) WHERE client_key != '';
CREATE INDEX jobs_open ON jobs (open, number);
CREATE TABLE stamps (name TEXT PRIMARY KEY, stamp TEXT NOT NULL);
"""
SHOWN = ("runs", "findings")
"""Tables that queries of users may read."""
HIDDEN = ("jobs", "stamps", "sqlite_", "pragma_")
"""How the names of the others begin."""


class Database:
    """Connections to one file: each thread has its own, since SQLite's may not be shared."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._generation = 0
        self._file: tuple[int, int] | None = None
        self.lock = threading.RLock()
        """Held by whoever writes: one writer at a time waits for no other's transaction."""

    def prepare(self) -> bool:
        """Make the tables unless they are there; what is no database of this version is put aside.

        Returns:
            Whether there was a good one: otherwise it is empty.

        Raises:
            ExecutionError: if it can't be made.
        """
        try:
            with self.lock:
                if good := self._is_good():
                    self._file = self._here()
                    return good
                self._put_aside()
                sqlite3.connect(self.path).close()
                with self.writing() as connection:
                    connection.executescript(SCHEMA + f"PRAGMA user_version = {VERSION};")
                self._file = self._here()
        except (sqlite3.Error, OSError) as error:
            raise ExecutionError(f"{self.path}: {error}; remove it, and it is made anew") from error
        return False

    def check(self, *, thoroughly: bool = False) -> None:
        """See that the file is still the one that was opened; connections go on with one that is removed.

        Args:
            thoroughly: Whether it is read, too: connections go on with what they remember of one that is damaged.

        Raises:
            sqlite3.DatabaseError: if it is gone, another one, or damaged.
        """
        if self._here() != self._file:
            raise sqlite3.DatabaseError("its file was removed or replaced")
        if thoroughly and not self._is_good():
            raise sqlite3.DatabaseError("its file is damaged")

    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None or self._local.generation != self._generation:
            self._local.generation = self._generation
            found = sqlite3.connect(f"{self.path.as_uri()}?mode=rw", uri=True, timeout=30, isolation_level=None)
            found.row_factory = sqlite3.Row
            found.execute("PRAGMA journal_mode = WAL")
            found.execute("PRAGMA synchronous = NORMAL")
            found.execute("PRAGMA foreign_keys = ON")
            self._local.connection = found
        return found

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it happens or nothing."""
        with self.lock:
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.rollback()
                raise
            if connection.in_transaction:
                connection.commit()

    def close(self) -> None:
        """Close this thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is not None:
            found.close()
            self._local.connection = None

    def _is_good(self) -> bool:
        if not self.path.is_file() or (self._file is not None and self._here() != self._file):
            return False
        connection = sqlite3.connect(f"{self.path.as_uri()}?mode=rw", uri=True, timeout=30)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_LOCKED):
                raise  # it is good, as far as can be known; it can't be written to now
            return False
        except sqlite3.DatabaseError:
            return False
        finally:
            connection.close()
        return bool(version == VERSION and sound == "ok")

    def _here(self) -> tuple[int, int] | None:
        """Which file there is now."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _put_aside(self) -> None:
        self.close()
        self._generation += 1
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".damaged"))
        for ending in ("-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
