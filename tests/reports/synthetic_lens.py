"""What a logit lens adds to the synthetic run: trajectories, direct attributions, decisions over steps."""

from __future__ import annotations

import math
import random

import polars as pl
from synthetic_run import HEADS, LAYERS, PAIRS, TASKS

from stats.findings import Estimate

Row = dict[str, object]
STEPS = {"ioi": 1, "countdown": 4}


def keys() -> list[Row]:
    """Pair, role, model, side, task and regime of each model on each task."""
    return [
        {"pair": pair, "role": role, "model": model, "side": side, "task": task, "regime": regime}
        for task, regime in TASKS
        for pair, role, *models in PAIRS
        for side, model in zip(("before", "after"), models, strict=True)
    ]


def lens_table() -> pl.DataFrame:
    made = random.Random(17)
    rows: list[Row] = []
    for key in keys():
        late = 1.0 if key["side"] == "before" else 0.6
        for layer in range(LAYERS + 1):
            value = -5 * math.exp(-late * layer)
            row = key | {"component": f"x{layer}", "kind": "residual", "layer": layer} | _read(value)
            rows.append(row | {"direct": None, "direct_low": None, "direct_high": None, "n": 90})
        names = [("input", "input", -1)]
        for layer in range(LAYERS):
            names += [*((f"a{layer}.h{head}", "head", layer) for head in range(HEADS)), (f"m{layer}", "mlp", layer)]
        for name, kind, layer in names:
            direct = made.gauss(0, 1) ** 3
            row = key | {"component": name, "kind": kind, "layer": layer} | _read(-3 + made.random())
            rows.append(row | {"direct": direct, "direct_low": direct - 0.2, "direct_high": direct + 0.2, "n": 90})
        row = key | {"component": "bias", "kind": "bias", "layer": None} | dict.fromkeys(_read(0.0))
        rows.append(row | {"direct": 0.01, "direct_low": None, "direct_high": None, "n": 90})
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(intervention=pl.lit("lens"))


def _read(value: float) -> Row:
    read: Row = {"log_prob": value, "low": value - 0.1, "high": value + 0.1, "foil_log_prob": -5.0, "rank": 2.0}
    return read | {"entropy": 1.7, "top": "John (62%), <mask> (20%)"}


def denoising_table() -> pl.DataFrame:
    rows: list[Row] = []
    for key in keys():
        for step in range(1, STEPS[str(key["task"])] + 1):
            for layer in range(LAYERS + 1):
                share = layer / LAYERS * step / STEPS[str(key["task"])]
                row = key | {"step": step, "component": f"x{layer}", "layer": layer, "log_prob": -5 * (1 - share)}
                row |= {"low": -5 * (1 - share) - 0.1, "high": None if step == 1 else -5 * (1 - share) + 0.1}
                rows.append(row | {"rank": 1.5, "correct": share, "decided": share, "n": 90 - step})
    return pl.DataFrame(rows, infer_schema_length=None)


def lens_indices(indices: pl.DataFrame) -> pl.DataFrame:
    """Rows of the alignment in the table of indices."""
    values = {name: pl.col(name) + 1 for name in ("value", "null", "low", "high")}
    rows = indices.filter(pl.col("index") == "gini")
    return rows.with_columns(**values, measure=pl.lit("alignment"), index=pl.lit("alignment"))


def lens_estimates() -> tuple[Estimate, ...]:
    found = []
    for key in keys():
        for measure, value, reference in (
            ("alignment", 1.4, {"null": 1.9, "null_low": 1.7, "null_high": 2.2, "excess": -0.5}),
            ("decision_time", 0.3, {"null": 0.55}),
        ):
            if measure == "decision_time" and STEPS[str(key["task"])] == 1:
                continue
            moved = value + (0.2 if key["side"] == "after" else 0.0)
            common = {name: key[name] for name in ("pair", "role", "task", "regime", "side")}
            made = Estimate(
                **common,  # type: ignore[arg-type]
                seed=0,
                measure=measure,
                estimate=moved,
                low=moved - 0.05,
                high=moved + 0.05,
                confidence=0.95,
                n={"prompt": 90},
                method="studentized",
                status="ok",
                reference=reference,
            )
            found.append(made)
    return tuple(found)
