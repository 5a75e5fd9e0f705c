"""Checks of arguments, shared by the package: every error says where, what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Booleans: TypeAlias = NDArray[np.bool_]
Scores: TypeAlias = NDArray[np.floating[Any]]
ROUNDING = 1e-12
"""Relative difference that sums of many numbers can have between two processors; what differs by less is the same."""
BLOCK_NUMBERS = 4_000_000
"""Most numbers of a block of draws that are made at once."""
SAME = 1e-13
"""Single numbers that differ by less than this part of the largest are the same but for rounding.

Less than :data:`ROUNDING`, since values around 10^12 that vary by 1 do vary."""
NO_TEXT = ("nan", "NaT", "<NA>")
"""What numpy makes of a missing value when it turns labels into text: `np.array(["a", np.nan])` holds "nan"."""


def as_scores(values: ArrayLike, name: str, *, dimensions: int | None = None) -> Scores:
    """`values` as finite floating-point numbers; float32 stays float32, anything else becomes float64.

    Raises:
        ValueError: if they have another number of dimensions, are empty, or are not all finite.
    """
    masked = int(np.count_nonzero(np.ma.getmaskarray(values))) if isinstance(values, np.ma.MaskedArray) else 0
    if masked:
        raise ValueError(f"{name}: expected finite numbers, got {masked} masked of {np.size(values)}")
    array = np.asarray(values)
    if array.dtype.kind not in "biufO":
        raise ValueError(f"{name}: expected numbers, got {array.dtype}")
    if array.dtype not in (np.float32, np.float64):
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            kinds = sorted({type(value).__name__ for value in array.ravel().tolist()})
            raise ValueError(f"{name}: expected numbers, got values of {', '.join(kinds)}") from None
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


def varies(values: Floats) -> bool:
    """Whether values differ by more than rounding: what does not has no spread that a test could rest on."""
    return bool(np.ptp(values) > SAME * np.abs(values).max())


def codes(labels: ArrayLike | Sequence[object], name: str, *, length: int) -> tuple[Integers, int]:
    """Labels as integers 0..groups-1 in sorted order of the labels, and the number of groups.

    Raises:
        ValueError: if there are not `length` labels, some are missing, or they can't be ordered.
    """
    array = known_labels(labels, name)
    if array.shape != (length,):
        raise ValueError(f"{name}: expected {length} labels, one for each value, got shape {array.shape}")
    if isinstance(labels, list | tuple):
        array = _as_given(labels, array)
    try:
        found, inverse = np.unique(array, return_inverse=True)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in array.tolist()})
        raise ValueError(f"{name}: expected labels of one type, got {', '.join(kinds)}") from None
    return inverse.astype(np.int64), len(found)


def _as_given(labels: Sequence[object], array: NDArray[Any]) -> NDArray[Any]:
    """The array, or the labels as they are where numpy may have made two the same: 1 and "1", or large numbers."""
    made_text = array.dtype.kind in "US" and not all(isinstance(label, str | bytes) for label in labels)
    rounded = array.dtype.kind == "f" and any(
        isinstance(label, int | np.integer) and int(label) != float(label) for label in labels
    )
    return np.array(labels, dtype=object) if made_text or rounded else array


def known_labels(labels: ArrayLike | Sequence[object], name: str) -> NDArray[Any]:
    """Labels as an array, none of them missing: None, NaN, NaT, empty text, or masked.

    A missing label is no group of its own: units of which it is not known which group they are of would count as one.

    Raises:
        ValueError: if some are missing, with their number.
    """
    # What numpy would make text of ("nan"), it must see as it is.
    raw = np.asarray(labels, dtype=object) if isinstance(labels, list | tuple) else np.asarray(labels)
    array = np.asarray(labels)
    missing = np.ma.getmaskarray(labels) if isinstance(labels, np.ma.MaskedArray) else np.zeros(raw.shape, dtype=bool)
    if raw.dtype.kind in "fc":
        missing = missing | ~np.isfinite(raw)
    elif raw.dtype.kind in "mM":
        missing = missing | np.isnat(raw)
    elif raw.dtype.kind in "OUST":
        missing = missing | np.array([is_missing(label) for label in raw.ravel().tolist()], dtype=bool).reshape(
            raw.shape
        )
        if raw.dtype.kind == "U":
            missing = missing | np.isin(raw, NO_TEXT)
    count = int(np.count_nonzero(missing))
    if count:
        raise ValueError(f"{name}: expected a label for each value, got {count} missing of {raw.size}")
    return array


def is_missing(label: object) -> bool:
    """Whether a label says nothing: None, NaN or infinite, NaT, masked, or text without a letter."""
    if label is None or label is np.ma.masked or (isinstance(label, str | bytes) and not label.strip()):
        return True
    if isinstance(label, np.str_) and label in NO_TEXT:
        return True
    if isinstance(label, float | np.floating):
        return not math.isfinite(label)
    try:
        return bool(label != label)
    except (TypeError, ValueError, ArithmeticError):  # pandas.NA says neither, a signalling NaN nothing
        return True


def as_members(values: ArrayLike, name: str) -> Booleans:
    """Memberships or outcomes as booleans; 0 and 1 will do.

    Raises:
        ValueError: if there is anything else, whose truth numpy would guess (that of NaN is true).
    """
    array = known_labels(values, name)
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name}: expected true or false for each, got {array.dtype} of other values")
    return array.astype(np.bool_)


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


def ties(ordered: Floats) -> tuple[Integers, Integers]:
    """Where each group of values that are the same begins among ordered ones, and how many it has, [groups] each."""
    starts = np.flatnonzero(np.r_[True, np.diff(ordered) > SAME * np.abs(ordered).max()])
    return starts, np.diff(np.r_[starts, len(ordered)])
