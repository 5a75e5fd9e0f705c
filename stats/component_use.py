"""Use: how much of what a model's own activations restore those of another model restore in it, over many components.

Component c has two effects on each prompt i: a_ci, what the model's own clean activations restore of the metric in its
run on the corrupted prompt, and b_ci, what the other model's restore. Use is the least-squares slope of the mean
effects b_c on a_c through the origin,

    use = sum_c a_c b_c / sum_c a_c^2,

the mean of the components' own ratios b_c / a_c with weights a_c^2. So components without an effect of their own, whose
ratio means nothing, hardly count, and those that work against the answer count like those that work for it (in a plain
ratio of sums they would cancel). Both sums have the products of different prompts only (a U-statistic),

    sum_c sum_{i != j} a_ci b_cj,

so that the noise of the means, which squares would add to the denominator, is in neither.

Interval. Estimate +- t x the standard error of the delete-one jackknife over prompts (or templates), with units - 1
degrees of freedom, as for any ratio of means (:mod:`stats.faithfulness`). By the first order of the error, which leaves
out how much a prompt of large effects draws the ratio to its own, tests of a true value rejected in .06 to .10 of data
sets of 12 prompts at .05, in .05 to .08 of 30 and .05 to .065 of 100; by the jackknife in .04 to .06. Use is undefined
unless the interval of the denominator, to first order, lies above 0. Where no component has an effect the denominator
is a degenerate U-statistic around 0, whose spread that standard error overstates: then use came out as defined in fewer
than 1 of 100 simulated data sets (1 to 100 components, 8 to 60 prompts).

Both directions. Use depends on scale: where one model writes everything twice as large and is otherwise the same, use
is 2 into the one model and 1/2 into the other. Their arithmetic mean is then 1.25, as if each served better than the
own, and for no factor is it below 1. The geometric mean is 1: a factor between the models cancels, whatever it is. It
needs two positive numbers, so that it is undefined unless the interval of each use lies above 0. To first order its
error is that of the mean of the logarithms, g / 2 (e_1 / u_1 + e_2 / u_2) with e the errors of both uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import SAME, Floats, as_floats
from stats.faithfulness import ExampleUnits, RatioEstimate
from stats.options import Share, checked

METHOD = "slope of mean effects through the origin, from products of different prompts; t interval, jackknife"


@checked
def pooled_use(
    cross: ArrayLike,
    own: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    confidence: Share = 0.95,
) -> RatioEstimate:
    """How much of the own effects the other model's activations bring, over all components; see the module.

    1: as much as the own ones, 0: nothing; below 0 they work the other way.

    Args:
        cross: Effects of the other model's activations, [components, examples].
        own: Effects of the model's own, alike.
        cluster: Label of each example's independent unit [examples]; None if every example is one.
        confidence: Of the two-sided interval.

    Returns:
        The estimate; its influence is of the units in the order of their sorted labels. It is undefined with fewer
        than two units.

    Raises:
        ValueError: if shapes do not match or an effect is not finite.
    """
    b, a = as_floats(cross, "cross", dimensions=2), as_floats(own, "own", dimensions=2)
    if a.shape != b.shape:
        raise ValueError(f"own: expected as many effects as in cross, {list(b.shape)}, got {list(a.shape)}")
    units = ExampleUnits.of(a.shape[1], cluster, confidence)
    if units.clusters < 2:
        reason = "there is one independent unit, and products of different ones are taken"
        return units.estimate(0.0, np.zeros(units.clusters), reason)
    a, b = units.summed(a), units.summed(b)
    square, of_square = _products(a, a)
    product, of_product = _products(a, b)
    largest = float(np.square(np.abs(a).sum(axis=1)).sum())
    reason = _no_denominator(units, square, of_square, SAME * largest)
    if reason:
        return units.estimate(0.0, np.zeros(units.clusters), reason)
    value = product / square
    influence = of_product - value * of_square
    # The same ratio in every unit leaves only rounding.
    if np.abs(influence).max() <= SAME * (np.abs(of_product).max() + abs(value) * np.abs(of_square).max()):
        influence = np.zeros_like(influence)
    return units.estimate(float(value), units.left_out(influence, square, of_square))


def both_ways(uses: Mapping[str, RatioEstimate]) -> tuple[float, dict[str, float]] | str:
    """The geometric mean of the uses in both directions; see the module.

    Args:
        uses: Direction -> use in it.

    Returns:
        The mean, and by how much it changes with each use; or why there is none.
    """
    known = {side: one.estimate for side, one in uses.items() if one.estimate is not None}
    lows = {side: use if uses[side].low is None else uses[side].low for side, use in known.items()}
    unclear = [side for side, use in known.items() if min(use, lows[side] or 0.0) <= 0]
    if unclear or len(known) < len(uses):
        lacking = [
            f"into the model {side}: " + (f"use {known[side]:.3g} does not clear 0" if side in known else one.message)
            for side, one in uses.items()
            if side in unclear or side not in known
        ]
        return "; ".join(lacking) + ", as each has to for a geometric mean" * bool(unclear)
    mean = math.exp(sum(map(math.log, known.values())) / len(known))
    return mean, {side: mean / (len(known) * use) for side, use in known.items()}


def _products(a: Floats, b: Floats) -> tuple[float, Floats]:
    """Sum over components and pairs of different units of a_ci b_cj, and what each unit adds to its error [units]."""
    of_a, of_b = a.sum(axis=1, keepdims=True), b.sum(axis=1, keepdims=True)
    by_unit = (a * (of_b - b) + b * (of_a - a)).sum(axis=0)
    return float(by_unit.sum()) / 2, by_unit


def _no_denominator(units: ExampleUnits, square: float, of_square: Floats, rounding: float) -> str:
    """Why nothing can be divided by the sum of squares; empty if it can."""
    name = "what the own activations restore"
    if abs(square) <= rounding:
        return f"{name} is 0 over all components"
    error = float(np.linalg.norm(units.centred(of_square - of_square.mean())))
    if square < 0 and error == 0:  # as with two units
        return f"{name} does not clear 0"
    if square < 0 or (units.enough and square <= units.quantile * error):
        return f"{name} does not clear 0: the sum of squared mean effects is {square / error:.2g} standard errors"
    return ""
