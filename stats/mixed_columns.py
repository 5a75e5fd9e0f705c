"""Columns of a table as a mixed model takes them: numbers, or levels of groups; neither with gaps.

Each function takes `where`, which errors begin with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from stats.checks import Floats, Integers, is_missing


def as_frame(data: Mapping[str, Any]) -> pl.DataFrame:
    """A mapping of columns as a frame, with null where a label or a number is missing.

    Raises:
        ValueError: if the values of a column are of several types.
    """
    columns = {}
    for name in data:
        values = data[name].tolist() if hasattr(data[name], "tolist") else list(data[name])
        try:
            columns[name] = pl.Series(name, [None if is_missing(value) else value for value in values])
        except (TypeError, pl.exceptions.PolarsError) as error:
            kinds = sorted({type(value).__name__ for value in values if not is_missing(value)})
            raise ValueError(f"{name}: expected values of one type, got {', '.join(kinds)}") from error
    return pl.DataFrame(columns)


def is_factor(frame: pl.DataFrame, name: str, where: str) -> bool:
    """Whether a column holds labels (text, categories, booleans), not numbers.

    Raises:
        ValueError: if it is missing or has gaps.
    """
    return not _column(frame, name, where).dtype.is_numeric()


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
    column = frame[name]
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
