"""What an author puts into a paper: figures that stand alone, tables with whole numbers, works that are cited."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import which
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from ruamel.yaml import YAML
from test_report_hostile import HOSTILE, poisoned

from mechshift_core import __version__
from reports import MethodsFacts, ReportData, formats, latex, latex_tables, markdown, tables
from reports.export import TEXTS, Files, files_of, texts
from reports.export.drawn import DrawnFigure, drawn_figures
from reports.export.names import LONGEST, Names, slug
from reports.export.stylesheet import FAMILY, PROPERTIES, colour, styled
from reports.export.written import verdict_tables
from reports.figures.base import Figure, Panel
from reports.figures.charts import PALETTE
from reports.methods import methods_of, references_of
from reports.references import WORKS, software
from reports.sections.base import Section
from reports.sentences import sentence
from stats.findings import Findings

SMALL = ("edges", "overlap")
NASTY = r"\input{/etc/passwd} {}$_^~&#%<>|`'\"--- é ß − 10⁻⁵ 世界 [x] \end{document}" + "\x1b\u202e"


@pytest.fixture(scope="module")
def small(run: ReportData) -> ReportData:
    return replace(run, tables={name: run.tables[name] for name in SMALL})


@pytest.fixture(scope="module")
def files(small: ReportData) -> Files:
    return files_of(small, run="runs/made-up", most_rows=200)


def text_of(files: Files, name: str) -> str:
    return files.content[name].decode()


def pictures(files: Files, ending: str) -> dict[str, bytes]:
    return {name: content for name, content in files.content.items() if name.endswith(ending)}


@pytest.mark.long
def test_every_figure_and_table_is_there_in_every_format_and_listed(files: Files) -> None:
    index = json.loads(text_of(files, "index.json"))
    drawn = [one for figure in index["figures"] for one in (figure, *figure["panels"], *figure["pairs"])]
    listed = {one[kind] for one in drawn for kind in ("svg", "pdf")}
    listed |= {one[kind] for one in index["tables"] for kind in ("csv", "tex", "md")}
    assert listed | set(TEXTS) == set(files.content)
    assert [one["name"] for one in index["figures"]][:3] == ["verdicts", "circuits", "overlap"]
    assert index["tables"][0]["name"] == "verdicts"
    assert files.figures == len(index["figures"]) and files.tables == len(index["tables"])
    assert all(re.fullmatch(r"(figures/([a-z0-9-]+/)?|tables/)?[a-zA-Z0-9.-]+", name) for name in files.content)
    assert files.broken == ()
    readme = text_of(files, "README.md")
    assert all(f"({name})" in readme for name in files.content if "/" in name)


@pytest.mark.long
def test_the_list_says_what_a_figure_shows_and_is_drawn_from(files: Files, small: ReportData) -> None:
    index = json.loads(text_of(files, "index.json"))
    (overlap,) = [one for one in index["figures"] if one["name"] == "overlap"]
    assert "tables/overlap.parquet" in overlap["drawn_from"]
    assert "findings.json: estimates of retention" in overlap["drawn_from"]
    assert overlap["tables"] == ["overlap"]
    assert "retention" in overlap["caption"].lower() and "Retention index, ioi" in overlap["alternative"]
    assert [panel["name"] for panel in overlap["panels"]] == [
        f"overlap-{task}-{pair}" for task in ("ioi", "countdown") for pair in ("diffusion-s0", "control-s0")
    ]


def test_the_same_run_gives_the_same_bytes(files: Files, small: ReportData) -> None:
    again = files_of(small, run="runs/made-up", most_rows=200).content
    assert list(again) == list(files.content)
    unlike = [name for name in again if again[name] != files.content[name]]
    assert {Path(name).suffix for name in unlike} <= {".pdf"}  # in which fonts come in another order
    assert all(len(again[name]) == len(files.content[name]) for name in unlike)


def test_pictures_need_no_stylesheet_and_no_page(files: Files) -> None:
    for content in pictures(files, ".svg").values():
        picture = ElementTree.fromstring(content)
        written = content.decode()
        assert picture.find("{*}title") is not None and picture.find("{*}desc") is not None
        nodes = list(picture.iter())
        assert not [node for node in nodes if {"class", "style", "id"} & set(node.attrib)]
        assert not [node for node in nodes if node.tag.rpartition("}")[2] in ("use", "style", "script")]
        assert "var(" not in written and "rem" not in re.findall(r'font-size="[\d.]+(\w+)"', written)


def test_a_circuit_has_what_all_drawings_of_the_page_share(files: Files) -> None:
    circuit = text_of(files, "figures/circuits-ioi-diffusion-s0.svg")
    assert all(f">{name}</text>" in circuit for name in ("logits", "input", "MLP"))
    assert {PALETTE["before"], PALETTE["after"]} <= set(re.findall("#[0-9a-f]{6}", circuit))


def test_fonts_are_in_the_pdf(files: Files) -> None:
    for content in pictures(files, ".pdf").values():
        described = re.findall(rb"/Type\s*/FontDescriptor", content)
        assert described and len(described) == len(re.findall(rb"/FontFile[23]?\s", content))


def test_style_is_that_of_the_light_page() -> None:
    drawing = ElementTree.fromstring(
        '<svg class="chart"><g class="f-before"><text class="strong end">a</text><path class="s-after" stroke="red"/>'
        '</g><g class="off"><path/></g><use href="#there"/><use href="#nowhere"/></svg>'
    )
    there = ElementTree.fromstring('<g id="there" data-k="1"><rect class="stripe"/></g>')
    made = styled(drawing, definitions={"there": there})
    text, path, rect = made.find(".//text"), made.find("./g/path"), made.find(".//rect")
    assert made.attrib == {"font-size": "11px", "font-family": FAMILY}
    assert text is not None and text.attrib == {"text-anchor": "end", "fill": colour("ink")}
    assert path is not None and path.attrib == {"stroke": PALETTE["after"]}  # as in CSS, above the attribute
    assert rect is not None and rect.attrib == {"fill": colour("soft")}
    assert len(made) == 2 and drawing.find(".//use") is not None
    assert all(colour(name) == value for name, value in PALETTE.items())


def test_custom_properties_reach_what_uses_them() -> None:
    edge = styled(ElementTree.fromstring('<svg><path class="edge lost w3"/></svg>'), definitions={})[0]
    assert edge.get("stroke") == colour("before") and re.fullmatch(r"[\d. ]+", edge.get("stroke-dasharray", ""))
    assert set(edge.attrib) <= PROPERTIES


def test_numbers_of_csv_are_whole(files: Files, small: ReportData) -> None:
    rows = list(csv.DictReader(io.StringIO(text_of(files, "tables/overlap.csv"))))
    drawn = small.tables["overlap"].filter(pl.col("measure") == "jaccard")
    assert [float(row["between"]) for row in rows] == drawn["between"].to_list()
    verdicts = list(csv.DictReader(io.StringIO(text_of(files, "tables/verdicts.csv"))))
    for row, found in zip(verdicts, small.findings.hypotheses, strict=True):
        assert row["hypothesis"] == found.id and row["verdict"] == found.verdict
        assert row["estimate"] == ("" if found.estimate is None else repr(found.estimate))
        assert row["p"] == ("" if found.p is None else repr(found.p))


def test_numbers_of_latex_and_markdown_are_written_as_on_the_page(files: Files, small: ReportData) -> None:
    head, _, *rows = text_of(files, "tables/overlap.md").strip().splitlines()[2:]
    at = head.split(" | ").index("between")
    drawn = small.tables["overlap"].filter(pl.col("measure") == "jaccard")
    assert [row.split(" | ")[at] for row in rows] == [formats.number(value) for value in drawn["between"]]
    assert text_of(files, "tables/overlap.tex").isascii()
    numbers = r"\ensuremath{-}0.487 & {}[\ensuremath{-}0.628, \ensuremath{-}0.346]"
    assert numbers in text_of(files, "tables/verdicts.tex")


def test_tables_with_too_many_rows_are_named_and_left_out(files: Files, small: ReportData) -> None:
    ((caption, rows),) = files.left_out
    assert caption.startswith("The edges drawn at K") and rows > 200
    assert "tables/circuits.csv" not in files.content and caption in text_of(files, "README.md")


def test_long_tables_go_over_pages() -> None:
    fields = [tables.text("name"), tables.real("value")]
    long = latex_tables.tabled(tables.build("x", fields, [("a", 0.5)] * (latex_tables.LONGEST + 1)), label="tab:x")
    short = latex_tables.tabled(tables.build("x", fields, [("a", 0.5)] * latex_tables.LONGEST), label="tab:x")
    assert r"\begin{longtable}" in long and r"\endhead" in long and "mechshiftfloat" not in long
    assert r"\providecommand{\mechshiftfloat}{table}" in short and r"\begin{\mechshiftfloat}" in short
    assert r"\toprule" in short and r"\begin{longtable}" not in short


def numbered(columns: int, rows: int, *, same: int = 0) -> tables.Table:
    """A table of numbers of which the last columns say the same in every row."""
    fields = [tables.real(f"column {number}") for number in range(columns)]
    return tables.build(
        "Numbers.",
        fields,
        [[row / 7 if column < columns - same else 0.5 for column in range(columns)] for row in range(rows)],
    )


def test_a_table_is_set_in_the_largest_type_that_fits() -> None:
    made = [numbered(columns, 3) for columns in range(2, 40)]
    sizes = [latex_tables.setting_of(table) for table in made]
    assert sizes[0].size == r"\small" and not sizes[0].turned
    for table, one in zip(made, sizes, strict=True):
        room = latex_tables.TEXT_HEIGHT if one.turned else latex_tables.TEXT_WIDTH
        assert latex_tables.width_of(table, one) <= room or one == sizes[-1]
    order = [(one.turned, [r"\small", r"\footnotesize", r"\scriptsize", r"\tiny"].index(one.size)) for one in sizes]
    assert order == sorted(order) and order[0] == (False, 0) and order[-1] == (True, 3)


def test_what_is_the_same_in_every_row_makes_room() -> None:
    wide = numbered(14, 3, same=8)
    assert latex_tables.setting_of(wide).turned
    narrow = latex_tables.without_constants(wide)
    assert len(narrow.fields) == 6 and narrow.caption.startswith("Numbers. In every row column 6: 0.500; column 7: ")
    assert "landscape" not in latex_tables.tabled(wide, label="tab:x")
    turned = latex_tables.tabled(numbered(14, 3), label="tab:x")
    assert turned.startswith(r"\begin{landscape}") and r"\begin{longtable}" in turned
    alike = numbered(3, 3, same=3)
    assert latex_tables.without_constants(alike) == alike and latex_tables.without_constants(numbered(14, 1)).fields


def test_pictures_fit_a_one_column_article_and_say_their_size(files: Files) -> None:
    index = json.loads(text_of(files, "index.json"))
    drawn = [one for figure in index["figures"] for one in (figure, *figure["panels"])]
    for one in drawn:
        box = re.search(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", files.content[one["pdf"]])
        assert box is not None
        width, height = (float(side) * 72.27 / 72 for side in box.groups())
        assert width <= 345.0 and height <= 460.0
        assert (float(box[1]), float(box[2])) == pytest.approx((one["width"], one["height"]), abs=0.02)
    panels = [one for figure in index["figures"] for one in figure["panels"] if figure["name"] != "circuits"]
    assert panels and all(one["smallest_type"] >= 6 for one in panels)
    assert "too small for print, take the parts below" in text_of(files, "README.md")


def of_many_panels(*panels: tuple[str, str]) -> DrawnFigure:
    """A figure with panels of these titles and subtitles, as it is exported."""
    drawing = Markup('<svg width="100" height="60" aria-label="A line."><text font-size="11px">a</text></svg>')
    shown = tuple(Panel(title=title, subtitle=words, drawings=(drawing,)) for title, words in panels)
    figure = Figure(id="figure-lines", caption="Lines.", panels=shown, columns=4, legend=(), tables=())
    section = Section(id="lines", title="Lines", body=Markup(""), figures=(figure,))
    data = ReportData(title="t", name="n", version="1", findings=Findings(name="n", hypotheses=(), estimates=()))
    (found,) = drawn_figures(data, [section])
    assert len(ElementTree.fromstring(found.whole.svg).findall(".//{*}svg")) == len(panels)
    return found


@pytest.mark.parametrize(
    ("pairs", "tasks", "rows", "alone", "not_alone"),
    [
        (2, 3, 0, 6, (0, 0)),  # few: beside the figure, panel by panel
        (2, 4, 2, 8, (0, 0)),
        (6, 4, 6, 24, (0, 0)),
        (5, 5, 5, 0, (25, 0)),  # many: the pairs, and none alone
        (26, 2, 24, 0, (52, 2)),
        (12, 1, 0, 12, (0, 0)),  # a pair has one panel, so that its row is that
        (1, 7, 0, 7, (0, 0)),
        (0, 26, 0, 24, (2, 0)),  # panels of no pair, such as the verdicts
    ],
)
def test_parts_of_a_figure_of_many_panels_lie_in_a_folder_and_are_no_more_than_said(
    pairs: int, tasks: int, rows: int, alone: int, not_alone: tuple[int, int]
) -> None:
    names = [f"pair-{number}" for number in range(pairs)]
    found = of_many_panels(*((f"task {t}", pair) for t in range(tasks) for pair in names or [""]))
    assert (len(found.rows), len(found.panels), (found.left_out, found.rows_left_out)) == (rows, alone, not_alone)
    count = max(pairs, 1) * tasks
    assert all(drawn.name.startswith("lines/" if count > 6 else "lines-") for drawn in found.parts)
    assert len({drawn.name for drawn in found.parts}) == rows + alone <= 48
    for pair, drawn in found.rows:
        assert len(ElementTree.fromstring(drawn.svg).findall(".//{*}svg")) == tasks
        assert drawn.name == f"lines/{pair}" and drawn.alternative == " ".join(["A line."] * tasks)
    lines = list(texts._picture_lines(found))
    assert all(f"(figures/{drawn.name}.pdf)" in "\n".join(lines) for drawn in (found.whole, *found.parts))
    said = " and ".join(
        f"{amount} {noun}" for amount, noun in zip(not_alone, ("panels", "pairs"), strict=True) if amount
    )
    assert [f"not alone, for their number: {said};" in line for line in lines if "not alone" in line] == [True] * (
        any(not_alone)
    )
    assert ('plot.figure(run, "lines", task=..., pair=...)' in lines[-1]) == any(not_alone)


def test_the_table_of_verdicts_is_legible(files: Files) -> None:
    written = text_of(files, "tables/verdicts.tex")
    assert r"\footnotesize" in written or r"\small" in written
    assert r"\textbf{p}" in written and "p-values are corrected within their family" in written
    assert "corrected p of the opposite" in text_of(files, "tables/verdicts.csv")


def test_the_p_of_the_opposite_is_shown_where_a_verdict_rests_on_it(small: ReportData) -> None:
    first, *others = small.findings.hypotheses
    shown, whole = verdict_tables([first, *others])
    assert [field.label for field in shown.fields] == ["claim", "n", "estimate", "interval", "p", "verdict"]
    assert [row[4] for row in shown.values] == [found.p_corrected for found in (first, *others)]
    refuted = replace(first, verdict="refuted", p_opposite_corrected=0.001)
    shown, _ = verdict_tables([refuted, *others])
    assert [field.label for field in shown.fields][4:] == ["p", "p of the opposite", "verdict"]
    assert shown.values[0][4:] == (first.p_corrected, 0.001, "refuted")
    assert {"p", "corrected p", "corrected p of the opposite"} <= {field.label for field in whole.fields}


@given(st.text(st.sampled_from([*map(chr, range(32, 127)), *NASTY, *"\n\t–“”…×→≤∅αΩ²¹⁰\u0301\ud800"])))
def test_no_text_acts_in_latex(text: str) -> None:
    written = latex.escaped(text)
    assert written.isascii() and "\n" not in written
    bare = re.sub(r"\\[{}$&#%_\\]", "", written)  # what is escaped
    depth = 0
    for one in bare:
        depth += {"{": 1, "}": -1}.get(one, 0)
        assert depth >= 0
    assert depth == 0 and not set("$&#%_") & set(re.sub(r"\\ensuremath\{[^}]*\{[^}]*\}\}", "", bare))
    commands = set(re.findall(r"\\([a-zA-Z]+)", bare))
    assert not commands & {"input", "include", "write", "def", "end", "begin", "csname", "catcode"}


def test_hyphens_are_no_dashes_and_dashes_are() -> None:
    assert latex.escaped("--force a---b – −1 1.0 × 10⁻⁵") == (
        r"-{}-force a-{}-{}-b -- \ensuremath{-}1 1.0 \ensuremath{\times} 10\ensuremath{^{-5}}"
    )
    assert latex.escaped("é ł ß 世") == r"\'{e} \l{} \ss{} \texttt{[U+4E16]}"


def test_markdown_shows_text_as_it_is() -> None:
    assert markdown.escaped("a_b | [x](y) <b> R&D &amp; `c`\n# d") == (r"a\_b \| \[x\](y) \<b\> R&D \&amp; \`c\` \# d")


METHODS = ("eap", "eap-ig", "eap-ig-activations", "eap-ig-sources", "expected-gradients", "gim", "relp", "exact")


@pytest.mark.parametrize("method", [*METHODS, "clean-corrupted", "none", "rank-average"])
@pytest.mark.parametrize("correction", ["holm", "bh"])
def test_every_citation_has_its_entry_and_every_entry_its_citation(
    run: ReportData, method: str, correction: str
) -> None:
    averaged = METHODS[1:4] if method == "rank-average" else ()
    facts = replace(run.methods, attribution=method, averaged=averaged, correction=correction, circuits=())
    data = replace(run, methods=facts)
    cited = re.findall(r"\\cite\{([^}]*)\}", texts.methods_tex(data))
    entries = re.findall(r"^@\w+\{([^,]+),$", texts.references_bib(data), re.MULTILINE)
    assert sorted(set(cited)) == sorted(entries) and len(set(entries)) == len(entries)
    assert ("holm1979simple" in entries) == (correction == "holm")
    shown = texts.methods_md(data)
    assert all(markdown.escaped(work.short) in shown for work in references_of(data))


def test_the_methods_name_models_prompts_and_margins(run: ReportData) -> None:
    provenance = {"models": {"arm_1": {"source": "hf:a/b_c", "paradigm": "masked_diffusion"}, "mdm": {}}}
    said = methods_of(replace(run, provenance=provenance))
    assert "The models were arm_1 (hf:a/b_c, masked diffusion) and mdm." in said
    assert "196 of 200 of ioi for diffusion-s0" in said and "±0.2 (local-retained)" in said
    assert "The models were" not in methods_of(replace(run, provenance={"models": "x"}, methods=MethodsFacts()))


def test_entries_are_whole() -> None:
    for key, work in WORKS.items():
        assert re.fullmatch(r"[a-z]+\d{4}[a-z]+", key)
        assert {"author", "title", "year"} <= set(work.entry) and work.entry["year"] in work.text
        assert work.bibtex.isascii() and work.bibtex.count("{") == work.bibtex.count("}")


def test_the_software_is_cited_as_its_file_says() -> None:
    stated = YAML(typ="safe").load(Path(__file__).parents[2] / "CITATION.cff")
    entry = software(__version__).entry
    assert stated["version"] == __version__ and entry["note"] == f"Version {__version__}"
    assert entry["author"] == "{" + " and ".join(author["name"] for author in stated["authors"]) + "}"
    assert entry["title"].startswith(stated["title"]) and f"{stated['abstract']}".rstrip(".") in entry["title"]


def test_the_sentences_are_those_of_the_report(files: Files, small: ReportData) -> None:
    said = text_of(files, "sentences.md")
    for found in small.findings.hypotheses:
        assert f"- **{found.verdict}** {found.id}: {markdown.escaped(sentence(found).result)}" in said
    assert said.index("## In short") < said.index("Rests on: ") < said.index("## Verdicts")


def test_names_are_safe_and_no_two_alike() -> None:
    names = Names()
    found = [names.name("overlap", *parts) for parts in (("ioi", "Café/b"), ("ioi", "cafe b"), ("../..", "世界"), ())]
    assert found == ["overlap-ioi-cafe-b", "overlap-ioi-cafe-b-2", "overlap", "overlap-2"]
    assert Names().name("世") == "part" and len(slug("word " * 50)) <= LONGEST and len(slug("x" * 200)) == LONGEST


@pytest.mark.parametrize("text", [NASTY, HOSTILE["cdata"]])
def test_names_from_a_spec_are_text_everywhere(run: ReportData, text: str) -> None:
    data = poisoned(run, text)
    data = replace(data, tables={name: data.tables[name] for name in SMALL})
    made = files_of(data, run="runs/x", most_rows=50)
    for name, content in made.content.items():
        if name.endswith(".svg"):
            assert not {"script", "style"} & {
                node.tag.rpartition("}")[2] for node in ElementTree.fromstring(content).iter()
            }
        elif name.endswith((".tex", ".bib")):
            written = content.decode("ascii")
            assert r"\input{/etc" not in written and written.count(r"\end{document}") == (name == "all.tex")
    assert json.loads(text_of(made, "index.json"))["figures"]


def compiled(folder: Path, programs: Sequence[str] = ("pdflatex", "bibtex", "pdflatex", "pdflatex")) -> Iterator[str]:
    for program in programs:
        options = ["-interaction=nonstopmode", "-halt-on-error"] if program == "pdflatex" else []
        done = subprocess.run([program, *options, "all"], cwd=folder, capture_output=True, timeout=300, check=False)
        yield done.stdout.decode("latin-1")
        assert done.returncode == 0, done.stdout.decode("latin-1")[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("text", ["", NASTY])
def test_the_document_compiles_and_holds_its_fonts(run: ReportData, tmp_path: Path, text: str) -> None:
    if not all(which(program) for program in ("pdflatex", "bibtex", "pdffonts")):
        pytest.skip(
            "LaTeX (Debian: texlive-latex-base, texlive-latex-recommended) or pdffonts (poppler-utils) is missing"
        )
    made = files_of(poisoned(run, text) if text else run, run="runs/x", most_rows=200)
    assert text or made.broken == ()  # Vega can't draw some names with backslashes, which a spec can't have
    for name, content in made.content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    *_, last = compiled(tmp_path)
    assert "undefined references" not in last and "Citation" not in last
    if not text:  # a long name without a space can't be broken
        assert "too wide) in alignment" not in last and "Float too large" not in last
        wide = re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\) in paragraph", last)
        assert all(float(points) < 5 for points in wide), "no figure is wider than the text"
    fonts = subprocess.run(["pdffonts", "all.pdf"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    rows = fonts.splitlines()[2:]
    assert rows and all(row.split()[-5] == "yes" for row in rows)  # the column "emb"


TWO_COLUMNS = r"""
\documentclass[twocolumn]{article}
\newcommand{\mechshiftfloat}{table*}
\input{preamble}
\begin{document}
\begin{figure*}\centering\includegraphics{figures/overlap.pdf}\caption{Whole.}\end{figure*}
\begin{figure}\includegraphics[width=\columnwidth]{figures/overlap-ioi-diffusion-s0.pdf}\caption{Panel.}\end{figure}
\input{tables/verdicts}
\onecolumn
\input{tables/overlap}
\end{document}
"""


@pytest.mark.long
def test_it_goes_into_two_columns(files: Files, tmp_path: Path) -> None:
    if not which("pdflatex"):
        pytest.skip("LaTeX (Debian: texlive-latex-base, texlive-latex-recommended) is missing")
    for name, content in files.content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "preamble.tex").write_text(latex.PREAMBLE)
    (tmp_path / "all.tex").write_text(TWO_COLUMNS)
    *_, last = list(compiled(tmp_path, ("pdflatex", "pdflatex")))
    assert "Overfull" not in last and "too large" not in last
