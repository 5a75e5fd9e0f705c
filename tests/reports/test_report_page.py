from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from report_markup import Element, read

from reports import ReportData, render, tables
from reports.data import in_order, panels_of
from reports.figures import circuit
from reports.figures.charts import PALETTE
from reports.templating import source
from stats.findings import Findings

FORBIDDEN_TAGS = {"script", "iframe", "object", "embed", "link", "form", "base"}


@pytest.fixture(scope="module")
def tree(page: str) -> Element:
    return read(page)


@pytest.mark.long
def test_the_same_data_give_the_same_bytes(run: ReportData, page: str) -> None:
    assert render(run).encode() == page.encode()


@pytest.mark.long
def test_the_policy_allows_exactly_the_one_stylesheet(tree: Element) -> None:
    (style,) = tree.all("style")
    (policy,) = [meta for meta in tree.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    content = policy.get("content") or ""
    assert f"style-src 'sha256-{digest}'" in content
    assert content.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in content and "script-src" not in content


def test_the_policy_of_an_interactive_page_allows_exactly_the_two_scripts(run: ReportData) -> None:
    small = replace(run, tables={"edges": run.tables["edges"]})
    live = render(replace(small, interactive=True))
    found = read(live)
    report, data, circuits = found.all("script")
    (policy,) = [meta for meta in found.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    digests = [hash_of(script) for script in (report, circuits)]
    assert f"; script-src {' '.join(digests)}; base-uri" in (policy.get("content") or "")
    assert "unsafe" not in (policy.get("content") or "")
    assert data.attributes == {"type": "application/json", "id": "circuit-data"}
    own = source("circuit_model.js") + source("circuit.js")
    for script, text, most in ((report, source("report.js"), 10_000), (circuits, own, 24_000)):
        assert script.text == text and script.attributes == {} and len(script.text) < most
        for word in (
            "eval(",
            "Function(",
            "innerHTML",
            "insertAdjacentHTML",
            "fetch(",
            "import(",
            'setAttribute("style',
        ):
            assert word not in script.text
    main = render(small).split('<main id="main">')[1].split("</main>")[0]
    assert main in live


def hash_of(script: Element) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()}'"


def test_a_page_without_edges_carries_no_script_of_the_circuits(run: ReportData) -> None:
    live = render(replace(run, tables={"layers": run.tables["layers"]}, interactive=True))
    assert [script.text for script in read(live).all("script")] == [source("report.js")]


def test_nothing_in_the_page_can_run_or_load_or_is_refused_by_the_policy(tree: Element) -> None:
    for element in tree.walk():
        assert element.tag not in FORBIDDEN_TAGS
        assert not [name for name in element.attributes if name == "style" or name.startswith("on")]
        assert "src" not in element.attributes and "srcset" not in element.attributes
        assert re.match(r"#|data:|https://arxiv\.org/", element.get("href") or "#")
    assert "@import" not in tree.all("style")[0].text and "url(" not in tree.all("style")[0].text


def test_headings_start_at_one_and_skip_no_level(tree: Element) -> None:
    levels = [int(element.tag[1]) for element in tree.walk() if re.fullmatch(r"h\d", element.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_id_is_unique_and_every_inner_link_leads_somewhere(tree: Element) -> None:
    ids = [element.get("id") for element in tree.walk() if element.get("id")]
    assert len(ids) == len(set(ids))
    targets = [(link.get("href") or "")[1:] for link in tree.all("a") if (link.get("href") or "").startswith("#")]
    assert targets and set(targets) <= set(ids)


def test_every_drawing_has_a_text_alternative_or_is_hidden_from_screen_readers(tree: Element) -> None:
    drawings = tree.all("svg")
    assert len(drawings) > 20
    for drawing in drawings:
        described = drawing.get("role") == "img" and len(drawing.get("aria-label") or "") > 15
        assert described or drawing.get("aria-hidden") == "true"


def test_every_figure_has_a_caption_and_its_data_as_a_table(tree: Element) -> None:
    for section in tree.all("section"):
        figures = section.all("figure", class_="figure")
        for figure in figures:
            captions = [child for child in figure.children if child.tag == "figcaption"]
            assert len(captions) == 1 and len(captions[0].text) > 60
        if figures:
            details = section.all("details", class_="data")
            assert len(details) == len(figures) and all(one.all("table") for one in details)


def test_header_cells_say_what_they_head(tree: Element) -> None:
    assert all(cell.get("scope") in ("col", "row") for cell in tree.all("th"))


def test_tables_that_may_be_wide_scroll_in_a_named_focusable_box(tree: Element) -> None:
    for box in tree.all("div", class_="scroll"):
        assert box.get("tabindex") == "0" and box.get("role") == "region" and box.get("aria-label")


def test_colours_of_the_charts_are_those_of_the_stylesheet(page: str) -> None:
    light = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", source("style.css").split("@media")[0]))
    assert {name: light[name] for name in PALETTE} == PALETTE
    body = page.split("</style>")[1]
    assert not re.search(r'(fill|stroke)="#', body)


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_a_contrast_of_at_least_four_and_a_half(theme: int) -> None:
    block = re.findall(r":root \{(.*?)\n *\}", source("style.css"), flags=re.DOTALL)[theme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    pairs = [(text, ground) for text in ("ink", "muted", "link") for ground in ("paper", "soft")]
    pairs += [("ink", "mark")]
    pairs += [(v, f"{v}-soft") for v in ("supported", "refuted", "inconclusive", "not-estimable")]
    low = {pair: contrast(*(colours[name] for name in pair)) for pair in pairs}
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}
    marks = ("before", "after", "chance", "ceiling", "kept")
    assert {name for name in marks if contrast(colours[name], colours["paper"]) < 3} == set()


def test_a_run_without_tables_says_so_in_every_section(run: ReportData) -> None:
    empty = ReportData(
        title="Empty", name="empty", version="0", findings=Findings(name="empty", hypotheses=(), estimates=())
    )
    tree = read(render(empty))
    said = {section.get("id"): len(section.all("p", class_="missing")) for section in tree.all("section")}
    assert said == {
        "verdicts": 0,
        "compared": 3,
        "circuits": 1,
        "overlap": 1,
        "depth": 1,
        "specialization": 1,
        "diagnostics": 0,
        "terms": 0,
        "methods": 0,
        "provenance": 2,
    }
    assert "declares no hypothesis" in tree.all("section")[0].words()


@pytest.mark.parametrize(
    "name",
    [
        "examples",
        "edges",
        "components",
        "layers",
        "overlap",
        "indices",
        "faithfulness",
        "edge_roles",
        "lens",
        "denoising",
    ],
)
def test_a_missing_and_an_empty_table_give_the_same_page(run: ReportData, name: str) -> None:
    without = {key: frame for key, frame in run.tables.items() if key != name}
    few = {key: frame for key, frame in without.items() if key in ("examples", "indices")}
    missing = render(replace(run, tables=few))
    assert render(replace(run, tables=few | {name: run.tables[name].clear()})) == missing or name in few
    read(missing)


@pytest.mark.long
def test_columns_without_any_value_do_not_break_the_page(run: ReportData) -> None:
    keep = {
        "pair",
        "role",
        "task",
        "regime",
        "side",
        "layer",
        "k",
        "index",
        "component",
        "measure",
        "status",
        "n",
        "depth",
        "percent",
        "step",
    }
    blank = {
        name: frame.with_columns(
            pl.lit(None, dtype=kind).alias(column)
            for column, kind in frame.schema.items()
            if column not in keep and kind == pl.Float64
        )
        for name, frame in run.tables.items()
        if name in ("overlap", "layers", "indices", "components", "faithfulness", "edge_roles", "lens", "denoising")
    }
    tree = read(render(replace(run, tables=blank)))
    assert "not defined at any K" in "".join(svg.get("aria-label") or "" for svg in tree.all("svg"))


def test_a_downloaded_table_is_the_table_to_six_digits(run: ReportData) -> None:
    for name in ("overlap", "edges"):
        link = tables.download(name, run.tables[name])
        assert link.href is not None
        content = base64.b64decode(link.href.split(",", 1)[1])
        text = gzip.decompress(content) if link.file.endswith(".gz") else content
        found = pl.read_csv(io.BytesIO(text), infer_schema_length=None)
        assert_frame_equal(found, run.tables[name], rel_tol=1e-5, abs_tol=0, check_dtypes=False)
    assert tables.download("edges", run.tables["edges"]).file == "edges.csv.gz"
    assert tables.download("overlap", run.tables["overlap"]).file == "overlap.csv"


def test_a_table_too_large_to_embed_is_named_instead(run: ReportData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "EMBED_LIMIT", 1000)
    page = render(replace(run, tables={"layers": run.tables["layers"]}))
    assert "tables/layers.parquet" in page and "layers.csv" not in page


def test_the_largest_tables_are_left_out_first(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = {name: pl.DataFrame({"x": range(rows)}) for name, rows in (("a", 300), ("b", 30), ("c", 200))}
    sizes = {one.name: one.size for one in tables.downloads(frames)}
    monkeypatch.setattr(tables, "EMBED_LIMIT", sizes["b"] + sizes["c"])
    assert {one.name: one.href is not None for one in tables.downloads(frames)} == {"a": False, "b": True, "c": True}


def test_the_data_of_a_figure_say_how_many_rows_they_leave_to_the_downloads(run: ReportData) -> None:
    tree = read(render(replace(run, tables={"edges": run.tables["edges"]})))
    (circuits,) = [section for section in tree.all("section") if section.get("id") == "circuits"]
    (details,) = circuits.all("details", class_="data")
    edges = sum(len(circuit.edges_of(rows, k=40)) for _, _, rows in panels_of(run.tables["edges"]))
    assert len(details.all("tr")) - 1 == tables.ROWS < edges
    assert f"These are the first 40 of {edges} rows" in details.words()
    assert [link.get("href") for link in details.all("a")] == ["#tables"]
    assert [heading.words() for heading in tree.all("h3") if heading.get("id") == "tables"] == ["Tables"]


@pytest.mark.nightly
def test_the_report_of_six_pairs_and_four_tasks_stays_below_five_megabytes(run: ReportData) -> None:
    """Every table of the synthetic run for 6 pairs and 4 tasks, each with values of its own."""
    pairs = [f"{name}-{number}" for number in range(3) for name in in_order(run.tables["edges"], "pair")]
    tasks = [f"{name}-{number}" for number in range(2) for name in in_order(run.tables["edges"], "task")]
    data = replace(run, tables={name: widened(frame) for name, frame in run.tables.items()}, interactive=True)
    assert [in_order(data.tables["edges"], name) for name in ("pair", "task")] == [pairs, tasks]
    page = render(data)
    assert len(page.encode()) < 5_000_000
    assert len(read(page).all("figure", class_="panel")) > 24 * 10


def widened(frame: pl.DataFrame) -> pl.DataFrame:
    """Three times the pairs and twice the tasks, each copy with numbers that no other has."""
    copies = []
    for task, pair in product(range(2), range(3)):
        noise = np.random.default_rng([task, pair]).normal(1, 0.05, frame.height)
        floats = [
            name for name, kind in frame.schema.items() if kind == pl.Float64 and name not in ("percent", "depth")
        ]
        copies.append(
            frame.with_columns(
                pl.format("{}-{}", "task", pl.lit(task)).alias("task"),
                pl.format("{}-{}", "pair", pl.lit(pair)).alias("pair"),
                *(pl.col(name) * noise for name in floats),
            )
        )
    return pl.concat(copies)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
