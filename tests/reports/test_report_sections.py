"""The figures and tables of each section as objects: those that the page shows, and no others."""

from __future__ import annotations

import re
from html import unescape

import pytest

from reports import ReportData
from reports.page import sections_of
from reports.sections.base import Section
from reports.tables import from_frame, real


@pytest.fixture(scope="module")
def sections(run: ReportData) -> list[Section]:
    return sections_of(run)


@pytest.mark.long
def test_every_figure_of_the_page_is_an_object_of_its_section(sections: list[Section], page: str) -> None:
    drawn = re.findall(r'<figure class="figure[^"]*" id="([^"]+)"', page)
    held = [figure.id for section in sections for figure in section.figures]
    assert held == [name for name in drawn if name != "figure-verdicts"]  # a table with drawings, and no figure object


@pytest.mark.long
def test_every_table_of_the_page_is_an_object(sections: list[Section], page: str) -> None:
    captions = [unescape(found) for found in re.findall(r"<caption>(.*?)</caption>", page)]
    held = [table.caption for section in sections for one in section.figures for table in one.tables]
    held += [table.caption for section in sections for table in section.tables]
    assert sorted(captions) == sorted(held)


def test_a_section_says_what_it_is_drawn_from(sections: list[Section]) -> None:
    (overlap,) = [section for section in sections if section.id == "overlap"]
    assert {"overlap", "retention"} <= set(overlap.draws)


def test_a_table_keeps_the_numbers_that_it_rounds(run: ReportData) -> None:
    frame = run.tables["overlap"]
    table = from_frame("Overlap", frame, {"between": real("between")})
    assert [row[0] for row in table.values] == frame["between"].to_list()
    assert all(isinstance(cell, str) for row in table.rows for cell in row)
