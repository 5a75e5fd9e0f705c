"""The variance of an estimate over two kinds of random units that are crossed: prompts and training seeds.

With A the variance of the estimate that resampling the first kind alone shows, B that of the second alone and E that of
what is particular to a combination of both, which A and B each contain once,

    Var = A + B - E,

for the mean of a complete table the method of analysis of variance: A = MS_A / N, B = MS_B / N, E = MS_E / N. Degrees
of freedom are Satterthwaite's (1946), Var^2 / (A^2 / df_A + B^2 / df_B + E^2 / (df_A df_B)). The variance is never let
below A or B: a component that comes out negative is zero. Where nothing varies, the degrees of freedom are those of the
kind that has fewer units: that all agree is no more evidence than that.
"""

from __future__ import annotations

import numpy as np

from stats.checks import ROUNDING, Floats, Integers
from stats.degrees_of_freedom import satterthwaite


def two_way_variance(
    first: float, second: float, both: float, *, df_first: float, df_second: float
) -> tuple[float, float]:
    """Variance over both kinds of units, and its degrees of freedom.

    Args:
        first: Variance over the first kind of units, with `df_first` degrees of freedom.
        second: Variance over the second kind, with `df_second`.
        both: What is particular to the combinations, contained in either.
    """
    if first == second == 0:
        return 0.0, min(df_first, df_second)
    larger, df = max((first, df_first), (second, df_second))
    total = first + second - both
    if total <= larger * (1 + ROUNDING):
        return larger, df
    parts = ((first, df_first), (second, df_second), (both, df_first * df_second))
    return total, satterthwaite(total, parts)


def two_way_variance_of_mean(
    values: Floats, first: Integers, second: Integers, firsts: int, seconds: int
) -> tuple[float, float]:
    """Variance of the mean of values over both kinds of their units, and its degrees of freedom.

    Exact for complete tables; where combinations are missing, what is particular to one is what deviates from the means
    of its two units.

    Args:
        values: [n], not all equal.
        first: Unit of the first kind of each value [n], as 0..firsts-1.
        second: Unit of the second kind of each value [n], as 0..seconds-1.
        firsts: Number of units of the first kind, at least 2.
        seconds: Number of units of the second kind, at least 2.
    """
    residuals = (values - values.mean()) / len(values)
    of_first, of_second = _summed(residuals, first, firsts), _summed(residuals, second, seconds)
    means = of_first / np.bincount(first, minlength=firsts), of_second / np.bincount(second, minlength=seconds)
    _, cell = np.unique(first * seconds + second, return_inverse=True)
    left = _summed(residuals - means[0][first] - means[1][second], cell, int(cell.max()) + 1)
    a, b = firsts / (firsts - 1), seconds / (seconds - 1)
    return two_way_variance(
        a * float(of_first @ of_first),
        b * float(of_second @ of_second),
        a * b * float(left @ left),
        df_first=firsts - 1,
        df_second=seconds - 1,
    )


def _summed(values: Floats, unit: Integers, units: int) -> Floats:
    return np.bincount(unit, weights=values, minlength=units).astype(np.float64)
