"""The index of a root: runs and findings in a database, kept in step with the files.

Whatever it says can be made anew from the run directories and jobs; `rebuild` does so.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from mechshift_core.errors import MechshiftError
from mechshift_core.service.database import Database
from mechshift_core.service.jobs import Submission
from mechshift_core.service.root import Root
from mechshift_core.service.rows import Entry, read_entry, stamp


@dataclass(frozen=True, slots=True)
class Taken:
    """A submission that the index knows.

    Attributes:
        name: Its run.
        sha256: Of spec and files.
    """

    name: str
    sha256: str


class Index:
    """Runs and findings of a root."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.database = Database(root.database)
        self.suspect = False
        """Whether an answer could not be read from it, so that it is looked at."""
        self.damaged: dict[str, str] = {}
        """Runs that can't be listed, and why."""
        self._mending: int | None = None

    def open(self) -> bool:
        """Make the database unless it is there and good; returns whether it was.

        Raises:
            ExecutionError: if it can't be made.
        """
        return self.database.prepare()

    def rebuild(self) -> int:
        """Forget everything and read the files anew.

        Returns:
            How many runs there are.
        """
        with self.database.writing() as connection:
            for table in ("findings", "runs", "jobs", "stamps"):
                connection.execute(f"DELETE FROM {table}")
        return len(self.refresh())

    def check(self, *, thoroughly: bool = False) -> None:
        """See whether the database can still be believed; `thoroughly`: by reading it.

        Raises:
            sqlite3.DatabaseError: if its file is gone, or it could not be read; :meth:`mend` helps.
        """
        self.database.check(thoroughly=thoroughly)
        if self.suspect:
            raise sqlite3.DatabaseError("it could not be read")

    def mend(self) -> None:
        """Make the database anew if it is damaged; meanwhile nobody else changes it, and nothing is taken on.

        Raises:
            ExecutionError: if it can't be made.
        """
        with self.database.lock:
            self._mending = threading.get_ident()
            try:
                if not self.database.prepare():
                    self.refresh()
                self.suspect = False
            finally:
                self._mending = None

    def require_whole(self) -> None:
        """Refuse where the database is being made anew in another thread: it does not know all runs yet.

        Raises:
            sqlite3.OperationalError: if so.
        """
        if self._mending not in (None, threading.get_ident()):
            raise sqlite3.OperationalError("the index is being made anew")

    def refresh(self, names: Iterable[str] | None = None) -> list[str]:
        """Read what has changed.

        Args:
            names: Runs to look at; all unless given, and those that are gone are forgotten.

        Returns:
            The runs that were looked at.
        """
        self.require_whole()
        looked = list(self.root.names() if names is None else names)
        known = self._stamps(None if names is None else looked)
        for name in looked:
            if not self.root.has(name):
                self._forget_gone(name)
            elif known.get(name) != (now := stamp(self.root, name)):
                self._put(name, now)
        for gone in known.keys() - set(looked):
            self._forget_gone(gone)
        return looked

    def _forget_gone(self, name: str) -> None:
        """Forget a run that was not there a moment ago, unless it is by now: one that was just taken on, say."""
        with self.database.lock:
            if not self.root.has(name):
                self.forget(name)

    def _stamps(self, names: list[str] | None) -> dict[str, str]:
        connection = self.database.connection()
        if names is None:
            return {row["name"]: row["stamp"] for row in connection.execute("SELECT * FROM stamps")}
        rows = (connection.execute("SELECT * FROM stamps WHERE name = ?", (name,)).fetchone() for name in names)
        return {row["name"]: row["stamp"] for row in rows if row is not None}

    def forget(self, name: str) -> None:
        """Leave a run out that is not there any more."""
        with self.database.writing() as connection:
            for table in ("stamps", "jobs", "runs"):
                connection.execute(f"DELETE FROM {table} WHERE name = ?", (name,))

    def take(self, submission: Submission) -> None:
        """Note a submission, whose files are written."""
        with self.database.writing() as connection:
            _put_job(connection, submission, open_=True)
        self.refresh([submission.run])

    def next_number(self) -> int:
        """The place of the next submission in the queue."""
        (last,) = self.database.connection().execute("SELECT max(number) FROM jobs").fetchone()
        return 1 if last is None else int(last) + 1

    def taken(self, by: str, key: str) -> Taken | None:
        """What a client has submitted under a key of its own."""
        found = (
            self.database.connection()
            .execute("SELECT name, sha256 FROM jobs WHERE submitted_by = ? AND client_key = ?", (by, key))
            .fetchone()
        )
        return None if found is None or not key else Taken(found["name"], found["sha256"])

    def open_jobs(self) -> list[str]:
        """Runs that wait or run, in the order in which they were handed in."""
        rows = self.database.connection().execute("SELECT name FROM jobs WHERE open ORDER BY number")
        return [row["name"] for row in rows]

    def count_open(self, by: str | None = None) -> int:
        """How many wait or run; of one token, or of all."""
        where, values = ("", ()) if by is None else (" AND submitted_by = ?", (by,))
        (count,) = self.database.connection().execute(f"SELECT count(*) FROM jobs WHERE open{where}", values).fetchone()
        return int(count)

    def _put(self, name: str, now: str) -> None:
        try:
            entry = read_entry(self.root, name)
        except Exception as error:  # its files are damaged, and one run must not keep the others from being listed
            self._leave_out(name, error)
            return
        try:
            with self.database.writing() as connection:
                _replace(connection, name, now, entry)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, ValueError, OverflowError) as error:
            self._leave_out(name, error)  # the same: values that are none
        else:
            self.damaged.pop(name, None)

    def _leave_out(self, name: str, error: Exception) -> None:
        """Forget a run whose files are damaged; it is listed again when somebody has mended them."""
        self.forget(name)
        self.damaged[name] = str(error) if isinstance(error, MechshiftError) else f"{type(error).__name__}: {error}"


def _replace(connection: sqlite3.Connection, name: str, now: str, entry: Entry) -> None:
    connection.execute("DELETE FROM findings WHERE run = ?", (name,))
    _insert(connection, "runs", [entry.run])
    _insert(connection, "findings", entry.findings)
    if entry.submission is None:
        connection.execute("DELETE FROM jobs WHERE name = ?", (name,))
    else:
        _put_job(connection, entry.submission, open_=entry.open)
    connection.execute("INSERT OR REPLACE INTO stamps VALUES (?, ?)", (name, now))


def _put_job(connection: sqlite3.Connection, submission: Submission, *, open_: bool) -> None:
    same = "SELECT 1 FROM jobs WHERE submitted_by = ? AND client_key = ? AND name != ?"
    taken = connection.execute(same, (submission.by, submission.key, submission.run)).fetchone()
    row = {
        "name": submission.run,
        "number": submission.number,
        "submitted_by": submission.by,
        "client_key": "" if taken else submission.key,  # a folder that was copied, or came back out of the trash
        "sha256": submission.sha256,
        "open": open_,
    }
    _insert(connection, "jobs", [row])


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[dict[str, object]]) -> None:
    rows = list(rows)
    if rows:
        columns = list(rows[0])
        changed = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
        conflict = "" if table == "findings" else f" ON CONFLICT (name) DO UPDATE SET {changed}"
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        connection.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({marks}){conflict}",
            [tuple(row[name] for name in columns) for row in rows],
        )
