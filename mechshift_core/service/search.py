"""Questions to the index: lists of runs and findings, and a finding over time."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mechshift_core.errors import UsageError
from mechshift_core.service.database import SHOWN, Database

Row = dict[str, Any]
MOST_ROWS = 5000
"""Rows that one answer holds."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Attributes:
        rows: In order.
        next: What to ask for to get the rows behind; None at the end.
        total: Rows of the whole list.
    """

    rows: tuple[Row, ...]
    next: str | None
    total: int


def list_runs(
    database: Database,
    *,
    text: str = "",
    state: Sequence[str] = (),
    verdict: str = "",
    study: str = "",
    model: str = "",
    task: str = "",
    by: str = "",
    limit: int = 50,
    after: str | None = None,
) -> Page:
    """Runs, the last active first.

    Args:
        database: The index.
        text: Words that name, study, title, models, tasks or submitter must hold.
        state: States, any of which it must have.
        verdict: A verdict that at least one hypothesis must have.
        study: Name of the study.
        model: One of its models, and `task` one of its tasks.
        by: Who handed it in.
        limit: Rows.
        after: `next` of the part before.

    Raises:
        UsageError: if `after` is no such mark, or the verdict is none.
    """
    where, values = _words(text, ("name", "study", "title", "models", "tasks", "submitted_by"))
    if state:
        where.append(f"state IN ({', '.join('?' * len(state))})")
        values += state
    if verdict:
        column = verdict.replace(" ", "_")
        if column not in ("supported", "refuted", "inconclusive", "not_estimable"):
            raise UsageError(f"verdict: expected supported, refuted, inconclusive or not estimable, got {verdict!r}")
        where.append(f"{column} > 0")
    _narrow(where, values, equal={"study": study, "submitted_by": by}, among={"models": model, "tasks": task})
    connection = database.connection()
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    (total,) = connection.execute(f"SELECT count(*) FROM runs{condition}", values).fetchone()
    if after is not None:
        last, name = _unmark(after)
        where.append("(coalesce(last, '') < ? OR (coalesce(last, '') = ? AND name > ?))")
        values += [last, last, name]
        condition = f" WHERE {' AND '.join(where)}"
    rows = connection.execute(
        f"SELECT * FROM runs{condition} ORDER BY last DESC, name LIMIT ?", [*values, limit + 1]
    ).fetchall()
    found = tuple(dict(row) for row in rows[:limit])
    more = _mark(found[-1]["last"] or "", found[-1]["name"]) if len(rows) > limit else None
    return Page(found, more, total)


def one_run(database: Database, name: str) -> Row | None:
    """A run of the index; None if it is not there."""
    row = database.connection().execute("SELECT * FROM runs WHERE name = ?", (name,)).fetchone()
    return None if row is None else dict(row)


def list_findings(
    database: Database,
    *,
    text: str = "",
    run: str = "",
    measure: str = "",
    task: str = "",
    model: str = "",
    verdict: str = "",
    sort: str = "hypothesis",
    choices: bool = False,
    limit: int = 200,
) -> Page:
    """Findings over all runs, those of the runs last active first.

    Args:
        database: The index.
        text: Words that id, claim, measure, run or study must hold.
        run: Of this run alone.
        measure: Of this measure.
        task: Of a task, and `model` of runs with this model.
        verdict: With this verdict.
        sort: `hypothesis` or `estimate`.
        choices: Whether those under other choices than the study's first are listed, too.
        limit: Rows.
    """
    where, values = _words(text, ("f.id", "f.claim", "f.measure", "f.run", "r.study", "f.pair", "f.task"))
    where.append("f.sort = ?")
    values.append(sort)
    if not choices:
        where.append("f.choice = ''")
    equal = {"f.run": run, "f.measure": measure, "f.verdict": verdict}
    _narrow(where, values, equal=equal, among={"f.task": task, "r.models": model})
    source = f"FROM findings f JOIN runs r ON r.name = f.run WHERE {' AND '.join(where)}"
    connection = database.connection()
    (total,) = connection.execute(f"SELECT count(*) {source}", values).fetchone()
    rows = connection.execute(
        f"SELECT f.*, r.study, r.last, r.state AS run_state {source} ORDER BY r.last DESC, f.run, f.rowid LIMIT ?",
        [*values, limit],
    ).fetchall()
    return Page(tuple(dict(row) for row in rows), None, total)


def trend(database: Database, *, study: str, id: str) -> tuple[Row, ...]:
    """One hypothesis of a study over its runs, the first one first."""
    rows = database.connection().execute(
        "SELECT f.*, r.last, r.ended, r.spec_sha256 FROM findings f JOIN runs r ON r.name = f.run "
        "WHERE r.study = ? AND f.id = ? AND f.sort = 'hypothesis' AND f.choice = '' ORDER BY coalesce(r.ended, r.last)",
        (study, id),
    )
    return tuple(dict(row) for row in rows)


def known(database: Database) -> dict[str, list[str]]:
    """What can be asked for: measures, tasks, models, studies and states that occur."""
    connection = database.connection()
    found = {
        "measures": [row[0] for row in connection.execute("SELECT DISTINCT measure FROM findings ORDER BY 1")],
        "studies": [row[0] for row in connection.execute("SELECT DISTINCT study FROM runs ORDER BY 1 LIMIT 1000")],
        "states": [row[0] for row in connection.execute("SELECT DISTINCT state FROM runs ORDER BY 1")],
    }
    for name in ("models", "tasks"):
        lists = connection.execute(f"SELECT DISTINCT {name} FROM runs LIMIT 1000")
        found[name] = sorted({word for row in lists for word in row[0].split()})
    return found


def _narrow(where: list[str], values: list[Any], *, equal: Mapping[str, str], among: Mapping[str, str]) -> None:
    """Add conditions: columns that equal a value, and columns of words that have one among them; none for no value."""
    for column, value in equal.items():
        if value:
            where.append(f"{column} = ?")
            values.append(value)
    for column, value in among.items():
        if value:
            where.append(f"instr(' ' || {column} || ' ', ?) > 0")
            values.append(f" {value} ")


def _words(text: str, columns: Sequence[str]) -> tuple[list[str], list[Any]]:
    """Each word stands in one of some columns."""
    where, values = [], list[Any]()
    for word in text.split()[:20]:
        escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        where.append("(" + " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns) + ")")
        values += [f"%{escaped}%"] * len(columns)
    return where, values


def _mark(last: str, name: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([last, name]).encode()).decode()


def _unmark(mark: str) -> tuple[str, str]:
    try:
        last, name = json.loads(base64.urlsafe_b64decode(mark.encode()))
        str(last).encode() + str(name).encode()  # half a character can be written in JSON, but not be looked for
        return str(last), str(name)
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"after: expected `next` of the list before, got {mark!r}") from error


def hypotheses_of(database: Database, study: str) -> list[str]:
    """Ids of the hypotheses that the runs of a study have."""
    rows = database.connection().execute(
        "SELECT DISTINCT f.id FROM findings f JOIN runs r ON r.name = f.run "
        "WHERE r.study = ? AND f.sort = 'hypothesis' AND f.choice = '' ORDER BY 1",
        (study,),
    )
    return [row[0] for row in rows]


def columns_of(database: Database) -> dict[str, list[str]]:
    """Table -> columns, of the tables that users may ask about."""
    connection = database.connection()
    return {table: [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")] for table in SHOWN}
