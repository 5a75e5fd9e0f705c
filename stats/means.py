"""Bootstrap intervals of many means of the same units at once: of every head, of every neuron."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import BLOCK_NUMBERS, SAME, Floats, as_floats, codes
from stats.interval_methods import Method
from stats.minimums import MINIMUM_CLUSTERS, enough_replicates
from stats.options import Count, Seed, Share, checked
from stats.resampling import bootstrap_interval, resampling_weights
from stats.stratified_means import several, stratified

SMALLEST_SPREAD = 1e-9
"""Standard error of a replicate, over that of the data, below which it can't be studentized by."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class MeanIntervals:
    """Means with their intervals, [C] each; `low`, `high` and `se` are NaN where there is none.

    Attributes:
        n: Number of values, of `units` independent units.
        df: Degrees of freedom of each standard error.
    """

    estimate: Floats
    low: Floats
    high: Floats
    se: Floats
    df: Floats
    n: int
    units: int


@checked
def mean_intervals(
    values: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    method: Method = "studentized",
    confidence: Share = 0.95,
    replicates: Count = 5000,
    seed: Seed = 0,
) -> MeanIntervals:
    """What :func:`bootstrap_interval` gives for the mean of each column, with the same resamples for all of them.

    Args:
        values: One value per unit and quantity [n, C].
        cluster: Label of the independent unit of each row [n]; None if every row is one.
        strata: Label of each row's stratum [n], e.g. its template where templates are fixed; not with `cluster`.
        method: `percentile`, `bca` or `studentized`.
        confidence: Of the two-sided intervals.
        replicates: Number of bootstrap replicates.
        seed: Seed of the draws.

    Raises:
        ValueError: if there are no values, they are not finite, or an argument is not known.
    """
    array = as_floats(values, "values", dimensions=2)
    enough_replicates(replicates, confidence)
    units = len(array) if cluster is None else codes(cluster, "cluster", length=len(array))[1]
    if strata is not None and cluster is not None:
        raise ValueError("expected strata or clusters, got both")
    within = several(strata, len(array))
    if within is not None:
        drawn = resampling_weights(len(array), replicates, seed=seed) if method == "percentile" else None
        found = stratified(array, within, confidence, drawn)
        flat = np.isnan(found[3])
        if flat.any():
            found[:4, flat] = _one_by_one(array[:, flat], method, confidence, replicates, seed)
            found[4, flat] = units - 1
        return _intervals(found, len(array), units)
    if cluster is not None or method != "studentized" or len(array) < MINIMUM_CLUSTERS:
        return _intervals(_one_by_one(array, method, confidence, replicates, seed, cluster), len(array), units)
    weights = resampling_weights(len(array), replicates, seed=seed).astype(np.float64)
    step = max(1, BLOCK_NUMBERS // replicates)
    blocks = [array[:, start : start + step] for start in range(0, array.shape[1], step)]
    rows = [_studentized(block, weights, confidence, seed) for block in blocks]
    return _intervals(np.concatenate(rows, axis=1), len(array), units)


def _intervals(rows: Floats, n: int, units: int) -> MeanIntervals:
    df = rows[4] if len(rows) > 4 else np.full(rows.shape[1], units - 1.0)
    return MeanIntervals(estimate=rows[0], low=rows[1], high=rows[2], se=rows[3], df=df, n=n, units=units)


def _one_by_one(
    values: Floats,
    method: Method,
    confidence: float,
    replicates: int,
    seed: int,
    cluster: ArrayLike | None = None,
) -> Floats:
    """Estimate, low, high and standard error of every column, [4, C]."""
    rows = np.full((4, values.shape[1]), np.nan)
    for at, column in enumerate(values.T):
        one = bootstrap_interval(
            column, cluster=cluster, method=method, confidence=confidence, replicates=replicates, seed=seed
        )
        rows[:, at] = [np.nan if x is None else x for x in (one.estimate, one.low, one.high, one.se)]
    return rows


def _studentized(values: Floats, weights: Floats, confidence: float, seed: int) -> Floats:
    """Estimate, low, high and standard error of a block of columns, [4, C]."""
    n = len(values)
    shifted = values - values[0]
    offset = shifted.mean(axis=0)
    residuals = shifted - offset
    mean = values[0] + offset
    rounding = np.maximum(1e-12 * np.abs(shifted).sum(axis=0), SAME * np.abs(values).max(axis=0))
    constant = np.abs(residuals).max(axis=0) <= rounding
    se = np.where(constant, 0.0, np.sqrt(n / (n - 1) * (residuals**2).sum(axis=0)) / n)
    shift = weights @ residuals / n
    squares = np.maximum(weights @ residuals**2 - n * shift**2, 0)
    spreads = np.sqrt(n / (n - 1) * squares) / n
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    unusable = spreads <= SMALLEST_SPREAD * se
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.quantile(shift / spreads, tails, axis=0)
    found = np.stack([mean, mean - high * se, mean - low * se, se])
    found[1:3, constant] = np.nan
    for column in np.flatnonzero(unusable.any(axis=0) & ~constant):  # some replicates have no spread
        found[:, [column]] = _one_by_one(values[:, [column]], "studentized", confidence, len(weights), seed)
    return found
