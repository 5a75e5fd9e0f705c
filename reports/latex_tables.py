"""Tables as LaTeX that fit the text of a one-column article: in the largest type that there is room for.

A table of few rows floats, a long one goes over pages, and one with too many columns stands on its side there. How
wide a column comes out is estimated from its characters; what floats is shrunk by the little that an estimate is wrong.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.latex import escaped
from reports.tables import Table

LONGEST = 30
"""Rows that a floating table may have; a longer one goes over pages."""
TEXT_WIDTH, TEXT_HEIGHT = 345.0, 550.0
"""The text of LaTeX's `article` at 10 points on letter paper, in points; on its side a table has the height."""
SURE = 0.93
"""The share of it that is counted on where nothing shrinks a table that comes out wider than estimated."""
SLACK = 1.5
"""Points that a column of broken lines is wider than estimated, since letters differ in width."""
FLOAT = "mechshiftfloat"
"""The command that says which float a table is: `table` unless a document defines it, as `table*` in two columns."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a table is set.

    Attributes:
        size: Command of the size of type.
        beside: Room on each side of a column, in points.
        each: About the width of a character, in points.
        most: Characters above which a text is broken into lines.
        turned: Whether the table is on its side.
    """

    size: str
    beside: float
    each: float
    most: int
    turned: bool = False


_SIZES = ((r"\small", 4.0, 4.25), (r"\footnotesize", 3.0, 3.75), (r"\scriptsize", 3.0, 3.5))
_BREAKS = (26, 16, 10)
_TRIED = [
    *(Setting(*size, most) for size in _SIZES for most in _BREAKS),
    *(Setting(*size, most, turned=True) for size in _SIZES[1:] for most in _BREAKS),
    Setting(r"\scriptsize", 2.0, 3.5, 10, turned=True),
    Setting(r"\tiny", 2.0, 3.0, 10, turned=True),
]
_NUMBER, _HEADING = 1.05, 1.15
"""Width of a digit, and of a bold letter, against that of other ones."""


def tabled(table: Table, *, label: str) -> str:
    """A table with its caption: a float, or one over pages where it is long.

    Columns with the same value in all rows are said in the caption where there is no room for them.

    Args:
        table: Its cells are written as on the page.
        label: What `\\ref` calls it.
    """
    setting = setting_of(table)
    if setting.turned:
        table = without_constants(table)
        setting = setting_of(table)
    caption = rf"\caption{{{escaped(table.caption)}}}\label{{{label}}}"
    rows = [" & ".join(map(_cell, row)) + r" \\" for row in table.rows]
    if setting.turned:
        lines = [r"\begin{landscape}", *_over_pages(table, setting, caption, rows), r"\end{landscape}"]
    elif len(rows) > LONGEST:
        lines = _over_pages(table, setting, caption, rows)
    else:
        lines = _float(table, setting, caption, rows)
    return "\n".join([*lines, ""])


def setting_of(table: Table) -> Setting:
    """The first of all settings, from large to small, in which a table fits; the smallest where none does."""
    return next((one for one in _TRIED if width_of(table, one) <= _room(table, one)), _TRIED[-1])


def width_of(table: Table, setting: Setting) -> float:
    """About how wide a table is, in points."""
    return setting.each * sum(_widths(table, setting.most)) + 2 * setting.beside * (len(table.fields) - 1)


def without_constants(table: Table) -> Table:
    """A table without the columns that say the same in every row; the caption says it."""
    same = [at for at in range(len(table.fields)) if len(table.rows) > 1 and len({row[at] for row in table.rows}) == 1]
    if not same or len(same) == len(table.fields):
        return table
    said = "; ".join(f"{table.fields[at].label}: {table.rows[0][at]}" for at in same)
    kept = [at for at in range(len(table.fields)) if at not in same]
    return replace(
        table,
        caption=f"{table.caption.rstrip('.')}. In every row {said}.",
        fields=tuple(table.fields[at] for at in kept),
        rows=tuple(tuple(row[at] for at in kept) for row in table.rows),
        values=tuple(tuple(row[at] for at in kept) for row in table.values),
    )


def _room(table: Table, setting: Setting) -> float:
    if setting.turned:
        return SURE * TEXT_HEIGHT
    return TEXT_WIDTH * (SURE if len(table.rows) > LONGEST else 1.0)


def _float(table: Table, setting: Setting, caption: str, rows: Sequence[str]) -> list[str]:
    return [
        rf"\providecommand{{\{FLOAT}}}{{table}}",
        rf"\begin{{\{FLOAT}}}[htbp]",
        rf"\centering{setting.size}\setlength{{\tabcolsep}}{{{setting.beside:g}pt}}",
        caption,
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{_columns(table, setting)}}}",
        *(r"\toprule", _head(table, setting.most), r"\midrule", *rows, r"\bottomrule"),
        r"\end{tabular}}",
        rf"\end{{\{FLOAT}}}",
    ]


def _over_pages(table: Table, setting: Setting, caption: str, rows: Sequence[str]) -> list[str]:
    head = _head(table, setting.most)
    return [
        rf"{{{setting.size}\setlength{{\tabcolsep}}{{{setting.beside:g}pt}}",
        rf"\begin{{longtable}}{{{_columns(table, setting)}}}",
        rf"{caption}\\",
        *(r"\toprule", head, r"\midrule", r"\endfirsthead"),
        *(r"\toprule", head, r"\midrule", r"\endhead"),
        *(r"\midrule", rf"\multicolumn{{{len(table.fields)}}}{{r}}{{continued}} \\", r"\endfoot"),
        *(r"\bottomrule", r"\endlastfoot"),
        *rows,
        r"\end{longtable}}",
    ]


def _widths(table: Table, most: int) -> list[float]:
    """Width of each column, in characters: as its cells are, or where they are broken into lines, as their words."""
    return [
        max(_text_width(table, at, most), _HEADING * _longest_word(field.label))
        for at, field in enumerate(table.fields)
    ]


def _text_width(table: Table, at: int, most: int) -> float:
    longest = max((len(row[at]) for row in table.rows), default=0)
    if table.fields[at].numeric:
        return _NUMBER * longest
    if longest <= most:
        return longest
    words = max((_longest_word(row[at]) for row in table.rows), default=0)
    return max(words, most, min(2 * most, longest // 4))


def _longest_word(text: str) -> int:
    return max(map(len, text.split(" ")))


def _head(table: Table, most: int) -> str:
    """The headings, in as many lines as their columns are narrow."""
    cells = []
    for at, field in enumerate(table.fields):
        width = max(int(_text_width(table, at, most)), _longest_word(field.label), 1)
        lines = textwrap.wrap(field.label, width, break_long_words=False, break_on_hyphens=False) or [""]
        inner = r" \\ ".join(rf"\textbf{{{escaped(line)}}}" for line in lines)
        side = "r" if field.numeric else "l"
        cells.append(inner if len(lines) == 1 else rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{inner}\end{{tabular}}")
    return " & ".join(cells) + r" \\"


def _columns(table: Table, setting: Setting) -> str:
    """How columns are set, one a line: numbers to the right, long texts broken into lines."""
    columns = []
    for at, (field, width) in enumerate(zip(table.fields, _widths(table, setting.most), strict=True)):
        longest = max((len(row[at]) for row in table.rows), default=0)
        if field.numeric or longest <= setting.most:
            columns.append("r" if field.numeric else "l")
        else:
            columns.append(rf">{{\raggedright\arraybackslash}}p{{{setting.each * width + SLACK:.1f}pt}}")
    return "\n".join(["@{}", *columns, "@{}"])


def _cell(text: str) -> str:
    """A cell; a bracket or a star would be taken for an option of the end of the row before."""
    return ("{}" if text[:1] in ("[", "*") else "") + escaped(text)
