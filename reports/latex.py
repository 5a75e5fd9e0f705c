"""Text and tables as LaTeX: pure ASCII that plain pdflatex compiles whatever the text is."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence

from reports.tables import Table
from reports.templating import visible

LONGEST = 30
"""Rows that a floating table may have; a longer one goes over pages."""
WIDE = 26
"""Characters above which a column of text is broken into lines."""
ROOM = 470.0
"""Width that a table over pages should keep to, in points; one that floats is shrunk to what there is."""
_SIZES = ((r"\scriptsize", 3, 3.7), (r"\tiny", 2, 3.0))
"""Sizes of type of a table over pages with the room beside columns and about the width of a character, in points."""

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\ensuremath{<}", ">": r"\ensuremath{>}",
    "|": r"\textbar{}", '"': r"\texttt{\char34}", "`": r"\textasciigrave{}", "'": "'", "\n": " ", "\t": " ",
}  # fmt: skip
_APART = "\u2060"
"""Between hyphens, which are no dash; no shown text holds it."""
_TEXT = {
    "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'", _APART: "{}",
    "\N{NO-BREAK SPACE}": "~", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}",
    "Ø": r"\O{}", "å": r"\aa{}", "Å": r"\AA{}", "ł": r"\l{}", "Ł": r"\L{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ı": r"\i{}",
    "§": r"\S{}", "¶": r"\P{}", "©": r"\copyright{}", "£": r"\pounds{}",
}  # fmt: skip
_MATHS = {
    "−": "-", "×": r"\times", "±": r"\pm", "·": r"\cdot", "÷": r"\div", "→": r"\to", "←": r"\leftarrow",
    "↔": r"\leftrightarrow", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "≈": r"\approx", "∞": r"\infty", "∅": r"\emptyset",
    "∈": r"\in", "∑": r"\sum", "√": r"\surd", "°": r"^\circ", "⟨": r"\langle", "⟩": r"\rangle", "∪": r"\cup",
    "∩": r"\cap", "‖": r"\Vert", "«": r"\ll", "»": r"\gg",
}  # fmt: skip
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ",
        "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon varphi "
        "chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(),
        strict=True,
    )
)
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0304": "=", "\u0307": ".",
            "\u0306": "u", "\u030c": "v", "\u030b": "H", "\u0327": "c"}  # fmt: skip
_RAISED = dict(zip("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹", "-+0123456789", strict=True))
_RAISED_RUN = re.compile(f"[{''.join(_RAISED)}]+")


def escaped(text: str) -> str:
    """A text that LaTeX shows as it is; what plain pdflatex has no sign for is named by its code point.

    Control characters become visible, as on the page. The packages that it needs are those of :data:`PREAMBLE`.
    """
    shown = re.sub("-(?=-)", f"-{_APART}", visible(text))
    parts, last = [], 0
    for run in _RAISED_RUN.finditer(shown):
        raised = "".join(_RAISED[one] for one in run[0])
        parts += [*map(_sign, shown[last : run.start()]), rf"\ensuremath{{^{{{raised}}}}}"]
        last = run.end()
    return "".join((*parts, *map(_sign, shown[last:])))


PREAMBLE = r"\usepackage{array,booktabs,graphicx,longtable,textcomp}" "\n"
"""What a document needs before it reads a table or a text of ours."""


def tabled(table: Table, *, label: str) -> str:
    """A table with its caption: a float that is shrunk to the width of the text, or one over pages where it is long.

    Args:
        table: Its cells are written as on the page.
        label: What `\\ref` calls it.
    """
    caption = rf"\caption{{{escaped(table.caption)}}}\label{{{label}}}"
    rows = [" & ".join(map(_cell, row)) + r" \\" for row in table.rows]
    if len(rows) > LONGEST:
        return "\n".join(_over_pages(table, caption, rows))
    start = rf"\begin{{tabular}}{{{_columns(table, WIDE, 4.4)}}}"
    inner = [start, r"\toprule", _head(table, WIDE), r"\midrule", *rows, r"\bottomrule", r"\end{tabular}}"]
    fit = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    return "\n".join([r"\begin{table}[htbp]", r"\centering\small", caption, fit, *inner, r"\end{table}", ""])


def _over_pages(table: Table, caption: str, rows: Sequence[str]) -> list[str]:
    """A table over pages, in the largest type and the widest columns of text that there is room for."""
    tried = [(size, beside, each, most) for size, beside, each in _SIZES for most in (WIDE, 16, 10)]
    wide = (sum(_widths(table, most)) * each + 2 * beside * len(table.fields) for _, beside, each, most in tried)
    size, beside, each, most = next((one for one, width in zip(tried, wide, strict=True) if width <= ROOM), tried[-1])
    head = _head(table, most)
    return [
        rf"{{{size}\setlength{{\tabcolsep}}{{{beside}pt}}",
        rf"\begin{{longtable}}{{{_columns(table, most, each)}}}",
        rf"{caption}\\",
        *(r"\toprule", head, r"\midrule", r"\endfirsthead"),
        *(r"\toprule", head, r"\midrule", r"\endhead"),
        *(r"\midrule", rf"\multicolumn{{{len(table.fields)}}}{{r}}{{continued}} \\", r"\endfoot"),
        *(r"\bottomrule", r"\endlastfoot"),
        *rows,
        r"\end{longtable}}",
        "",
    ]


def _widths(table: Table, most: int) -> list[int]:
    """Characters of each column: its longest cell or word of its heading, but of text no more than `most`."""
    return [
        max(
            min(most, _longest(table, at)) if not field.numeric else _longest(table, at),
            *(len(word) for word in field.label.split() or [""]),
        )
        for at, field in enumerate(table.fields)
    ]


def _longest(table: Table, at: int) -> int:
    return max((len(row[at]) for row in table.rows), default=0)


def _head(table: Table, most: int) -> str:
    """The headings, in as many lines as their columns are narrow."""
    cells = []
    for field, width in zip(table.fields, _widths(table, most), strict=True):
        lines = textwrap.wrap(field.label, max(width, 1), break_long_words=False, break_on_hyphens=False) or [""]
        inner = r" \\ ".join(rf"\textbf{{{escaped(line)}}}" for line in lines)
        side = "r" if field.numeric else "l"
        cells.append(inner if len(lines) == 1 else rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{inner}\end{{tabular}}")
    return " & ".join(cells) + r" \\"


def _columns(table: Table, most: int, each: float) -> str:
    """How columns are set, one a line: numbers to the right, long texts broken into lines.

    Args:
        table: Whose columns.
        most: Characters above which a text is long.
        each: About the width of a character, in points.
    """
    columns = []
    for at, (field, width) in enumerate(zip(table.fields, _widths(table, most), strict=True)):
        longest = _longest(table, at)
        if field.numeric or longest <= most:
            columns.append("r" if field.numeric else "l")
            continue
        wide = each * max(width, min(2 * most, longest // 3))
        columns.append(rf">{{\raggedright\arraybackslash}}p{{{wide:.0f}pt}}")
    return "\n".join(columns)


def _cell(text: str) -> str:
    """A cell; a bracket or a star would be taken for an option of the end of the row before."""
    return ("{}" if text[:1] in ("[", "*") else "") + escaped(text)


def _sign(one: str) -> str:
    if one in _SPECIAL:
        return _SPECIAL[one]
    if one.isascii():
        return one
    if one in _TEXT:
        return _TEXT[one]
    if one in _MATHS:
        return rf"\ensuremath{{{_MATHS[one]}}}"
    if one in _GREEK:
        return rf"\ensuremath{{\{_GREEK[one]}}}"
    parts = unicodedata.normalize("NFD", one)
    base, accents = parts[0], parts[1:]
    if base.isascii() and base.isalpha() and accents in _ACCENTS:
        base = {"i": r"\i", "j": r"\j"}.get(base, base)
        return rf"\{_ACCENTS[accents]}{{{base}}}"
    return rf"\texttt{{[U+{ord(one):04X}]}}"
