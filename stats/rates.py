"""Rates over repetitions on data whose truth is known, each with a binomial band, and what power they amount to.

A band is about the repetitions: what the rate would be with infinitely many of them on the same prompts.

References: Clopper & Pearson (1934), Biometrika 26, 404-413; Korn & Graubard (1998), Survey Methodology 24, 193-201.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize
from scipy import stats as scipy_stats

from stats.checks import as_floats, as_members, fraction
from stats.options import Probability, Share, checked

BAND = 0.95
"""Confidence of every band."""
POWER = 0.8
"""Power with which the minimal detectable effect is detected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of repetitions.

    Attributes:
        count: Repetitions that count, of `n`.
        value: count / n (`low` and `high`: its 95 % band).
        nominal: What it should be; None if there is no such value.
        flag: `above` or `below`: the band excludes the nominal value; otherwise empty.
    """

    count: int
    n: int
    value: float
    low: float
    high: float
    nominal: float | None = None
    flag: Literal["", "above", "below"] = ""


@checked
def binomial_rate(outcomes: ArrayLike, *, nominal: Probability | None = None) -> Rate:
    """The share of true outcomes with its Clopper-Pearson band.

    The band holds at least 95 % whatever the rate, so that a rate that is as it should be is flagged at most once in
    twenty times.

    Args:
        outcomes: One outcome per repetition [n], true or false.
        nominal: What the share should be, in [0, 1].

    Raises:
        ValueError: if there are none, or the nominal value is not in [0, 1].
    """
    values = as_members(outcomes, "outcomes")
    if values.ndim != 1 or not values.size:
        raise ValueError(f"outcomes: expected at least one, got shape {values.shape}")
    return _banded(int(values.sum()), len(values), float(len(values)), nominal)


@checked
def clustered_rate(outcomes: Sequence[Sequence[bool]], *, nominal: Probability | None = None) -> Rate:
    """The share of true outcomes where those of a repetition may depend on each other (Korn & Graubard).

    The Clopper-Pearson band of the effective number of outcomes: n divided by how many times larger the variance over
    repetitions is than a binomial one, if it is larger. With a share of 0 or 1, or a single repetition, the variance
    says nothing, and every repetition counts as one outcome.

    Args:
        outcomes: The outcomes of each repetition, of which some may have none.
        nominal: What the share should be, in [0, 1].

    Raises:
        ValueError: if there are none, or the nominal value is not in [0, 1].
    """
    kept = [as_members(row, "outcomes") for row in outcomes if len(row)]
    if not kept:
        raise ValueError("outcomes: expected at least one, got none")
    sizes = np.array([len(row) for row in kept], dtype=np.float64)
    counts = np.array([row.sum() for row in kept], dtype=np.float64)
    n, count = int(sizes.sum()), int(counts.sum())
    share, effective = count / n, float(len(kept))
    if 0 < count < n and len(kept) > 1:
        residuals = counts - share * sizes
        variance = len(kept) / (len(kept) - 1) * float(residuals @ residuals) / n**2
        effective = n / max(1.0, variance / (share * (1 - share) / n))
    return _banded(count, n, effective, nominal)


def fewest_repetitions(level: float) -> int:
    """Repetitions that a rate at a nominal level needs for its band to say anything: about 110 at .05.

    So many that the band of a rate of twice the level lies above the level. With fewer, a test that errs twice as often
    as it should could not be told from one that does as it should.

    Raises:
        ValueError: if the level is not between 0 and 1.
    """
    fraction(level, "level")
    few, enough = 0, 1
    while not _tells(enough, level):
        few, enough = enough, 2 * enough
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if _tells(middle, level) else (middle, enough)
    return enough


def uninformative(repetitions: int, level: float) -> str:
    """Why bands over so few repetitions say nothing of errors at a level; empty where they do."""
    needed = fewest_repetitions(level)
    if repetitions >= needed:
        return ""
    times = "1 repetition" if repetitions == 1 else f"{repetitions} repetitions"
    return (
        f"uninformative: with {times} a test that errs twice as often as its level of {level:g} could not be told from "
        f"one that holds it; at least {needed} are needed"
    )


def _tells(n: int, level: float) -> bool:
    count = min(2 * level, (1 + level) / 2) * n
    return bool(scipy_stats.beta.ppf((1 - BAND) / 2, count, n - count + 1) > level)


def exact_band(count: int, n: int, confidence: float) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share of which `count` of n prompts are seen."""
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(scipy_stats.beta.ppf(tail, count, n - count + 1))
    return low, 1.0 if count == n else float(scipy_stats.beta.ppf(1 - tail, count + 1, n - count))


def constant_band(value: float, units: int, confidence: float, *, lowest: float, highest: float) -> tuple[float, float]:
    """The interval of a mean of bounded values of which all units have the same.

    Where a share q of all has another value, none is seen among n with a probability of (1 - q)^n, so that q is at most
    1 - tail^(1/n), the bound of Clopper and Pearson; the others may be as low or as high as there is. Of truths (0 or
    1) it is their interval.

    Args:
        value: The value.
        units: Number of independent units.
        confidence: Of the two-sided interval.
        lowest: The lowest value that a unit can have, and `highest`, the highest.
    """
    unseen = 1 - ((1 - confidence) / 2) ** (1 / units)
    return value - unseen * (value - lowest), value + unseen * (highest - value)


def _banded(count: int, n: int, effective: float, nominal: float | None) -> Rate:
    if nominal is not None and not 0 <= nominal <= 1:
        raise ValueError(f"nominal: expected a number from 0 to 1, got {nominal}")
    share, tail = count / n, (1 - BAND) / 2
    true, false = share * effective, (1 - share) * effective
    low = 0.0 if count == 0 else float(scipy_stats.beta.ppf(tail, true, false + 1))
    high = 1.0 if count == n else float(scipy_stats.beta.ppf(1 - tail, true + 1, false))
    flag: Literal["", "above", "below"] = ""
    if nominal is not None:
        flag = "above" if low > nominal else "below" if high < nominal else ""
    return Rate(count=count, n=n, value=share, low=low, high=high, nominal=nominal, flag=flag)


@checked
def minimal_detectable(distances: ArrayLike, power: ArrayLike, *, target: Share = POWER) -> float | None:
    """The smallest distance from the null at which the power reaches a target; None if no distance does.

    The power is made monotone (pool adjacent violators), and linear between the distances.

    Args:
        distances: Ascending [D].
        power: Share of rejections at each [D].
        target: The power that is asked for.

    Raises:
        ValueError: if shapes do not match, distances do not ascend, or the target is not between 0 and 1.
    """
    at, rates = as_floats(distances, "distances", dimensions=1), as_floats(power, "power", dimensions=1)
    if at.shape != rates.shape or not (np.diff(at) > 0).all():
        raise ValueError(f"distances: expected {len(rates)} ascending numbers, got {at.tolist()}")
    monotone = np.asarray(optimize.isotonic_regression(rates).x)
    if monotone[-1] < target:
        return None
    first = int(np.argmax(monotone >= target))
    if first == 0:
        return float(at[0])
    below, above = monotone[first - 1], monotone[first]
    return float(at[first - 1] + (target - below) / (above - below) * (at[first] - at[first - 1]))
