"""What an author puts into a paper: figures, tables, methods and sentences of a report as files.

:func:`files_of` is a pure function of the report's data: the same data give the same files (of a PDF the same picture;
the order of fonts within it varies).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reports.data import ReportData
from reports.export import texts
from reports.export.drawn import drawn_figures
from reports.export.written import written_tables
from reports.page import sections_of
from reports.prose import vocabulary

__all__ = ["TEXTS", "Files", "files_of"]

TEXTS = ("README.md", "index.json", "all.tex", "methods.tex", "methods.md", "references.bib", "sentences.md")
"""The files beside those of figures and tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What is to be written.

    Attributes:
        content: Path within the folder -> bytes.
        figures: Figures, each in two formats, whole and in parts.
        tables: Tables, each in three formats.
        left_out: Captions of tables with too many rows, and how many.
        broken: Sections that can't be drawn, and why.
        panels_left_out: Panels that are in the figures, but not drawn alone.
        refused: What of the run's spec this version would refuse, a line each.
    """

    content: Mapping[str, bytes]
    figures: int
    tables: int
    left_out: tuple[tuple[str, int], ...]
    broken: tuple[str, ...]
    panels_left_out: int = 0
    refused: tuple[str, ...] = ()


def files_of(data: ReportData, *, run: str, most_rows: int) -> Files:
    """Figures, tables and texts of a report.

    Args:
        data: What the report is made from.
        run: How the run directory is called in the list of files.
        most_rows: Tables with more rows are left out.
    """
    broken: list[str] = []
    sections = sections_of(data, broken=broken)
    with vocabulary(data.words, data.roles):
        figures = list(drawn_figures(data, sections))
        known = list(written_tables(data, sections))
        tables = [one for one in known if len(one.table.rows) <= most_rows]
        left_out = [one for one in known if len(one.table.rows) > most_rows]
        contents = (
            texts.readme_md(data, figures, tables, left_out, run=run),
            texts.index_json(data, figures, tables, left_out, run=run),
            texts.all_tex(data, figures, tables),
            texts.methods_tex(data),
            texts.methods_md(data),
            texts.references_bib(data),
            texts.sentences_md(data, sections),
        )
    written = dict(zip(TEXTS, contents, strict=True))
    written |= {f"tables/{one.name}.{ending}": content for one in tables for ending, content in one.files()}
    content = {name: text.encode("utf-8", "replace") for name, text in written.items()}
    for figure in figures:
        for drawn in (figure.whole, *figure.parts):
            content[f"figures/{drawn.name}.svg"] = drawn.svg.encode("utf-8", "replace")
            content[f"figures/{drawn.name}.pdf"] = drawn.pdf
    return Files(
        content=dict(sorted(content.items())),
        figures=len(figures),
        tables=len(tables),
        left_out=tuple((one.table.caption, len(one.table.rows)) for one in left_out),
        broken=tuple(broken),
        panels_left_out=sum(figure.left_out for figure in figures),
        refused=tuple(data.refused),
    )
