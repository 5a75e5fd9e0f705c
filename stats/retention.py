"""Retention index: how much of a model's circuit another model shares, between chance (0) and the ceiling (1).

    retention = (J_between - J_null) / (J_ceiling - J_null)

with J the Jaccard of the top-K edges (of those with a score other than 0: it is undefined where a half of the prompts
has not K of them) on disjoint halves of the prompts: J_between across the two models, J_ceiling the
geometric mean of the two models' overlaps with themselves, J_null chance within strata, all at half of the prompts and
averaged over random splits (`stats.split_half`).

Interval. A replicate weights the prompts (or whole templates of them) by multinomial counts, splits the *distinct*
prompts at random a few times (so that no prompt is in both halves) and averages. Resampled scores are noisier than the
observed ones, so replicates of an overlap lie too low: their spread is used, not their location, as estimate +- t x SE
with one degree of freedom less than there are prompts (templates). The spread of the
replicates contains, besides the variance over prompts, the noise of their few splits:

    Var(replicate) = Var(over prompts) + E[Var(over splits, given the prompts)] / inner splits.

The second part is estimated from the inner splits and removed; what the splits of the estimate itself leave is added.
Replicates enter through the linearised ratio, taken at the mean of the replicates, so that a replicate with a small
denominator does not dominate.

Unequal noise. The geometric mean of two ceilings is what equal circuits reach where the two models are equally noisy;
else the index is too low: by .5 to 1.1 times d^2 of it, d the logarithm of the ratio of the two ceilings' distances to
chance (equal circuits, noise of 1:1.3 to 1:4, four kinds of scores, simulated and real; at 1:2 it was between .74
and 1.00). So it is undefined beyond a ratio of 1.5 (:data:`UNEQUAL`), and below it d^2 of the index, the variance of d
taken off, is added to its error: SE^2 = SE_prompts^2 + (d^2 x index)^2. With a bias of so much, or half of it, a t
interval holds the value without it at least about as often as it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from stats.checks import Booleans, Floats, Integers
from stats.findings import Status
from stats.half_draws import Units, counted_units, drawn_examples, observed_pairs, resampled_pairs
from stats.minimums import enough_replicates
from stats.node_sets import EdgeNodes
from stats.options import Count, Seed, Share, checked
from stats.score_blocks import BLOCK_BYTES, ScoreBlocks, edges_with_scores
from stats.split_half import Prompts, SplitHalfOverlap, half_overlaps, paired_scores, prompts

INNER_SPLITS = 4
# The corrected variance is a difference of two estimates: it is not let below this share of the uncorrected one.
VARIANCE_FLOOR = 0.05
UNEQUAL = 1.5
"""How many times as far above chance as the other one ceiling may be: beyond it the two have no common ceiling."""
UNEQUAL_NOISE = "the similarity allows for unequal noise"
NO_CEILING = "the overlap of each model with itself does not clear chance"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionAtK:
    """Retention at one size of the edge sets, with what it is made of; `estimate` is None where undefined.

    Attributes:
        hidden: Squared logarithm of the ratio of the two ceilings' distances to chance, less its variance, and at least
            0: about the share by which unequal noise lowers the index (see the module). None where it can't be told.
    """

    k: int
    between: float
    null: float
    ceiling_before: float
    ceiling_after: float
    ceiling: float
    estimate: float | None
    se: float | None
    low: float | None
    high: float | None
    hidden: float | None
    status: Status
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Retention averaged over the sizes K, and at each of them.

    Attributes:
        estimate: Mean of the retention over all K; None if it is undefined at any of them.
        se: Standard error over prompts or templates, `df` = `units` - 1, and of what unequal noise may hide.
        low: Lower end of the interval at `confidence` (`high`: upper end).
        status: `ok`, `points only` (too few prompts for an interval) or `undefined` (no ceiling above chance, fewer
            than K edges with a score, or models too unequally noisy for a common ceiling).
        n: Number of prompts.
        units: Number of what is drawn: of prompts, or of their templates.
        by_k: The index at each K.
        replicates: [R], centred at the estimate and scaled to the standard error `se`: replicate r belongs to the same
            resampled examples in every call with the same seed and `total`, so differences of replicates are paired.
        nodes: The same of the nodes that the edges touch, where it was asked for; `k` counts edges there, too.
    """

    estimate: float | None
    se: float | None
    df: float
    low: float | None
    high: float | None
    confidence: float
    status: Status
    message: str
    method: str
    n: int
    units: int
    by_k: tuple[RetentionAtK, ...]
    replicates: Floats | None
    nodes: Retention | None = None


@checked
def retention_index(
    before: ArrayLike | ScoreBlocks,
    after: ArrayLike | ScoreBlocks,
    *,
    strata: ArrayLike | None = None,
    top_k: Sequence[Count],
    templates: ArrayLike | None = None,
    splits: Count = 50,
    replicates: Count = 1000,
    confidence: Share = 0.95,
    seed: Seed = 0,
    examples: ArrayLike | None = None,
    total: Count | None = None,
    units: Units = "prompts",
    half_size: Count | None = None,
    nodes: EdgeNodes | None = None,
    block_bytes: Count = BLOCK_BYTES,
) -> Retention:
    """Retention of the top-K edges of the model before in the model after; see the module for the formula.

    Args:
        before: Scores of the model before [n, E], one row per prompt: an array, or read a block of edges at a time
            (`stats.score_blocks.ScoreBlocks`), several times over.
        after: Scores of the model after [n, E], of the same prompts in the same order.
        strata: Stratum of each edge [E], e.g. source kind x receiver kind x layer distance; None for one stratum.
        top_k: Sizes of the edge sets; the index is averaged over them.
        templates: Template of every example [total]; halves are balanced within templates.
        splits: Random splits for the estimate.
        replicates: Bootstrap replicates.
        confidence: Of the two-sided interval.
        seed: Seed of the draws. Calls with the same seed and `total` share splits and resampled examples.
        examples: Example id of each row [n]; 0..n-1 by default.
        total: Number of examples of which the rows are a selection, for which all draws are made.
        units: What is drawn in a replicate: prompts, or whole templates, of which an interval needs 5.
        half_size: Number of prompts of each set that is compared; half of all unless given. The index depends on it:
            only those at the same number can be compared.
        nodes: The nodes that each edge touches: their retention, of the same sets of edges on the same draws, is then
            `nodes` of the result (`stats.node_sets` has their chance level).
        block_bytes: Memory of one block of scores and of what is kept of them, approximately; changes no result.

    Raises:
        ValueError: if shapes do not match, a K is out of range, scores are not finite, or there are too few prompts
            to split.
    """
    a, b = paired_scores(before, after)
    n = a.shape[0]
    chosen = prompts(n, examples=examples, total=total, templates=templates)
    enough_replicates(replicates, confidence)
    if not top_k or len(set(top_k)) != len(top_k):
        raise ValueError(f"top_k: expected distinct sizes, got {list(top_k)}")
    halves = observed_pairs(chosen, splits, seed, half_size)
    for scores, name in ((a, "before"), (b, "after")):
        edges_with_scores(scores, name, block_bytes=block_bytes)
    overlaps = partial(half_overlaps, a, b, top_k=top_k, strata=strata, nodes=nodes, block_bytes=block_bytes)
    observed = overlaps(*halves)
    counted, few = counted_units(chosen, units)
    resampled = None
    if not few:
        drawn = drawn_examples(chosen, replicates, seed, units)
        resampled = overlaps(*_resampled_halves(chosen, drawn, seed, half_size))

    def summarised(observed: SplitHalfOverlap, resampled: SplitHalfOverlap | None) -> Retention:
        spread = None if resampled is None else _Spread.of(resampled, observed, counted)
        return _summarise(observed, spread, n=n, units=counted, name=units, few=few, confidence=confidence)

    found = summarised(observed, resampled)
    if observed.nodes is None:
        return found
    return replace(found, nodes=summarised(observed.nodes, None if resampled is None else resampled.nodes))


def _resampled_halves(
    chosen: Prompts, weights: Integers, seed: int, half_size: int | None
) -> tuple[Integers, Integers]:
    """Weights of the rows in both halves of the replicates' inner splits, the splits of a replicate adjacent.

    [R * INNER_SPLITS, n] each, from how often every example was drawn [R, total].
    """
    first, second = resampled_pairs(chosen, len(weights) * INNER_SPLITS, seed, half_size)
    repeated = np.repeat(weights[:, chosen.rows], INNER_SPLITS, axis=0)
    return _nonempty(repeated * first, first), _nonempty(repeated * second, second)


def _nonempty(weights: Integers, half: Booleans) -> Integers:
    # With a handful of prompts (templates) a half may have none that was drawn: it then keeps each of its prompts once.
    empty = weights.sum(axis=1) == 0
    weights[empty] = np.where(half[empty].any(axis=1, keepdims=True), half[empty], 1)
    return weights


@dataclass(frozen=True, slots=True)
class _Ratio:
    """Numerator and denominator of the index, averaged over splits [K], and each split's linearised deviation."""

    gap: Floats
    value: Floats
    deviations: Floats

    @classmethod
    def of(cls, overlap: SplitHalfOverlap) -> _Ratio:
        between, null = overlap.between.mean(axis=0), overlap.null.mean(axis=0)
        before, after = overlap.ceiling_before.mean(axis=0), overlap.ceiling_after.mean(axis=0)
        ceiling = np.sqrt(before * after)
        gap = ceiling - null
        with np.errstate(divide="ignore", invalid="ignore"):
            value = (between - null) / gap
            d_ceiling = ceiling / 2 * (overlap.ceiling_before / before + overlap.ceiling_after / after - 2)
            d_null = overlap.null - null
            deviations = (overlap.between - between - d_null - value * (d_ceiling - d_null)) / gap
        return cls(gap, value, deviations)


@dataclass(frozen=True, slots=True)
class _Spread:
    """Standard errors: of the index and of its denominator at each K [K], of the mean over K; replicates [R].

    `apart` is the variance of the logarithm of the ratio of the two ceilings' distances to chance [K].
    """

    se: Floats
    se_gap: Floats
    se_mean: float
    apart: Floats
    deviations: Floats

    @classmethod
    def of(cls, resampled: SplitHalfOverlap, observed: SplitHalfOverlap, n: int) -> _Spread:
        replicate, estimate = _Ratio.of(resampled), _Ratio.of(observed)
        by_k = replicate.deviations.reshape(-1, INNER_SPLITS, len(observed.top_k))
        over_k = by_k.mean(axis=2, keepdims=True)
        se = _corrected_se(by_k, estimate.deviations, n)
        se_mean = float(_corrected_se(over_k, estimate.deviations.mean(axis=1, keepdims=True), n)[0])
        raw = over_k.mean(axis=(1, 2))
        sd = float(raw.std(ddof=1))
        gaps = np.sqrt(resampled.ceiling_before * resampled.ceiling_after) - resampled.null
        se_gap = gaps.reshape(by_k.shape).mean(axis=1).std(axis=0, ddof=1)
        above = [own - resampled.null for own in (resampled.ceiling_before, resampled.ceiling_after)]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = above[0] / above[0].mean(axis=0) - above[1] / above[1].mean(axis=0)
        apart = ratio.reshape(by_k.shape).mean(axis=1).var(axis=0, ddof=1)
        return cls(
            se, se_gap, se_mean, apart, (raw - raw.mean()) * (se_mean / sd) if se_mean > 0 else np.zeros_like(raw)
        )


def _corrected_se(inner: Floats, splits: Floats, n: int) -> Floats:
    """SE [K] of the mean over all splits, from deviations of replicates [R, inner, K] and of observed splits [S, K]."""
    total = inner.mean(axis=1).var(axis=0, ddof=1)
    noise = inner.var(axis=1, ddof=1).mean(axis=0) / inner.shape[1]
    own = splits.var(axis=0, ddof=1) / len(splits) if len(splits) > 1 else noise * inner.shape[1]
    # Multinomial weights give (n - 1) / n of the variance over prompts.
    se = np.sqrt(np.maximum(total - noise, VARIANCE_FLOOR * total) * n / (n - 1) + own)
    # Models with the same scores have replicates that differ by rounding only.
    return np.where(se > 1e-12, se, 0.0)


def _summarise(
    observed: SplitHalfOverlap,
    spread: _Spread | None,
    *,
    n: int,
    units: int,
    name: str,
    few: str,
    confidence: float,
) -> Retention:
    ratio = _Ratio.of(observed)
    quantile = float(scipy_stats.t.ppf((1 + confidence) / 2, max(1, units - 1)))
    rows = []
    for i, k in enumerate(observed.top_k):
        lowest = float(ratio.gap[i] - (quantile * spread.se_gap[i] if spread else 0))
        parts = [float(x[:, i].mean()) for x in (observed.ceiling_before, observed.ceiling_after)]
        above = [part - float(observed.null[:, i].mean()) for part in parts]
        hidden = _hidden(above, float(spread.apart[i])) if spread and lowest > 0 and min(above) > 0 else None
        lacking = observed.lacking(i)
        if not lacking and hidden is not None and hidden > np.log(UNEQUAL) ** 2:
            lacking = (
                f"K = {k}: the overlaps of the models with themselves, {parts[0]:.2f} before and {parts[1]:.2f} after, "
                f"are too unequal for a common ceiling; {UNEQUAL_NOISE}"
            )
        defined = lowest > 0 and min(parts) > 0 and not lacking
        estimate = float(ratio.value[i]) if defined else None
        se = _widened(float(spread.se[i]), estimate, hidden) if defined and spread else None
        low, high = _ends(estimate, se, quantile)
        message = few
        if not defined:
            message = lacking or f"K = {k}: {NO_CEILING}"
        rows.append(
            RetentionAtK(
                k=k,
                between=float(observed.between[:, i].mean()),
                null=float(observed.null[:, i].mean()),
                ceiling_before=parts[0],
                ceiling_after=parts[1],
                ceiling=float(np.sqrt(parts[0] * parts[1])),
                estimate=estimate,
                se=se,
                low=low,
                high=high,
                hidden=hidden,
                status="undefined" if not defined else "ok" if spread else "points only",
                message=message,
            )
        )
    return _average(rows, ratio, spread, n=n, units=units, name=name, confidence=confidence, quantile=quantile)


def _widened(se: float, estimate: float | None, hidden: float | None) -> float:
    """The standard error with what unequal noise may hide."""
    return float(np.hypot(se, (estimate or 0.0) * (hidden or 0.0)))


def _spread_to(spread: _Spread | None, estimate: float | None, se: float | None) -> Floats | None:
    """Replicates around the estimate, with this standard error."""
    if spread is None or estimate is None or se is None:
        return None
    return np.asarray(estimate + spread.deviations * (se / spread.se_mean if spread.se_mean > 0 else 1.0))


def _hidden(above: Sequence[float], variance: float) -> float:
    return max(0.0, float(np.log(above[0] / above[1])) ** 2 - variance)


def _average(
    rows: Sequence[RetentionAtK],
    ratio: _Ratio,
    spread: _Spread | None,
    *,
    n: int,
    units: int,
    name: str,
    confidence: float,
    quantile: float,
) -> Retention:
    undefined = any(row.status == "undefined" for row in rows)
    estimate = None if undefined else float(ratio.value.mean())
    hidden = float(np.mean([row.hidden for row in rows if row.hidden is not None] or [0.0]))
    se = _widened(spread.se_mean, estimate, hidden) if spread and estimate is not None else None
    low, high = _ends(estimate, se, quantile)
    message = rows[0].message
    if undefined:
        reasons = [row.message for row in rows if row.status == "undefined"]
        hints = [UNEQUAL_NOISE] * any(UNEQUAL_NOISE in reason for reason in reasons)
        message = "; ".join([*(reason.removesuffix(f"; {UNEQUAL_NOISE}") for reason in reasons), *hints])
    elif se == 0:
        message = "the replicates do not vary: the models' scores are the same"
    return Retention(
        estimate=estimate,
        se=se,
        df=units - 1,
        low=low,
        high=high,
        confidence=confidence,
        status="undefined" if undefined else rows[0].status,
        message=message,
        method=f"bootstrap over {name}, split noise removed; t interval",
        n=n,
        units=units,
        by_k=tuple(rows),
        replicates=_spread_to(spread, estimate, se),
    )


def _ends(estimate: float | None, se: float | None, quantile: float) -> tuple[float | None, float | None]:
    if estimate is None or se is None:
        return None, None
    return estimate - quantile * se, estimate + quantile * se
