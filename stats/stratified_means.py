"""Intervals of means of which fixed templates are strata: the spread within them, of many columns at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from stats.checks import ROUNDING, Floats, Integers, codes
from stats.minimums import MINIMUM_CLUSTERS
from stats.skewness import uncorrected
from stats.strata import Strata

T_METHOD = "t, corrected for skewness, spread within strata"
PERCENTILE_METHOD = "percentile, spread within strata"


def several(labels: ArrayLike | None, n: int) -> Strata | None:
    """The strata of these labels [n]; None without labels, where all is one stratum, or of too few for an interval.

    Raises:
        ValueError: if a label is missing, or their number is another.
    """
    if labels is None:
        return None
    made = Strata.made(codes(labels, "strata", length=n)[0])
    return made if made.count > 1 and n >= MINIMUM_CLUSTERS else None


def stratified(values: Floats, strata: Strata, confidence: float, weights: Integers | None = None) -> Floats:
    """Estimate, low, high, standard error and degrees of freedom of the mean of every column, [5, C].

    A t interval with the degrees of freedom of the strata, corrected for skewness (`stats.skewness`); the same that
    `stats.difference_test` gives of `stats.mean_replicates`. All but the estimate and the degrees are NaN
    where nothing varies within any stratum: that means of strata differ is no evidence of no error.

    Args:
        values: [n, C].
        strata: Of the rows.
        confidence: Of the two-sided intervals.
        weights: How often each row is drawn in each replicate [R, n]: the interval is then of the quantiles of
            replicates, each of which keeps the mean of every stratum.
    """
    n = len(values)
    shifted = values - values[0]
    deviations = strata.centred(values)
    mean = values[0] + shifted.mean(axis=0)
    influence = deviations * strata.scale[:, None] / n
    constant = np.abs(deviations).max(axis=0) <= ROUNDING * np.abs(shifted).max(axis=0)
    se = np.where(constant, np.nan, np.linalg.norm(influence, axis=0))
    df = strata.df_of(influence)
    if weights is not None:
        drawn = weights @ influence * np.sqrt((n - 1) / n) * n / weights.sum(axis=1)[:, None]
        low, high = mean + np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    else:
        quantiles = special.stdtrit(df, (1 + confidence) / 2)
        with np.errstate(invalid="ignore"):
            skewness = strata.cubes @ (influence / se) ** 3
        lower, upper = (
            np.array([float(uncorrected(q, g)) for q, g in zip(sign * quantiles, skewness, strict=True)])
            for sign in (-1, 1)
        )
        low, high = mean - upper * se, mean - lower * se
    return np.stack([mean, np.where(constant, np.nan, low), np.where(constant, np.nan, high), se, df])
