"""The page in a real browser: policy, width, themes, print, downloads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chromium_pipe import Browser
from test_report_hostile import HOSTILE, poisoned

from reports import ReportData, render

PROGRAM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs the program `chromium` on PATH (apt install chromium)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, page: str, run: ReportData) -> Path:
    made = tmp_path_factory.mktemp("pages")
    (made / "report.html").write_text(page, encoding="utf-8")
    hostile = poisoned(run, "".join(HOSTILE.values()) + "w" * 3000)
    (made / "hostile.html").write_text(render(hostile), encoding="utf-8")
    (made / "bare.html").write_text(render(replace(run, tables={})), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as running:
        yield running


def test_a_page_that_breaks_its_policy_would_be_noticed(browser: Browser, folder: Path, page: str) -> None:
    broken = page.replace("<h1>", '<h1 style="color:red"><script>1</script>')
    (folder / "broken.html").write_text(broken, encoding="utf-8")
    browser.open(folder / "broken.html", width=1280)
    assert len(browser.problems()) == 2


@pytest.mark.parametrize("name", ["report", "hostile", "bare"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_the_window_without_a_complaint_or_a_request(
    browser: Browser, folder: Path, name: str, width: int
) -> None:
    path = folder / f"{name}.html"
    browser.open(path, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("getComputedStyle(document.querySelector('h1')).fontWeight") == "600"
    assert browser.problems() == []
    assert browser.requests() == [path.as_uri()]


def test_unfolded_tables_scroll_within_their_box_on_a_phone(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html", width=390)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    assert browser.evaluate("[...document.querySelectorAll('.scroll')].some(box => box.scrollWidth > box.clientWidth)")


def test_dark_mode_follows_the_reader(browser: Browser, folder: Path) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        browser.open(folder / "report.html", width=1280, scheme=scheme)
        grounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(21, 24, 27)"]


def test_the_number_of_edges_switches_without_a_script(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html", width=1280)
    shown = "[...document.querySelectorAll('.variant')].map(f => f.checkVisibility())"
    assert browser.evaluate(shown) == [False, False, True]
    browser.evaluate("document.querySelector('.size-1').click()")
    assert browser.evaluate(shown) == [True, False, False]


def test_no_two_labels_of_a_drawing_overlap(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html", width=1280)
    clashes = browser.evaluate(
        """[...document.querySelectorAll('svg.chart, svg.forest, svg.circuit, svg.matrix')].flatMap(svg => {
          const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
          const frame = svg.getBoundingClientRect();
          const out = boxes.filter(([, b]) => b.left < frame.left - 1 || b.right > frame.right + 1
            || b.top < frame.top - 1 || b.bottom > frame.bottom + 1).map(([t]) => 'outside: ' + t);
          const letters = boxes.filter(([t, b]) => b.width > 0 && !/^[qkv]$/.test(t));
          letters.forEach(([t, a], i) => letters.slice(i + 1).forEach(([u, b]) => {
            if (a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom)
              out.push(t + ' on ' + u);
          }));
          return out;
        })"""
    )
    assert clashes == []


def test_the_report_prints(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html", width=1280)
    printed = browser.pdf()
    assert printed.startswith(b"%PDF-") and printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 3


def test_a_table_can_be_downloaded_from_the_page(browser: Browser, folder: Path, tmp_path: Path) -> None:
    browser.open(folder / "report.html", width=1280)
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.evaluate("document.querySelector('a[download=\"overlap.csv\"]').click()")
    begun = browser.wait_for("Page.downloadWillBegin")
    assert begun["suggestedFilename"] == "overlap.csv"
    while browser.wait_for("Page.downloadProgress")["state"] == "inProgress":
        browser.events[:] = [event for event in browser.events if event.get("method") != "Page.downloadProgress"]
    assert (tmp_path / "overlap.csv").read_text().startswith("pair,role,task,regime,measure,k,between")
