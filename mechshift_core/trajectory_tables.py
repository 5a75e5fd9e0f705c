"""The tables of trajectories: every measure at every model, and where it changes."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, REAL, TASK, TEXT, Column, Tables

_SERIES = {
    "trajectory": Column(TEXT, "name of the trajectory in the spec"),
    "role": Column(TEXT, "role of the trajectory: treatment or control"),
    **TASK,
    "unit": Column(TEXT, "what places are counted in, e.g. steps"),
    "measure": Column(TEXT, "the measure; accuracy: share of all prompts answered correctly"),
    "against": Column(
        TEXT,
        "what each model is compared with: first or last (a shift is the later minus the earlier one); none: nothing",
    ),
}

TRAJECTORY_TABLES: Tables = {
    "trajectory": _SERIES
    | {
        "model": Column(TEXT, "name of the model in the spec"),
        "at": Column(REAL, "its place on the trajectory"),
        "estimate": Column(REAL, "the measure there, on the prompts of the trajectory, the same for all models"),
        "se": Column(REAL, "standard error; 0 where a model is compared with itself, so that a shift is exactly 0"),
    }
    | INTERVAL
    | {
        "joint_low": Column(REAL, "lower end of the simultaneous band over all points of the series"),
        "joint_high": Column(REAL, "upper end of the simultaneous band"),
        "n": Column(INTEGER, "prompts"),
        "status": Column(TEXT, "ok, points only, undefined or failed"),
        "message": Column(TEXT, "what the status says in words"),
    },
    "trajectory_changes": _SERIES
    | {
        "points": Column(INTEGER, "models with an estimate"),
        "before": Column(REAL, "change-point: place of the last model before it, by least squares of two levels"),
        "after": Column(REAL, "place of the first model behind it"),
        "step": Column(REAL, "mean of the models behind it minus the mean of those before"),
        "low": Column(REAL, "confidence set of the change-point: it lies behind this place"),
        "high": Column(REAL, "confidence set of the change-point: it lies before this place"),
        "p": Column(REAL, "p-value of no change at all along the series, not corrected"),
        "p_corrected": Column(REAL, "Holm-corrected over all rows of the budget; no part of the hypotheses"),
        "halfway": Column(REAL, "place at which the measure first reaches the mean of its two ends, by straight lines"),
        "halfway_low": Column(REAL, "smallest place at which it may have been half-way"),
        "halfway_high": Column(REAL, "largest place at which it may have been half-way"),
        "df": Column(REAL, "degrees of freedom"),
        "status": Column(TEXT, "ok, points only (no change can be tested) or undefined"),
        "message": Column(TEXT, "what to keep in mind"),
    },
}
"""Table -> columns."""
