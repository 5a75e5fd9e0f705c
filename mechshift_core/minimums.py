"""The least numbers of prompts, replicates and permutations, for specs, which know nothing else of the statistics."""

from __future__ import annotations

from stats.minimums import (
    MINIMUM_CLUSTERS,
    MINIMUM_PROMPTS,
    TAIL_REPLICATES,
    fewest_permutations,
    fewest_replicates,
    smallest_p,
)

__all__ = [
    "MINIMUM_CLUSTERS",
    "MINIMUM_PROMPTS",
    "TAIL_REPLICATES",
    "fewest_permutations",
    "fewest_replicates",
    "smallest_p",
]
