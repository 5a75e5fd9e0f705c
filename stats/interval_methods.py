"""How an interval is formed from resampling weights: studentized, percentile, BCa, or t with a standard error.

What to use when is said in `stats.resampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from scipy import special
from scipy import stats as scipy_stats

from stats.checks import BLOCK_NUMBERS, SAME, Floats, Integers, varies
from stats.findings import Status
from stats.minimums import MINIMUM_CLUSTERS
from stats.skewness import skewness_of_estimate, uncorrected
from stats.trimmed import TRIMMED_MEAN, trimmed_mean, trimmed_replicates
from stats.two_way import two_way_variance_of_mean

Method: TypeAlias = Literal["percentile", "bca", "studentized"]
Statistic: TypeAlias = Literal["mean", "median", "trimmed mean"] | Callable[[Floats], float]


@dataclass(frozen=True, slots=True)
class Sample:
    """Values with their clusters as 0..clusters-1."""

    values: Floats
    cluster: Integers
    clusters: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """The second unit of each value as 0..units-1."""

    code: Integers
    units: int


@dataclass(frozen=True, slots=True)
class Result:
    """An interval, or why there is none; `method` is how it was made."""

    estimate: float | None
    method: str
    se: float | None = None
    low: float | None = None
    high: float | None = None
    status: Status = "points only"
    message: str = ""


def _too_few(units: int, name: str = "cluster(s)") -> str:
    return f"{units} {name}: fewer than {MINIMUM_CLUSTERS}, no interval"


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
    rounding = max(1e-12 * float(np.abs(shifted).sum()), SAME * float(np.abs(values).max() * sizes.max()))
    if np.abs(residuals).max() <= rounding:
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


def interval_of_mean(sample: Sample, method: Method, confidence: float, blocks: Iterable[Integers]) -> Result:
    """Of the mean, from weights of the clusters [R, clusters]."""
    mean, se, residuals, sizes = clustered_mean(sample.values, sample.cluster, sample.clusters)
    if sample.clusters < MINIMUM_CLUSTERS or se is None:
        return Result(mean, method, se, message=_too_few(sample.clusters))
    if se == 0:
        return Result(mean, method, 0.0, message="constant: every cluster has the same mean")
    columns = np.stack([residuals, sizes, residuals**2, residuals * sizes, sizes**2], axis=1)
    sums = np.concatenate([block @ columns for block in blocks])
    shift = sums[:, 0] / sums[:, 1]
    if method == "studentized":
        # Sum of w_c (e_c - shift n_c)^2, the squared residuals around the replicate's own mean.
        squares = np.maximum(sums[:, 2] - 2 * shift * sums[:, 3] + shift**2 * sums[:, 4], 0)
        spreads = np.sqrt(sample.clusters / (sample.clusters - 1) * squares) / sums[:, 1]
        usable = spreads > 1e-9 * se
        if np.mean(~usable) > (1 - confidence) / 10:
            df = effective_clusters(sizes) - 1
            return _t_interval(mean, se, df, confidence, "t with cluster-robust standard error")
        low, high = np.quantile(shift[usable] / spreads[usable], _tails(confidence)) * _widening(sizes, confidence)
        return Result(mean, method, se, mean - float(high) * se, mean - float(low) * se, "ok")
    total = float(sizes.sum())
    left_out = -residuals / (total - sizes)
    return _from_replicates(mean, se, mean + shift, mean + left_out, method, confidence)


def interval_of_trimmed_mean(sample: Sample, method: Method, confidence: float, blocks: Iterable[Integers]) -> Result:
    """Of the 20 % trimmed mean of the clusters' means; `studentized` is t with its standard error (`stats.trimmed`)."""
    each = np.bincount(sample.cluster, weights=sample.values) / np.bincount(sample.cluster)
    found = trimmed_mean(each if sample.clusters < len(sample.values) else sample.values)
    if sample.clusters < MINIMUM_CLUSTERS:
        return Result(found.estimate, method, message=_too_few(sample.clusters))
    if found.se is None or found.influence is None:
        return Result(found.estimate, method, message=found.message)
    if found.se == 0:
        return Result(found.estimate, method, 0.0, message="constant: every cluster has the same mean")
    if method == "studentized":
        reach = float(scipy_stats.t.ppf((1 + confidence) / 2, found.df))
        low, high = found.estimate - found.se * uncorrected([reach, -reach], skewness_of_estimate(found.influence))
        name = f"{TRIMMED_MEAN}: t with Winsorized standard error, corrected for skewness"
        return Result(found.estimate, name, found.se, float(low), float(high), "ok")
    draws = np.concatenate([trimmed_replicates(each, block) for block in blocks])
    left_out = None
    if method == "bca":
        left_out = np.array([trimmed_mean(np.delete(each, place)).estimate for place in range(len(each))])
    result = _from_replicates(found.estimate, found.se, draws, left_out, method, confidence)
    return replace(result, method=f"{TRIMMED_MEAN}: {result.method}")


def interval_of_statistic(
    sample: Sample, statistic: Statistic, method: Method, confidence: float, blocks: Iterable[Integers]
) -> Result:
    """Of any other statistic, from weights of the clusters [R, clusters]."""
    estimate = float(_evaluate(statistic, sample.values))
    if not np.isfinite(estimate):
        return Result(None, method, status="undefined", message=f"the statistic of the data is {estimate}")
    if sample.clusters < MINIMUM_CLUSTERS:
        return Result(estimate, method, message=_too_few(sample.clusters))
    draws = np.concatenate([_replicate_statistics(sample, statistic, block) for block in blocks])
    return _from_draws(sample, statistic, method, confidence, estimate, draws, df=sample.clusters - 1)


def _from_draws(
    sample: Sample,
    statistic: Statistic,
    method: Method,
    confidence: float,
    estimate: float,
    draws: Floats,
    *,
    df: float,
    se: float | None = None,
) -> Result:
    """From the statistic in every replicate [R], with its bootstrap standard error unless there is another."""
    bad = int(np.count_nonzero(~np.isfinite(draws)))
    if bad:
        return Result(estimate, method, message=f"the statistic is not finite in {bad} of {len(draws)} replicates")
    spread = float(draws.std(ddof=1)) if varies(draws) else 0.0
    if spread == 0:
        return Result(estimate, method, 0.0, message="constant: every replicate gives the same value")
    if method == "studentized":
        return _t_interval(estimate, spread, df, confidence, "t with bootstrap standard error")
    left_out = None
    if method == "bca":
        each = [_evaluate(statistic, sample.values[sample.cluster != c]) for c in range(sample.clusters)]
        left_out = np.asarray(each, dtype=np.float64)
    return _from_replicates(estimate, se or spread, draws, left_out, method, confidence)


def interval_of_two_kinds(
    sample: Sample,
    crossing: Crossing | None,
    statistic: Statistic,
    method: Method,
    confidence: float,
    blocks: Iterable[Integers],
) -> Result:
    """Of any statistic, from weights of the values [R, n] that were drawn for two kinds of units."""
    values = Sample(sample.values, np.arange(len(sample.values)), len(sample.values))
    df = float(min(sample.clusters, crossing.units if crossing else sample.clusters) - 1)
    estimate, se = float(_evaluate(statistic, sample.values)), None
    if not np.isfinite(estimate):
        return Result(None, method, status="undefined", message=f"the statistic of the data is {estimate}")
    if statistic == "mean" and df > 0:
        se, df = _mean_over_two_kinds(sample, crossing)
    kinds = [(sample.clusters, "cluster(s)"), (crossing.units, "crossed unit(s)")] if crossing else []
    few = [
        _too_few(units, name) for units, name in kinds or [(sample.clusters, "cluster(s)")] if units < MINIMUM_CLUSTERS
    ]
    if few:
        return Result(estimate, method, se, message="; ".join(few))
    if se == 0:
        return Result(estimate, method, 0.0, message="constant: every unit has the same mean")
    if se is not None and method == "studentized":
        error = "two-way" if crossing else "cluster-robust"
        return _t_interval(estimate, se, df, confidence, f"t with {error} standard error")
    draws = np.concatenate([_replicate_statistics(values, statistic, block) for block in blocks])
    return _from_draws(sample, statistic, method, confidence, estimate, draws, df=df, se=se)


def _mean_over_two_kinds(sample: Sample, crossing: Crossing | None) -> tuple[float | None, float]:
    """Standard error of the mean, and its degrees of freedom."""
    se, df = clustered_mean(sample.values, sample.cluster, sample.clusters)[1], float(sample.clusters - 1)
    if crossing is None:
        return se, df
    if not varies(sample.values):
        return 0.0, df
    labels = (sample.cluster, crossing.code, sample.clusters, crossing.units)
    variance, df = two_way_variance_of_mean(sample.values, *labels)
    return float(np.sqrt(variance)), df


def _evaluate(statistic: Statistic, values: Floats) -> float:
    if callable(statistic):
        return float(statistic(values))
    return float(np.median(values) if statistic == "median" else values[0] + (values - values[0]).mean())


def _replicate_statistics(sample: Sample, statistic: Statistic, weights: Integers) -> Floats:
    if statistic == "mean":
        # Around a value of the data, so that constants stay what they are.
        shifted = sample.values - sample.values[0]
        drawn = np.bincount(sample.cluster, minlength=sample.clusters), np.bincount(sample.cluster, weights=shifted)
        return np.asarray(sample.values[0] + weights @ drawn[1] / (weights @ drawn[0]))
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


def _t_interval(estimate: float, se: float, df: float, confidence: float, method: str) -> Result:
    half = float(scipy_stats.t.ppf((1 + confidence) / 2, df)) * se
    return Result(estimate, method, se, estimate - half, estimate + half, "ok")


def _from_replicates(
    estimate: float, se: float, draws: Floats, left_out: Floats | None, method: Method, confidence: float
) -> Result:
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
    return Result(estimate, used, se, float(low), float(high), "ok")
