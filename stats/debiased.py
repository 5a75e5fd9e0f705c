"""Indices of specialization and integration whose expectation does not depend on the noise of the effects.

Magnitudes of noisy means are too large, and no estimator of a magnitude is free of that: with more noise alone, an
index of magnitudes moves. Squares and fourth powers of means have unbiased estimators, the mean products over two or
four different prompts (U-statistics; Hoeffding 1948):

    mu^2 = E x_a x_b,    mu^4 = E x_a x_b x_c x_d,    a, b, c, d different.

So the indices here are of squared effects. With q_i = mu_i^2 / sum_j mu_j^2 the effective number of components is
N = 1 / sum_i q_i^2 = (sum mu^2)^2 / sum mu^4 (the inverse of the inverse participation ratio of Bell & Dean 1970), and
specialization 1 - ln N / ln C, one minus the normalised Rényi entropy of order 2 (Rényi 1961): 0 where C components do
the same, 1 where one does all. The logarithm makes the distribution of the estimate nearly symmetric. Integration is
the interactions' share in the sum of squares, sum I^2 / (sum I^2 + sum mu^2): 0 where effects add up.

A function of unbiased estimates has a bias of the order of its variance; it is small beside the standard error. Where
the means can't be told from zero there is no index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, Integers, as_floats, block_sizes, codes
from stats.jackknife import Jackknifed, jackknife
from stats.options import Count, Seed, checked
from stats.seeding import generator

CHANCE = "the effects of different prompts agree no more than by chance"
_FOURTH, _SECOND = 4, 2


@checked
def debiased_specialization(
    effects: ArrayLike, *, cluster: ArrayLike | Sequence[object] | None = None, draws: Count = 1000, seed: Seed = 0
) -> Jackknifed:
    """One minus the normalised Rényi entropy of order 2 of the components' shares in the sum of squared effects.

    Args:
        effects: Signed effects of the components per prompt [n, C].
        cluster: Label of each prompt's unit, e.g. its template, where products are to be over different ones [n].
        draws: Random signs of the units, under which the sum of squares is what chance would give: it has no estimate
            where it does not exceed the 97.5 % quantile.
        seed: Seed of the analysis.

    Raises:
        ValueError: if effects are not finite or there are fewer than two components.
    """
    array = as_floats(effects, "effects", dimensions=2)
    if array.shape[1] < 2:
        raise ValueError("effects: expected at least 2 components, got 1")
    sums, sizes = _by_unit(array, cluster)
    powers = [sums**power for power in range(1, 5)]
    weights = [sizes[:, None] ** power for power in range(1, 5)]
    components = array.shape[1]

    def evaluate(first: Integers, second: Integers) -> Floats:
        left = [_without(one, first, second) for one in powers]
        many = [_without(one, first, second) for one in weights]
        square = (left[0] ** 2 - left[1]).sum(axis=1) / (many[0] ** 2 - many[1])[:, 0]
        fourth = _of_four(*left).sum(axis=1) / _of_four(*many)[:, 0]
        return _localized(square, fourth, components)

    return _estimated([sums], evaluate, least=_FOURTH, draws=draws, seed=seed)


@checked
def debiased_interaction_share(
    effects: ArrayLike,
    interaction: ArrayLike,
    *,
    cluster: ArrayLike | Sequence[object] | None = None,
    draws: Count = 1000,
    seed: Seed = 0,
) -> Jackknifed:
    """The share of the interactions in the sum of squared interactions and single effects.

    Args:
        effects: Effects of the components per prompt [n, C].
        interaction: Interactions of pairs, or of larger sets, per prompt [n, P].
        cluster: As in :func:`debiased_specialization`.
        draws: As there; here both the sum of squared single effects and that with the interactions have to exceed
            chance.
        seed: Seed of the analysis.

    Raises:
        ValueError: if shapes do not match, a number is not finite, or there is no set.
    """
    alone = as_floats(effects, "effects", dimensions=2)
    together = as_floats(interaction, "interaction", dimensions=2)
    if len(alone) != len(together):
        raise ValueError(f"interaction: expected [{len(alone)}, sets], got {list(together.shape)}")
    both, _ = _by_unit(np.concatenate([alone, together], axis=1), cluster)
    count = alone.shape[1]

    def evaluate(first: Integers, second: Integers) -> Floats:
        left, own = (_without(one, first, second) for one in (both, both**2))
        squares = left**2 - own
        total = squares.sum(axis=1)
        joint = squares[:, count:].sum(axis=1)
        return np.where(total > 0, joint / np.where(total > 0, total, 1.0), np.nan)

    return _estimated([both[:, :count], both], evaluate, least=_SECOND, draws=draws, seed=seed)


def _estimated(
    clear: Sequence[Floats], evaluate: Callable[[Integers, Integers], Floats], *, least: int, draws: int, seed: int
) -> Jackknifed:
    """The jackknifed index, where the squares of each of `clear` [units, columns] are above chance."""
    units, columns = clear[-1].shape
    if units < least:
        return Jackknifed(estimate=None, units=units, message=f"{units} unit(s): at least {least} are needed")

    def value(first: Integers, second: Integers) -> Floats:
        ends = np.cumsum(block_sizes(len(first), 8 * columns))[:-1]
        parts = zip(np.split(first, ends), np.split(second, ends), strict=True)
        return np.concatenate([evaluate(*part) for part in parts])

    if all(_above_chance(one, draws, seed) for one in clear):
        found = jackknife(value, units, least=least)
        if np.isfinite(value(np.array([-1]), np.array([-1]))).all() and np.isfinite(found.deviations).all():
            return found
    return Jackknifed(estimate=None, units=units, message=CHANCE)


def _by_unit(array: Floats, cluster: ArrayLike | Sequence[object] | None) -> tuple[Floats, Floats]:
    """Sums over units [units, columns], in units of the largest, and the numbers of prompts in them [units]."""
    if cluster is None:
        sums, sizes = array, np.ones(len(array))
    else:
        code, units = codes(cluster, "cluster", length=len(array))
        sums = np.zeros((units, array.shape[1]))
        np.add.at(sums, code, array)
        sizes = np.bincount(code, minlength=units).astype(np.float64)
    largest = float(np.abs(sums).max())
    return sums / (largest or 1.0), sizes


def _above_chance(sums: Floats, draws: int, seed: int) -> bool:
    """Whether the sum over pairs of different units exceeds what it is under random signs of the units."""
    gram = sums @ sums.T
    np.fill_diagonal(gram, 0.0)
    signs = generator(seed, "signs of units").integers(0, 2, size=(draws, len(sums))) * 2.0 - 1
    # Signs that are all the same are the data as they are; among few units they would be too many to exceed.
    signs = signs[np.abs(signs.sum(axis=1)) < len(sums)]
    chance = np.einsum("rn,rn->r", signs @ gram, signs)
    return bool(gram.sum() > max(0.0, float(np.quantile(chance, 0.975)) if len(chance) else 0.0))


def _without(sums: Floats, first: Integers, second: Integers) -> Floats:
    """Column sums without one or two of the rows [k, columns]; -1 for none."""
    padded = np.concatenate([sums, np.zeros((1, sums.shape[1]))])  # the last row, -1, is nothing
    return np.asarray(sums.sum(axis=0) - padded[first] - padded[second])


def _of_four(one: Floats, two: Floats, three: Floats, four: Floats) -> Floats:
    """Sum of products over four different units, from sums of powers (Newton's identities)."""
    return np.asarray(one**4 - 6 * one**2 * two + 3 * two**2 + 8 * one * three - 6 * four)


def _localized(square: Floats, fourth: Floats, components: int) -> Floats:
    good = (square > 0) & (fourth > 0)
    number = np.log(np.where(good, square, 1.0)) * 2 - np.log(np.where(good, fourth, 1.0))
    return np.where(good, 1 - number / np.log(components), np.nan)
