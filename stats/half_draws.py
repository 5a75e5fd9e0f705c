"""What measures on halves of the prompts draw: units, and pairs of halves for the estimate and for its replicates."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from stats.checks import Booleans, Integers
from stats.minimums import MINIMUM_CLUSTERS, MINIMUM_PROMPTS
from stats.seeding import generator
from stats.sized_halves import sized_halves
from stats.split_half import Prompts, both_halves, draw_halves
from stats.unit_weights import cluster_weights, resampling_weights

Units: TypeAlias = Literal["prompts", "templates"]


def counted_units(chosen: Prompts, units: Units) -> tuple[int, str]:
    """How many units the rows are of, and why that is too few for an interval; empty where it is not."""
    n = len(chosen.rows)
    count = len(np.unique(chosen.templates[chosen.rows])) if units == "templates" else n
    if units == "templates" and count < MINIMUM_CLUSTERS:
        return count, f"{count} templates: fewer than {MINIMUM_CLUSTERS}, no interval"
    return count, f"{n} prompts: fewer than {MINIMUM_PROMPTS}, no interval" if n < MINIMUM_PROMPTS else ""


def drawn_examples(chosen: Prompts, replicates: int, seed: int, units: Units) -> Integers:
    """How often each example is drawn in each replicate [R, total]; templates with all of their prompts."""
    if units == "templates":
        return cluster_weights(chosen.templates, replicates, seed=seed)
    return resampling_weights(chosen.total, replicates, seed=seed)


def observed_pairs(chosen: Prompts, splits: int, seed: int, half_size: int | None) -> tuple[Booleans, Booleans]:
    """Whether a row is in the first and the second half [splits, n], or in sets of a given size.

    Raises:
        ValueError: if there are fewer than two rows, or two times the size.
    """
    if half_size is None:
        first = both_halves(chosen, splits, seed)
        return first, ~first
    return sized_halves(chosen, splits, generator(seed, "split halves"), half_size)


def resampled_pairs(chosen: Prompts, splits: int, seed: int, half_size: int | None) -> tuple[Booleans, Booleans]:
    """The same of the replicates' inner splits; a half may be empty where its size is not given."""
    rng = generator(seed, "split halves of replicates")
    if half_size is None:
        first = draw_halves(chosen, splits, rng)
        return first, ~first
    return sized_halves(chosen, splits, rng, half_size)
