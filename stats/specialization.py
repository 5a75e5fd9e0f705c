"""How unequally effects are spread over components: indices of inequality beside what noise alone gives.

The magnitude of a noisy mean is positive where the effect is zero, so that noise alone has a Gini index (of |N(0, 1)|:
.41). Two remedies, reported together: the index of effects whose signs were flipped at random per example (the null),
and cross-fitting, which ranks, weighs and signs the components on one half of the examples and takes values from the
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import BLOCK_NUMBERS, Floats, as_floats, block_sizes
from stats.findings import Status
from stats.inequality import INDEX_NAMES, INEQUALITIES, IndexName, Inequality, inequality_rows
from stats.options import Count, Seed, checked
from stats.seeding import generator

_ROUNDING = 1e-12
"""Mean effects below this part of the largest sum of magnitudes are what rounding leaves of effects that cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFlipNull:
    """An index of |mean effects| under random signs of the examples: mean, 2.5 % and 97.5 % quantiles.

    Attributes:
        draws: Number of draws; those in which all effects cancel have no index and are left out.
    """

    mean: float
    low: float
    high: float
    draws: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Specialization:
    """Inequality of component effects.

    Attributes:
        index: The index, see :func:`stats.inequality.inequality_index`: higher where fewer components do the work.
        value: The index of |mean effects|.
        null: What noise alone would give (:func:`sign_flip_null`).
        excess: `value` minus the null's mean.
        crossfitted: Cross-fitted index; None where the halves do not agree enough (`crossfitted_status` undefined).
        crossfitted_message: Why it is None.
        n: Number of examples.
        components: Number of components.
    """

    index: IndexName
    value: float
    null: SignFlipNull
    excess: float
    crossfitted: float | None
    crossfitted_status: Status
    crossfitted_message: str
    n: int
    components: int


@checked
def sign_flip_null(
    effects: ArrayLike, *, index: IndexName = "gini", draws: Count = 1000, seed: Seed = 0
) -> SignFlipNull:
    """What an index of |mean effects| would be if no component had a consistent sign over examples.

    An example's effects are flipped together, which keeps their dependence across components.

    Args:
        effects: Signed effects of the components per example [n, C].
        index: The index.
        draws: Number of random sign vectors.
        seed: Seed of the analysis.

    Raises:
        ValueError: if effects are not finite or cancel in every draw, there are fewer than two components, or the index
            is not known.
    """
    return _nulls(_effects(effects), [index], draws, seed)[0]


@checked
def specialization(
    effects: ArrayLike, *, index: IndexName = "gini", splits: Count = 50, draws: Count = 1000, seed: Seed = 0
) -> Specialization:
    """An index of inequality of component effects: observed, under the sign-flip null, and cross-fitted.

    Cross-fitted: rank, weight and sign come from one half of the examples, values from the other; the bias that remains
    is from components whose sign half of the examples cannot tell, and for `entropy` from the logarithm of noisy
    weights, which puts it too low by about s^2 / (2 ln C) with s a half's relative standard error. The total effect and
    the moment of the index are averaged over splits and over both directions before they are put together. Since values
    may come out negative, it is defined only where what it divides by (the total effect that both halves agree on, for
    `participation_ratio` and `hoyer` also the squared one) exceeds the 97.5 % quantile that it has under random signs;
    it may lie beyond the ends of the index' range.

    Args:
        effects: Signed effects of the components per example [n, C].
        index: `gini`, `participation_ratio`, `hoyer`, `entropy` or `largest_share`.
        splits: Random splits for cross-fitting.
        draws: Draws of the null.
        seed: Seed of the analysis.

    Raises:
        ValueError: if effects are not finite or all zero, there are fewer than two components or two examples, or the
            index is not known.
    """
    return specializations(effects, indices=[index], splits=splits, draws=draws, seed=seed)[0]


@checked
def specializations(
    effects: ArrayLike,
    *,
    indices: Sequence[IndexName] = INDEX_NAMES,
    splits: Count = 50,
    draws: Count = 1000,
    seed: Seed = 0,
) -> tuple[Specialization, ...]:
    """:func:`specialization` for several indices, from the same draws."""
    array = _effects(effects)
    if len(array) < 2:
        raise ValueError(f"effects: expected at least 2 examples, got {len(array)}")
    nulls = _nulls(array, indices, draws, seed)
    means = np.abs(array.mean(axis=0))[None]
    total, moments = _crossfit(array, indices, splits, seed)
    chance_total, chance_moments = _crossfit(array, indices, draws, seed, flips=True)
    found = []
    for place, (index, null) in enumerate(zip(indices, nulls, strict=True)):
        chosen, moment = INEQUALITIES[index], float(moments[place].mean())
        agreed = float(total.mean()) > _upper(chance_total)
        defined = agreed and (not chosen.divides or moment > _upper(chance_moments[place]))
        value = float(inequality_rows(means, index)[0])
        found.append(
            Specialization(
                index=index,
                value=value,
                null=null,
                excess=value - null.mean,
                crossfitted=_put_together(chosen, float(total.mean()), moment, array.shape[1]) if defined else None,
                crossfitted_status="ok" if defined else "undefined",
                crossfitted_message=""
                if defined
                else "the effects on two halves of the examples agree no more than by chance",
                n=len(array),
                components=array.shape[1],
            )
        )
    return tuple(found)


@checked
def index_replicates(effects: ArrayLike, weights: ArrayLike, *, index: IndexName = "gini") -> Floats:
    """An index of |weighted mean effects| in every bootstrap replicate.

    Resampled means are noisier than the observed ones, which moves the index: use the replicates' spread around the
    estimate, not their location.

    Args:
        effects: Signed effects per example [n, C].
        weights: How often each example was drawn [R, n].
        index: The index.

    Returns:
        [R].

    Raises:
        ValueError: if shapes do not match, a replicate has no examples or only zero effects, or the index is not known.
    """
    array = _effects(effects)
    drawn = as_floats(weights, "weights", dimensions=2)
    if drawn.shape[1] != len(array):
        raise ValueError(f"weights: expected a column for each of {len(array)} examples, got shape {drawn.shape}")
    step = max(1, BLOCK_NUMBERS // array.shape[1])
    blocks = []
    for start in range(0, len(drawn), step):
        means = np.abs(drawn[start : start + step] @ array)
        if not means.any(axis=1).all():
            raise ValueError("effects: all are zero in a replicate")
        blocks.append(inequality_rows(means, index))
    return np.concatenate(blocks)


def _nulls(array: Floats, indices: Sequence[IndexName], draws: int, seed: int) -> list[SignFlipNull]:
    rng = generator(seed, "sign flips")
    least = _ROUNDING * float(np.abs(array).sum(axis=0).max())
    values: list[Floats] = []
    for size in block_sizes(draws, sum(array.shape)):
        signs = rng.integers(0, 2, size=(size, len(array))) * 2.0 - 1
        means = np.abs(signs @ array)
        means = means[means.max(axis=1) > least]
        if len(means):
            values.append(np.stack([inequality_rows(means, index) for index in indices]))
    if not values:
        raise ValueError("effects: expected some that do not cancel whatever their signs, got none")
    nulls = np.concatenate(values, axis=1)
    low, high = np.quantile(nulls, [0.025, 0.975], axis=1)
    return [
        SignFlipNull(mean=float(null.mean()), low=float(low[place]), high=float(high[place]), draws=len(null))
        for place, null in enumerate(nulls)
    ]


def _crossfit(
    array: Floats, indices: Sequence[IndexName], splits: int, seed: int, *, flips: bool = False
) -> tuple[Floats, list[Floats]]:
    """Total and moment of each index for every split and both directions, each [2 splits]; `flips`: of random signs."""
    rng = generator(seed, "cross-fitting", "flipped" if flips else "observed")
    totals: list[Floats] = []
    moments: list[list[Floats]] = [[] for _ in indices]
    for size in block_sizes(splits, 4 * sum(array.shape)):
        first = np.argsort(np.argsort(rng.random((size, len(array))), axis=1), axis=1) < len(array) // 2
        signs = rng.integers(0, 2, size=first.shape) * 2.0 - 1 if flips else np.ones(first.shape)
        one = (first * signs) @ array / (len(array) // 2)
        two = (~first * signs) @ array / (len(array) - len(array) // 2)
        for train, test in ((one, two), (two, one)):
            magnitudes, agreeing = np.abs(train), np.sign(train) * test
            totals.append(agreeing.sum(axis=1))
            for found, index in zip(moments, indices, strict=True):
                found.append(INEQUALITIES[index].moment(magnitudes, agreeing))
    return np.concatenate(totals), [np.concatenate(found) for found in moments]


def _put_together(index: Inequality, total: float, moment: float, count: int) -> float:
    return float(index.value(np.array([total]), np.array([moment]), count)[0])


def _upper(chance: Floats) -> float:
    return max(0.0, float(np.quantile(chance, 0.975)))


def _effects(effects: ArrayLike) -> Floats:
    array = as_floats(effects, "effects", dimensions=2)
    if array.shape[1] < 2:
        raise ValueError("effects: expected at least 2 components, got 1")
    return array
