"""The mixed-effects model of the layer-wise shift that a spec declares, on both scales of the shares.

Beside its coefficients stand the contrasts of the slope over depth that they come to for roles and regimes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from mechshift_core.analysis.depth import Values, shares_by_layer
from mechshift_core.analysis.measured import Rows
from mechshift_core.analysis.samples import Sample, Samples
from mechshift_core.execution.shift_model import shift_rows
from mechshift_core.spec import Spec
from stats.mixed_contrasts import marginal_contrasts
from stats.mixed_effects import fit_mixed_model

if TYPE_CHECKING:
    from stats.layer_shift import ShiftScale
    from stats.mixed_results import MixedModelFit

SCALES: tuple[ShiftScale, ...] = ("share", "log-ratio")
"""The model proper, and its sensitivity analysis."""


COMPARED = {"role": ("treatment", "control"), "regime": ("global", "local")}
"""Factors between whose levels the slope over depth is compared, first minus second."""


def fit_shift_models(samples: Samples, spec: Spec) -> dict[str, Rows]:
    """Rows of `mixed_models` (effects and variances on each scale, or why there are none) and `marginal_contrasts`."""
    declared = spec.statistics.mixed_model
    if declared is None:
        return {}
    rows: Rows = []
    contrasts: Rows = []
    shares = list(_shares(samples))
    for scale in SCALES:
        frames = [_frame(sample, found, scale) for sample, found in shares]
        try:
            if not frames:
                raise ValueError("no pair and task has two selected examples")
            fit = fit_mixed_model(
                pl.concat(frames),
                formula=declared.formula,
                random=declared.random,
                confidence=spec.statistics.confidence,
            )
        except ValueError as error:
            rows.append({**_empty(scale, declared.formula), "status": "failed", "message": str(error)})
        else:
            rows += _rows(scale, fit, *filter(None, [_seeds_as_they_are(spec, fit)]))
            contrasts += _contrasts(scale, fit)
    return {"mixed_models": rows, "marginal_contrasts": contrasts}


def _shares(samples: Samples) -> Iterator[tuple[Sample, dict[str, Values]]]:
    """Samples with enough examples, and their shares by layer: the scores are read once for all scales."""
    for sample in samples.by_pair_and_task.values():
        if sample.too_few:
            continue
        try:
            yield sample, shares_by_layer(sample)
        except ValueError:  # a prompt without any attribution; the measure depth reports it
            continue


def _frame(sample: Sample, shares: dict[str, Values], scale: ShiftScale) -> pl.DataFrame:
    return shift_rows(
        shares["before"],
        shares["after"],
        pair=sample.pair,
        task=sample.task,
        examples=sample.selected.tolist(),
        templates=sample.templates[sample.selected].tolist(),
        scale=scale,
    )


def _empty(scale: ShiftScale, formula: str) -> dict[str, object]:
    """A row in which only the model is named."""
    numbers = dict.fromkeys(("estimate", "se", "df", "statistic", "p", "low", "high"))
    return {"scale": scale, "formula": formula, "part": "fixed", "group": None, "term": None, **numbers, "n": 0}


def _seeds_as_they_are(spec: Spec, fit: MixedModelFit) -> str:
    """What to keep in mind where roles are compared over seeds that the model does not let vary; empty elsewhere."""
    seeds = {pair.seed for pair in spec.pairs if pair.seed is not None}
    if len(seeds) < 2 or "role" not in fit.design.factors or {"pair", "seed"} & set(fit.groups):
        return ""
    return (
        f"role differs only between pairs, which come from {len(seeds)} seeds, and neither pair nor seed has a random "
        "effect: standard errors and degrees of freedom of role are over prompts and layers only, for these seeds and "
        "not for others "
        "(`0 + depth | seed` lets seeds vary)"
    )


def _contrasts(scale: ShiftScale, fit: MixedModelFit) -> Rows:
    return [
        {
            "scale": scale,
            "kind": one.kind,
            **{factor: one.levels.get(factor) for factor in COMPARED},
            "estimate": one.test.estimate,
            "se": one.test.se,
            "df": one.test.df,
            "statistic": one.test.statistic,
            "p": one.test.p,
            "p_corrected": one.p_corrected,
            "low": one.test.low,
            "high": one.test.high,
        }
        for one in marginal_contrasts(fit, "depth", factors=COMPARED)
    ]


def _rows(scale: ShiftScale, fit: MixedModelFit, *more: str) -> Rows:
    messages = "; ".join((*fit.messages, *more))
    common = _empty(scale, fit.formula) | {"n": fit.n, "status": fit.status, "message": messages}
    fixed: Rows = [
        common
        | {key: row[key] for key in ("term", "estimate", "se", "df", "statistic", "p")}
        | {"low": row["ci_low"], "high": row["ci_high"]}
        for row in fit.fixed.iter_rows(named=True)
    ]
    variances: Rows = [
        common | {"part": "variance", "group": row["group"], "term": row["term"], "estimate": row["variance"]}
        for row in fit.variances.iter_rows(named=True)
    ]
    return [*fixed, *variances]
