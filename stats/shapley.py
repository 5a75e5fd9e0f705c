"""Shapley values and interactions of components of every order, from knocking out every combination of them.

A pair's interaction at the full model (see :mod:`stats.integration`) misses what only shows once more is gone: of three
components that stand in for each other, any two can be lost at no cost. With v(T) the metric when the components T are
knocked out and w(S) = v(N - S) that with only S of them intact, the discrete derivative of w at T with respect to S is

    D_S w(T) = sum over L in S of (-1)^(|S| - |L|) w(T + L),

and the Shapley interaction index its mean over the orders in which the components could be lost:

    I(S) = sum over T in N - S of |T|! (n - |T| - |S|)! / (n - |S| + 1)! D_S w(T)

(Grabisch & Roubens 1999). For single components it is the Shapley value; these sum to w(N) - w(none), what losing all
costs. For two it is the interaction of a pair, averaged over what else is intact: zero where their effects add up,
negative where one stands in for the other, positive where each needs the other.

How much of what knock-outs do is additive, is due to pairs, to triples and so on, is the analysis of variance of w over
all combinations, each as likely as the other (Hoeffding 1948; Sobol 1993): the shares of the orders sum to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Booleans, Floats, as_floats, block_sizes
from stats.options import Count, Seed, checked
from stats.seeding import generator

LARGEST = 12
"""Most components of which every combination is held: 4,096."""


@dataclass(frozen=True, eq=False, slots=True)
class Interactions:
    """Shapley values and interactions of sets of components.

    Attributes:
        sets: The components of each set, by number; by size, then in order.
        values: I(S) on every example [n, sets].
    """

    sets: tuple[tuple[int, ...], ...]
    values: Floats

    @property
    def single(self) -> Floats:
        """The Shapley values of the components [n, components]."""
        return self.values[:, [len(one) == 1 for one in self.sets]]

    @property
    def above_one(self) -> Floats:
        """The values of all sets but the single components [n, sets]."""
        return self.values[:, [len(one) > 1 for one in self.sets]]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class OrderShares:
    """How much of the variance of the mean metric over all combinations each order accounts for.

    Attributes:
        value: Share of the sets of one component, of two, ... [components]; sums to 1.
        null: The same where the sets of this order have random signs on every example: what noise alone would give;
            mean over draws, `null_low` and `null_high` the 2.5 % and 97.5 % quantiles.
    """

    value: Floats
    null: Floats
    null_low: Floats
    null_high: Floats


@checked
def all_combinations(components: Count) -> Booleans:
    """Which components are knocked out in each combination [2^components, components]; nothing in the first row.

    Row r knocks out component i where bit i of r is set.

    Raises:
        ValueError: if there is no component, or more than 12.
    """
    if components > LARGEST:
        raise ValueError(f"components: expected at most {LARGEST}, got {components}")
    return (np.arange(2**components)[:, None] >> np.arange(components) & 1).astype(bool)


@checked
def sets_up_to(components: Count, order: Count) -> tuple[tuple[int, ...], ...]:
    """All sets of 1 to `order` of so many components, by size, then in order.

    Raises:
        ValueError: if there is no component, or if sets are larger than there are components.
    """
    if not 1 <= order <= components:
        raise ValueError(f"order: expected at most {components}, the number of components, got {order}")
    return tuple(one for size in range(1, order + 1) for one in combinations(range(components), size))


@checked
def shapley_interactions(metric: ArrayLike, *, order: Count) -> Interactions:
    """Shapley values and interactions of up to `order` components, exactly, on every example.

    They are computed from the Moebius transform m of w: I(S) is the sum of m(T) / (|T| - |S| + 1) over all T that
    contain S (Grabisch 1997).

    Args:
        metric: v(T) of every combination, as :func:`all_combinations` lists them [n, 2^components].
        order: Size of the largest sets.

    Raises:
        ValueError: if there are not 2^components combinations, a number is not finite, or `order` is not between 1 and
            the number of components.
    """
    found, components = _combinations(metric)
    sets = sets_up_to(components, order)
    dividends = _butterfly(found[:, ::-1], np.array([[1.0, 0.0], [-1.0, 1.0]]))
    codes = np.array([sum(1 << one for one in members) for members in sets])
    every = np.arange(found.shape[1])
    size = all_combinations(components).sum(axis=1)
    beyond = size[None, :] - size[codes][:, None]
    weights = np.where(every[None, :] & codes[:, None] == codes[:, None], 1.0 / np.maximum(beyond + 1, 1), 0.0)
    return Interactions(sets, dividends @ weights.T)


@checked
def order_shares(metric: ArrayLike, *, draws: Count = 1000, seed: Seed = 0) -> OrderShares:
    """How much of the variance of the mean metric over combinations is additive, due to pairs, to triples and so on.

    Squares of noisy means are positive where the truth is zero: the null says how large they would be, with the signs
    of an order's effects flipped together on an example, which keeps their dependence.

    Args:
        metric: v(T) of every combination, as :func:`all_combinations` lists them [n, 2^components].
        draws: Draws of the null.
        seed: Seed of the analysis.

    Raises:
        ValueError: if there are not 2^components combinations, a number is not finite, or no knock-out changes the
            mean.
    """
    found, components = _combinations(metric)
    effects = _walsh(found)
    by_order = _orders(components)
    observed = np.square(effects.mean(axis=0)) @ by_order
    total = float(observed.sum())
    if not total > 0:
        raise ValueError("metric: expected a knock-out that changes its mean")
    rng = generator(seed, "signs of combinations")
    null = []
    for size in block_sizes(draws, len(effects) + effects.shape[1]):
        signs = rng.integers(0, 2, size=(size, len(effects))) * 2.0 - 1
        null.append(np.square(signs @ effects / len(effects)) @ by_order / total)
    drawn = np.concatenate(null)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return OrderShares(value=observed / total, null=drawn.mean(axis=0), null_low=low, null_high=high)


def order_share_replicates(metric: ArrayLike, weights: ArrayLike) -> Floats:
    """The shares of :func:`order_shares` in every bootstrap replicate.

    Resampled means are noisier than the observed ones, which moves the shares of high orders up: use the replicates'
    spread around the estimate, not their location.

    Args:
        metric: [n, 2^components].
        weights: How often each example was drawn [R, n].

    Returns:
        [R, components].

    Raises:
        ValueError: if shapes do not match, or no knock-out changes the mean of a replicate.
    """
    found, components = _combinations(metric)
    effects, by_order = _walsh(found), _orders(components)
    drawn = as_floats(weights, "weights", dimensions=2)
    if drawn.shape[1] != len(found):
        raise ValueError(f"weights: expected a column for each of {len(found)} examples, got shape {drawn.shape}")
    parts, start = [], 0
    for size in block_sizes(len(drawn), effects.shape[1]):
        part = drawn[start : start + size]
        squares = np.square(part @ effects / part.sum(axis=1, keepdims=True)) @ by_order
        total = squares.sum(axis=1, keepdims=True)
        if not (total > 0).all():
            raise ValueError("metric: no knock-out changes its mean in a replicate")
        parts.append(squares / total)
        start += size
    return np.concatenate(parts)


def _combinations(metric: ArrayLike) -> tuple[Floats, int]:
    found = as_floats(metric, "metric", dimensions=2)
    components = found.shape[1].bit_length() - 1
    if components < 1 or found.shape[1] != 2**components:
        raise ValueError(f"metric: expected 2, 4, 8, ... combinations in columns, got {found.shape[1]}")
    all_combinations(components)  # not more than can be held
    return found, components


def _walsh(metric: Floats) -> Floats:
    """Coefficients of the metric in products of signs, one a component: their squares are the variances [n, 2^C]."""
    return _butterfly(metric, np.array([[0.5, 0.5], [0.5, -0.5]]))


def _orders(components: int) -> Floats:
    """1 where a coefficient is of a set of 1, 2, ... components [2^C, C]."""
    size = all_combinations(components).sum(axis=1)
    of_order: Booleans = size[:, None] == np.arange(1, components + 1)
    return of_order.astype(np.float64)


def _butterfly(values: Floats, step: Floats) -> Floats:
    """A 2 x 2 matrix applied along the bit of every component in turn [n, 2^C]."""
    found = values
    components = values.shape[1].bit_length() - 1
    for component in range(components):
        split = found.reshape(len(values), -1, 2, 2**component)
        found = np.einsum("ab,nibj->niaj", step, split).reshape(values.shape)
    return found
