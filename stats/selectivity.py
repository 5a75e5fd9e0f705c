"""Selectivity: how much more active something is under one condition than under all others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stats.checks import Floats, as_floats, block_sizes, codes, positive
from stats.seeding import generator


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Selectivity:
    """Selectivity of many quantities.

    Attributes:
        value: (mu_max - mu_rest) / (mu_max + mu_rest), [C]: the condition of the maximum is chosen on one half of the
            units and the means are taken on the other, mean over both directions and all splits; 0 where both means
            are. Where conditions do not matter it is close to 0, and a little below with few units (of order 1 / units
            in a condition, since the ratio is concave in the noisier mean).
        preferred: Number of the condition that was chosen most often, in sorted order of the labels, [C].
        p: (1 + shuffles of the labels with at least this value) / (1 + shuffles), [C]; not corrected.
    """

    value: Floats
    preferred: NDArray[np.int64]
    p: Floats


def selectivity(
    activity: ArrayLike, condition: ArrayLike, *, splits: int = 10, shuffles: int = 200, seed: int = 0
) -> Selectivity:
    """How selective each quantity is for one of the conditions, without the bias of a maximum over noise.

    Args:
        activity: Non-negative activity per unit and quantity, magnitudes for example [n, C].
        condition: Condition of each unit [n]; at least two, each four times or more.
        splits: Random halves, balanced over conditions.
        shuffles: Permutations of the conditions over the units, behind `p`.
        seed: Seed of the draws.

    Raises:
        ValueError: if activity is negative or not finite, lengths do not match, or conditions are too few.
    """
    x = as_floats(activity, "activity", dimensions=2)
    if x.min() < 0:
        raise ValueError(f"activity: expected values >= 0, got {x.min()}")
    code, conditions = codes(condition, "condition", length=len(x))
    counts = np.bincount(code)
    if conditions < 2 or counts.min() < 4:
        raise ValueError(f"condition: expected at least 2, each 4 times or more, got counts {counts.tolist()}")
    rng = generator(seed, "selectivity")
    value, chosen = _held_out(x, code, conditions, positive(splits, "splits"), rng)
    above = np.zeros(x.shape[1])
    for size in block_sizes(positive(shuffles, "shuffles"), 1):
        for _ in range(size):
            above += _held_out(x, rng.permutation(code), conditions, splits, rng)[0] >= value
    return Selectivity(value=value, preferred=chosen.argmax(axis=0), p=(1 + above) / (1 + shuffles))


def _held_out(
    x: Floats, code: NDArray[np.int64], conditions: int, splits: int, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64]]:
    """Selectivity [C], and how often each condition was chosen [conditions, C]."""
    total = np.zeros(x.shape[1])
    chosen = np.zeros((conditions, x.shape[1]), dtype=np.int64)
    columns = np.arange(x.shape[1])
    for _ in range(splits):
        first = np.zeros(len(x), dtype=bool)
        for label in range(conditions):
            members = rng.permutation(np.flatnonzero(code == label))
            first[members[: len(members) // 2]] = True
        for choosing in (first, ~first):
            best = _means(x[choosing], code[choosing], conditions).argmax(axis=0)
            means = _means(x[~choosing], code[~choosing], conditions)
            most = means[best, columns]
            rest = (means.sum(axis=0) - most) / (conditions - 1)
            both = most + rest
            total += np.divide(most - rest, both, out=np.zeros_like(both), where=both > 0)
            chosen[best, columns] += 1
    return total / (2 * splits), chosen


def _means(x: Floats, code: NDArray[np.int64], conditions: int) -> Floats:
    """Mean of each condition, [conditions, C]."""
    member = (code == np.arange(conditions)[:, None]).astype(np.float64)
    return np.asarray(member @ x / member.sum(axis=1, keepdims=True))
