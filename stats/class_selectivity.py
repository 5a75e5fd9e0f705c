"""Selectivity: how specific a component is to one condition (a task, a class of inputs).

The index (m_max - m_rest) / (m_max + m_rest), with m_max the mean in the condition where a component is most active and
m_rest the mean of its means in the others, is the class selectivity of Morcos et al. (2018, On the importance of single
directions for generalization, ICLR), from the direction selectivity of single neurons (De Valois et al. 1982). The
largest of several noisy means is too large, so that noise alone is selective; here the condition is chosen on one half
of the examples and the means are taken from the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, Integers, as_floats, codes
from stats.minimums import enough_permutations
from stats.options import Count, Seed, checked
from stats.seeding import generator


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Selectivity:
    """Selectivity of every component, all arrays [C].

    Attributes:
        value: Cross-fitted index in -1..1: 0 not selective (or never active), 1 active in one condition only; noise is
            negative about as often as positive.
        observed: The index with the condition chosen on all examples, in 0..1, which noise moves upwards.
        preferred: Condition with the largest mean over all examples, as a place in `conditions`.
        null: Mean of `value` with the conditions permuted over the examples, with `null_low` and `null_high` its 2.5 %
            and 97.5 % quantiles.
        p: One-sided permutation p-value of each component, not corrected.
        conditions: Labels of the conditions, sorted.
        n: Number of examples.
    """

    value: Floats
    observed: Floats
    preferred: Integers
    null: Floats
    null_low: Floats
    null_high: Floats
    p: Floats
    conditions: tuple[str, ...]
    n: int


@checked
def selectivity(
    activity: ArrayLike, conditions: ArrayLike, *, splits: Count = 10, permutations: Count = 200, seed: Seed = 0
) -> Selectivity:
    """Selectivity of components for conditions, cross-fitted and beside a permutation null.

    Numerator and denominator are averaged over random splits within the conditions and over both directions before they
    are divided. The null repeats all of it with permuted conditions, so that it has the same bias.

    Args:
        activity: What each component does on each example, >= 0 [n, C]; in the same unit in every condition.
        conditions: Condition of each example [n]; at least two, each of at least two examples.
        splits: Random splits.
        permutations: Permutations of the conditions.
        seed: Seed of the analysis.

    Raises:
        ValueError: if lengths do not match, a value is negative or not finite, there is one condition only, or one of
            them has a single example.
    """
    array = as_floats(activity, "activity", dimensions=2)
    if array.min() < 0:
        raise ValueError(f"activity: expected values >= 0, got {array.min()}")
    code, count = codes(conditions, "conditions", length=len(array))
    sizes = np.bincount(code)
    if count < 2 or sizes.min() < 2:
        raise ValueError(f"conditions: expected at least 2, each of at least 2 examples, got {sizes.tolist()}")
    enough_permutations(permutations)
    value = _crossfitted(array, code, splits, generator(seed, "selectivity"))
    rng = generator(seed, "selectivity under permutation")
    null = np.stack([_crossfitted(array, rng.permutation(code), splits, rng) for _ in range(permutations)])
    low, high = np.quantile(null, [0.025, 0.975], axis=0)
    means = _means(array, code, np.ones(len(array)))
    preferred = np.argmax(means, axis=0)
    return Selectivity(
        value=value,
        observed=_ratio(*_contrast(preferred, means)),
        preferred=preferred.astype(np.int64),
        null=null.mean(axis=0),
        null_low=low,
        null_high=high,
        p=(1 + np.count_nonzero(null >= value - 1e-12, axis=0)) / (1 + permutations),
        conditions=tuple(map(str, np.unique(np.asarray(conditions)))),
        n=len(array),
    )


def _crossfitted(array: Floats, code: Integers, splits: int, rng: np.random.Generator) -> Floats:
    above, total = np.zeros(array.shape[1]), np.zeros(array.shape[1])
    for _ in range(splits):
        first = _half(code, rng)
        one, two = _means(array, code, first), _means(array, code, 1 - first)
        for train, test in ((one, two), (two, one)):
            difference, both = _contrast(np.argmax(train, axis=0), test)
            above += difference
            total += both
    return _ratio(above, total)


def _half(code: Integers, rng: np.random.Generator) -> Floats:
    """A random half of each condition's examples, as 0 and 1."""
    order = np.lexsort((rng.random(len(code)), code))
    sizes = np.bincount(code)
    place = np.arange(len(code)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    half = np.zeros(len(code))
    half[order] = place < np.repeat(sizes // 2, sizes)
    return half


def _means(array: Floats, code: Integers, weights: Floats) -> Floats:
    """Mean of each component in each condition, [conditions, C]."""
    member = np.eye(int(code.max()) + 1)[code] * weights[:, None]
    return np.asarray(member.T @ array / member.sum(axis=0)[:, None])


def _contrast(chosen: Integers, means: Floats) -> tuple[Floats, Floats]:
    """Mean in the chosen condition minus, and plus, the mean over the others [C]."""
    most = np.take_along_axis(means, chosen[None], axis=0)[0]
    rest = (means.sum(axis=0) - most) / (len(means) - 1)
    return most - rest, most + rest


def _ratio(above: Floats, total: Floats) -> Floats:
    return np.clip(np.divide(above, total, out=np.zeros_like(above), where=total > 0), -1.0, 1.0)
