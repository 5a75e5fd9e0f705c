"""The page in a real browser: policy, width, themes, print, downloads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from axe_core import axe_source
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
    (made / "live.html").write_text(render(replace(run, interactive=True)), encoding="utf-8")
    (made / "live-hostile.html").write_text(render(replace(hostile, interactive=True)), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def axe() -> str:
    return axe_source()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.mark.long
def test_a_page_that_breaks_its_policy_would_be_noticed(browser: Browser, folder: Path, page: str) -> None:
    broken = page.replace("<h1>", '<h1 style="color:red"><script>1</script>')
    (folder / "broken.html").write_text(broken, encoding="utf-8")
    browser.open(folder / "broken.html", width=1280)
    assert len(browser.problems()) == 2


@pytest.mark.long
@pytest.mark.parametrize("name", ["report", "hostile", "bare", "live", "live-hostile"])
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


@pytest.mark.long
def test_unfolded_tables_scroll_within_their_box_on_a_phone(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html", width=390)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    assert browser.evaluate("[...document.querySelectorAll('.scroll')].some(box => box.scrollWidth > box.clientWidth)")


@pytest.mark.long
def test_dark_mode_follows_the_reader(browser: Browser, folder: Path) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        browser.open(folder / "report.html", width=1280, scheme=scheme)
        grounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(21, 24, 27)"]


FATES = """['kept', 'lost', 'gained'].map(fate =>
  [...document.querySelector('.circuits .panel').querySelectorAll('.edge')].filter(edge => edge.checkVisibility()
    && {kept: 'none', lost: '7', gained: '0'}[fate] === getComputedStyle(edge).strokeDasharray.split(/px|,/)[0]
  ).length)"""
NOTE = "document.querySelector('.circuits .panel .note').innerText"


@pytest.mark.long
def test_the_number_of_edges_switches_without_a_script(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html", width=1280)
    seen = {}
    for size in (3, 1, 2):
        browser.evaluate(f"document.querySelector('.size-{size}').click()")
        seen[size] = browser.evaluate(NOTE)
        assert sum(browser.evaluate(FATES)) > 0
    assert [seen[size].split(" ")[0] for size in (1, 2, 3)] == ["10", "20", "40"] and len(set(seen.values())) == 3


def press(browser: Browser, *keys: str) -> None:
    codes = {"Tab": 9, "ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "Escape": 27, "Enter": 13}
    for key in keys:
        named = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], "nativeVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        browser.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        browser.call("Input.dispatchKeyEvent", type="keyUp", **named)


@pytest.mark.long
def test_a_table_sorts_by_its_numbers_from_the_keyboard(browser: Browser, folder: Path) -> None:
    browser.open(folder / "live.html", width=1280)
    table = "[...document.querySelectorAll('table.cells')].find(t => t.caption.textContent == 'Overlap and retention')"
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    at = browser.evaluate(f"[...{table}.tHead.rows[0].cells].findIndex(c => c.textContent == 'retention')")
    column = f"[...{table}.tBodies[0].rows].map(r => r.cells[{at}].textContent)"
    found = browser.evaluate(column)
    browser.evaluate(f"{table}.tHead.rows[0].cells[{at}].querySelector('button').focus()")
    values = sorted(float(text) for text in found if text != "–")
    for way, order in (("ascending", values), ("descending", values[::-1])):
        press(browser, "Enter")
        now = browser.evaluate(column)
        assert [float(text) for text in now if text != "–"] == order != [float(text) for text in found if text != "–"]
        assert now[-1] == "–"
        assert browser.evaluate(f"{table}.tHead.rows[0].cells[{at}].getAttribute('aria-sort')") == way


@pytest.mark.long
def test_the_filters_hide_the_panels_and_rows_of_other_tasks_on_the_screen_only(browser: Browser, folder: Path) -> None:
    browser.open(folder / "live.html", width=1280)
    browser.evaluate("document.querySelector('[name=circuit-view][value=all]').click()")
    panels = """[...document.querySelectorAll('#circuits .panel, #overlap .panel')].filter(p => p.checkVisibility())
      .map(p => p.querySelector('figcaption').innerText.trim())"""
    everything = browser.evaluate(panels)
    choose = "document.querySelector('.filters select[name={}]').value = '{}'"
    changed = "document.querySelector('.filters select').dispatchEvent(new Event('change'))"
    browser.evaluate(f"{choose.format('task', 'ioi')}, {choose.format('pair', 'control-s0')}, {changed}")
    assert browser.evaluate(panels) == [name for name in everything if name == "ioi control-s0"] != everything
    rows = "[...document.querySelectorAll('#overlap tbody tr:not(.away)')].map(row => row.cells[0].textContent)"
    assert set(browser.evaluate(rows)) == {"ioi"}
    assert "panels hidden" in browser.evaluate("document.querySelector('.filters output').textContent")
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(panels) == everything
    controls = "[...document.querySelectorAll('.filters, .explorer, .tip')].map(c => c.checkVisibility())"
    assert browser.evaluate(controls) == [False] * 3
    browser.call("Emulation.setEmulatedMedia", media="")


def test_values_of_a_drawing_are_said_to_pointer_and_keyboard(browser: Browser, folder: Path) -> None:
    browser.open(folder / "live.html", width=1280)
    tip = "document.querySelector('.tip').checkVisibility() ? document.querySelector('.tip').textContent : null"
    spoken = "document.querySelector('body > .unseen[role=status]').textContent"
    assert browser.evaluate(tip) is None
    browser.evaluate("document.querySelector('[name=circuit-view][value=all]').click()")
    browser.evaluate("document.querySelector('.still [name=circuit-size]:checked').focus()")
    press(browser, "Tab")
    first = browser.evaluate("document.activeElement.getAttribute('aria-label')")
    assert first.startswith("Circuit of ioi") and browser.evaluate(tip) == first
    press(browser, "ArrowDown")
    assert "(rank" in browser.evaluate(tip) and browser.evaluate(spoken) == browser.evaluate(tip)
    press(browser, "Escape")
    assert browser.evaluate(tip) is None
    press(browser, "ArrowRight")
    assert browser.evaluate("document.activeElement.getAttribute('aria-label')") != first
    browser.evaluate("document.activeElement.blur()")
    browser.evaluate("document.querySelector('#circuits .panel .edge').scrollIntoView({block: 'center'})")
    x, y = browser.evaluate(
        """(() => { for (const edge of document.querySelectorAll('#circuits .panel .edge')) {
          const middle = edge.getPointAtLength(edge.getTotalLength() / 2).matrixTransform(edge.getScreenCTM());
          if (document.elementFromPoint(middle.x, middle.y) === edge) return [middle.x, middle.y];
        } })()"""
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert "(rank" in browser.evaluate(tip)
    assert browser.problems() == []


@pytest.mark.long
@pytest.mark.parametrize(  # a minute or more for a page with everything on it
    ("name", "scheme"),
    [
        ("report", "light"),
        pytest.param("live", "dark", marks=pytest.mark.nightly),
        pytest.param("bare", "light", marks=pytest.mark.nightly),
        ("bare", "dark"),
    ],
)
def test_axe_finds_no_serious_violation(browser: Browser, folder: Path, axe: str, name: str, scheme: str) -> None:
    browser.open(folder / f"{name}.html", width=1280, scheme=scheme)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.evaluate(f"{axe}; 0")
    report = browser.evaluate("axe.run({resultTypes: ['violations']}).then(r => JSON.stringify(r))")
    found = json.loads(report)
    assert len(found["passes"]) > 20
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["help"], [node["html"][:200] for node in one["nodes"]][:3]) for one in serious] == []


def test_no_two_labels_of_a_drawing_overlap(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html", width=1280)
    clashes = browser.evaluate(
        """document.querySelectorAll('use').forEach(use => {
          const own = document.querySelector(use.getAttribute('href')).cloneNode(true);
          own.removeAttribute('id');
          use.replaceWith(own);
        });
        [...document.querySelectorAll('svg.chart, svg.forest, svg.circuit, svg.matrix')].flatMap(svg => {
          const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
          const frame = svg.getBoundingClientRect();
          if (!frame.width) return [];
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


@pytest.mark.long
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
    while (progress := browser.wait_for("Page.downloadProgress"))["state"] == "inProgress":
        # Only this event: the one that says that it is complete may have come with it.
        browser.events[:] = [event for event in browser.events if event.get("params") is not progress]
    assert (tmp_path / "overlap.csv").read_text().startswith("pair,role,task,regime,measure,k,prompts,between")
