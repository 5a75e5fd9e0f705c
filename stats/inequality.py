"""Indices of how unequally non-negative values are spread over components: all are higher where fewer hold more.

Each index is a function of the total T = sum_i x_i and of one moment m of the same values, so that cross-fitting can
take what decides (rank, place or weight of a component) from one half of the examples and the values from the other;
the index of values as they are is the case in which both halves are the same. Noise alone is not evenly spread: of
|N(0, 1)| values the Gini index is .41, the participation ratio over C .64.

References: Hurley & Rickard (2009), Comparing measures of sparsity, IEEE Trans. Information Theory 55; Hoyer (2004),
Non-negative matrix factorization with sparseness constraints, JMLR 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, as_floats
from stats.options import checked

IndexName: TypeAlias = Literal["gini", "participation_ratio", "hoyer", "entropy", "largest_share"]
INDEX_NAMES: tuple[IndexName, ...] = get_args(IndexName)


@dataclass(frozen=True, slots=True)
class Inequality:
    """An index as a function of the total and one moment.

    Attributes:
        moment: (magnitudes, values) [rows, C] -> m [rows]; for values as they are both are the same.
        value: (T, m, C) -> the index; T > 0, and m > 0 where `divides`.
        divides: Whether the index divides by m.
    """

    moment: Callable[[Floats, Floats], Floats]
    value: Callable[[Floats, Floats, int], Floats]
    divides: bool = False


def gini(x: ArrayLike) -> float:
    """Gini index of non-negative values [C] with the small-sample factor C / (C - 1): 0 equal, 1 all in one.

    With x sorted ascending and ranks i = 1..C, G = sum_i (2 i - C - 1) x_i / ((C - 1) sum_i x_i).

    Raises:
        ValueError: if a value is negative or not finite, all are zero, or there are fewer than two.
    """
    return inequality_index(x, "gini")


def participation_ratio(x: ArrayLike) -> float:
    """Participation ratio (sum_i x_i)^2 / sum_i x_i^2 of non-negative values [C]: 1 all in one, C equal.

    How many components share the effect. Higher is less specialised; as an index of specialization it is turned
    around, see :func:`inequality_index`. About .64 C for |N(0, 1)| values.

    Raises:
        ValueError: as for :func:`gini`.
    """
    array = _checked(as_floats(x, "x", dimensions=1)[None])[0]
    return float(array.sum() ** 2 / (array @ array))


def hoyer(x: ArrayLike) -> float:
    """Hoyer's sparseness of non-negative values [C]: 0 equal, 1 all in one.

    (sqrt(C) - sum_i x_i / sqrt(sum_i x_i^2)) / (sqrt(C) - 1), a function of the participation ratio (Hoyer 2004).
    About .2 for many |N(0, 1)| values.

    Raises:
        ValueError: as for :func:`gini`.
    """
    return inequality_index(x, "hoyer")


def normalized_entropy(x: ArrayLike) -> float:
    """Entropy of the shares of non-negative values [C] over ln C: 0 all in one, 1 equal.

    Higher is less specialised; as an index of specialization it is turned around, see :func:`inequality_index`.

    Raises:
        ValueError: as for :func:`gini`.
    """
    return 1 - inequality_index(x, "entropy")


def largest_share(x: ArrayLike) -> float:
    """Share of the largest of non-negative values [C] in their sum: 1 / C equal, 1 all in one.

    Of noise alone it falls as C grows, so only sets of the same size can be compared.

    Raises:
        ValueError: as for :func:`gini`.
    """
    return inequality_index(x, "largest_share")


@checked
def inequality_index(x: ArrayLike, index: IndexName) -> float:
    """An index of non-negative values [C], higher where fewer components hold more of the sum.

    All are 1 where one component holds everything, and 0 where all are equal (`largest_share`: 1 / C):

    - `gini`: :func:`gini`
    - `participation_ratio`: (C - PR) / (C - 1) with PR of :func:`participation_ratio`
    - `hoyer`: :func:`hoyer`
    - `entropy`: 1 - :func:`normalized_entropy`
    - `largest_share`: :func:`largest_share`

    Raises:
        ValueError: if a value is negative or not finite, all are zero, there are fewer than two, or the index is not
            known.
    """
    return float(inequality_rows(as_floats(x, "x", dimensions=1)[None], index)[0])


@checked
def inequality_rows(x: ArrayLike, index: IndexName) -> Floats:
    """:func:`inequality_index` of every row of [rows, C]."""
    array = _checked(as_floats(x, "x", dimensions=2))
    chosen = INEQUALITIES[index]
    found = chosen.value(array.sum(axis=1), chosen.moment(array, array), array.shape[1])
    # Rounding puts equal values beside the end of the range: all indices lie within it.
    return np.clip(found, 0.0, 1.0)


def _checked(array: Floats) -> Floats:
    """Rows over their largest value."""
    if array.shape[1] < 2:
        raise ValueError("x: expected at least 2 values for an index of inequality, got 1")
    if array.min() < 0:
        raise ValueError(f"x: expected values >= 0, got {array.min()}")
    largest = array.max(axis=1, keepdims=True)
    if largest.min() == 0:
        raise ValueError("x: expected a value other than zero, got only zeros")
    return np.asarray(array / largest)


def _by_rank(magnitudes: Floats, values: Floats) -> Floats:
    count = values.shape[1]
    ordered = np.take_along_axis(values, np.argsort(magnitudes, axis=1, kind="stable"), axis=1)
    return np.asarray(ordered @ (2.0 * np.arange(1, count + 1) - count - 1))


def _squares(magnitudes: Floats, values: Floats) -> Floats:
    return np.asarray(np.einsum("rc,rc->r", magnitudes, values))


def _logarithms(magnitudes: Floats, values: Floats) -> Floats:
    logs = np.log(magnitudes, out=np.zeros_like(magnitudes), where=magnitudes > 0)
    return np.asarray(np.einsum("rc,rc->r", logs, values))


def _at_largest(magnitudes: Floats, values: Floats) -> Floats:
    return np.take_along_axis(values, np.argmax(magnitudes, axis=1)[:, None], axis=1)[:, 0]


INEQUALITIES: Mapping[IndexName, Inequality] = {
    "gini": Inequality(_by_rank, lambda total, moment, count: moment / ((count - 1) * total)),
    "participation_ratio": Inequality(
        _squares, lambda total, moment, count: (count - total**2 / moment) / (count - 1), divides=True
    ),
    "hoyer": Inequality(
        _squares,
        lambda total, moment, count: (np.sqrt(count) - total / np.sqrt(moment)) / (np.sqrt(count) - 1),
        divides=True,
    ),
    "entropy": Inequality(
        _logarithms, lambda total, moment, count: 1 - (np.log(total) - moment / total) / np.log(count)
    ),
    "largest_share": Inequality(_at_largest, lambda total, moment, count: moment / total),
}
"""Name of an index -> how it is computed."""
