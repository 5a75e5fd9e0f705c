"""The texts that go with figures and tables: methods, references, sentences, a list of all files, and a document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from typing import Any

from reports import formats, latex, markdown
from reports.data import ReportData
from reports.export.drawn import LEGIBLE, Drawn, DrawnFigure
from reports.export.written import Written
from reports.methods import cited, in_words, methods_of, references_of
from reports.prose import overview
from reports.references import Reference, bibliography, software
from reports.sections.base import Section
from reports.sentences import sentence

FLOATS = 8
"""Tables after which the document begins a page, so that LaTeX need not hold more of them."""

_USE = (
    "Figures and tables fit the text of a one-column `article` (345 pt): include a figure at its own size, "
    "`\\includegraphics{figures/NAME}`, and a table with `\\input{tables/NAME}`. Tables with many columns stand on "
    "their side, on a page of their own.",
    "",
    "In two columns a figure goes over both (`figure*`); where its smallest type bears it, a panel goes into one, with "
    "`\\includegraphics[width=\\columnwidth]{figures/NAME}`. `\\newcommand{\\mechshiftfloat}{table*}` in the preamble "
    "has tables go over both. Those that go over pages or stand on their side (`longtable`, `landscape`) need one "
    "column: read them behind `\\onecolumn`.",
)
"""How figures and tables are used in a document, in Markdown."""
_ALONE = re.compile(r" \((\[@[a-z0-9]+\])\)")
"""A citation in parentheses of its own, which styles of LaTeX bring along."""


def methods_tex(data: ReportData) -> str:
    """The methods for LaTeX; every work is cited by the key of its entry in `references.bib`."""
    marked = _ALONE.sub("\N{NO-BREAK SPACE}\\1", methods_of(data))
    text = cited(marked, lambda work: rf"\cite{{{work.key}}}", other=latex.escaped)
    return f"{text} The software is mechshift {latex.escaped(data.version)}~\\cite{{{software(data.version).key}}}.\n"


def methods_md(data: ReportData) -> str:
    """The methods in Markdown, with the list of works."""
    lines = ["# Methods", "", markdown.escaped(cited(methods_of(data), in_words)), "", "## References", ""]
    lines += [f"- {markdown.escaped(work.text)}{f' <{work.href}>' if work.href else ''}" for work in _works(data)]
    return "\n".join([*lines, ""])


def references_bib(data: ReportData) -> str:
    """All that the methods cite, and this software."""
    return bibliography(_works(data))


def sentences_md(data: ReportData, sections: Sequence[Section]) -> str:
    """What the report says in words: the box under its title, and each verdict."""
    lines = ["# What was found", ""]
    for section in sections:
        if section.id == "answer":
            lines += [f"## {markdown.escaped(section.title)}", ""]
            lines += [line for said in paragraphs_of(section.body) for line in (markdown.escaped(said), "")]
    lines += ["## Verdicts", "", markdown.escaped(overview(data.findings.hypotheses, data.findings.declaration)), ""]
    for found in map(sentence, data.findings.hypotheses):
        said = markdown.escaped(" ".join(part for part in (found.result, found.meaning) if part))
        lines.append(f"- **{found.verdict}** {markdown.escaped(found.id)}: {said}")
    return "\n".join([*lines, ""])


def index_json(
    data: ReportData,
    figures: Sequence[DrawnFigure],
    tables: Sequence[Written],
    left_out: Sequence[Written],
    *,
    run: str,
) -> str:
    """Every figure and table with what it shows and what it is drawn from, for programs."""
    estimated = {one.measure for one in data.findings.estimates}
    content: dict[str, Any] = {
        "run": run,
        "study": data.name,
        "mechshift": data.version,
        "findings": "findings.json",
        "figures": [_figure_entry(one, data, tables, estimated) for one in figures],
        "tables": [
            {"name": one.name, "section": one.section, "caption": one.table.caption, "rows": len(one.table.rows)}
            | {ending: f"tables/{one.name}.{ending}" for ending, _ in one.files()}
            for one in tables
        ],
        "left_out": [{"name": one.name, "caption": one.table.caption, "rows": len(one.table.rows)} for one in left_out],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def readme_md(
    data: ReportData,
    figures: Sequence[DrawnFigure],
    tables: Sequence[Written],
    left_out: Sequence[Written],
    *,
    run: str,
) -> str:
    """The same for people."""
    lines = [
        f"# {markdown.escaped(data.title)}",
        "",
        f"Written by `mechshift export` (mechshift {markdown.escaped(data.version)}) from the run "
        f"{markdown.escaped(run)}. `all.tex` is a document of all of it; `methods.tex` cites `references.bib`; "
        "`sentences.md` has the findings in words. A table of LaTeX needs this in the preamble:",
        "",
        *("```latex", latex.PREAMBLE.strip(), "```", ""),
        *_USE,
        "",
        "The tables of every number that figures are drawn from are Parquet files in the folder `tables` of the run, "
        "and are not copied.",
        "",
        "## Figures",
        "",
    ]
    for one in figures:
        source = _sources(one, data, {estimate.measure for estimate in data.findings.estimates})
        lines += [f"### {markdown.escaped(one.whole.name)}", ""]
        lines += [f"{markdown.escaped(one.figure.caption)}", "", f"Drawn from {formats.listed(source)}.", ""]
        lines += [*_picture_lines(one), ""]
    lines += ["## Tables", ""]
    for written in tables:
        files = ", ".join(f"[{ending}](tables/{written.name}.{ending})" for ending, _ in written.files())
        lines.append(f"- {written.name} ({files}): {markdown.escaped(written.table.caption)}")
    for written in left_out:
        rows = formats.plural(len(written.table.rows), "row")
        lines.append(f"- not written, since it has {rows}: {markdown.escaped(written.table.caption)}")
    return "\n".join([*lines, ""])


def _picture_lines(one: DrawnFigure) -> Iterator[str]:
    """The pictures of a figure: each with its text alternative where there are few, else parts by name."""
    beside = () if one.has_folder else one.parts
    for drawn in (one.whole, *beside):
        size = f"{drawn.width:.0f} by {drawn.height:.0f} pt, smallest type {drawn.smallest:.1f} pt"
        small = "; too small for print, take the parts below" if one.parts and drawn is one.whole else ""
        small = small if drawn.smallest < LEGIBLE else ""
        yield f"- {drawn.name}: {_links(drawn)} ({size}{small}). {markdown.escaped(drawn.alternative)}"
    if not one.has_folder:
        return
    smallest = min(drawn.smallest for drawn in one.parts)
    yield f"- In the folder `figures/{one.whole.name}`, smallest type {smallest:.1f} pt:"
    if one.rows:
        listed = "; ".join(f"{markdown.escaped(pair)} {_links(drawn)}" for pair, drawn in one.rows)
        yield f"  - all panels of a pair: {listed}."
    if one.panels:
        listed = "; ".join(f"{drawn.name.partition('/')[2]} {_links(drawn)}" for _, drawn in one.panels)
        yield f"  - single panels: {listed}."
    lacking = [formats.plural(one.left_out, "panel")] if one.left_out else []
    lacking += [formats.plural(one.rows_left_out, "pair")] if one.rows_left_out else []
    if lacking:
        yield (
            f"  - not alone, for their number: {formats.listed(lacking)}; in Python, `plot.figure(run, "
            f'"{one.whole.name}", task=..., pair=...).save("NAME.pdf")` draws any.'
        )


def _links(drawn: Drawn) -> str:
    return f"[SVG](figures/{drawn.name}.svg), [PDF](figures/{drawn.name}.pdf)"


def all_tex(data: ReportData, figures: Sequence[DrawnFigure], tables: Sequence[Written]) -> str:
    """A document that has all of it: `pdflatex all`, `bibtex all`, and `pdflatex all` twice."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage[a4paper,margin=2.2cm]{geometry}",
        latex.PREAMBLE.strip(),
        rf"\title{{{latex.escaped(data.title)}}}",
        r"\author{}\date{}",
        r"\begin{document}",
        r"\maketitle",
        r"\section{Methods}",
        r"\input{methods}",
        r"\section{Tables}",
    ]
    for number, written in enumerate(tables, start=1):
        lines.append(rf"\input{{tables/{written.name}}}")
        if number % FLOATS == 0:
            lines.append(r"\clearpage")
    lines += [r"\clearpage", r"\section{Figures}"]
    for number, one in enumerate(figures, start=1):
        lines += [
            r"\begin{figure}[!htbp]\centering",
            rf"\includegraphics{{figures/{one.whole.name}.pdf}}",
            rf"\caption{{{latex.escaped(one.figure.caption)}}}\label{{fig:{one.whole.name}}}",
            r"\end{figure}" + (r"\clearpage" if number % FLOATS == 0 else ""),
        ]
    lines += [r"\clearpage", r"\bibliographystyle{plain}", r"\bibliography{references}", r"\end{document}", ""]
    return "\n".join(lines)


def paragraphs_of(body: str) -> list[str]:
    """The text of a section's markup, a paragraph each; a term and its description are one."""
    reader = _Reader()
    reader.feed(body)
    reader.close()
    return [said for parts in reader.found if (said := " ".join("".join(parts).split()))]


class _Reader(HTMLParser):
    """Collects text by paragraph; drawings have none."""

    _BEGINS = frozenset("p dt li h3 h4 div table tr figcaption".split())

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[list[str]] = [[]]
        self._drawings = 0
        self._badge = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "svg":
            self._drawings += 1
        elif tag == "span" and (dict(attrs).get("class") or "").startswith("badge"):
            self._badge = True
        elif tag in self._BEGINS:
            self.found.append([])
        elif tag in ("br", "td", "th"):
            self.found[-1].append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "svg":
            self._drawings -= 1
        elif tag == "dt" or (tag == "span" and self._badge):
            self._badge = False
            self.found[-1].append(": ")

    def handle_data(self, data: str) -> None:
        if not self._drawings:
            self.found[-1].append(data)


def _works(data: ReportData) -> Iterator[Reference]:
    yield from references_of(data)
    yield software(data.version)


def _figure_entry(
    one: DrawnFigure, data: ReportData, tables: Sequence[Written], estimated: set[str]
) -> dict[str, object]:
    return {
        "name": one.whole.name,
        "section": one.section.title,
        "caption": one.figure.caption,
        "more": one.figure.more,
        **_picture(one.whole),
        "drawn_from": _sources(one, data, estimated),
        "tables": [written.name for written in tables if written.figure == one.figure.id],
        "panels": [
            {"name": drawn.name, "title": panel.title, "subtitle": panel.subtitle, "note": panel.note} | _picture(drawn)
            for panel, drawn in one.panels
        ],
        "pairs": [{"name": drawn.name, "pair": pair} | _picture(drawn) for pair, drawn in one.rows],
        "not_alone": {"panels": one.left_out, "pairs": one.rows_left_out},
    }


def _picture(drawn: Drawn) -> dict[str, object]:
    """The files of a picture, and its size in print, in points."""
    return {
        "alternative": drawn.alternative,
        "svg": f"figures/{drawn.name}.svg",
        "pdf": f"figures/{drawn.name}.pdf",
        "width": round(drawn.width, 2),
        "height": round(drawn.height, 2),
        "smallest_type": round(drawn.smallest, 2),
    }


def _sources(one: DrawnFigure, data: ReportData, estimated: set[str]) -> list[str]:
    """The tables and findings of the run that a figure's section is drawn from."""
    found = [f"tables/{name}.parquet" for name in one.section.draws if data.table(name) is not None]
    measures = [name for name in one.section.draws if name in estimated]
    found += [f"findings.json: estimates of {name}" for name in measures]
    other = "calibration.json" if one.section.id == "calibration" else "findings.json: hypotheses"
    return found or [other]
