"""What a table of a run is made of: columns with a type and a meaning, and those that many tables have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

TEXT, INTEGER, REAL, TRUTH = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its type and what it means."""

    type: pl.DataType
    meaning: str


Columns = Mapping[str, Column]
Tables = Mapping[str, Columns]
"""Table -> its columns."""

PAIR = {
    "pair": Column(TEXT, "name of the pair in the spec"),
    "role": Column(TEXT, "role of the pair: treatment, control or unrelated"),
}
BUDGET = {
    "budget": Column(
        TEXT,
        "inference budget: per_token, all_masked, a number of denoising steps, or a part of them (`step 1 of 4`, "
        "`masked 0.75-1`)",
    )
}
TASK = {
    "task": Column(TEXT, "name of the task in the spec"),
    "regime": Column(TEXT, "local or global"),
} | BUDGET
MODEL = {
    "model": Column(TEXT, "name of the model in the spec"),
    "side": Column(TEXT, "before or after: which model of the pair"),
}
INTERVAL = {
    "low": Column(REAL, "lower end of the interval"),
    "high": Column(REAL, "upper end of the interval"),
}
SIDES = {
    "model": Column(TEXT, "name of the model in the spec; null for a shift"),
    "side": Column(TEXT, "before, after, or shift (after minus before, paired)"),
}
