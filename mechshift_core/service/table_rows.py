"""Rows of a run's tables: filtered, cut, and written in the format that is asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from mechshift_core.errors import UsageError
from mechshift_core.options import listing, suggestion

FORMULA = r"^[=+@\t\r-]"
"""How a text begins that a spreadsheet takes for a formula: in CSV an apostrophe stands before it."""
MOST_CELLS = 5_000_000
"""Values that one answer holds."""


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of a table.

    Attributes:
        frame: The rows.
        total: Rows that fit the filters, those that were cut off included.
    """

    frame: pl.DataFrame
    total: int

    def plain(self) -> Iterator[tuple[Any, ...]]:
        """The rows as values that JSON knows: a number that is none is nothing."""
        floats = [name for name, kind in self.frame.schema.items() if kind.is_float()]
        cleaned = self.frame.with_columns(
            pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in floats
        )
        return cleaned.iter_rows()

    def written(self, format: Literal["csv", "parquet"]) -> bytes:
        """The rows as a file."""
        target = io.BytesIO()
        if format == "csv":
            lists = [name for name, kind in self.frame.schema.items() if kind.is_nested()]
            texts = [name for name, kind in self.frame.schema.items() if kind == pl.String]
            self.frame.with_columns(
                pl.col(name).map_elements(lambda value: json.dumps(list(value)), return_dtype=pl.String)
                for name in lists
            ).with_columns(pl.col(name).str.replace(FORMULA, "'$0") for name in texts).write_csv(target)
        else:
            self.frame.write_parquet(target)
        return target.getvalue()


def table_names(folder: Path) -> list[str]:
    """The tables of a run directory."""
    return sorted(path.stem for path in (folder / "tables").glob("*.parquet") if path.is_file())


def read_table(folder: Path, name: str, *, where: Sequence[str] = (), limit: int, offset: int = 0) -> Found:
    """Rows of a table.

    Args:
        folder: The run directory.
        name: One of :func:`table_names`.
        where: `COLUMN=VALUE`, all of which must hold; an empty value is a missing one.
        limit: Most rows, from `offset` on.

    Raises:
        UsageError: if a filter names no column, or the value is of another type.
    """
    try:
        rows = pl.scan_parquet(folder / "tables" / f"{name}.parquet", glob=False)
        schema = rows.collect_schema()
        for condition in where:
            rows = rows.filter(_condition(condition, schema))
        total = int(rows.select(pl.len()).collect().item())
        limit = max(1, min(limit, MOST_CELLS // max(1, len(schema))))
        return Found(rows.slice(offset, limit).collect(), total)
    except (pl.exceptions.PolarsError, OSError, OverflowError) as error:
        raise UsageError(f"table {name} can't be read: {error}") from error


def _condition(text: str, schema: pl.Schema) -> pl.Expr:
    column, equals, value = text.partition("=")
    if not equals or column not in schema:
        known = list(schema)
        raise UsageError(
            f"where: no column {column!r}{suggestion(column, known)}; expected COLUMN=VALUE of {listing(known)}"
        )
    if value == "":
        return pl.col(column).is_null()
    kind = schema[column]
    try:
        if kind == pl.Boolean:
            return pl.col(column) == {"true": True, "false": False}[value.lower()]
        if kind.is_integer():
            return pl.col(column) == pl.lit(int(value), dtype=pl.Int64)
        if kind.is_float():
            return pl.col(column) == float(value)
    except (KeyError, ValueError, OverflowError) as error:
        raise UsageError(f"where: {column} holds values of type {kind}, got {value!r}") from error
    if kind != pl.String:
        raise UsageError(f"where: {column} holds lists; filter by another column")
    return pl.col(column) == value
