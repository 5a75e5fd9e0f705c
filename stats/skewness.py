"""A t statistic corrected for the skewness of the estimate, so that skewed data hold their level with few units.

With skewed data the mean and its standard error are correlated: t of 12 exponential values exceeds the upper 5 % point
of its distribution in 1.5 % and falls below the lower one in 12.8 % of all data sets. Hall's transformation

    T(t) = t + g t^2 / 3 + g^2 t^3 / 27 + g / 6,    g the skewness of the estimate (of the data, over sqrt(n))

takes that away to first order. It never falls and has an inverse, so an interval follows from it; without skewness T = t.

Rejections of a true null hypothesis at the level .05, in 40,000 data sets of n values (two-sided, and the worse side):

    n    statistic    normal       gamma, skewness 1.4    exponential, 2    Laplace, symmetric
    12   t            .049 .050    .074 .100              .095 .128         .040 .047
    12   T            .050 .050    .057 .071              .060 .082         .069 .064
    40   t            .051 .051    .060 .077              .068 .090         .047 .049
    40   T            .051 .051    .052 .055              .052 .059         .062 .060

The correction costs nothing with normal data and something with heavy tails, where the skewness of a sample says little.

Reference: Hall (1992), On the removal of skewness by transformation, J. R. Statist. Soc. B 54, 221-228.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, as_floats

NEGLIGIBLE = 1e-7


def skewness_of_estimate(influence: ArrayLike) -> float:
    """Skewness of an estimate from each unit's contribution to its error [n], whose sum of squares is se^2.

    For a mean of n values their moment skewness m_3 / m_2^1.5, over sqrt(n). 0 for an estimate without error.
    """
    e = as_floats(influence, "influence", dimensions=1)
    se = float(np.linalg.norm(e))
    return float(((e / se) ** 3).sum()) if se > 0 else 0.0


def corrected(t: float, skewness: float) -> float:
    """T(t) of the module for an estimate of this skewness."""
    return t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6


def uncorrected(corrected_t: ArrayLike, skewness: float) -> Floats:
    """The t whose :func:`corrected` value is this."""
    values = np.asarray(corrected_t, dtype=np.float64)
    if abs(skewness) < NEGLIGIBLE:
        return values - skewness / 6
    return np.asarray(3 / skewness * (np.cbrt(1 + skewness * (values - skewness / 6)) - 1))
