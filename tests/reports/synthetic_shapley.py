"""Shapley values, interactions and shares of orders of the synthetic run; one model has no shares."""

from __future__ import annotations

import random
from itertools import combinations

import polars as pl
from synthetic_run import PAIRS, TASKS

COMPONENTS = ("a0.h1", "m0", "a2.h3", "m4")
UNKNOWN = "no knock-out changes its mean in a replicate"
NUMBERS = ("order", "share", "null", "null_low", "null_high", "low", "high")
Row = dict[str, object]


def shapley_table(*, seed: int = 23) -> pl.DataFrame:
    """Four components of each model, and their sets of up to three."""
    made = random.Random(seed)
    rows: list[Row] = []
    for key in _keys():
        for order in (1, 2, 3):
            for members in combinations(COMPONENTS, order):
                value = made.gauss(2, 0.4) if order == 1 else made.gauss(0, 1 / order)
                row = key | {"order": order, "components": " ".join(members), "value": value}
                rows.append(row | {"low": value - 0.1, "high": value + 0.12})
    return pl.DataFrame(rows, infer_schema_length=None)


def orders_table() -> pl.DataFrame:
    """Shares of four orders before, after and their shift; none for the control on Countdown."""
    rows: list[Row] = []
    for key in _keys():
        if (key["role"], key["task"]) == ("control", "countdown"):
            rows.append(key | dict.fromkeys(NUMBERS) | {"status": UNKNOWN})
            continue
        for order, share in enumerate((0.8, 0.15, 0.04, 0.01), start=1):
            value = share + (0.02 if key["side"] == "after" and order == 1 else 0)
            null = {"null": share / 10, "null_low": share / 20, "null_high": share / 5}
            row = key | {"order": order, "share": value} | null | {"status": "ok"}
            rows.append(row | {"low": value - 0.05, "high": value + 0.05})
    return pl.DataFrame(rows, infer_schema_length=None)


def ratio_rows(indices: pl.DataFrame) -> pl.DataFrame:
    """Rows of the Shapley interaction ratio for the table of indices."""
    one = indices.filter(pl.col("index") == "participation")
    return one.with_columns(index=pl.lit("shapley"), value=pl.col("value") + 1, high=pl.col("high") + 1)


def _keys() -> list[Row]:
    return [
        {"pair": pair, "role": role, "model": model, "side": side, "task": task, "regime": regime,
         "budget": "per_token", "intervention": "knockouts", "ablation": "mean"}
        for task, regime in TASKS
        for pair, role, *models in PAIRS
        for side, model in zip(("before", "after"), models, strict=True)
    ]  # fmt: skip
