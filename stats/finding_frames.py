"""Findings and estimates as polars frames, one row each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from stats.findings import Estimate, Finding

NESTED = frozenset({"terms", "parts", "groups"})
"""What of a finding is a list of its own."""
_KINDS: Mapping[str, Any] = {"int": pl.Int64, "float": pl.Float64}


def finding_frame(findings: Iterable[Finding]) -> pl.DataFrame:
    """A row a finding: all of it but its terms, parts and groups, with the columns `n_...` of :func:`frame_of`."""
    from stats.findings import Finding

    return frame_of(Finding, list(findings), left_out=NESTED)


def estimate_frame(estimates: Iterable[Estimate]) -> pl.DataFrame:
    """A row an estimate: all of it, with the columns `n_...` and `reference_...` of :func:`frame_of`."""
    from stats.findings import Estimate

    return frame_of(Estimate, list(estimates))


def frame_of(kind: type, rows: Sequence[Any], *, left_out: frozenset[str] = frozenset()) -> pl.DataFrame:
    """Dataclasses as a frame.

    Args:
        kind: Their class.
        rows: The objects.
        left_out: Fields that get no column.

    Returns:
        A column a field, of text, Int64 or Float64. A mapping, such as `n`, gets a column for each key that any row
        has, `n_prompt` say, null where a row has none.
    """
    columns: dict[str, pl.Series] = {}
    for field in fields(kind):
        values = [getattr(row, field.name) for row in rows]
        if field.name in left_out:
            continue
        if str(field.type).startswith("Mapping"):
            of = _KINDS["int" if "int" in str(field.type) else "float"]
            for key in dict.fromkeys(key for value in values for key in value):
                name = f"{field.name}_{key.replace(' ', '_')}"
                columns[name] = pl.Series([value.get(key) for value in values], dtype=of)
        else:
            simple = str(field.type).removesuffix(" | None")
            columns[field.name] = pl.Series(values, dtype=_KINDS.get(simple, pl.String), strict=False)
    return pl.DataFrame(columns)
