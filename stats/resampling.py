"""Bootstrap intervals over independent units (clusters), for few clusters and clusters of unequal size.

Below about 40 clusters use `studentized`: percentile and BCa intervals are then too short (nominal .95 covers .88 with
8 clusters). Below 5 clusters there is no interval at all. `benchmarks/interval_coverage.py` measures the coverage of
each.

References: Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 12-14; Cameron, Gelbach & Miller (2008),
Bootstrap-based improvements for inference with clustered errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import BLOCK_NUMBERS, Floats, as_floats, codes
from stats.findings import Status
from stats.interval_methods import (
    Crossing,
    Method,
    Sample,
    Statistic,
    clustered_mean,
    interval_of_mean,
    interval_of_statistic,
    interval_of_trimmed_mean,
    interval_of_two_kinds,
)
from stats.minimums import MINIMUM_CLUSTERS, enough_replicates
from stats.options import Count, Seed, Share, checked
from stats.stratified_means import PERCENTILE_METHOD, T_METHOD, several, stratified
from stats.unit_weights import crossed_blocks, nested_blocks, resampling_weights, unit_blocks

__all__ = [
    "BLOCK_NUMBERS",
    "MINIMUM_CLUSTERS",
    "Interval",
    "bootstrap_interval",
    "clustered_mean",
    "resampling_weights",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        low: Lower end, None where `status` is not `ok` (`high`: upper end).
        se: Standard error: cluster-robust for the mean, of the bootstrap otherwise; None with too few clusters.
        status: `ok`; `points only`: the estimate can be used, an interval cannot be formed; `undefined`: neither.
        message: Why, where the status is not `ok`.
        n: Number of values, in `clusters` clusters.
        crossed: Number of units of the second kind, where values have two labels.
        method: How the interval was made, which may differ from what was asked for.
        replicates: Number of bootstrap replicates.
    """

    estimate: float | None
    low: float | None
    high: float | None
    se: float | None
    status: Status
    message: str
    n: int
    clusters: int
    method: str
    confidence: float
    replicates: int
    crossed: int | None = None


@checked
def bootstrap_interval(
    values: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    within: ArrayLike | None = None,
    crossed: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    statistic: Statistic = "mean",
    method: Method = "studentized",
    confidence: Share = 0.95,
    replicates: Count = 5000,
    seed: Seed = 0,
    block_numbers: Count = BLOCK_NUMBERS,
) -> Interval:
    """Bootstrap interval of a statistic, resampling clusters with replacement, or two kinds of units.

    `studentized` uses for the mean the cluster-robust standard error of every replicate (of a ratio estimator, where
    clusters differ in size: the mean is over values, not over clusters). For any other statistic, and where too many
    replicates have no spread to studentize by, it falls back to estimate +- t x bootstrap standard error with
    clusters - 1 degrees of freedom, and `method` of the result says so. Where clusters differ in size the studentized
    interval is widened by the ratio of the quantiles of t with the effective and with the actual number of clusters.

    Coverage of the nominal .95 studentized interval of a mean, with 12 and 40 clusters: .95 and .95 with normal effects
    of the clusters, .94 and .95 with exponential ones (skewness 2; .935 and .94 with 1 to 8 values in a cluster), .92
    and .93 with log-normal ones of sigma 1 (skewness 6), of which percentile and BCa intervals cover .82 and .85 with
    12 clusters. Symmetric effects with heavy tails (Laplace), one value each: .925 and .93.

    With two kinds of units (`within` or `crossed`; `stats.unit_weights`), `studentized` is always such a t interval: of
    the mean with the cluster-robust or the two-way standard error and its degrees of freedom (`stats.two_way`), of any
    other statistic with the bootstrap standard error and those of the kind with fewer units. In simulations of a mean
    over 16 or 100 prompts x 5 seeds, both random, its error rate at nominal .05 was .04 to .06, that of the percentile
    interval .06, and that of an interval over prompts alone .11 to .21.

    Args:
        values: [n], finite.
        cluster: Label of each value's independent unit [n], e.g. its prompt; None if every value is one.
        within: Label of each value's unit within its cluster [n], e.g. its prompt where clusters are templates: then
            both are drawn.
        crossed: Label of each value's second independent unit [n], e.g. the training seed of its model: then both kinds
            are drawn, independently. There is no `bca` for it.
        strata: Label of each value's stratum [n], e.g. its template where templates are fixed (`stats.strata`): the
            interval of a mean is then of the spread within them, by quantiles for `percentile`, else a t interval
            corrected for skewness, without a bootstrap. Not with other units, nor for another statistic.
        statistic: `mean`, `median`, `trimmed mean`, or a function of one sample of values [m] that returns a number.
            The 20 % trimmed mean (`stats.trimmed`) is that of the clusters' means, each of which counts as one.
        method: `percentile`, `bca` or `studentized`.
        confidence: Of the two-sided interval.
        replicates: Number of bootstrap replicates, at least 2 / (1 - confidence) (`stats.minimums`).
        seed: Seed of the draws.
        block_numbers: Numbers in one block of weights; bounds the memory, changes no result.

    Raises:
        ValueError: if the values are empty or not finite, lengths do not match, labels are missing, there are too few
            replicates for the confidence, or an argument is not known.
    """
    x = as_floats(values, "values", dimensions=1)
    code, clusters = (np.arange(len(x)), len(x)) if cluster is None else codes(cluster, "cluster", length=len(x))
    enough_replicates(replicates, confidence)
    if strata is not None:
        if statistic != "mean" or any(units is not None for units in (cluster, within, crossed)):
            raise ValueError("strata: only for a mean of values that are each a unit")
        found = _within_strata(x, strata, method, confidence, replicates, seed)
        if found is not None:
            return found
    sample = Sample(x, code, clusters)
    if within is None and crossed is None:
        crossing, blocks = None, unit_blocks(clusters, replicates, seed, block_numbers)
        if statistic == "mean":
            result = interval_of_mean(sample, method, confidence, blocks)
        elif statistic == "trimmed mean":
            result = interval_of_trimmed_mean(sample, method, confidence, blocks)
        else:
            result = interval_of_statistic(sample, statistic, method, confidence, blocks)
    else:
        if cluster is None or (within is not None and crossed is not None):
            raise ValueError("expected `cluster` with either `within` or `crossed`")
        if statistic == "trimmed mean":
            raise ValueError("statistic: a trimmed mean is of one kind of units, got `within` or `crossed`")
        if crossed is not None and method == "bca":
            raise ValueError("method: expected 'percentile' or 'studentized' with crossed units, got 'bca'")
        crossing = None if crossed is None else Crossing(*codes(crossed, "crossed", length=len(x)))
        if crossing is not None:
            blocks = crossed_blocks(code, crossing.code, replicates, seed=seed, block_numbers=block_numbers)
        else:
            inner, _ = codes(within if within is not None else [], "within", length=len(x))
            blocks = nested_blocks(code, inner, replicates, seed=seed, block_numbers=block_numbers)
        result = interval_of_two_kinds(sample, crossing, statistic, method, confidence, blocks)
    return Interval(
        estimate=result.estimate,
        low=result.low,
        high=result.high,
        se=result.se,
        status=result.status,
        message=result.message,
        n=len(x),
        clusters=clusters,
        method=result.method,
        confidence=confidence,
        replicates=replicates,
        crossed=None if crossing is None else crossing.units,
    )


def _within_strata(
    x: Floats, labels: ArrayLike, method: Method, confidence: float, replicates: int, seed: int
) -> Interval | None:
    """The interval of the mean by the spread within strata; None where it is that without them."""
    strata = several(labels, len(x))
    if strata is None:
        return None
    weights = resampling_weights(len(x), replicates, seed=seed) if method == "percentile" else None
    estimate, low, high, se, _ = stratified(x[:, None], strata, confidence, weights)[:, 0].tolist()
    if np.isnan(se):
        return None
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        se=se,
        status="ok",
        message="",
        n=len(x),
        clusters=len(x),
        method=f"mean: {T_METHOD if weights is None else PERCENTILE_METHOD}",
        confidence=confidence,
        replicates=replicates,
    )
