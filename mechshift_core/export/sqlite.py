"""Writing runs into one SQLite file, for Datasette, notebooks and spreadsheets."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.export.schema import INTEGER, KEY, OWN, REAL, RUN, TEXT, Field, quoted, statement
from mechshift_core.files import replace_file, unwritable
from mechshift_core.gate import StoredRun, read_run
from mechshift_core.run_files import SPEC
from mechshift_core.tables import TABLES
from stats.findings import Estimate, Finding

APPLICATION = 0x6D736866
"""Says in the head of the file that it is one of these (`mshf`)."""
LEFT_OUT = ("findings",)
"""Tables of a run whose rows are those of `hypotheses`."""


@dataclass(slots=True)
class Exported:
    """What was written.

    Attributes:
        rows: Table -> rows.
        skipped: Tables of runs that have too many rows: run, table, rows.
    """

    rows: dict[str, int] = field(default_factory=dict)
    skipped: list[tuple[str, str, int]] = field(default_factory=list)


def export(runs: Sequence[Path], target: Path, *, most_rows: int) -> Exported:
    """Write findings, estimates and tables of runs into one file, which is there whole or not at all.

    Args:
        runs: Run directories.
        target: The file; one that an earlier call has written is replaced.
        most_rows: Tables of a run that have more rows are left out.

    Raises:
        UsageError: if one is no run, two have one name, or the file is something else or can't be written.
        ExecutionError: if a run has not come to an end, or is damaged.
    """
    names = [path.resolve().name for path in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two runs are called {twice[0]}; export them to two files")
    stored = [read_run(path) for path in runs]
    _require_ours(target)
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        with replace_file(target.absolute()) as temporary, closing(sqlite3.connect(temporary)) as connection:
            with connection:
                writer = _Writer(connection, most_rows)
                for name, run in zip(names, stored, strict=True):
                    writer.run(name, run)
                writer.finish()
            connection.execute("VACUUM")
    except (OSError, sqlite3.OperationalError) as error:
        raise UsageError(unwritable(target, error)) from error
    return writer.done


def _require_ours(target: Path) -> None:
    """Refuse to replace a file that is not one of these."""
    if not target.exists():
        return
    head = b""
    if target.is_file():
        with target.open("rb") as handle:
            head = handle.read(72)
    if head[:6] != b"SQLite" or int.from_bytes(head[68:72], "big") != APPLICATION:
        raise UsageError(f"{target}: is there, and was not written by `mechshift export`; choose another --sqlite")


class _Writer:
    """Writes the tables, and counts."""

    def __init__(self, connection: sqlite3.Connection, most_rows: int) -> None:
        self._connection = connection
        self._most = most_rows
        self._known: dict[str, dict[str, Field]] = {}
        self.done = Exported()
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute("PRAGMA foreign_keys = ON")
        for table, columns in OWN.items():
            self._make(table, columns)

    def run(self, name: str, run: StoredRun) -> None:
        """Write a run."""
        spec = run.provenance["spec"]
        facts = {
            "name": name,
            "study": run.findings.name,
            "mechshift": run.provenance.get("mechshift"),
            "spec": (run.path / SPEC).read_text(encoding="utf-8", errors="replace"),
            "spec_sha256": spec["sha256"],
            "seed": spec.get("seed"),
            "partial": int(bool(run.failures)),
            "failures": "\n".join(run.failures),
        }
        key = self._row("runs", facts)
        self._findings({"run": key, "choice": ""}, run.findings.hypotheses, run.findings.estimates)
        for other in run.findings.alternatives:
            self._findings({"run": key, "choice": f"{other.choice} {other.value}"}, other.hypotheses, other.estimates)
        for path in sorted((run.path / "tables").glob("*.parquet")):
            self._table(key, name, path)

    def finish(self) -> None:
        """Write what every column means, and an index for each key that leads to another table."""
        for table, columns in list(self._known.items()):
            for name, one in columns.items():
                self._row("columns", {"of_table": table, "name": name, "meaning": one.meaning})
                if one.of:
                    index, of, key = (quoted(part) for part in (f"{table}_by_{name}", table, name))
                    self._connection.execute(f"CREATE INDEX {index} ON {of} ({key})")

    def _findings(self, head: Mapping[str, Any], hypotheses: Iterable[Finding], estimates: Iterable[Estimate]) -> None:
        for found in hypotheses:
            own = {"name": found.id, "prompts": found.n.get("prompt")}
            key = self._row("hypotheses", {**head, **_attributes(found, "hypotheses"), **own})
            for term in found.terms:
                self._row("terms", {"hypothesis": key, **_attributes(term, "terms")})
            for part in found.parts:
                self._row("parts", {"hypothesis": key, **_attributes(part, "parts")})
        for one in estimates:
            prompts = {"prompts": one.n.get("prompt")}
            key = self._row("estimates", {**head, **_attributes(one, "estimates"), **prompts})
            for name, value in one.reference.items():
                self._row("reference_values", {"of_estimate": key, "name": name, "value": value})

    def _table(self, key: int, run: str, path: Path) -> None:
        name = path.stem
        if name in LEFT_OUT:
            return
        try:
            scanned = pl.scan_parquet(path)
            rows = int(scanned.select(pl.len()).collect().item())
            if rows > self._most:
                self.done.skipped.append((run, name, rows))
                return
            frame = scanned.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ExecutionError(f"{path}: {error}; `mechshift analyze` writes it again") from error
        table = f"table_{name}" if name in OWN else name
        meanings = TABLES.get(name, {})
        wanted = {column: Field(_type(kind), _meaning(meanings, column)) for column, kind in frame.schema.items()}
        renamed = {column: f"{column}_" if column.lower() in ("id", "run") else column for column in wanted}
        columns = {renamed[column]: one for column, one in wanted.items()}
        self._make(table, {**KEY, **RUN, **columns})
        self._rows(table, ["run", *columns], ([key, *map(_plain, row)] for row in frame.iter_rows()))

    def _make(self, table: str, columns: Mapping[str, Field]) -> None:
        """Make a table, or add the columns that it lacks: runs of other versions may have others."""
        known = self._known.get(table)
        if known is None:
            self._connection.execute(statement(table, columns))
            self._known[table] = dict(columns)
            self.done.rows.setdefault(table, 0)
            return
        for name, one in columns.items():
            if name not in known:
                self._connection.execute(f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(name)} {one.type}")
                known[name] = one

    def _row(self, table: str, values: Mapping[str, Any]) -> int:
        return self._rows(table, [*values], [[_plain(value) for value in values.values()]])

    def _rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        names, marks = ", ".join(map(quoted, columns)), ", ".join("?" * len(columns))
        cursor = self._connection.cursor()
        for row in rows:
            cursor.execute(f"INSERT INTO {quoted(table)} ({names}) VALUES ({marks})", row)
            self.done.rows[table] += 1
        return cursor.lastrowid or 0


def _attributes(found: object, table: str) -> dict[str, Any]:
    """What of a finding is in a table, by the names of the columns."""
    return {name: getattr(found, name) for name in OWN[table] if name != "id" and hasattr(found, name)}


def _meaning(columns: Mapping[str, Any], name: str) -> str:
    return str(columns[name].meaning) if name in columns else ""


def _type(kind: pl.DataType) -> str:
    return INTEGER if kind.is_integer() or kind == pl.Boolean else REAL if kind.is_float() else TEXT


def _plain(value: Any) -> Any:
    """A value as SQLite knows it; lists as JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode()
    return value if value is None or isinstance(value, int | float) else json.dumps(value, default=str)
