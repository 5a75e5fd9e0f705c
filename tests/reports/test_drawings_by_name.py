"""The report's drawings one by one: chosen by name, pair, task and measure, for notebooks and as files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from chromium_pipe import Browser
from test_report_hostile import HOSTILE, poisoned

from mechshift_core.drawing import Drawing, drawing_of, names_of
from mechshift_core.errors import ExecutionError, UsageError
from reports import ReportData
from reports.figures import overlap as overlap_drawings
from reports.notebook import conclusion_piece, figure_piece, shared_in
from reports.page import sections_of

PROGRAM = shutil.which("chromium")


@pytest.fixture(scope="module")
def small(run: ReportData) -> ReportData:
    """The run with few tables, that are drawn fast."""
    names = ("edges", "overlap", "node_overlap", "layers", "indices")
    return replace(run, tables={name: run.tables[name] for name in names}, measures=["overlap", "depth"])


@pytest.fixture(scope="module")
def circuits(run: ReportData) -> Drawing:
    return drawing_of(run, "circuits")


@pytest.fixture(scope="module")
def forest(run: ReportData) -> Drawing:
    return drawing_of(run, "forest")


def titles(drawing: Drawing) -> set[tuple[str, str]]:
    return {(panel.title, panel.subtitle) for panel in drawing.figure.panels}


@pytest.mark.long
def test_the_drawings_of_a_run_are_listed_in_the_order_of_the_report(small: ReportData) -> None:
    found = names_of(small)
    assert found[:2] == ("verdicts", "circuits")
    assert [name for name in found if name in ("depth", "node-overlap", "overlap")] == [
        "overlap",
        "node-overlap",
        "depth",
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        ("circuits", "circuits"),
        ("edges", "circuits"),
        ("overlap", "overlap"),
        ("retention", "overlap"),
        ("depth_slope", "depth"),
        ("node-overlap", "node-overlap"),
    ],
)
def test_a_drawing_is_called_by_its_name_its_section_its_table_or_its_measure(
    small: ReportData, asked: str, drawn: str
) -> None:
    assert drawing_of(small, asked).name == drawn


def test_one_pair_and_one_task_are_chosen(run: ReportData, circuits: Drawing) -> None:
    assert titles(circuits) == {
        (task, pair) for task in ("ioi", "countdown") for pair in ("diffusion-s0", "control-s0")
    }
    assert titles(drawing_of(run, "circuits", task="ioi")) == {("ioi", "diffusion-s0"), ("ioi", "control-s0")}
    assert titles(drawing_of(run, "depth", task="ioi", pair="control-s0")) == {("ioi", "control-s0")}
    both = drawing_of(run, "overlap", pair="diffusion-s0")
    assert {pair for _, pair in titles(both)} == {"diffusion-s0"}


def test_verdicts_are_drawn_and_chosen_by_measure(run: ReportData, forest: Drawing) -> None:
    assert [panel.title for panel in forest.figure.panels] == [one.claim for one in run.findings.hypotheses]
    for panel, one in zip(forest.figure.panels, run.findings.hypotheses, strict=True):
        assert panel.note.endswith(f": {one.verdict}")
    (panel,) = drawing_of(run, "verdicts", measure="depth_slope").figure.panels
    assert panel.note.startswith("−0.042 [−0.101, 0.017]")


def test_what_a_run_has_not_is_refused_with_what_it_has(run: ReportData) -> None:
    with pytest.raises(UsageError, match=r"task: the run '\S+' has none called 'iou' \(did you mean 'ioi'\?\)"):
        drawing_of(run, "overlap", task="iou")
    with pytest.raises(UsageError, match=r"pair: .* there are: .*control-s0, diffusion-s0"):
        drawing_of(run, "overlap", pair="z")
    with pytest.raises(UsageError, match=r"measure: the run .* has none called 'retenton' .*did you mean 'retention'"):
        drawing_of(run, "forest", measure="retenton")
    bare = replace(run, tables={"edges": run.tables["edges"]}, findings=replace(run.findings, hypotheses=()))
    with pytest.raises(UsageError, match=r"no drawing 'lens' in the run '.*'; there are: circuits"):
        drawing_of(bare, "lens")
    with pytest.raises(UsageError, match=r"no drawing 'circuit' .*did you mean 'circuits'"):
        drawing_of(bare, "circuit")
    with pytest.raises(UsageError, match="declares no hypothesis, so there are no verdicts to draw"):
        drawing_of(bare, "forest")


def test_a_drawing_that_breaks_is_an_error_with_its_reason(run: ReportData, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nothing to divide by")

    monkeypatch.setattr(overlap_drawings, "legend", broken)
    with pytest.raises(ExecutionError, match=r"'overlap' of 'ioi' can't be drawn: .*nothing to divide by"):
        drawing_of(run, "overlap", task="ioi")


def test_a_piece_styles_nothing_but_itself(circuits: Drawing, forest: Drawing) -> None:
    for drawing in (circuits, forest):
        html = drawing._repr_html_()
        (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
        selectors = re.findall(r"([^{}]+)\{", style)
        parts = [part.strip() for selector in selectors for part in selector.split(",")]
        assert all(".mechshift" in part or part.startswith("@media (prefers-color-scheme: dark)") for part in parts)
        assert "<script" not in html and "http" not in re.sub(r'xmlns="[^"]+"', "", html)
        assert (".mechshift .edge {" in style) == (drawing is circuits), "rules of what is drawn, and no others"
        assert "#15181b" in style and "#ffffff" in style, "the colours of the dark and of the light page"


def test_ids_of_two_pieces_do_not_meet_and_nothing_is_referred_to(run: ReportData, circuits: Drawing) -> None:
    first, second = circuits._repr_html_(), drawing_of(run, "circuits", task="ioi")._repr_html_()
    ids = [set(re.findall(r'\bid="([^"]+)"', html)) for html in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    assert "href=" not in first
    stripes = [html.count('class="stripe"') for html in (first, second)]
    assert stripes[0] == 2 * stripes[1] > 0, "each of the panels, of which there are twice as many, has its own frame"


def test_texts_of_a_run_cannot_become_markup(run: ReportData) -> None:
    hostile = poisoned(run, "".join(HOSTILE.values()))
    pieces = [conclusion_piece(hostile)]
    for section in (one for name in ("circuits", "depth", "nodes") for one in sections_of(hostile, only=name)):
        pieces += [figure_piece(figure, shared=shared_in(section.body)) for figure in section.figures]
    assert len(pieces) >= 4
    for piece in pieces:
        assert "<script" not in piece and "<img" not in piece and piece.count("<style>") == 1


def test_the_conclusion_has_every_claim_and_verdict(run: ReportData) -> None:
    html = conclusion_piece(run)
    for one in run.findings.hypotheses:
        assert one.claim in html
    rows = html[html.index("<table") :]
    assert rows.count('class="badge') == len(run.findings.hypotheses)
    assert 'class="badge not-estimable"' in rows
    none = conclusion_piece(replace(run, findings=replace(run.findings, hypotheses=())))
    assert "declares no hypothesis" in none and "<table" not in none


def test_numbers_behind_a_drawing_are_frames(run: ReportData, circuits: Drawing) -> None:
    (table,) = circuits.tables.values()
    assert table.columns[:5] == ["task", "pair", "from", "to", "fate"]
    assert table.height == len(circuits.figure.tables[0].rows)
    (table,) = drawing_of(run, "targeted").tables.values()
    assert table.columns.count("low") == 1 and "low 2" in table.columns


def test_a_drawing_is_one_line_of_text(circuits: Drawing) -> None:
    assert repr(circuits) == "Drawing('circuits', 4 panels; .svg, .save('circuits.pdf'))"


def test_a_drawing_is_saved_as_svg_pdf_or_png(forest: Drawing, tmp_path: Path) -> None:
    root = ElementTree.fromstring(forest.svg)
    assert root.tag.endswith("svg") and "On globally constrained tasks" in "".join(root.itertext())
    heads = {"svg": b"<?xml", "pdf": b"%PDF", "PNG": b"\x89PNG"}
    for ending, head in heads.items():
        path = forest.save(tmp_path / f"verdicts.{ending}")
        assert path.read_bytes().startswith(head)
    with pytest.raises(UsageError, match=r"expected a name that ends in '.svg', '.pdf' or '.png', got '.jpg'"):
        forest.save(tmp_path / "verdicts.jpg")
    with pytest.raises(UsageError, match="cannot be written: there is no folder "):
        forest.save(tmp_path / "nowhere" / "verdicts.svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["verdicts.PNG", "verdicts.pdf", "verdicts.svg"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.mark.long
@pytest.mark.skipif(PROGRAM is None, reason="needs the program `chromium` on PATH (apt install chromium)")
@pytest.mark.parametrize(
    ("page", "scheme", "paper", "ink"),
    [
        ("", "light", "rgb(255, 255, 255)", "rgb(28, 33, 38)"),
        ("", "dark", "rgb(21, 24, 27)", "rgb(228, 231, 234)"),
        ('data-jp-theme-light="false"', "light", "rgb(21, 24, 27)", "rgb(228, 231, 234)"),
        ('data-jp-theme-light="true"', "dark", "rgb(255, 255, 255)", "rgb(28, 33, 38)"),
        ('class="vscode-dark"', "light", "rgb(21, 24, 27)", "rgb(228, 231, 234)"),
    ],
)
def test_a_piece_has_the_theme_of_its_notebook(
    browser: Browser, circuits: Drawing, tmp_path: Path, page: str, scheme: str, paper: str, ink: str
) -> None:
    html = f"<!doctype html><body {page}><p id='mine' class='note'>mine</p>{circuits._repr_html_()}</body>"
    (tmp_path / "cell.html").write_text(html, encoding="utf-8")
    browser.open(tmp_path / "cell.html", width=900, scheme=scheme)
    style = "getComputedStyle(document.querySelector('.mechshift'))"
    assert browser.evaluate(f"{style}.backgroundColor") == paper
    assert browser.evaluate(f"{style}.color") == ink
    edge = "getComputedStyle(document.querySelector('.mechshift .edge.kept')).stroke"
    assert browser.evaluate(edge) != "none"
    assert browser.evaluate("getComputedStyle(document.getElementById('mine')).fontFamily.includes('Segoe')") is False
