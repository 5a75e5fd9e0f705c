"""Questions of users in SQL, each answered in a process of its own: `python -m mechshift_core.service.asking`.

SQLite looks at the clock only between two steps of a query, and one step can take minutes (`instr` of two long texts).
A process can be ended at any time, and its memory has an end.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from mechshift_core.errors import UsageError
from mechshift_core.service.database import HIDDEN, SHOWN, Database

SQL_SECONDS = 5.0
"""Longest time that a query of a user may take."""
SQL_LENGTH = 20_000
SQL_BYTES = 16 * 2**20
"""Most that an answer to such a query holds."""
SQL_MEMORY = 256 * 2**20
"""Most that SQLite takes for it."""
SLACK = 3.0
"""Seconds that the process has besides, to begin and to write what it found."""
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
"""Errors that are not the query's."""
REFUSED = ("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer")
"""Functions that do more than compute."""
_asking = threading.BoundedSemaphore(4)
"""So that long queries leave threads for the rest."""


def query(database: Database, text: str, *, limit: int = 1000) -> tuple[list[str], list[list[Any]], bool]:
    """Answer a question in SQL about the tables `runs` and `findings`; nothing can be changed, and nothing else read.

    Returns:
        Names of the columns, rows, and whether there were more: than `limit`, or than one answer holds.

    Raises:
        UsageError: if it is no question that can be answered, with SQLite's reason.
        sqlite3.DatabaseError: if the index can't be read.
    """
    if len(text) > SQL_LENGTH:
        raise UsageError(f"a query has at most {SQL_LENGTH} characters")
    if not _asking.acquire(timeout=SQL_SECONDS):
        raise UsageError("other queries take long; try again in a moment")
    try:
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, str(database.path), str(limit)],
            input=text.encode("utf-8", errors="replace"),
            capture_output=True,
            timeout=SQL_SECONDS + SLACK,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            check=False,
        )
        content: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise UsageError(f"the query took longer than {SQL_SECONDS:g} s") from None
    except ValueError:
        raise UsageError("the query ended without an answer; it may need too much memory") from None
    finally:
        _asking.release()
    if content.get("damage"):
        raise sqlite3.DatabaseError(content["damage"])
    if content.get("error"):
        raise UsageError(content["error"])
    return content["columns"], content["rows"], content["more"]


def answer(path: Path, text: str, *, limit: int) -> dict[str, Any]:
    """What the process writes: `columns`, `rows` and `more`, or `error`, or `damage` where it is not the query's."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)
    end = time.monotonic() + SQL_SECONDS
    rows: list[list[Any]] = []
    size, more = 0, False
    try:
        for setting in ("query_only = ON", "temp_store = MEMORY", f"hard_heap_limit = {SQL_MEMORY}"):
            connection.execute(f"PRAGMA {setting}")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2**20)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200)
        places = _places(connection)
        connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
        connection.set_authorizer(_authorize)
        _require_shown(connection, text, places)
        cursor = connection.execute(text)
        if cursor.description is None:
            return {"error": "the query asks for nothing; begin it with SELECT"}
        columns = [one[0] for one in cursor.description]
        for row in cursor:
            size += sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
            if more := len(rows) == limit or size > SQL_BYTES:
                break
            rows.append([_plain(value) for value in row])
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE:
            return {"damage": str(error)}
        late = time.monotonic() > end
        return {"error": f"the query took longer than {SQL_SECONDS:g} s" if late else f"SQL: {error}"}
    except (sqlite3.Warning, UsageError) as error:
        return {"error": f"SQL: {error}"}
    except MemoryError:
        return {"error": "SQL: the query needs too much memory"}
    finally:
        connection.close()
    return {"columns": columns, "rows": rows, "more": more}


def _places(connection: sqlite3.Connection) -> frozenset[int]:
    """Where in the file the tables that are shown begin, and their indexes."""
    rows = connection.execute("SELECT rootpage, tbl_name FROM sqlite_master").fetchall()
    return frozenset(place for place, table in rows if place and table in SHOWN)


def _require_shown(connection: sqlite3.Connection, text: str, places: frozenset[int]) -> None:
    """Refuse a query whose plan opens another table: SQLite asks no authorizer about columns that a join has in common.

    Raises:
        UsageError: if it does.
    """
    try:
        plan = connection.execute(f"EXPLAIN {text}").fetchall()
    except sqlite3.Error:
        return  # it is no question, or asks for a plan itself; what is wrong is said when it is asked
    opened = (row for row in plan if row[1] in ("OpenRead", "OpenWrite", "ReopenIdx"))
    if any(row[4] != 1 and row[3] not in places for row in opened):
        raise UsageError("not authorized")


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    """Allow reading the tables that are shown, and functions that only compute."""
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_READ and (first in SHOWN or not first):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_READ and first and not second and not first.lower().startswith(HIDDEN):
        return sqlite3.SQLITE_OK  # no column is read: rows of a part of the query are counted, or it is recursive
    if action == sqlite3.SQLITE_FUNCTION and second not in REFUSED:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, bytes):
        return value.hex()
    return None if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))) else value


if __name__ == "__main__":
    asked = sys.stdin.buffer.read().decode()
    sys.stdout.write(json.dumps(answer(Path(sys.argv[1]), asked, limit=int(sys.argv[2]))))
