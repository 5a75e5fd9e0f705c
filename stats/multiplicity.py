"""Corrections of p-values within a family of hypotheses.

None stands for a hypothesis that could not be tested; it stays None and does not count in the family, since it can
neither be supported nor take the place of one that could.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stats.checks import Floats, Integers
from stats.options import Probability, checked


@checked
def holm(p: Sequence[Probability | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values, which control the family-wise error rate under any dependence.

    The i-th smallest of m is multiplied by m - i + 1; adjusted values never decrease along the order (Holm 1979).

    Raises:
        ValueError: if a p-value is not between 0 and 1.
    """
    values, tested = _tested(p)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    return _restore(np.minimum(np.maximum.accumulate(scaled), 1.0), order, tested, len(p))


@checked
def benjamini_hochberg(p: Sequence[Probability | None]) -> list[float | None]:
    """Benjamini and Hochberg's (1995) adjusted p-values, which control the false discovery rate.

    The i-th smallest of m is multiplied by m / i; adjusted values never decrease along the order.

    Raises:
        ValueError: if a p-value is not between 0 and 1.
    """
    values, tested = _tested(p)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1]
    return _restore(np.minimum(adjusted, 1.0), order, tested, len(p))


def _tested(p: Sequence[float | None]) -> tuple[Floats, list[int]]:
    tested = [i for i, value in enumerate(p) if value is not None]
    values = np.array([p[i] for i in tested], dtype=np.float64)
    return values, tested


def _restore(adjusted: Floats, order: Integers, tested: list[int], length: int) -> list[float | None]:
    result: list[float | None] = [None] * length
    for value, place in zip(adjusted, order, strict=True):
        result[tested[place]] = float(value)
    return result
