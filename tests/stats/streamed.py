"""Scores that do not come all at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class Streamed:
    """Scores that are given in blocks of as many edges as are asked for, and of at most `most`."""

    def __init__(self, array: NDArray[np.floating], most: int) -> None:
        self.array, self.most, self.largest = array, most, 0
        self.shape, self.dtype = array.shape, array.dtype

    def blocks(self, edges_per_block: int) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        self.largest = max(self.largest, edges_per_block)
        step = min(edges_per_block, self.most)
        for start in range(0, self.shape[1], step):
            part = slice(start, min(start + step, self.shape[1]))
            yield part, np.ascontiguousarray(self.array[:, part])
