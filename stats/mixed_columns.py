"""Columns of a table as a mixed model takes them: numbers, or levels of groups; neither with gaps.

Each function takes `where`, which errors begin with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from stats.checks import NO_TEXT, Floats, Integers, is_missing


def as_frame(data: Mapping[str, Any]) -> pl.DataFrame:
    """A mapping of columns as a frame, with null where a label or a number is missing.

    Raises:
        ValueError: if a column has no values, or columns differ in length.
    """
    columns = {name: as_column(name, data[name]) for name in data}
    lengths = {name: len(column) for name, column in columns.items()}
    if len({*lengths.values()}) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"expected columns of one length, got {listed}")
    return pl.DataFrame(columns)


def as_column(name: str, given: Any) -> pl.Series:
    """Values as a column, with null where one is missing; a polars column as it is.

    Whole and other numbers together are numbers. A column of values of several types is one of Python objects, which
    :func:`one_type` refuses where it is used.

    Raises:
        ValueError: if there are no values.
    """
    if isinstance(given, pl.Series):
        return given.alias(name)
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        raise ValueError(f"{name}: expected a column of values, got {given!r}")
    text = getattr(getattr(given, "dtype", None), "kind", "") == "U"
    listed = given.tolist() if hasattr(given, "tolist") else list(given)
    values = [None if is_missing(value) or (text and value in NO_TEXT) else value for value in listed]
    present = [value for value in values if value is not None]
    numbers = {type(value) for value in present} == {int, float}
    try:
        if numbers and any(value != float(value) for value in present):
            raise OverflowError("whole numbers that floating-point numbers can't hold")
        return pl.Series(name, values, dtype=pl.Float64 if numbers else None)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, values, dtype=pl.Object)


def one_type(column: pl.Series, where: str) -> pl.Series:
    """The column, if its values are of one type.

    Raises:
        ValueError: if not.
    """
    if isinstance(column.dtype, pl.Object):
        kinds = sorted({type(value).__name__ for value in column.to_list() if not is_missing(value)})
        raise ValueError(
            f"{where}: expected numbers, or labels of one type, in column {column.name!r}, got {', '.join(kinds)}"
        )
    return column


def is_factor(frame: pl.DataFrame, name: str, where: str) -> bool:
    """Whether a column holds labels (text, categories, booleans), not numbers.

    Raises:
        ValueError: if it is missing or has gaps, or holds times, which could be meant as either.
    """
    dtype = _column(frame, name, where).dtype
    if dtype.is_temporal():
        raise ValueError(
            f"{where}: expected numbers or labels in column {name!r}, got {dtype}: give days or seconds as numbers for "
            f"a trend, or write C({name}) for a level of each"
        )
    return not dtype.is_numeric()


def number_column(frame: pl.DataFrame, name: str, where: str) -> Floats:
    """Values [n] of a column of numbers.

    Raises:
        ValueError: if it is missing, has gaps or infinite values, or holds labels.
    """
    column = _column(frame, name, where)
    if not column.dtype.is_numeric():
        raise ValueError(f"{where}: expected numbers in column {name!r}, got {column.dtype}")
    return column.cast(pl.Float64).to_numpy()


def level_codes(frame: pl.DataFrame, names: Sequence[str], where: str) -> tuple[Integers, tuple[str, ...]]:
    """Level of every row [n], and the labels of the levels that occur.

    Sorted, for a polars Enum in its own order; levels of several columns are their combinations, joined by `:`.

    Raises:
        ValueError: if a column is missing, has gaps, or can't label anything, or there is one level only.
    """
    code = np.zeros(frame.height, dtype=np.int64)
    labels = [""]
    for name in names:
        column = _column(frame, name, where)
        if column.dtype.is_nested():
            raise ValueError(f"{where}: expected labels in column {name!r}, got {column.dtype}")
        if isinstance(column.dtype, pl.Enum):
            present = set(column.unique().to_list())
            levels = [level for level in column.dtype.categories.to_list() if level in present]
        else:
            plain = column.cast(pl.String) if column.dtype == pl.Categorical else column
            levels = sorted(plain.unique().to_list())
        place = {level: i for i, level in enumerate(levels)}
        own = np.array([place[value] for value in column.to_list()], dtype=np.int64)
        joint, code = np.unique(code * len(levels) + own, return_inverse=True)
        labels = [":".join(filter(None, (labels[j // len(levels)], str(levels[j % len(levels)])))) for j in joint]
    if len(labels) < 2:
        raise ValueError(f"{where}: expected at least 2 levels of {':'.join(names)!r}, got {len(labels)}")
    return code.astype(np.int64), tuple(labels)


def _column(frame: pl.DataFrame, name: str, where: str) -> pl.Series:
    if name not in frame.columns:
        raise ValueError(f"{where}: no column {name!r} in the data; it has {', '.join(frame.columns)}")
    column = one_type(frame[name], where)
    missing = column.null_count()
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        missing += int((column.cast(pl.String).str.strip_chars() == "").sum())
    if column.dtype.is_float():
        missing = len(column) - int(np.count_nonzero(np.isfinite(column.to_numpy())))
    if missing:
        raise ValueError(
            f"{where}: expected finite values and no gaps in column {name!r}, got {missing} missing or infinite in "
            f"{len(column)} rows"
        )
    return column
