"""Knock-outs in combinations on the page: what is drawn is what the tables say."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from report_markup import read
from synthetic_shapley import COMPONENTS, UNKNOWN, ratio_rows

from reports import ReportData, methods, render
from reports.figures.base import Figure
from reports.sections import integration, shapley


@pytest.fixture(scope="module")
def figure(run: ReportData) -> Figure:
    ratios = ratio_rows(run.tables["indices"])
    return shapley.figure(run.tables["shapley"], run.tables["shapley_orders"], ratios)


def test_the_shares_of_every_order_are_drawn_beside_their_nulls(figure: Figure) -> None:
    panel = next(one for one in figure.panels if (one.title, one.subtitle) == ("ioi", "diffusion-s0"))
    drawing = read(str(panel.drawings[0]))
    (picture,) = drawing.all("svg")
    said = "additive 80 % and 82 %, pairs 15 % and 15 %, triples 4 % and 4 % and fours 1 % and 1 %"
    assert said in (picture.get("aria-label") or "")
    titles = [title.words() for title in drawing.all("title")]
    assert "before: 0.800 [0.750, 0.850]" in titles and "after: 0.820 [0.770, 0.870]" in titles
    bands = [band for band in drawing.all("rect") if "f-chance" in (band.get("class") or "")]
    assert len(bands) == 2 * 4
    widths = sorted({float(band.get("width") or 0) for band in bands}, reverse=True)
    assert widths[0] / widths[1] == pytest.approx(0.8 / 0.15, rel=0.01)


def test_the_ratio_is_drawn_last_with_its_shift(figure: Figure) -> None:
    panel = next(one for one in figure.panels if (one.title, one.subtitle) == ("ioi", "diffusion-s0"))
    assert len(panel.drawings) == 2
    assert 'aria-label="Shapley interaction ratio, ioi, diffusion-s0: before 1.710' in str(panel.drawings[1])
    assert panel.note.startswith("shift ")


def test_a_model_without_shares_says_why(figure: Figure) -> None:
    panel = next(one for one in figure.panels if (one.title, one.subtitle) == ("countdown", "control-s0"))
    assert len(panel.drawings) == 1 and f"No shares: {UNKNOWN}." in panel.note


def test_the_tables_have_the_largest_sets_and_all_shares(figure: Figure, run: ReportData) -> None:
    largest, shares, ratios = figure.tables
    assert len(largest.rows) == 8 * shapley.LISTED and len(shares.rows) == run.tables["shapley_orders"].height
    assert len(ratios.rows) == 3 * 4
    one = [row for row in largest.rows if row[:3] == ("ioi", "diffusion-s0", "before")]
    assert {row[3] for row in one} >= set(COMPONENTS)  # the Shapley values are the largest


def test_the_section_has_the_part_only_where_there_are_combinations(run: ReportData) -> None:
    made = integration.section(run)
    assert made is not None and 'id="figure-shapley"' in made.body and "Knock-outs in combinations" in made.body
    assert "Knock-outs in pairs" not in made.body
    without = {name: frame for name, frame in run.tables.items() if not name.startswith("shapley")}
    other = integration.section(replace(run, tables=without))
    assert other is not None and 'id="figure-shapley"' not in other.body
    empty = run.tables | {"shapley": run.tables["shapley"].clear()}
    cleared = integration.section(replace(run, tables=empty))
    assert cleared is not None and 'id="figure-shapley"' not in cleared.body


@pytest.mark.long
def test_the_methods_cite_the_index(run: ReportData) -> None:
    cited = [methods.references(run.methods, equivalence=False, shapley=combined) for combined in (True, False)]
    assert [any("Grabisch" in work.text for work in works) for works in cited] == [True, False]
    assert "Grabisch" in render(run)


def test_orders_beyond_four_are_in_the_table_only(run: ReportData) -> None:
    fifth = run.tables["shapley_orders"].filter(pl.col("order") == 4).with_columns(order=pl.lit(5, dtype=pl.Int64))
    orders = pl.concat([run.tables["shapley_orders"], fifth])
    figure = shapley.figure(run.tables["shapley"], orders, pl.DataFrame(schema=run.tables["indices"].schema))
    assert "order 5" not in str(figure.panels[0].drawings[0])
    assert {row[3] for row in figure.tables[1].rows} >= {"4", "5"}
    assert len(figure.tables) == 2 and len(figure.panels[0].drawings) == 1
    assert shapley.order_name(5) == "order 5"
