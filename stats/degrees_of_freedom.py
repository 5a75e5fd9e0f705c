"""Satterthwaite's degrees of freedom of a sum of variances, whole where they are whole but for rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stats.checks import ROUNDING


def satterthwaite(variance: float, parts: Sequence[tuple[float, float]]) -> float:
    """variance^2 / sum_i (v_i^2 / df_i) (Satterthwaite 1946, Biometrics Bulletin 2:110).

    Where a single part varies, these are its own degrees of freedom, e.g. the prompts less one, for which the quotient
    gives 22.999... on one processor and 23 on another: a whole number within rounding is that number.

    Args:
        variance: Variance of the sum, > 0.
        parts: Variance and degrees of freedom (maybe infinite) of each part, not all zero.

    Returns:
        The degrees of freedom; infinite where all that vary have infinitely many.
    """
    below = sum(part**2 / df for part, df in parts)
    if below == 0:
        return math.inf
    found = float(variance**2 / below)
    whole = round(found)
    return float(whole) if abs(found - whole) <= ROUNDING * found else found
