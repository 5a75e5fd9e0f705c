"""Bootstrap intervals over independent units (clusters), for few clusters and clusters of unequal size.

Below about 40 clusters use `studentized`: percentile and BCa intervals are then too short (nominal .95 covers .88 with
8 clusters). Below 5 clusters there is no interval at all. `benchmarks/coverage.py` measures the coverage of each.

References: Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 12-14; Cameron, Gelbach & Miller (2008),
Bootstrap-based improvements for inference with clustered errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy import stats as scipy_stats

from stats.checks import Floats, Integers, as_floats, codes, fraction, positive
from stats.findings import Status
from stats.seeding import generator

MINIMUM_CLUSTERS = 5
BLOCK_NUMBERS = 4_000_000
Method: TypeAlias = Literal["percentile", "bca", "studentized"]
Statistic: TypeAlias = Literal["mean", "median"] | Callable[[Floats], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        low: Lower end, None where `status` is not `ok` (`high`: upper end).
        se: Standard error: cluster-robust for the mean, of the bootstrap otherwise; None with too few clusters.
        status: `ok`; `points only`: the estimate can be used, an interval cannot be formed; `undefined`: neither.
        message: Why, where the status is not `ok`.
        n: Number of values, in `clusters` clusters.
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


def resampling_weights(units: int, replicates: int, *, seed: int) -> Integers:
    """How often each unit is drawn in each bootstrap replicate, [R, units]; every row sums to `units`.

    The same seed and number of units give the same weights, so statistics of the same units that are computed apart
    (of several models, say) have paired replicates.
    """
    positive(units, "units")
    positive(replicates, "replicates")
    return np.concatenate(list(_weight_blocks(units, replicates, seed, BLOCK_NUMBERS)))


def _weight_blocks(units: int, replicates: int, seed: int, block_numbers: int) -> Iterator[Integers]:
    if units * replicates <= min(block_numbers, BLOCK_NUMBERS):
        yield _only_block(units, replicates, seed)
    else:
        yield from _drawn_blocks(units, replicates, seed, block_numbers)


@lru_cache(maxsize=8)
def _only_block(units: int, replicates: int, seed: int) -> Integers:
    """A draw that is one block, kept: the intervals of many statistics of the same units share it."""
    (drawn,) = _drawn_blocks(units, replicates, seed, BLOCK_NUMBERS)
    drawn.setflags(write=False)
    return drawn


def _drawn_blocks(units: int, replicates: int, seed: int, block_numbers: int) -> Iterator[Integers]:
    rng = generator(seed, "resampling weights")
    share = np.full(units, 1 / units)
    step = max(1, block_numbers // units)
    for start in range(0, replicates, step):
        yield rng.multinomial(units, share, size=min(step, replicates - start))


@dataclass(frozen=True, slots=True)
class _Sample:
    """Values with their clusters as 0..clusters-1."""

    values: Floats
    cluster: Integers
    clusters: int


def bootstrap_interval(
    values: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    statistic: Statistic = "mean",
    method: Method = "studentized",
    confidence: float = 0.95,
    replicates: int = 5000,
    seed: int = 0,
    block_numbers: int = BLOCK_NUMBERS,
) -> Interval:
    """Bootstrap interval of a statistic, resampling clusters with replacement.

    `studentized` uses for the mean the cluster-robust standard error of every replicate (of a ratio estimator, where
    clusters differ in size: the mean is over values, not over clusters). For any other statistic, and where too many
    replicates have no spread to studentize by, it falls back to estimate +- t x bootstrap standard error with
    clusters - 1 degrees of freedom, and `method` of the result says so. Where clusters differ in size the studentized
    interval is widened by the ratio of the quantiles of t with the effective and with the actual number of clusters.

    Coverage of the nominal .95 studentized interval of a mean, with 12 and 40 clusters: .95 and .95 with normal effects
    of the clusters, .94 and .95 with exponential ones (skewness 2; .935 and .94 with 1 to 8 values in a cluster), .92
    and .93 with log-normal ones of sigma 1 (skewness 6), of which percentile and BCa intervals cover .82 and .85 with
    12 clusters. Symmetric effects with heavy tails (Laplace), one value each: .925 and .93.

    Args:
        values: [n], finite.
        cluster: Label of each value's independent unit [n], e.g. its prompt; None if every value is one.
        statistic: `mean`, `median`, or a function of one sample of values [m] that returns a number.
        method: `percentile`, `bca` or `studentized`.
        confidence: Of the two-sided interval.
        replicates: Number of bootstrap replicates.
        seed: Seed of the draws.
        block_numbers: Numbers in one block of weights; bounds the memory, changes no result.

    Raises:
        ValueError: if the values are empty or not finite, lengths do not match, or an argument is not known.
    """
    x = as_floats(values, "values", dimensions=1)
    code, clusters = (np.arange(len(x)), len(x)) if cluster is None else codes(cluster, "cluster", length=len(x))
    if method not in ("percentile", "bca", "studentized"):
        raise ValueError(f"method: expected percentile, bca or studentized, got {method!r}")
    if not (callable(statistic) or statistic in ("mean", "median")):
        raise ValueError(f"statistic: expected mean, median or a function, got {statistic!r}")
    fraction(confidence, "confidence")
    positive(replicates, "replicates")
    sample = _Sample(x, code, clusters)
    blocks = _weight_blocks(clusters, replicates, seed, block_numbers)
    if statistic == "mean":
        result = _interval_of_mean(sample, method, confidence, blocks)
    else:
        result = _interval_of_statistic(sample, statistic, method, confidence, blocks)
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
    )


@dataclass(frozen=True, slots=True)
class _Result:
    estimate: float | None
    method: str
    se: float | None = None
    low: float | None = None
    high: float | None = None
    status: Status = "points only"
    message: str = ""


def _too_few(clusters: int) -> str:
    return f"{clusters} cluster(s): fewer than {MINIMUM_CLUSTERS}, no interval"


def clustered_mean(values: Floats, cluster: Integers, clusters: int) -> tuple[float, float | None, Floats, Floats]:
    """Mean over values, its cluster-robust standard error, and per cluster the sum of residuals and the size.

    SE = sqrt(C / (C - 1) * sum_c e_c^2) / n with e_c the sum of the residuals of cluster c: for clusters of one value
    this is s / sqrt(n). None with a single cluster.
    """
    sizes = np.bincount(cluster, minlength=clusters).astype(np.float64)
    # Around any value of the data first, so that a large common offset costs no digits and constants give exactly 0.
    shifted = values - values[0]
    offset = float(shifted.mean())
    residuals = np.bincount(cluster, weights=shifted - offset, minlength=clusters).astype(np.float64)
    mean = float(values[0]) + offset
    if clusters < 2:
        return mean, None, residuals, sizes
    if np.abs(residuals).max() <= 1e-12 * float(np.abs(shifted).sum()):
        return mean, 0.0, residuals, sizes
    se = float(np.sqrt(clusters / (clusters - 1) * (residuals @ residuals)) / len(values))
    return mean, se, residuals, sizes


def effective_clusters(sizes: Floats) -> float:
    """(sum n)^2 / sum n^2: how many clusters of one size are worth as much as clusters of these [C]; at least 2.

    Exactly their number where all are of one size. Kish (1965), Survey Sampling; Carter, Schnepel & Steigerwald (2017).
    """
    return max(2.0, float(sizes.sum() ** 2 / (sizes @ sizes)))


def _widening(sizes: Floats, confidence: float) -> float:
    """Quantile of t with the effective number of clusters, over that with the number of clusters."""
    effective, tail = effective_clusters(sizes), (1 + confidence) / 2
    if effective == len(sizes):
        return 1.0
    return float(scipy_stats.t.ppf(tail, effective - 1) / scipy_stats.t.ppf(tail, len(sizes) - 1))


def _interval_of_mean(sample: _Sample, method: Method, confidence: float, blocks: Iterator[Integers]) -> _Result:
    mean, se, residuals, sizes = clustered_mean(sample.values, sample.cluster, sample.clusters)
    if sample.clusters < MINIMUM_CLUSTERS or se is None:
        return _Result(mean, method, se, message=_too_few(sample.clusters))
    if se == 0:
        return _Result(mean, method, 0.0, message="constant: every cluster has the same mean")
    columns = np.stack([residuals, sizes, residuals**2, residuals * sizes, sizes**2], axis=1)
    sums = np.concatenate([block @ columns for block in blocks])
    shift = sums[:, 0] / sums[:, 1]
    if method == "studentized":
        # Sum of w_c (e_c - shift n_c)^2, the squared residuals around the replicate's own mean.
        squares = np.maximum(sums[:, 2] - 2 * shift * sums[:, 3] + shift**2 * sums[:, 4], 0)
        spreads = np.sqrt(sample.clusters / (sample.clusters - 1) * squares) / sums[:, 1]
        usable = spreads > 1e-9 * se
        if np.mean(~usable) > (1 - confidence) / 10:
            effective = effective_clusters(sizes)
            return _t_interval(mean, se, effective, confidence, "t with cluster-robust standard error")
        low, high = np.quantile(shift[usable] / spreads[usable], _tails(confidence)) * _widening(sizes, confidence)
        return _Result(mean, method, se, mean - float(high) * se, mean - float(low) * se, "ok")
    total = float(sizes.sum())
    left_out = -residuals / (total - sizes)
    return _from_replicates(mean, se, mean + shift, mean + left_out, method, confidence)


def _interval_of_statistic(
    sample: _Sample, statistic: Statistic, method: Method, confidence: float, blocks: Iterator[Integers]
) -> _Result:
    estimate = float(_evaluate(statistic, sample.values))
    if not np.isfinite(estimate):
        return _Result(None, method, status="undefined", message=f"the statistic of the data is {estimate}")
    if sample.clusters < MINIMUM_CLUSTERS:
        return _Result(estimate, method, message=_too_few(sample.clusters))
    draws = np.concatenate([_replicate_statistics(sample, statistic, block) for block in blocks])
    bad = int(np.count_nonzero(~np.isfinite(draws)))
    if bad:
        return _Result(estimate, method, message=f"the statistic is not finite in {bad} of {len(draws)} replicates")
    se = float(draws.std(ddof=1)) if np.ptp(draws) > 0 else 0.0
    if se == 0:
        return _Result(estimate, method, 0.0, message="constant: every replicate gives the same value")
    if method == "studentized":
        return _t_interval(estimate, se, sample.clusters, confidence, "t with bootstrap standard error")
    left_out = None
    if method == "bca":
        each = [_evaluate(statistic, sample.values[sample.cluster != c]) for c in range(sample.clusters)]
        left_out = np.asarray(each, dtype=np.float64)
    return _from_replicates(estimate, se, draws, left_out, method, confidence)


def _evaluate(statistic: Statistic, values: Floats) -> float:
    return float(np.median(values)) if statistic == "median" else float(statistic(values))  # type: ignore[operator]


def _replicate_statistics(sample: _Sample, statistic: Statistic, weights: Integers) -> Floats:
    if statistic != "median":
        return np.array([_evaluate(statistic, np.repeat(sample.values, row[sample.cluster])) for row in weights])
    order = np.argsort(sample.values, kind="stable")
    ordered, cluster = sample.values[order], sample.cluster[order]
    # Values per row may be many more than clusters: a few rows at a time.
    step = max(1, BLOCK_NUMBERS // len(ordered))
    medians = []
    for start in range(0, len(weights), step):
        counted = np.cumsum(weights[start : start + step][:, cluster], axis=1)
        twice = 2 * counted
        lower = np.argmax(twice >= counted[:, -1:], axis=1)
        upper = np.argmax(twice > counted[:, -1:], axis=1)
        medians.append((ordered[lower] + ordered[upper]) / 2)
    return np.concatenate(medians)


def _tails(confidence: float) -> Floats:
    return np.array([(1 - confidence) / 2, (1 + confidence) / 2])


def _t_interval(estimate: float, se: float, clusters: float, confidence: float, method: str) -> _Result:
    half = float(scipy_stats.t.ppf((1 + confidence) / 2, clusters - 1)) * se
    return _Result(estimate, method, se, estimate - half, estimate + half, "ok")


def _from_replicates(
    estimate: float, se: float, draws: Floats, left_out: Floats | None, method: Method, confidence: float
) -> _Result:
    """Percentile or BCa interval from replicates [R]; `left_out` [clusters] are the jackknife values BCa needs."""
    tails, used = _tails(confidence), "percentile"
    if method == "bca" and left_out is not None:
        # A replicate that draws every cluster once gives the estimate back, up to rounding: half of it is below.
        beyond = (draws - estimate) / se
        below = float(np.mean(beyond < -1e-9) + np.mean(np.abs(beyond) <= 1e-9) / 2)
        deviations = left_out.mean() - left_out
        squares = float(deviations @ deviations)
        if 0 < below < 1 and squares > 0 and np.isfinite(squares):
            bias = special.ndtri(below)
            acceleration = float((deviations**3).sum()) / (6 * squares**1.5)
            shifted = bias + special.ndtri(tails)
            tails, used = special.ndtr(bias + shifted / (1 - acceleration * shifted)), "bca"
        else:
            used = "percentile (bca: no bias or acceleration could be estimated)"
    low, high = np.quantile(draws, tails)
    return _Result(estimate, used, se, float(low), float(high), "ok")
