"""The index of a root: runs and findings in a database, kept in step with the files.

Whatever it says can be made anew from the run directories and jobs; `rebuild` does so.
"""

from __future__ import annotations

import sqlite3
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

    def refresh(self, names: Iterable[str] | None = None) -> list[str]:
        """Read what has changed.

        Args:
            names: Runs to look at; all unless given, and those that are gone are forgotten.

        Returns:
            The runs that were looked at.
        """
        known = {row["name"]: row["stamp"] for row in self.database.connection().execute("SELECT * FROM stamps")}
        looked = list(self.root.names() if names is None else names)
        for name in looked:
            now = stamp(self.root, name)
            if known.get(name) != now:
                self._put(name, now)
        if names is None:
            for gone in known.keys() - set(looked):
                self.forget(gone)
        return looked

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
        except MechshiftError:
            self.forget(name)  # its job is damaged: it is listed again when somebody mends it
            return
        with self.database.writing() as connection:
            _replace(connection, name, now, entry)


def _replace(connection: sqlite3.Connection, name: str, now: str, entry: Entry) -> None:
    connection.execute("DELETE FROM findings WHERE run = ?", (name,))
    _insert(connection, "runs", [entry.run])
    _insert(connection, "findings", entry.findings)
    if entry.submission is not None:
        _put_job(connection, entry.submission, open_=entry.open)
    connection.execute("INSERT OR REPLACE INTO stamps VALUES (?, ?)", (name, now))


def _put_job(connection: sqlite3.Connection, submission: Submission, *, open_: bool) -> None:
    row = {
        "name": submission.run,
        "number": submission.number,
        "submitted_by": submission.by,
        "client_key": submission.key,
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
            [tuple(row.values()) for row in rows],
        )
