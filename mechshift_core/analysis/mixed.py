"""The mixed-effects model of the layer-wise shift that a spec declares, on both scales of the shares.

Beside its effects stand the slopes over depth in every role and regime with their differences, from the slope of every
prompt on every pair: over prompts and seeds where there are enough seeds, else over prompts for these seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from mechshift_core.analysis.layer_shares import Values, shares_by_layer
from mechshift_core.analysis.measured import Rows
from mechshift_core.analysis.samples import Sample, Samples
from mechshift_core.execution.shift_model import ROWS, random_effects, shift_rows, slope_rows
from mechshift_core.execution.shift_units import has_templates, untested
from mechshift_core.spec import Spec
from stats.mixed_design import fixed_design
from stats.mixed_effects import fit_mixed_model
from stats.shift_contrasts import SlopeContrast, slope_contrasts

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
    by_template = spec.statistics.units.template == "random"
    shares = list(_shares(samples))
    models: dict[ShiftScale, Rows] = {}
    contrasts: dict[ShiftScale, tuple[SlopeContrast, ...]] = {}
    for scale in SCALES:
        empty = _empty(scale, declared.formula)
        try:
            if not shares:
                raise ValueError("no pair and task has two selected examples")
            frame = pl.concat([shift_rows(**_of(sample, found), scale=scale) for sample, found in shares])
            contrasts[scale] = _contrasts(spec, shares, scale, frame)
            fit = fit_mixed_model(
                frame,
                formula=declared.formula,
                random=random_effects(
                    spec, layers=frame["layer"].n_unique(), templates=by_template and has_templates(frame)
                ),
                sums_to_zero=ROWS,
                confidence=spec.statistics.confidence,
            )
        except ValueError as error:
            models[scale] = [{**empty, "status": "failed", "message": str(error)}]
        else:
            models[scale] = _rows(empty, fit, frame, by_template=by_template)
    against = disagreement(*(contrasts.get(scale, ()) for scale in SCALES))
    if against:
        for row in (row for rows in models.values() for row in rows):
            row["message"] = "; ".join(filter(None, (str(row["message"]), against)))
    return {
        "mixed_models": [row for rows in models.values() for row in rows],
        "marginal_contrasts": [
            _contrast_row(scale, one, _name(one) in against) for scale, found in contrasts.items() for one in found
        ],
    }


def disagreement(shares: tuple[SlopeContrast, ...], log_ratios: tuple[SlopeContrast, ...]) -> str:
    """Where the two scales say that attribution moved in opposite directions; empty where nowhere."""
    other = {(one.kind, *one.levels.items()): one.test.estimate for one in log_ratios if one.seed is None}
    found = [
        _name(one)
        for one in shares
        if one.seed is None and one.test.estimate * other.get((one.kind, *one.levels.items()), 0.0) < 0
    ]
    return f"shares and log-ratios disagree in sign about: {'; '.join(found)}" if found else ""


def _name(contrast: SlopeContrast) -> str:
    """E.g. `difference (treatment - control, global)`."""
    return f"{contrast.kind} ({', '.join(contrast.levels.values()) or 'all'})"


def _shares(samples: Samples) -> Iterator[tuple[Sample, dict[str, Values]]]:
    """Samples with enough examples, and their shares by layer: the scores are read once for all scales."""
    for sample in samples.by_pair_and_task.values():
        if sample.too_few:
            continue
        try:
            yield sample, shares_by_layer(sample)
        except ValueError:  # a prompt without any attribution; the measure depth reports it
            continue


def _of(sample: Sample, shares: Mapping[str, Values]) -> dict[str, Any]:
    """What rows of a pair and task are made of."""
    return {
        "before": shares["before"],
        "after": shares["after"],
        "pair": sample.pair,
        "task": sample.task,
        "examples": sample.selected.tolist(),
        "templates": sample.templates[sample.selected].tolist(),
    }


def _contrasts(
    spec: Spec, shares: list[tuple[Sample, dict[str, Values]]], scale: ShiftScale, frame: pl.DataFrame
) -> tuple[SlopeContrast, ...]:
    """Slopes and differences between the factors that the declared slope over depth depends on."""
    declared = spec.statistics.mixed_model
    assert declared is not None
    _, _, design = fixed_design(frame, declared.formula)
    moving = {name for column in design.columns if "depth" in column.numbers for name, _ in column.levels}
    by_template = spec.statistics.units.template == "random"
    fixed = not by_template and all(sample.strata is not None for sample, _ in shares)
    return slope_contrasts(
        pl.concat([slope_rows(**_of(sample, found), scale=scale) for sample, found in shares]),
        factors={name: levels for name, levels in COMPARED.items() if name in moving},
        cluster="template" if by_template else None,
        strata="template" if fixed else None,
        confidence=spec.statistics.confidence,
    )


def _empty(scale: ShiftScale, formula: str) -> dict[str, object]:
    """A row in which only the model is named."""
    numbers = dict.fromkeys(("estimate", *_TEST))
    return {"scale": scale, "formula": formula, "part": "fixed", "group": None, "term": None, **numbers, "n": 0}


_TEST = ("se", "df", "statistic", "p", "low", "high")


def _contrast_row(scale: ShiftScale, one: SlopeContrast, disagrees: bool) -> dict[str, object]:
    against = "shares and log-ratios disagree in sign" if disagrees and one.seed is None else ""
    return {
        "scale": scale,
        "kind": one.kind,
        **{factor: one.levels.get(factor) for factor in COMPARED},
        "over": one.over,
        "seed": one.seed,
        "seeds": one.seeds,
        "estimate": one.test.estimate,
        **{name: getattr(one.test, name) for name in _TEST},
        "p_corrected": one.p_corrected,
        "status": one.test.status,
        "message": "; ".join(filter(None, (one.message, against))),
    }


def _rows(empty: Mapping[str, object], fit: MixedModelFit, frame: pl.DataFrame, *, by_template: bool) -> Rows:
    without = untested(fit, frame, by_template=by_template) if fit.inference is not None else None
    messages = [*fit.messages, *(() if without is None else without.reasons)]
    random = [name for name in fit.left_out if "|" in name]
    if random:
        messages.append(f"left out, zero by construction: {', '.join(random)}")
    common = {**empty, "n": fit.n, "status": fit.status, "message": "; ".join(messages)}
    fixed: Rows = []
    for row in fit.fixed.iter_rows(named=True):
        numbers = (row["se"], row["df"], row["statistic"], row["p"], row["ci_low"], row["ci_high"])
        tested = without is None or row["term"] not in without.terms
        test = dict(zip(_TEST, numbers, strict=True)) if tested else {}
        fixed.append({**common, "term": row["term"], "estimate": row["estimate"], **test})
    variances: Rows = [
        {**common, "part": "variance", "group": row["group"], "term": row["term"], "estimate": row["variance"]}
        for row in fit.variances.iter_rows(named=True)
    ]
    return [*fixed, *variances]
