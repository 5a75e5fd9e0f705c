"""The least numbers of replicates and permutations, for specs, which know nothing else of the statistics."""

from __future__ import annotations

from stats.minimums import TAIL_REPLICATES, fewest_permutations, fewest_replicates, smallest_p

__all__ = ["TAIL_REPLICATES", "fewest_permutations", "fewest_replicates", "smallest_p"]
