"""Tables of the page, and the run's tables as downloads.

Table markup comes from our own template rather than from great_tables, whose output carries a `<style>` element and
inline styles that the page's content-security policy refuses.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from reports import formats

PLAIN_LIMIT = 10_000
"""Bytes above which a download is compressed."""
EMBED_LIMIT = 700_000
"""Bytes of all tables embedded in a page together; the largest are left out first."""
DIGITS = 6
"""Significant digits of the numbers in a download: the run directory has them whole, at twice the size."""
ROWS = 40
"""Rows of a table that the page shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column of a page table: its heading, how its values are written and whether they are numbers."""

    label: str
    write: Callable[[Any], str] = str
    numeric: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the page: headings, written cells and a caption; `values` are the cells before they were written."""

    caption: str
    fields: tuple[Field, ...]
    rows: tuple[tuple[str, ...], ...]
    values: tuple[tuple[Any, ...], ...]

    @property
    def shown(self) -> tuple[tuple[str, ...], ...]:
        """The first :data:`ROWS` rows: as the data of a figure no more of them are written."""
        return self.rows[:ROWS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A table as a link: `href` is None where it is too large for the page."""

    name: str
    file: str
    rows: int
    columns: int
    size: int
    href: str | None


def text(label: str) -> Field:
    """A column of text."""
    return Field(label=label, write=_text)


def real(label: str) -> Field:
    """A column of real numbers."""
    return Field(label=label, write=formats.number, numeric=True)


def whole(label: str) -> Field:
    """A column of whole numbers."""
    return Field(label=label, write=formats.count, numeric=True)


def share(label: str) -> Field:
    """A column of proportions."""
    return Field(label=label, write=formats.percent, numeric=True)


def p_values(label: str) -> Field:
    """A column of p-values."""
    return Field(label=label, write=formats.p_value, numeric=True)


def build(caption: str, fields: Sequence[Field], rows: Sequence[Sequence[object]]) -> Table:
    """Write every cell by its column's rule."""
    written = tuple(tuple(column.write(cell) for column, cell in zip(fields, row, strict=True)) for row in rows)
    return Table(caption=caption, fields=tuple(fields), rows=written, values=tuple(map(tuple, rows)))


def from_frame(caption: str, frame: pl.DataFrame, fields: Mapping[str, Field]) -> Table:
    """The named columns of a frame, in the order of `fields`."""
    return build(caption, list(fields.values()), frame.select(list(fields)).rows())


def downloads(frames: Mapping[str, pl.DataFrame]) -> list[Download]:
    """The tables that have rows, by name; those that do not fit into :data:`EMBED_LIMIT` together are not embedded."""
    made = [download(name, frame) for name, frame in sorted(frames.items()) if not frame.is_empty()]
    taken, inside = 0, set()
    for one in sorted(made, key=lambda one: (one.size, one.name)):
        if taken + one.size <= EMBED_LIMIT:
            taken += one.size
            inside.add(one.name)
    return [one if one.name in inside else replace(one, href=None) for one in made]


def download(name: str, frame: pl.DataFrame) -> Download:
    """A table as CSV in a `data:` address, its real numbers to :data:`DIGITS` digits."""
    rounded = frame.with_columns(pl.col(pl.Float64, pl.Float32).round_sig_figs(DIGITS))
    written = rounded.write_csv().encode("utf-8", "replace")
    file, content, href = packed(f"{name}.csv", written, "text/csv;charset=utf-8")
    return Download(name=name, file=file, rows=frame.height, columns=frame.width, size=len(content), href=href)


def packed(file: str, content: bytes, kind: str) -> tuple[str, bytes, str]:
    """Name, content and address of a file: compressed (with no time stamp in it) unless it is small."""
    if len(content) > PLAIN_LIMIT:
        file, content, kind = f"{file}.gz", gzip.compress(content, compresslevel=9, mtime=0), "application/gzip"
    return file, content, data_address(content, kind)


def data_address(content: bytes, kind: str) -> str:
    """Bytes as a `data:` address of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _text(value: object) -> str:
    return formats.MISSING if value is None or value == "" else str(value)
