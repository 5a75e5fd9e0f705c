"""The overlap itself: the Jaccard of two models' top-K edges on halves of the prompts, with its interval.

It depends on how noisy the scores are: with fewer prompts two models that share a circuit overlap less, and so does
each with itself. The retention index (`stats.retention`) sets it against that ceiling, and is the one to prefer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from stats.checks import Floats
from stats.findings import Status
from stats.half_bootstrap import by_replicate, resampled_halves, standard_errors
from stats.half_draws import Units, counted_units, observed_pairs
from stats.minimums import enough_replicates
from stats.node_sets import EdgeNodes
from stats.options import Count, Seed, Share, checked
from stats.score_blocks import ScoreBlocks
from stats.split_half import SplitHalfOverlap, half_overlaps, paired_scores, prompts

Ends: TypeAlias = tuple[tuple[float, float | None, float | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BetweenOverlap:
    """Overlap of two models at half of the prompts each, averaged over the sizes K, and at each of them.

    Attributes:
        estimate: Mean over splits and K. Where `status` is `undefined`, of sets that are smaller than K.
        se: Standard error over `units` prompts or templates, with `df` = units - 1; None with too few of them.
        low: Lower end of the interval at `confidence` (`high`: upper end), None with too few units.
        by_k: Estimate, low and high at each K.
        lacking: Why the overlap at each K is undefined, since a half of the prompts has not K edges with a score other
            than zero; empty where it is defined.
        replicates: [R], centred at the estimate and scaled to `se`, paired between calls with the same seed and total.
        status: `ok`, `points only` (no interval) or `undefined` (at some K there are not K edges with a score).
        message: Why it is not ok, or that the replicates do not vary.
        nodes: The same of the nodes that the edges touch, where it was asked for.
    """

    estimate: float
    se: float | None
    df: float
    low: float | None
    high: float | None
    confidence: float
    units: int
    by_k: Ends
    lacking: tuple[str, ...]
    replicates: Floats | None
    status: Status
    message: str
    nodes: BetweenOverlap | None = None


@checked
def between_overlap(
    before: ArrayLike | ScoreBlocks,
    after: ArrayLike | ScoreBlocks,
    *,
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
) -> BetweenOverlap:
    """Top-K Jaccard between two models on the halves of the retention index: estimate +- t_{n-1} x SE.

    Args:
        before: Scores of the model before [n, E], one row per prompt.
        after: Scores of the model after [n, E], of the same prompts in the same order.
        top_k: Sizes of the sets; the overlap is averaged over them.
        templates: Template of every example [total]; halves are balanced within templates.
        splits: Random splits for the estimate.
        replicates: Bootstrap replicates.
        confidence: Of the two-sided interval.
        seed: Seed of the draws. Calls with the same seed and `total` share splits and resampled examples.
        examples: Example id of each row [n]; 0..n-1 by default.
        total: Number of examples of which the rows are a selection.
        units: What is drawn in a replicate: prompts, or whole templates, of which an interval needs 5.
        half_size: Number of prompts of each set that is compared; half of all unless given.
        nodes: The nodes that each edge touches: their overlap is then `nodes` of the result.

    Raises:
        ValueError: if shapes do not match, a K is out of range, scores are not finite, or there are too few prompts
            to split.
    """
    a, b = paired_scores(before, after)
    chosen = prompts(a.shape[0], examples=examples, total=total, templates=templates)
    n, few = counted_units(chosen, units)
    quantile = float(scipy_stats.t.ppf((1 + confidence) / 2, max(1, n - 1)))
    enough_replicates(replicates, confidence)
    overlaps = partial(half_overlaps, a, b, top_k=top_k, nodes=nodes)
    observed = overlaps(*observed_pairs(chosen, splits, seed, half_size))
    resampled = None
    if not few:
        drawn = resampled_halves(chosen, replicates, seed, units=units, half_size=half_size)
        resampled = overlaps(*drawn)

    def summarised(observed: SplitHalfOverlap, resampled: SplitHalfOverlap | None) -> BetweenOverlap:
        return _summarised(observed, resampled, n=n, confidence=confidence, quantile=quantile, few=few)

    found = summarised(observed, resampled)
    if observed.nodes is None:
        return found
    return replace(found, nodes=summarised(observed.nodes, None if resampled is None else resampled.nodes))


def _summarised(
    halves: SplitHalfOverlap,
    drawn: SplitHalfOverlap | None,
    *,
    n: int,
    confidence: float,
    quantile: float,
    few: str,
) -> BetweenOverlap:
    """The result from the observed halves and, unless there are too few units, from those of the replicates."""
    observed, lacking = halves.between, tuple(halves.lacking(place) for place in range(len(halves.top_k)))
    by_k = observed.mean(axis=0)
    estimate = float(by_k.mean())
    if drawn is None:
        rows: Ends = tuple((float(value), None, None) for value in by_k)
        return _result(estimate, None, None, rows, lacking, n, confidence, quantile, few)
    resampled = drawn.between
    each = standard_errors(resampled, observed, n)
    mean = resampled.mean(axis=1, keepdims=True)
    se = float(standard_errors(mean, observed.mean(axis=1, keepdims=True), n)[0])
    rows = tuple((float(v), float(v - quantile * s), float(v + quantile * s)) for v, s in zip(by_k, each, strict=True))
    raw = by_replicate(mean).mean(axis=(1, 2))
    spread = float(raw.std(ddof=1))
    deviations = (raw - raw.mean()) * (se / spread) if se > 0 and spread > 0 else np.zeros_like(raw)
    message = "" if se > 0 else "the replicates do not vary"
    return _result(estimate, se, estimate + deviations, rows, lacking, n, confidence, quantile, message)


def _result(
    estimate: float,
    se: float | None,
    replicates: Floats | None,
    by_k: Ends,
    lacking: tuple[str, ...],
    n: int,
    confidence: float,
    quantile: float,
    message: str,
) -> BetweenOverlap:
    undefined = "; ".join(filter(None, lacking))
    if undefined:
        se = replicates = None
    return BetweenOverlap(
        estimate=estimate,
        se=se,
        df=n - 1,
        low=None if se is None else estimate - quantile * se,
        high=None if se is None else estimate + quantile * se,
        confidence=confidence,
        units=n,
        by_k=by_k,
        lacking=lacking,
        replicates=replicates,
        status="undefined" if undefined else "ok" if se is not None else "points only",
        message=undefined or message,
    )
