"""How unequally effects are spread over components: the Gini index beside what noise alone gives.

The magnitude of a noisy mean is positive where the effect is zero, so that noise alone has a Gini index (of |N(0, 1)|:
.41). Two remedies, reported together: the index of effects whose signs were flipped at random per example (the null),
and cross-fitting, which ranks and signs the components on one half of the examples and takes values from the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import BLOCK_NUMBERS, Floats, as_floats, block_sizes, positive
from stats.findings import Status
from stats.seeding import generator


def gini(x: ArrayLike) -> float:
    """Gini index of non-negative values [C] with the small-sample factor C / (C - 1): 0 equal, 1 all in one.

    With x sorted ascending and ranks i = 1..C, G = sum_i (2 i - C - 1) x_i / ((C - 1) sum_i x_i).

    Raises:
        ValueError: if a value is negative or not finite, all are zero, or there are fewer than two.
    """
    return float(gini_rows(as_floats(x, "x", dimensions=1)[None])[0])


def gini_rows(x: ArrayLike) -> Floats:
    """:func:`gini` of every row of [rows, C]."""
    array = as_floats(x, "x", dimensions=2)
    if array.shape[1] < 2:
        raise ValueError("x: expected at least 2 values for a Gini index, got 1")
    if array.min() < 0:
        raise ValueError(f"x: expected values >= 0, got {array.min()}")
    largest = array.max(axis=1, keepdims=True)
    if largest.min() == 0:
        raise ValueError("x: expected a value other than zero, got only zeros")
    ordered = np.sort(array / largest, axis=1)
    return np.asarray(ordered @ _rank_weights(array.shape[1]) / ((array.shape[1] - 1) * ordered.sum(axis=1)))


def _rank_weights(count: int) -> Floats:
    return np.asarray(2 * np.arange(1, count + 1) - count - 1, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFlipNull:
    """Gini index of |mean effects| under random signs of the examples: mean, 2.5 % and 97.5 % quantiles."""

    mean: float
    low: float
    high: float
    draws: int


def sign_flip_null(effects: ArrayLike, *, draws: int = 1000, seed: int = 0) -> SignFlipNull:
    """What the Gini index of |mean effects| would be if no component had a consistent sign over examples.

    An example's effects are flipped together, which keeps their dependence across components.

    Args:
        effects: Signed effects of the components per example [n, C].
        draws: Number of random sign vectors.
        seed: Seed of the analysis.

    Raises:
        ValueError: if effects are not finite or all zero, or there are fewer than two components.
    """
    array = _effects(effects)
    rng = generator(seed, "sign flips")
    values = []
    for size in block_sizes(positive(draws, "draws"), sum(array.shape)):
        signs = rng.integers(0, 2, size=(size, len(array))) * 2.0 - 1
        values.append(gini_rows(np.abs(signs @ array)))
    null = np.concatenate(values)
    low, high = np.quantile(null, [0.025, 0.975])
    return SignFlipNull(mean=float(null.mean()), low=float(low), high=float(high), draws=draws)


@dataclass(frozen=True, slots=True, kw_only=True)
class Specialization:
    """Inequality of component effects.

    Attributes:
        value: Gini index of |mean effects|.
        null: What noise alone would give (:func:`sign_flip_null`).
        excess: `value` minus the null's mean.
        crossfitted: Cross-fitted index; None where the halves do not agree enough (`crossfitted_status` undefined).
        crossfitted_message: Why it is None.
        n: Number of examples.
        components: Number of components.
    """

    value: float
    null: SignFlipNull
    excess: float
    crossfitted: float | None
    crossfitted_status: Status
    crossfitted_message: str
    n: int
    components: int


def specialization(effects: ArrayLike, *, splits: int = 50, draws: int = 1000, seed: int = 0) -> Specialization:
    """Gini index of component effects: observed, under the sign-flip null, and cross-fitted.

    Cross-fitted: rank and sign come from one half of the examples, values from the other; the bias that remains is from
    components whose sign half of the examples cannot tell. Numerator and denominator of the index are averaged over
    splits and over both directions before they are divided. Since values may come out negative, it is defined only
    where its denominator (the total effect that both halves agree on) exceeds the 97.5 % quantile that it has under
    random signs.

    Args:
        effects: Signed effects of the components per example [n, C].
        splits: Random splits for cross-fitting.
        draws: Draws of the null.
        seed: Seed of the analysis.

    Raises:
        ValueError: if effects are not finite or all zero, there are fewer than two components or two examples.
    """
    array = _effects(effects)
    if len(array) < 2:
        raise ValueError(f"effects: expected at least 2 examples, got {len(array)}")
    null = sign_flip_null(array, draws=draws, seed=seed)
    value = gini_rows(np.abs(array.mean(axis=0))[None])[0]
    top, total = _crossfit(array, None, positive(splits, "splits"), seed)
    _, chance = _crossfit(array, "flipped", draws, seed)
    agreed = float(total.mean())
    defined = agreed > max(0.0, float(np.quantile(chance, 0.975)))
    return Specialization(
        value=float(value),
        null=null,
        excess=float(value) - null.mean,
        crossfitted=float(top.mean() / agreed) if defined else None,
        crossfitted_status="ok" if defined else "undefined",
        crossfitted_message="" if defined else "the effects on two halves of the examples agree no more than by chance",
        n=len(array),
        components=array.shape[1],
    )


def _crossfit(array: Floats, flips: str | None, splits: int, seed: int) -> tuple[Floats, Floats]:
    """Numerator and denominator of the cross-fitted index for every split [splits], mean of both directions."""
    rng = generator(seed, "cross-fitting", flips or "observed")
    weights = _rank_weights(array.shape[1])
    tops, totals = [], []
    for size in block_sizes(splits, 4 * sum(array.shape)):
        first = np.argsort(np.argsort(rng.random((size, len(array))), axis=1), axis=1) < len(array) // 2
        signs = rng.integers(0, 2, size=first.shape) * 2.0 - 1 if flips else np.ones(first.shape)
        one = (first * signs) @ array / (len(array) // 2)
        two = (~first * signs) @ array / (len(array) - len(array) // 2)
        for train, test in ((one, two), (two, one)):
            signed = np.take_along_axis(np.sign(train) * test, np.argsort(np.abs(train), axis=1, kind="stable"), axis=1)
            tops.append(signed @ weights)
            totals.append((array.shape[1] - 1) * signed.sum(axis=1))
    return np.concatenate(tops), np.concatenate(totals)


def gini_replicates(effects: ArrayLike, weights: ArrayLike) -> Floats:
    """Gini index of |weighted mean effects| in every bootstrap replicate.

    Resampled means are noisier than the observed ones, which moves the index: use the replicates' spread around the
    estimate, not their location.

    Args:
        effects: Signed effects per example [n, C].
        weights: How often each example was drawn [R, n].

    Returns:
        [R].

    Raises:
        ValueError: if shapes do not match, or a replicate has no examples or only zero effects.
    """
    array = _effects(effects)
    drawn = as_floats(weights, "weights", dimensions=2)
    if drawn.shape[1] != len(array):
        raise ValueError(f"weights: expected a column for each of {len(array)} examples, got shape {drawn.shape}")
    step = max(1, BLOCK_NUMBERS // array.shape[1])
    blocks = [gini_rows(np.abs(drawn[start : start + step] @ array)) for start in range(0, len(drawn), step)]
    return np.concatenate(blocks)


def _effects(effects: ArrayLike) -> Floats:
    array = as_floats(effects, "effects", dimensions=2)
    if array.shape[1] < 2:
        raise ValueError("effects: expected at least 2 components, got 1")
    return array
