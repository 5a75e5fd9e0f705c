"""A t statistic corrected for the skewness of the estimate, so that skewed data hold their level with few units.

With skewed data the mean and its standard error are correlated: t of 12 exponential values exceeds the upper 5 % point
of its distribution in 1.5 % and falls below the lower one in 12.5 % of all data sets. Hall's transformation

    T(t) = t + g t^2 / 3 + g^2 t^3 / 27 + g / 6,    g = .75 x skewness of the estimate (that of the data, over sqrt(n))

takes most of that away. It never falls and has an inverse, so an interval follows from it; without skewness T = t. The
factor is a compromise: the skewness of a sample with heavy tails says little, and with all of it symmetric Laplace data
are rejected too often.

Rejections of a true null hypothesis at the level .05, in 100,000 data sets of n values: two-sided, and of the one-sided
tests the one that is further off. Skewness is 1 of gamma, 2 of exponential and 6.2 of log-normal (sigma 1) values.

    n    statistic    normal       gamma        exponential    log-normal    Laplace
    12   t            .051 .051    .061 .083    .093 .124      .152 .195     .043 .047
    12   T            .051 .050    .054 .069    .067 .092      .105 .147     .063 .061
    40   t            .049 .049    .055 .068    .068 .091      .109 .143     .048 .049
    40   T            .049 .049    .052 .057    .055 .067      .079 .105     .060 .057

So T holds .03 to .07 two-sided up to skewness 2 from 12 values on, one-sided up to skewness 1 (2 from 40 values on).

Reference: Hall (1992), On the removal of skewness by transformation, J. R. Statist. Soc. B 54, 221-228.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, as_floats

SHARE = 0.75
"""Share of the observed skewness that is corrected for."""
NEGLIGIBLE = 1e-7
_LARGEST = 1e100
"""Magnitude of t beyond which its third power could overflow; p is 0 or 1 long before."""


def skewness_of_estimate(influence: ArrayLike) -> float:
    """Skewness of an estimate from each unit's contribution to its error [n], whose sum of squares is se^2.

    For a mean of n values their moment skewness m_3 / m_2^1.5, over sqrt(n). 0 for an estimate without error.
    """
    e = as_floats(influence, "influence", dimensions=1)
    se = float(np.linalg.norm(e))
    return float(((e / se) ** 3).sum()) if se > 0 else 0.0


def curvature_of_correlation(value: float) -> float:
    """How fast the standard error of an estimate that behaves as a correlation shrinks towards 1, r / (1 - r^2).

    Fisher's z = arctanh(r) has nearly the same standard error everywhere, so that of r goes with 1 - r^2. 0 below 0,
    where nothing is in common, and at 1, where there is no error.
    """
    return value / (1 - value**2) if 0 < value < 1 else 0.0


def skewness_of_curved(weights: Sequence[float], curvatures: Sequence[float], shared: ArrayLike) -> float:
    """Pseudo third cumulant of a weighted sum of estimates whose standard errors depend on what they are.

    With e_i the error of estimate i and b_i its curvature, the estimate is off by e_i - b_i e_i^2 to second order, and
    its standard error changes by the factor 1 - 2 b_i e_i. So t of the sum is u + k u^2 with u nearly normal and

        k = sum_i w_i b_i c_i^2 / V^1.5,    c_i = the covariance of estimate i and the sum, V = the variance of the sum.

    T of the module takes k t^2 off where the skewness is -4 k. Of one correlation r this is Fisher's transformation to
    second order: k = r se / (1 - r^2).

    Args:
        weights: Of the estimates.
        curvatures: Of each; 0 where its standard error does not depend on it.
        shared: c_i of each.

    Returns:
        The cumulant, -4 sum_i w_i b_i c_i^2: over V^1.5 it is the skewness.
    """
    c = np.asarray(shared, dtype=np.float64)
    return float(-3 / SHARE * (np.asarray(weights) * np.asarray(curvatures) * c**2).sum())


def corrected(t: float, skewness: float) -> float:
    """T(t) of the module for an estimate of this skewness; t itself without any."""
    g = SHARE * skewness
    if np.all(g == 0):
        return t  # also an infinite one
    bounded: Any = np.clip(t, -_LARGEST, _LARGEST)
    found: float = bounded + g * bounded**2 / 3 + g**2 * bounded**3 / 27 + g / 6
    return found


def uncorrected(corrected_t: ArrayLike, skewness: float) -> Floats:
    """The t whose :func:`corrected` value is this."""
    values, g = np.asarray(corrected_t, dtype=np.float64), SHARE * skewness
    if abs(g) < NEGLIGIBLE:
        return values - g / 6
    return np.asarray(3 / g * (np.cbrt(1 + g * (values - g / 6)) - 1))
