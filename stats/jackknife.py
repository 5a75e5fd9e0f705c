"""Jackknife of an index of many means: what each unit, and each pair of units, contributes to its error.

The delete-one jackknife counts what pairs of units add twice (Efron & Stein 1981, Annals of Statistics 9:586). In an
index of squares that is much of the error: where most components do nothing, their squared means are noise of pairs
alone. The delete-two values say how much it is (Efron 1982, The jackknife, the bootstrap and other resampling plans,
section 4.4), and three quarters of it are taken off: with all of it, tests of skewed or very noisy effects err a little
too often (60 prompts, noise twice as large after: .073 at .05, with three quarters .065, without .015).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from stats.checks import ROUNDING, Floats, Integers
from stats.minimums import MINIMUM_CLUSTERS
from stats.seeding import generator

TAKEN_OFF = 0.75
"""Part of the variance by pairs of units, which is counted twice, that is taken off."""
PAIRS = 1000
"""Most pairs of units that are left out; of more, so many are drawn."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Jackknifed:
    """An estimate with its error by units (prompts, or templates with all of theirs).

    Attributes:
        estimate: The estimate; None where it has none, `message` says why.
        units: Number of units.
        deviations: What each unit contributes to the error [units]; the sum of squares is the delete-one variance.
            Empty below five units.
        pairs: What pairs of units add to it beyond what each does [pairs]; empty where they can't be left out.
    """

    estimate: float | None
    units: int
    deviations: Floats = field(default_factory=lambda: np.empty(0))
    pairs: Floats = field(default_factory=lambda: np.empty(0))
    message: str = ""

    @property
    def influence(self) -> Floats | None:
        """The units' contributions [units], so that the sum of squares is the variance; None if it is not known."""
        if self.estimate is None or not len(self.deviations):
            return None
        return self.deviations * _shrunk(_once(self.deviations), _twice(self.pairs))


@dataclass(frozen=True, eq=False, slots=True)
class Shift:
    """After minus before, with what the units of each contribute, as :attr:`Jackknifed.influence`; None if unknown."""

    estimate: float
    before: Floats | None
    after: Floats | None


def jackknife(value: Callable[[Integers, Integers], Floats], units: int, *, least: int) -> Jackknifed:
    """An index, without each unit, and without pairs of units.

    Args:
        value: Units to leave out, two arrays of the same shape [k] (-1: none) -> the index without them [k].
        units: Number of units, at least `least`.
        least: Fewest units that the index can be computed from.
    """
    none = np.array([-1])
    whole = float(value(none, none)[0])
    if units < max(MINIMUM_CLUSTERS, least + 1):
        return Jackknifed(estimate=whole, units=units)
    every = np.arange(units)
    without = value(every, np.full(units, -1))
    deviations = (units - 1) / np.sqrt(units * (units - 1)) * (without.mean() - without)
    if units - 2 < least:
        return Jackknifed(estimate=whole, units=units, deviations=_rounded(deviations, units))
    first, second = _pairs(units)
    both = value(first, second)
    joint = units * whole - (units - 1) * (without[first] + without[second]) + (units - 2) * both
    return Jackknifed(estimate=whole, units=units, deviations=_rounded(deviations, units), pairs=joint)


def shift(before: Jackknifed, after: Jackknifed, *, paired: bool) -> Shift:
    """After minus before.

    Args:
        before: The index of the model before, with an estimate.
        after: The same of the model after.
        paired: Whether the units of both are the same, in the same order.

    Raises:
        ValueError: if one has no estimate.
    """
    if before.estimate is None or after.estimate is None:
        raise ValueError(f"expected two estimates, got {before.message or 'one'} and {after.message or 'one'}")
    change = after.estimate - before.estimate
    found = 0.0 if abs(change) <= ROUNDING * max(before.units, after.units) else change
    if not (len(before.deviations) and len(after.deviations)):
        return Shift(found, None, None)
    if not paired:
        return Shift(found, -_known(before), _known(after))
    difference = _rounded(after.deviations - before.deviations, after.units)
    joint = after.pairs - before.pairs if len(after.pairs) == len(before.pairs) else np.empty(0)
    shrunk = _shrunk(_once(difference), _twice(joint))
    return Shift(found, -before.deviations * shrunk, difference * shrunk + before.deviations * shrunk)


def _known(one: Jackknifed) -> Floats:
    influence = one.influence
    assert influence is not None
    return influence


def _once(deviations: Floats) -> float:
    return float(deviations @ deviations)


def _twice(pairs: Floats) -> float:
    """The variance of what pairs of units add."""
    found = pairs[np.isfinite(pairs)]
    return float(np.square(found - found.mean()).mean() / 2) if len(found) > 1 else 0.0


def _shrunk(once: float, twice: float) -> float:
    """Factor of the standard error: at least half of the variance is left, all that pairs can account for."""
    return float(np.sqrt(max(once - TAKEN_OFF * twice, once / 2) / once)) if once > 0 else 1.0


def _rounded(deviations: Floats, units: int) -> Floats:
    """Deviations without what rounding leaves."""
    return np.where(np.abs(deviations) <= ROUNDING * units, 0.0, deviations)


def _pairs(units: int) -> tuple[Integers, Integers]:
    """Pairs of units, the same for every index of so many."""
    first, second = np.triu_indices(units, 1)
    if len(first) <= PAIRS:
        return first, second
    kept = generator(0, "pairs of units", units).choice(len(first), PAIRS, replace=False)
    return first[kept], second[kept]
