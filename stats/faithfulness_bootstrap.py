"""Percentile bootstrap of the faithfulness of circuits, CPR and CMD, over independent examples.

Every replicate draws examples with replacement and is the ratio of means of what was drawn, numerator and denominator
together. With few examples the interval is too short: of a nominal .95 it covered .69 in the simulations that
:mod:`stats.faithfulness` names, where the linearised interval of that module covered .86. It is here for comparison
with work that reports bootstrap intervals, beside the other and not in its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, as_floats
from stats.faithfulness import area_weights
from stats.minimums import MINIMUM_CLUSTERS, enough_replicates
from stats.options import Count, Seed, Share, checked
from stats.unit_weights import resampling_weights

Ends = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaithfulnessBootstrap:
    """Ends of percentile intervals; None where there are too few examples, or a replicate has no effect to divide by.

    Attributes:
        faithfulness: Of each circuit [sizes].
        cpr: Of the circuit performance ratio; None without fractions, too (`cmd` alike).
    """

    faithfulness: tuple[Ends | None, ...]
    cpr: Ends | None
    cmd: Ends | None
    replicates: int


@checked
def bootstrap_faithfulness(
    circuits: ArrayLike,
    *,
    full: ArrayLike,
    empty: ArrayLike,
    fractions: ArrayLike | None = None,
    confidence: Share = 0.95,
    replicates: Count = 2000,
    seed: Seed = 0,
) -> FaithfulnessBootstrap:
    """Percentile intervals over examples.

    Args:
        circuits: Metric with only a circuit intact, [sizes, examples].
        full: Metric of the clean run [examples].
        empty: Metric of the empty circuit [examples].
        fractions: Size of each circuit as a fraction of all edges [sizes], rising, above 0 and up to 1; None where the
            circuits are no curve.
        confidence: Of the two-sided intervals.
        replicates: Number of bootstrap replicates, at least 2 / (1 - confidence).
        seed: Seed of the draws.

    Raises:
        ValueError: if shapes do not match, a metric is not finite, or there are too few replicates.
    """
    metrics = as_floats(circuits, "circuits", dimensions=2)
    whole, base = (as_floats(one, name, dimensions=1) for one, name in ((full, "full"), (empty, "empty")))
    if not len(whole) == len(base) == metrics.shape[1]:
        raise ValueError(f"expected {metrics.shape[1]} examples in full and empty, got {len(whole)} and {len(base)}")
    enough_replicates(replicates, confidence)
    none = FaithfulnessBootstrap(faithfulness=(None,) * len(metrics), cpr=None, cmd=None, replicates=replicates)
    if len(whole) < MINIMUM_CLUSTERS:
        return none
    weights = resampling_weights(len(whole), replicates, seed=seed)
    effect = weights @ (whole - base)
    if (effect * (whole - base).sum() <= 0).any():
        return none
    drawn: Floats = (weights @ (metrics - base).T) / effect[:, None]
    cpr = cmd = None
    if fractions is not None:
        sizes = as_floats(fractions, "fractions", dimensions=1)
        before, inner, behind = area_weights(sizes)
        cpr = _ends(drawn @ inner + behind, confidence)
        cmd = _ends(np.abs(1 - drawn) @ inner + before, confidence)
    return FaithfulnessBootstrap(
        faithfulness=tuple(_ends(row, confidence) for row in drawn.T), cpr=cpr, cmd=cmd, replicates=replicates
    )


def _ends(values: Floats, confidence: float) -> Ends:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
