"""Memory of what compares circuits: set by the size of a block, not by the number of splits or of prompts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from stats import retention_index
from stats.threshold_free import threshold_free_overlap

PROMPTS, EDGES = 40, 150_000
STRATA = np.arange(EDGES) // 300
BLOCK = 2**22
MEGABYTE = 2**20


class Made:
    """Scores [n, E] that are made anew whenever they are read, and so are nowhere in memory."""

    shape = (PROMPTS, EDGES)
    dtype = np.dtype(np.float32)

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def blocks(self, edges_per_block: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        for start in range(0, EDGES, edges_per_block):
            part = slice(start, min(start + edges_per_block, EDGES))
            edge = np.arange(part.start, part.stop)
            size = np.exp(5 * np.sin(edge)) * np.cos(3 * edge)
            noise = np.sin(edge * (1.7 + np.arange(PROMPTS)[:, None]) + self.seed)
            yield part, (size * (1 + 2 * noise)).astype(np.float32)


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.nightly
def test_agreement_without_a_threshold_needs_a_few_blocks() -> None:
    options = {"strata": STRATA, "splits": 5, "replicates": 40, "permutations": 40, "block_bytes": BLOCK}
    # The means of all halves at once would be 790 MB, both models' scores 48 MB.
    assert peak(lambda: threshold_free_overlap(Made(0), Made(1), **options)) < 180 * MEGABYTE


@pytest.mark.nightly
def test_retention_needs_a_few_blocks() -> None:
    options = {"strata": STRATA, "top_k": [50, 300], "splits": 5, "replicates": 40, "block_bytes": BLOCK}
    assert peak(lambda: retention_index(Made(0), Made(1), **options)) < 100 * MEGABYTE
