"""How much two models' circuits agree without a threshold: weighted Jaccard, Spearman's correlation and cosine.

The measures are those of `stats.overlap`, of mean scores over prompts: the weighted Jaccard of their magnitudes, the
Spearman correlation and the cosine of the signed scores. Like the top-K overlap they are taken between the models and
within each on disjoint halves of the prompts, since noise lowers them all, and set against the ceiling:

    (between - null) / (sqrt(ceiling_before ceiling_after) - null).

With a chance level of zero this would be Spearman's (1904) correction of a correlation for attenuation, the halves
being parallel measurements. It is above zero where strata differ: an edge that is alone in its stratum is never moved.

Chance is what permuting edges within strata leaves (`stats.mean_agreement`): its expectation on the halves, and draws
for the scores averaged over all prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from stats.checks import Floats
from stats.findings import Status
from stats.half_bootstrap import (
    CeilingRatio,
    HalfAgreement,
    observed_halves,
    resampled_halves,
    standard_errors,
)
from stats.half_draws import Units, counted_units
from stats.mean_agreement import MEASURES, half_agreement, permuted_agreement
from stats.minimums import enough_permutations, enough_replicates
from stats.options import Count, Seed, Share, checked
from stats.overlap import stratum_sizes
from stats.retention import NO_CEILING
from stats.score_blocks import BLOCK_BYTES, ScoreBlocks, edges_with_scores, mean_scores
from stats.split_half import paired_scores, prompts

REPLICATES = 200
"""Bootstrap replicates by default: ranks cost far more than a threshold, and the standard error is within 5 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdFree:
    """One measure of agreement without a threshold; numbers that can't be had are None.

    Attributes:
        measure: `weighted_jaccard` (0 to 1), `spearman` or `cosine` (-1 to 1).
        between: Between the models at half of the prompts each, mean over splits, with its interval.
        full: Between the models, scores averaged over all prompts.
        null: Mean of `full` under permutations within strata, with 2.5 % and 97.5 % quantiles.
        p: (1 + draws at least as large as `full`) / (1 + draws).
        ceiling_before: Within the model before (`ceiling_after`: after); `ceiling` their geometric mean.
        estimate: `between` from chance (0) to the ceiling (1), with standard error and interval.
        status: `ok`, `points only` (no interval) or `undefined` (no ceiling above chance, or scores without spread).
    """

    measure: str
    between: float | None
    between_low: float | None
    between_high: float | None
    full: float | None
    null: float | None
    null_low: float | None
    null_high: float | None
    p: float | None
    ceiling_before: float | None
    ceiling_after: float | None
    ceiling: float | None
    estimate: float | None
    se: float | None
    low: float | None
    high: float | None
    status: Status
    message: str


@checked
def threshold_free_overlap(
    before: ArrayLike | ScoreBlocks,
    after: ArrayLike | ScoreBlocks,
    *,
    strata: ArrayLike | None = None,
    templates: ArrayLike | None = None,
    splits: Count = 50,
    permutations: Count = 1000,
    replicates: Count = REPLICATES,
    confidence: Share = 0.95,
    seed: Seed = 0,
    examples: ArrayLike | None = None,
    total: Count | None = None,
    units: Units = "prompts",
    block_bytes: Count = BLOCK_BYTES,
) -> tuple[ThresholdFree, ...]:
    """The three measures between two models, on the halves of the retention index; see the module for the formulas.

    Args:
        before: Scores of the model before [n, E], one row per prompt: an array, or read a block of edges at a time.
        after: Scores of the model after [n, E], of the same prompts in the same order, in the same unit.
        strata: Stratum of each edge [E], within which edges are exchangeable; None for one stratum.
        templates: Template of every example [total]; halves are balanced within templates.
        splits: Random splits for the estimate.
        permutations: Draws for the chance level of `full`.
        replicates: Bootstrap replicates; intervals are estimate +- t_{n-1} x their standard error, split noise removed.
        confidence: Of the two-sided intervals.
        seed: Seed of the draws. Calls with the same seed and `total` share splits and resampled examples.
        examples: Example id of each row [n]; 0..n-1 by default.
        total: Number of examples of which the rows are a selection.
        units: What is drawn in a replicate: prompts, or whole templates, of which an interval needs 5.
        block_bytes: Memory of one block of scores and of half means, approximately.

    Raises:
        ValueError: if shapes do not match, scores are not finite, or there are too few prompts to split.
    """
    a, b = paired_scores(before, after)
    chosen = prompts(a.shape[0], examples=examples, total=total, templates=templates)
    edges = a.shape[1]
    n, few = counted_units(chosen, units)
    quantile = float(scipy_stats.t.ppf((1 + confidence) / 2, max(1, n - 1)))
    enough_replicates(replicates, confidence)
    enough_permutations(permutations)
    code, sizes = stratum_sizes(np.zeros(edges, dtype=np.int64) if strata is None else strata, edges)
    for scores, name in ((a, "before"), (b, "after")):
        edges_with_scores(scores, name, block_bytes=block_bytes)
    order = np.argsort(code, kind="stable")
    agreement = partial(half_agreement, a, b, sizes=sizes, order=order, block_bytes=block_bytes)
    first = observed_halves(chosen, splits, seed)
    observed = agreement(first.astype(np.float64), (~first).astype(np.float64))
    resampled = None
    if not few:
        resampled = agreement(*resampled_halves(chosen, replicates, seed, units=units))
    mean_a, mean_b = (mean_scores(scores, block_bytes)[order] for scores in (a, b))
    full, null = permuted_agreement(mean_a, mean_b, sizes, permutations, seed)
    return tuple(
        _measure(place, full[place], null[:, place], observed, resampled, few, n=n, quantile=quantile)
        for place in range(len(MEASURES))
    )


def _measure(
    place: int,
    full: float,
    null: Floats,
    observed: HalfAgreement,
    resampled: HalfAgreement | None,
    few: str,
    *,
    n: int,
    quantile: float,
) -> ThresholdFree:
    halves = _one(observed, place)
    parts = [float(x.mean()) for x in (halves.between, halves.ceiling_before, halves.ceiling_after, halves.null)]
    if not np.isfinite([full, *parts]).all():
        return _undefined(MEASURES[place], "the scores have no spread: they are zero, or all the same, in a half")
    again = None if resampled is None else _one(resampled, place)
    if again is not None and not np.isfinite([again.between, again.ceiling_before, again.ceiling_after]).all():
        again, few = None, "the scores have no spread in some of the resampled halves, no interval"
    ratio = CeilingRatio.of(halves)
    se_between = se = se_gap = None
    if again is not None:
        replicate = CeilingRatio.of(again)
        se_between = float(standard_errors(again.between, halves.between, n)[0])
        se_gap = float(standard_errors(replicate.gaps, ratio.gaps, n)[0])
        se = float(standard_errors(replicate.deviations, ratio.deviations, n)[0])
    gap = float(ratio.gap[0])
    defined = bool(gap - quantile * (se_gap or 0.0) > 0)
    estimate = float(ratio.value[0]) if defined else None
    low, high = _ends(estimate, se, quantile)
    between_low, between_high = _ends(parts[0], se_between, quantile)
    # Sums in another order differ by rounding: a draw that gives the scores back must count as reaching them.
    reached = int(np.count_nonzero(null >= full - 1e-12))
    return ThresholdFree(
        measure=MEASURES[place],
        between=parts[0],
        between_low=between_low,
        between_high=between_high,
        full=float(full),
        null=float(null.mean()),
        null_low=float(np.quantile(null, 0.025)),
        null_high=float(np.quantile(null, 0.975)),
        p=(1 + reached) / (1 + len(null)),
        ceiling_before=parts[1],
        ceiling_after=parts[2],
        ceiling=float(np.sqrt(parts[1] * parts[2])) if min(parts[1:3]) > 0 else None,
        estimate=estimate,
        se=se if defined else None,
        low=low,
        high=high,
        status="undefined" if not defined else "points only" if few else "ok",
        message=few if defined else NO_CEILING.replace("overlap", "agreement"),
    )


def _one(halves: HalfAgreement, place: int) -> HalfAgreement:
    """One measure's column of every array, [splits, 1]."""
    names: Sequence[str] = ("between", "ceiling_before", "ceiling_after", "null")
    return HalfAgreement(**{name: getattr(halves, name)[:, place, None] for name in names})


def _undefined(measure: str, message: str) -> ThresholdFree:
    numbers = (name for name in ThresholdFree.__slots__ if name not in ("measure", "status", "message"))
    return ThresholdFree(measure=measure, status="undefined", message=message, **dict.fromkeys(numbers))


def _ends(estimate: float | None, se: float | None, quantile: float) -> tuple[float | None, float | None]:
    if estimate is None or se is None:
        return None, None
    return estimate - quantile * se, estimate + quantile * se
