"""Where along a trajectory a measure changes: the split into two levels, and the half-way point, with uncertainty.

**Change-point.** The points are split into those before and those from k on, each at a level of its own; the split is
the one of least squares, every point counting alike. With d_k the difference of the two levels and w_k = n_1 n_2 / n it
is where |a_k| is largest, a_k = sqrt(w_k) d_k: the sum of squares that a split explains is a_k^2. All a_k are linear in
the points.

*Is there any change?* Where all values are equal, all d_k are 0. The statistic is the largest |d_k| / SE(d_k), and its
distribution that of the largest |t| of the same contrasts under the joint distribution of the points
(:mod:`stats.trajectories`); p = (1 + b) / (1 + B).

*Where most prompts have the same value* the few others tell no standard error: which model is which is permuted within
each prompt instead (:func:`no_change_within_prompts`).

*Draws.* No p is below 1 / (1 + B). Where it is one of m that are corrected by Holm's method, it has to come down to a
level of 1 / m of the whole, and takes more draws. They are made only where hardly any of the first 10,000 are beyond
the observed value. p is at most t where that of the first stage is, or, for a small t, where that of all draws is:
either is a valid p by itself.

*Where?* The confidence set holds every split k that may be the best one: with sign s, s a_k is not below any +-a_j by
more than c_k standard errors of their difference, with c_k the quantile of the largest one-sided t over all j and both
signs. This is a subset that holds the best of several dependent means with probability at least `confidence` (Gupta
1965, Technometrics 7:225; Hsu 1996, Multiple Comparisons, chapter 4), whatever the values are. So it is valid for a
trend that is gradual, too, where the split is the one that would be best without noise: in the middle of the way of a
straight line.

**Half-way point.** Where the curve, straight between the points, first reaches the mean of its two ends. Its confidence
set holds every place x at which value(x) - (first + last) / 2, which is linear in the points, is not significantly
different from 0 (Fieller 1954, JRSS B 16:175); given are the ends of this set. It is meant for gradual changes, depends
on the scale of the places, and needs ends that differ: where they may be equal, the set is the whole way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from stats.checks import BLOCK_NUMBERS, ROUNDING, Floats, as_floats
from stats.findings import Status
from stats.minimums import fewest_permutations, smallest_p
from stats.options import Count, Seed, Share, checked
from stats.seeding import generator
from stats.trajectories import DRAWS, Curve, halfway_weights

NO_CHANGE = "no change is shown, so its place means nothing"
FEW_BEYOND = 10
"""Draws beyond the observed value up to which more are made, where a smaller p may matter."""
MOST_DRAWS = 1_000_000
"""Draws beyond which none are made, whatever the family."""
_PART = 50_000
"""Draws of a further part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """The split of a trajectory into two levels.

    Attributes:
        before: Place of the last point before the change (`after`: of the first behind it).
        step: Mean of the points behind it minus the mean of those before.
        se: Standard error of the step at this split.
        low: Place of the last point before the first split of the confidence set; `high`: of the first point behind its
            last split.
        splits: The confidence set: numbers of the points that a split may come before.
        p: p-value of no change at all.
        statistic: The largest |t| of all splits.
        changed: Whether p is below 1 - `confidence`; otherwise the set says nothing.
    """

    before: float | None
    after: float | None
    step: float | None
    se: float | None
    low: float | None
    high: float | None
    splits: tuple[int, ...]
    p: float | None
    statistic: float | None
    confidence: float
    changed: bool
    status: Status = "ok"
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Halfway:
    """Where the measure has made half of its way.

    Attributes:
        place: The first place at which half is reached; None where the ends may be equal.
        low: Smallest place of the confidence set; `high`: the largest.
    """

    place: float | None
    low: float
    high: float
    confidence: float
    status: Status = "ok"
    message: str = ""


@checked
def change_point(
    curve: Curve, *, confidence: Share = 0.95, family: Count = 1, seed: Seed = 0, draws: Count = DRAWS
) -> ChangePoint:
    """The split of a curve into two levels, a test of no change, and the splits that may be the best.

    Args:
        curve: The points.
        confidence: Of the set of splits.
        family: Number of p-values that this one is corrected with: more draws are made where it needs them.
        seed: Seed of the draws.
        draws: Draws of the joint distribution.
    """
    steps, weighted = _contrasts(len(curve.places))
    se = curve.errors(steps)
    if not se.all():
        return _undefined(confidence, "no spread: every prompt gives the same")
    best = int(np.argmax(np.abs(weighted @ curve.estimates)))
    drawn = curve.draws(draws, seed)
    observed = float(np.abs(steps @ curve.estimates / se).max())

    def beyond(count: int, part: int) -> int:
        return int(np.count_nonzero(curve.largest(steps, count, seed, part=part) >= observed))

    p, made = _staged(beyond, draws, wanted_draws(confidence, family))
    splits = tuple(_splits(curve, weighted, drawn, confidence))
    changed = p < 1 - confidence
    return ChangePoint(
        before=float(curve.places[best]),
        after=float(curve.places[best + 1]),
        step=float(steps[best] @ curve.estimates),
        se=float(se[best]),
        low=float(curve.places[splits[0] - 1]),
        high=float(curve.places[splits[-1]]),
        splits=splits,
        p=p,
        statistic=observed,
        confidence=confidence,
        changed=changed,
        message="; ".join(filter(None, ("" if changed else NO_CHANGE, out_of_reach(made, confidence, family)))),
    )


def wanted_draws(confidence: float, family: int) -> int:
    """Draws with which p of one of a family can be well below the level after Holm's correction; 1,000,000 at most."""
    return min(MOST_DRAWS, 2 * (fewest_permutations((1 - confidence) / family) + 1))


def out_of_reach(draws: int, confidence: float, family: int) -> str:
    """That no p of so many draws can reach the level after the correction; empty where one can."""
    smallest = smallest_p(draws, family=family)
    if smallest < 1 - confidence:
        return ""
    return (
        f"no p can reach the level {1 - confidence:.3g}: of {draws:,} draws the smallest is {smallest:.3g} after the "
        f"correction over {family:,} series; leave out measures or trajectories"
    )


def _staged(beyond: Callable[[int, int], int], draws: int, wanted: int) -> tuple[float, int]:
    """p, and of how many draws: of more than the first where few of these are beyond and more are wanted."""
    reached, made, part = beyond(draws, 0), draws, 0
    if reached > FEW_BEYOND:
        return (1 + reached) / (1 + made), max(made, wanted)  # as many could have been made
    while made < wanted:
        part += 1
        more = min(_PART, wanted - made)
        reached, made = reached + beyond(more, part), made + more
    return (1 + reached) / (1 + made), made


@checked
def no_change_of_shares(
    right: ArrayLike, *, confidence: Share = 0.95, family: Count = 1, seed: Seed = 0, draws: Count = DRAWS
) -> float:
    """p of no change at all, of a share of prompts: which model is which is permuted within each prompt.

    Where nearly all prompts are right (or wrong) with every model, the few others tell no standard error: of shares of
    .95 to .98 that do not change, the largest |t| of all splits was significant at .05 in .11 to .15 of data sets. This
    test is exact where the models answer every prompt alike but for chance. The statistic is the largest |a_k| of all
    splits.

    Args:
        right: Whether each prompt is answered correctly, [points, prompts], in the order of the trajectory.

    Raises:
        ValueError: if it is not true or false, or there are fewer than 2 points.
    """
    truths = np.asarray(right)
    if truths.ndim != 2 or truths.dtype != np.bool_ or len(truths) < 2:
        raise ValueError(f"right: expected [points, prompts] of true or false, got {truths.dtype} {list(truths.shape)}")
    return no_change_within_prompts(
        truths.astype(np.float64), confidence=confidence, family=family, seed=seed, draws=draws
    )


@checked
def no_change_within_prompts(
    values: ArrayLike, *, confidence: Share = 0.95, family: Count = 1, seed: Seed = 0, draws: Count = DRAWS
) -> float:
    """p of no change at all of a mean over prompts: which model is which is permuted within each prompt.

    It is exact where the models give every prompt the same value but for chance, however few prompts have another value
    than most. The statistic is the largest |a_k| of all splits.

    Args:
        values: Of each prompt at each point, [points, prompts], in the order of the trajectory.
        confidence: 1 minus the level that p is to reach after the correction.
        family: Number of p-values that this one is corrected with.
        seed: Seed of the permutations.
        draws: Permutations.

    Raises:
        ValueError: if there are fewer than 2 points, or a value is not finite.
    """
    given = as_floats(values, "values", dimensions=2)
    if len(given) < 2:
        raise ValueError(f"values: expected at least 2 points, got {len(given)}")
    mixed = given[:, np.ptp(given, axis=0) > 0].T
    _, weighted = _contrasts(len(given))
    observed = float(np.abs(weighted @ mixed.sum(axis=0)).max())
    near = observed - ROUNDING * (observed + float(np.abs(mixed).sum()) + 1)
    step = max(1, BLOCK_NUMBERS // max(1, mixed.size))

    def beyond(count: int, part: int) -> int:
        rng, reached = generator(seed, "no change of shares", len(given), *[part] * bool(part)), 0
        for start in range(0, count, step):
            order = rng.random((min(step, count - start), *mixed.shape)).argsort(axis=2)
            drawn = np.take_along_axis(mixed[None], order, axis=2).sum(axis=1)
            reached += int(np.count_nonzero(np.abs(drawn @ weighted.T).max(axis=1) >= near))
        return reached

    return _staged(beyond, draws, wanted_draws(confidence, family))[0]


@checked
def halfway_point(curve: Curve, *, confidence: Share = 0.95) -> Halfway:
    """Where the curve first reaches the mean of its two ends, with the ends of its confidence set."""
    places, quantile = curve.places, float(distributions.t.ppf((1 + confidence) / 2, curve.df))
    at_points = np.array([halfway_weights(places, place) for place in places])
    gaps, errors = at_points @ curve.estimates, curve.errors(at_points)
    held = [place for number in range(len(places) - 1) for place in _held(curve, at_points, number, quantile)]
    low, high = min(held, default=float(places[0])), max(held, default=float(places[-1]))
    if abs(gaps[0]) <= quantile * errors[0]:
        message = "the ends do not differ by more than chance, so there is no way to be half-way on"
        return Halfway(
            place=None, low=float(places[0]), high=float(places[-1]), confidence=confidence, status="undefined",
            message=message,
        )  # fmt: skip
    crossing = int(np.argmax(gaps * gaps[0] <= 0))  # the last gap is minus the first
    share = gaps[crossing - 1] / (gaps[crossing - 1] - gaps[crossing])
    place = places[crossing - 1] + share * (places[crossing] - places[crossing - 1])
    return Halfway(place=float(place), low=low, high=high, confidence=confidence)


def _contrasts(points: int) -> tuple[Floats, Floats]:
    """Each split's difference of two levels d_k, and a_k, as weights of the points, [points - 1, points] each."""
    after = np.arange(points) >= np.arange(1, points)[:, None]
    behind = after.sum(axis=1, keepdims=True)
    steps = after / behind - ~after / (points - behind)
    return steps, np.sqrt(behind * (points - behind) / points) * steps


def _splits(curve: Curve, weighted: Floats, drawn: Floats, confidence: float) -> Iterator[int]:
    """The splits that may explain most, by number of the first point behind them."""
    signed = np.concatenate([weighted, -weighted])
    values, errors = signed @ curve.estimates, drawn @ signed.T
    kept = set()
    for number in range(len(signed)):
        others = np.arange(len(signed)) != number
        se = curve.errors(signed[number] - signed[others])
        lead = values[number] - values[others]
        if (lead[se == 0] < 0).any():
            continue
        spread = se > 0
        largest = ((errors[:, [number]] - errors[:, others])[:, spread] / se[spread]).max(axis=1)
        if (lead[spread] / se[spread]).min() >= -np.quantile(largest, confidence):
            kept.add(number % len(weighted) + 1)
    yield from sorted(kept)


def _held(curve: Curve, at_points: Floats, number: int, quantile: float) -> Iterator[float]:
    """Ends of the part of the confidence set that lies between two points.

    With u from 0 to 1 between them, gap(u)^2 - q^2 var(u) <= 0 is a quadratic inequality.
    """
    first, run = at_points[number], at_points[number + 1] - at_points[number]
    gap, rise = float(first @ curve.estimates), float(run @ curve.estimates)
    square = quantile**2
    covariance = curve.covariance
    coefficients = (
        rise**2 - square * float(run @ covariance @ run),
        2 * (gap * rise - square * float(first @ covariance @ run)),
        gap**2 - square * float(first @ covariance @ first),
    )
    roots = np.roots(coefficients) if any(coefficients[:2]) else np.array([])
    inside = [float(root.real) for root in roots if abs(root.imag) < 1e-9 and 0 <= root.real <= 1]
    ends = [u for u in (0.0, 1.0) if np.polyval(coefficients, u) <= 0]
    left, right = curve.places[number], curve.places[number + 1]
    for u in (*inside, *ends):
        yield float(left + u * (right - left))


def _undefined(confidence: float, message: str) -> ChangePoint:
    return ChangePoint(
        before=None, after=None, step=None, se=None, low=None, high=None, splits=(), p=None, statistic=None,
        confidence=confidence, changed=False, status="undefined", message=message,
    )  # fmt: skip
