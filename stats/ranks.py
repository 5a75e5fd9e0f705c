"""Ranks of many vectors of the same length, tied values sharing their mean rank.

Comparisons decide what sorting costs, and of 10^5 values there are 17 for each. Digits need none: values are put in
order by two digits of 16 bits of what they are as float32, the lower one first (a radix sort: Knuth 1998, The art of
computer programming 3, section 5.2.5). Rounding keeps the order, so that only values that float32 can't tell apart may
come out wrong. These are found, as the values themselves must ascend, and are sorted by comparison. The ranks are
those of `scipy.stats.rankdata` in every case.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from stats.checks import Floats, Integers

FEW = 2000
"""Values up to which a comparison sort is as fast."""
PART = 65_536
"""Values that are put in order at once: what a processor reads in any order without waiting."""
SMALL, LARGE = 2.0**-60, 2.0**100
"""Between these, float32 holds the largest value and those of which it is not very many times."""
MOST_GROUPS = 500
"""Groups of values that float32 can't tell apart, from which on all are sorted by comparison."""


def average_ranks(values: Floats) -> Floats:
    """Rank of each value within its row, 1 for the smallest: [rows, E] to [rows, E].

    Values that are the same share the mean of their ranks; -0 and 0 are the same. All ranks of a row with a NaN are
    NaN.
    """
    rows, number = values.shape
    if number <= FEW:
        return np.asarray(scipy_stats.rankdata(values, axis=1), dtype=np.float64)
    found = np.empty((rows, number))
    for row, own in zip(found, np.ascontiguousarray(values, dtype=np.float64), strict=True):
        if np.isnan(own.max()):
            row.fill(np.nan)
        elif number <= 2 * PART:
            _rank(own, row)
        else:
            _rank_in_parts(own, row)
    return found


def _rank_in_parts(values: Floats, found: Floats) -> None:
    """The ranks of a vector [E] that is long: those of about the same size first go together, and are ranked alone."""
    size = (_codes(values) >> 16).astype(np.uint16)
    before = np.cumsum(np.bincount(size, minlength=2**16)) - 1
    part = (before // PART).astype(np.uint16).take(size)
    places = np.argsort(part, kind="stable")
    counts = np.bincount(part)
    start = 0
    for stop in np.cumsum(counts)[counts > 0].tolist():
        place = places[start:stop]
        own = np.empty(len(place))
        _rank(values.take(place), own)
        found[place] = own + start
        start = stop


def _rank(values: Floats, found: Floats) -> None:
    """The ranks of one vector [E] without a NaN, into `found`."""
    order = ascending(values)
    ordered = values.take(order)
    apart = ordered[1:] != ordered[:-1]
    if apart.all():
        found[order] = np.arange(1.0, len(values) + 1)
        return
    starts = np.concatenate([[0], np.flatnonzero(apart) + 1])
    sizes = np.diff(starts, append=len(values))
    found[order] = np.repeat(starts + (sizes + 1) / 2, sizes)


def ascending(values: Floats) -> Integers:
    """Places of the values [E], no NaN, in ascending order; of those that are the same in any."""
    code = _codes(values)
    low, high = code.astype(np.uint16), (code >> 16).astype(np.uint16)
    # Of numbers of 16 bits numpy's stable sort is a radix sort.
    first = np.argsort(low, kind="stable")
    order = first.take(np.argsort(high.take(first), kind="stable"))
    ordered = values.take(order)
    wrong = np.flatnonzero(ordered[1:] < ordered[:-1])
    return _repaired(order, values, code, wrong) if len(wrong) else order


def _codes(values: Floats) -> NDArray[np.uint32]:
    """Whole numbers that ascend with the values, [E]: the bits of float32, turned round for those below zero."""
    largest = float(max(values.max(), -values.min()))
    small = values
    if not SMALL < largest < LARGE and 0 < largest < np.inf:
        # Over a power of 2 near the largest, so that float32 can hold it.
        small = values * np.ldexp(1.0, int(np.clip(-np.frexp(largest)[1], -1000, 1000)))
    with np.errstate(over="ignore", under="ignore"):
        # By adding zero, -0 becomes 0.
        bits = (small.astype(np.float32) + np.float32(0)).view(np.int32)
    return (bits ^ ((bits >> 31) | np.int32(-(2**31)))).view(np.uint32)


def _repaired(order: Integers, values: Floats, code: NDArray[np.uint32], wrong: Integers) -> Integers:
    """The order, with the values around some places sorted by comparison among those of the same code."""
    ordered = code.take(order)
    starts = np.unique(np.searchsorted(ordered, ordered[wrong], side="left"))
    if len(starts) > MOST_GROUPS:
        return np.argsort(values, kind="stable")
    stops = np.searchsorted(ordered, ordered[starts], side="right")
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        group = order[start:stop]
        order[start:stop] = group[np.argsort(values[group], kind="stable")]
    return order
