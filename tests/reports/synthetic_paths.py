"""What denoising paths add to the synthetic run: outcomes of answers, confidence by step, and bins by confidence."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
from synthetic_lens import STEPS, keys

from reports import ReportData

Row = dict[str, object]
SETS = "answers of this task are sets of tokens: that a model is not sure of one of them is no error"
PATHS = "paths"
OVERWRITTEN = {"before": 0.07, "after": 0.23}
CORRECTED = {"before": 0.11, "after": 0.31}


def outcome_rows() -> list[Row]:
    """The model after overwrites and corrects more; with a single step nothing changes."""
    rows: list[Row] = []
    for key in keys():
        side, several = str(key["side"]), STEPS[str(key["task"])] > 1
        shares = {"kept": 0.5, "overwritten": OVERWRITTEN[side] * several, "corrected": CORRECTED[side] * several}
        shares["never"] = 1 - sum(shares.values())
        for outcome, share in shares.items():
            row = key | {"intervention": PATHS, "outcome": outcome, "share": share, "n": 120}
            rows.append(row | {"low": max(0.0, share - 0.04), "high": min(1.0, share + 0.05)})
    return rows


def confidence_rows(*, sets: str = "ioi") -> list[Row]:
    """The model after is too sure by .2 in every step; of the task `sets` there is no calibration error."""
    rows: list[Row] = []
    for key in keys():
        several = STEPS[str(key["task"])]
        for step in range(1, several + 1):
            accuracy = 0.4 + 0.1 * step
            sure = accuracy + (0.2 if key["side"] == "after" else 0.0)
            row = key | {"intervention": PATHS, "step": step, "accuracy": accuracy, "confidence": sure}
            row |= {"gap": sure - accuracy, "gap_low": sure - accuracy - 0.03, "gap_high": sure - accuracy + 0.03}
            row |= {"brier": 0.625 - step / 100, "low": 0.555, "high": 0.705, "n": 121 - step}
            unsaid = key["task"] == sets
            errors = {"ece": 0.1375, "squared": 0.02, "null": 0.0625, "null_low": 0.05, "null_high": 0.0875}
            rows.append(row | (dict.fromkeys(errors) if unsaid else errors) | {"status": SETS if unsaid else "ok"})
    return rows


def reliability_rows(*, sets: str = "ioi") -> list[Row]:
    rows: list[Row] = []
    for key in keys():
        if key["task"] == sets:
            continue
        for step in range(1, STEPS[str(key["task"])] + 1):
            for number, confidence in enumerate((0.25, 0.75), start=1):
                accuracy = confidence - (0.125 if key["side"] == "after" else 0.0) + 0.01 * (step - 1)
                row = key | {"intervention": PATHS, "step": step, "bin": number, "confidence": confidence}
                row |= {"accuracy": accuracy, "low": accuracy - 0.08, "high": accuracy + 0.08, "n": 60}
                rows.append(row)
    return rows


def with_paths(run: ReportData, *, sets: str = "ioi") -> ReportData:
    """A run of nothing but denoising paths; `sets` is the task whose answers are sets of tokens."""
    made = {
        "answer_paths": outcome_rows(),
        "confidence": confidence_rows(sets=sets),
        "reliability": reliability_rows(sets=sets),
    }
    tables = {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in made.items()}
    return replace(run, tables=tables)
