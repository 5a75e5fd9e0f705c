"""The sum of the smaller of two magnitudes, edge by edge, that is expected when edges are permuted within strata.

Any edge of a stratum is then as likely beside any other, so that of a stratum of m edges it is the sum over all pairs
of min(a_i, b_j), over m. Within m numbers z the sum of the smaller of every pair is

    L(z) = sum_k (m - k) z_(k),   k = 1..m ascending.

The pairs of a with b are what those of both pooled have beyond those of each by itself: L(pooled) - L(a) - L(b). Each
is sorted once, and the pooled ones are merged.

The chance level of the weighted Jaccard that is made of it is a first-order approximation, expected minimum over
expected maximum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stats.checks import Floats, Integers

Pair = tuple[Floats, Floats]


def expected_smaller(pairs: Sequence[Pair], sizes: Integers) -> Floats:
    """Expected sum of the smaller magnitudes of each pair of scores, [pairs, rows].

    Args:
        pairs: Scores [rows, E] of both sides, the edges of a stratum adjacent.
        sizes: Number of edges of each stratum, in their order.
    """
    found = np.zeros((len(pairs), len(pairs[0][0])))
    start = 0
    for size in sizes.tolist():
        part = slice(start, start + size)
        falling = np.arange(2 * size - 1, -1, -1, dtype=np.float64)
        for place, pair in enumerate(pairs):
            ordered = [np.abs(side[:, part]) for side in pair]
            for side in ordered:
                side.sort(axis=1)
            both = np.concatenate(ordered, axis=1)
            # Two runs that ascend: numpy's stable sort of floating-point numbers merges them.
            both.sort(axis=1, kind="stable")
            alone = sum(side @ falling[size:] for side in ordered)
            found[place] += (both @ falling - alone) / size
        start += size
    return found
