"""Tables of the page, and the run's tables as downloads.

Table markup comes from our own template rather than from great_tables, whose output carries a `<style>` element and
inline styles that the page's content-security policy refuses.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from reports import formats

PLAIN_LIMIT = 150_000
"""Bytes of CSV above which a download is compressed."""
EMBED_LIMIT = 1_000_000
"""Bytes above which a compressed table is not embedded any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column of a page table: its heading, how its values are written and whether they are numbers."""

    label: str
    write: Callable[[Any], str] = str
    numeric: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the page: headings, written cells and a caption."""

    caption: str
    fields: tuple[Field, ...]
    rows: tuple[tuple[str, ...], ...]


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
    return Table(caption=caption, fields=tuple(fields), rows=written)


def from_frame(caption: str, frame: pl.DataFrame, fields: Mapping[str, Field]) -> Table:
    """The named columns of a frame, in the order of `fields`."""
    return build(caption, list(fields.values()), frame.select(list(fields)).rows())


def download(name: str, frame: pl.DataFrame) -> Download:
    """A table as CSV in a `data:` address; compressed (with no time stamp in it) where it is large."""
    content = frame.write_csv().encode("utf-8", "replace")
    file, kind = f"{name}.csv", "text/csv;charset=utf-8"
    if len(content) > PLAIN_LIMIT:
        content, file, kind = gzip.compress(content, compresslevel=9, mtime=0), f"{name}.csv.gz", "application/gzip"
    href = None if len(content) > EMBED_LIMIT else data_address(content, kind)
    return Download(name=name, file=file, rows=frame.height, columns=frame.width, size=len(content), href=href)


def data_address(content: bytes, kind: str) -> str:
    """Bytes as a `data:` address of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _text(value: object) -> str:
    return formats.MISSING if value is None or value == "" else str(value)
