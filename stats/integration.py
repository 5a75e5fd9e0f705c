"""Integration: how much components act together rather than alone, from knocking them out singly and in pairs.

With v(S) the metric when the components S are knocked out, the interaction of two is

    I(i, j) = v(ij) - v(i) - v(j) + v(none),

zero where their effects add up, positive where losing both costs less than the sum (both serve one end, as two links of
a chain do), negative where it costs more (one stands in for the other). It is the second difference of v at the full
model, as in the interaction indices of cooperative games (Grabisch & Roubens 1999). It is interventional and needs no
threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, as_floats, block_sizes, known_labels
from stats.options import Count, Seed, checked
from stats.seeding import generator


def interactions(none: ArrayLike, single: ArrayLike, pairs: ArrayLike, members: ArrayLike) -> Floats:
    """I(i, j) of every pair on every example.

    Args:
        none: Metric with nothing knocked out [n].
        single: Metric with each component knocked out [n, C].
        pairs: Metric with both components of each pair knocked out [n, P].
        members: The components of each pair, columns of `single` [P, 2].

    Returns:
        [n, P].

    Raises:
        ValueError: if shapes do not match, a number is not finite, or a pair is of one component with itself.
    """
    whole, alone, both = (
        as_floats(none, "none", dimensions=1),
        as_floats(single, "single", dimensions=2),
        as_floats(pairs, "pairs", dimensions=2),
    )
    which = known_labels(members, "members")
    if which.ndim != 2 or which.shape != (both.shape[1], 2) or not np.issubdtype(which.dtype, np.integer):
        raise ValueError(f"members: expected whole numbers [{both.shape[1]}, 2], got {which.dtype} {list(which.shape)}")
    if not len(whole) == len(alone) == len(both):
        raise ValueError(f"expected as many examples everywhere, got {len(whole)}, {len(alone)} and {len(both)}")
    if which.size and (which.min() < 0 or which.max() >= alone.shape[1] or (which[:, 0] == which[:, 1]).any()):
        raise ValueError(f"members: expected pairs of two of the {alone.shape[1]} components")
    return np.asarray(both - alone[:, which[:, 0]] - alone[:, which[:, 1]] + whole[:, None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """How much components interact.

    Attributes:
        value: sum over pairs of |mean I| / sum over components of |mean effect|.
        null: The same under random signs of the examples' interactions: what noise alone would give, mean over draws;
            `null_low` and `null_high` its 2.5 % and 97.5 % quantiles.
        excess: `value` minus `null`.
        n: Number of examples.
        components: Number of components, `pairs` of pairs.
    """

    value: float
    null: float
    null_low: float
    null_high: float
    excess: float
    n: int
    components: int
    pairs: int


@checked
def interaction_ratio(
    effects: ArrayLike, interaction: ArrayLike, *, draws: Count = 1000, seed: Seed = 0
) -> Integration:
    """Sum of the magnitudes of mean interactions over that of mean single effects: 0 where effects add up.

    The ratio has no unit and no upper end; it grows with the number of components, so only sets of the same size can be
    compared. The magnitude of a noisy mean is positive where the interaction is zero: the null says by how much, with
    the signs of an example's interactions flipped together, which keeps their dependence across pairs.

    Args:
        effects: v(none) - v(i) of each component per example [n, C].
        interaction: I(i, j) of each pair per example [n, P], see :func:`interactions`.
        draws: Draws of the null.
        seed: Seed of the analysis.

    Raises:
        ValueError: if shapes do not match, a number is not finite, there is no pair, or all mean effects are zero.
    """
    alone, together = _both(effects, interaction)
    total = float(np.abs(alone.mean(axis=0)).sum())
    if total == 0:
        raise ValueError("effects: expected a component whose mean effect is not zero")
    rng = generator(seed, "signs of interactions")
    found = []
    for size in block_sizes(draws, sum(together.shape)):
        signs = rng.integers(0, 2, size=(size, len(together))) * 2.0 - 1
        found.append(np.abs(signs @ together).sum(axis=1) / len(together))
    null = np.concatenate(found) / total
    low, high = np.quantile(null, [0.025, 0.975])
    value = float(np.abs(together.mean(axis=0)).sum()) / total
    return Integration(
        value=value,
        null=float(null.mean()),
        null_low=float(low),
        null_high=float(high),
        excess=value - float(null.mean()),
        n=len(alone),
        components=alone.shape[1],
        pairs=together.shape[1],
    )


def interaction_ratio_replicates(effects: ArrayLike, interaction: ArrayLike, weights: ArrayLike) -> Floats:
    """:func:`interaction_ratio` in every bootstrap replicate.

    Resampled means are noisier than the observed ones, which moves the ratio: use the replicates' spread around the
    estimate, not their location.

    Args:
        effects: [n, C].
        interaction: [n, P].
        weights: How often each example was drawn [R, n].

    Returns:
        [R].

    Raises:
        ValueError: if shapes do not match, or all effects are zero in a replicate.
    """
    alone, together = _both(effects, interaction)
    drawn = as_floats(weights, "weights", dimensions=2)
    if drawn.shape[1] != len(alone):
        raise ValueError(f"weights: expected a column for each of {len(alone)} examples, got shape {drawn.shape}")
    found = []
    start = 0
    for size in block_sizes(len(drawn), together.shape[1] + alone.shape[1]):
        part = drawn[start : start + size]
        total = np.abs(part @ alone).sum(axis=1)
        if (total == 0).any():
            raise ValueError("effects: all are zero in a replicate")
        found.append(np.abs(part @ together).sum(axis=1) / total)
        start += size
    return np.concatenate(found)


def _both(effects: ArrayLike, interaction: ArrayLike) -> tuple[Floats, Floats]:
    alone = as_floats(effects, "effects", dimensions=2)
    together = as_floats(interaction, "interaction", dimensions=2)
    if len(alone) != len(together) or not together.shape[1]:
        raise ValueError(f"interaction: expected [{len(alone)}, pairs] with a pair, got {list(together.shape)}")
    return alone, together
