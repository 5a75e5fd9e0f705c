"""Checks of arguments, shared by the package: every error says where, what was expected and what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Booleans: TypeAlias = NDArray[np.bool_]
Scores: TypeAlias = NDArray[np.floating[Any]]
BLOCK_NUMBERS = 4_000_000
"""Most numbers of a block of draws that are made at once."""


def as_scores(values: ArrayLike, name: str, *, dimensions: int | None = None) -> Scores:
    """`values` as finite floating-point numbers; float32 stays float32, anything else becomes float64.

    Raises:
        ValueError: if they have another number of dimensions, are empty, or are not all finite.
    """
    array = np.asarray(values)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(f"{name}: expected {dimensions} dimension(s), got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name}: expected at least one value, got shape {array.shape}")
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise ValueError(f"{name}: expected finite numbers, got {bad} NaN or infinite of {array.size}")
    return array


def as_floats(values: ArrayLike, name: str, *, dimensions: int | None = None) -> Floats:
    """Like :func:`as_scores`, always float64."""
    return as_scores(values, name, dimensions=dimensions).astype(np.float64, copy=False)


def codes(labels: ArrayLike | Sequence[object], name: str, *, length: int) -> tuple[Integers, int]:
    """Labels as integers 0..groups-1 in sorted order of the labels, and the number of groups.

    Raises:
        ValueError: if there are not `length` labels.
    """
    array = np.asarray(labels)
    if array.shape != (length,):
        raise ValueError(f"{name}: expected {length} labels, one for each value, got shape {array.shape}")
    found, inverse = np.unique(array, return_inverse=True)
    return inverse.astype(np.int64), len(found)


def positive(value: int, name: str) -> int:
    """`value` if it is at least one.

    Raises:
        ValueError: if not.
    """
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")
    return int(value)


def fraction(value: float, name: str) -> float:
    """`value` if it lies strictly between 0 and 1.

    Raises:
        ValueError: if not.
    """
    if not 0 < value < 1:
        raise ValueError(f"{name}: expected a number between 0 and 1, got {value}")
    return float(value)


def block_sizes(draws: int, numbers: int) -> list[int]:
    """Sizes of the blocks in which `draws` of so many `numbers` each are made: at most `BLOCK_NUMBERS` in a block."""
    step = max(1, BLOCK_NUMBERS // numbers)
    return [min(step, draws - start) for start in range(0, draws, step)]
