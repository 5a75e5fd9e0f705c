"""The circuits of a page in a real browser: any K, both models, pointer, keyboard, filters, paper."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from axe_core import axe_source
from chromium_pipe import Browser

from reports import ReportData, formats, render
from reports.data import panels_of
from reports.figures import circuit

PROGRAM = shutil.which("chromium")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PROGRAM is None, reason="needs the program `chromium` on PATH (apt install chromium)"),
]
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
DRAWN = """[...document.querySelectorAll('.stage > div')].map(one => ['kept', 'lost', 'gained'].map(fate =>
  one.querySelectorAll('.edge.' + fate).length))"""
LIT = "[...document.querySelectorAll('.stage .edge.lit')].map(one => one.getAttribute('d')).sort()"
FACTS = "document.querySelector('.facts').innerText"
LIVE = "document.querySelector('.explorer [role=status]').textContent"
FOCUSED = "document.activeElement.getAttribute('aria-label')"
EMPTY: dict[str, list[object]] = {"edges": [], "spots": [], "names": [], "panels": [], "ks": []}
HELD = "[...document.querySelectorAll('.stage [aria-pressed=true]')].map(one => one.getAttribute('aria-label'))"


@pytest.fixture(scope="module")
def small(run: ReportData) -> ReportData:
    return replace(run, tables={name: run.tables[name] for name in ("edges", "overlap", "edge_roles")})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, small: ReportData) -> Path:
    made = tmp_path_factory.mktemp("pages") / "live.html"
    made.write_text(render(replace(small, interactive=True)), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    browser.open(page, width=1280)
    yield browser
    assert browser.problems() == []


def slide(browser: Browser, size: int) -> None:
    browser.evaluate(f"edges.value = {size}, edges.dispatchEvent(new Event('input'))")


def press(browser: Browser, *keys: str) -> None:
    for key in keys:
        named = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key], "nativeVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        browser.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        browser.call("Input.dispatchKeyEvent", type="keyUp", **named)


def counts(rows: pl.DataFrame, k: int) -> dict[str, int]:
    """What becomes of the edges, from the sets of the k largest of each model."""
    before, after = (
        set(rows.filter((pl.col("side") == side) & (pl.col("rank") <= k)).select("source", "target").rows())
        for side in ("before", "after")
    )
    return {"kept": len(before & after), "lost": len(before - after), "gained": len(after - before)}


def said(found: dict[str, int]) -> str:
    return ", ".join(f"{amount} {fate}" for fate, amount in found.items())


def first(small: ReportData) -> pl.DataFrame:
    return panels_of(small.tables["edges"])[0][2]


@pytest.mark.parametrize("k", [1, 40, 77, 400])
def test_kept_lost_and_gained_follow_k_in_every_panel(opened: Browser, small: ReportData, k: int) -> None:
    slide(opened, k)
    shown = opened.evaluate("[...document.querySelectorAll('.picks button')].map(b => b.getAttribute('aria-label'))")
    expected = [(task, pair, counts(rows, k)) for task, pair, rows in panels_of(small.tables["edges"])]
    assert shown == [f"{task}, {pair}: {said(found)}" for task, pair, found in expected]
    own = expected[0][2]
    assert opened.evaluate(DRAWN) == [list(own.values())]
    assert opened.evaluate("edges.getAttribute('aria-valuetext')") == f"{k} edges of each model: {said(own)}"
    assert opened.evaluate("document.querySelector('output[for=edges]').textContent") == str(k)


def test_the_slider_reaches_every_k_that_the_study_chose(opened: Browser) -> None:
    assert opened.evaluate("[edges.min, edges.max, edges.value].map(Number)") == [1, 400, 40]
    stops = "[...document.querySelectorAll('.stops button')].map(b => b.textContent)"
    assert opened.evaluate(stops) == ["40", "50", "100", "200", "400"]
    opened.evaluate("document.querySelector('.stops button[value=\"200\"]').click()")
    assert opened.evaluate("edges.value") == "200"
    assert opened.evaluate("document.querySelector('.stops [aria-pressed=true]').textContent") == "200"


def test_side_by_side_shows_each_model_its_own_circuit(opened: Browser, small: ReportData) -> None:
    found = counts(first(small), 40)
    opened.evaluate("document.querySelector('[name=circuit-view][value=beside]').click()")
    assert opened.evaluate(DRAWN) == [[found["kept"], found["lost"], 0], [found["kept"], 0, found["gained"]]]
    headings = "[...document.querySelectorAll('.stage h3')].map(one => one.textContent)"
    assert opened.evaluate(headings) == ["ioi, diffusion-s0: before, arm-s0", "ioi, diffusion-s0: after, mdm-s0"]


def test_an_edge_runs_on_the_screen_as_in_the_fixed_drawing(opened: Browser) -> None:
    paths = """[...document.querySelector('{}').querySelectorAll('.edge')].map(one =>
      one.getAttribute('d') + ['kept', 'lost', 'gained', 'w1', 'w2', 'w3', 'w4', 'w5', 'w6'].filter(name =>
        one.classList.contains(name))).sort()"""
    on_screen = opened.evaluate(paths.format(".stage"))
    assert on_screen == opened.evaluate(paths.format(".still .panel")) and len(on_screen) > 40


def test_enter_holds_a_node_and_its_edges_stand_out_until_escape(opened: Browser, small: ReportData) -> None:
    opened.evaluate("document.querySelectorAll('.stage [tabindex=\"0\"]')[1].focus()")
    press(opened, "Enter")
    (held,) = opened.evaluate(HELD)
    assert held == opened.evaluate(FOCUSED)
    words = held.split(":")[0]
    layer, head = (int(number) for number in (words.split()[1].strip(","), words.split()[-1]))
    names = {f"a{layer}.h{head}", f"a{layer}.h{head}<q>", *(f"a{layer}.kv{head // 2}<{one}>" for one in "kv")}
    own = [edge for edge in circuit.edges_of(first(small), k=40) if {edge.source, edge.target} & names]
    assert len(opened.evaluate(LIT)) == len(own) > 0
    assert opened.evaluate("document.querySelector('.stage').classList.contains('dim')")
    faded = "[...document.querySelectorAll('.stage .edge:not(.lit)')].map(one => getComputedStyle(one).opacity)"
    opened.evaluate("document.getAnimations().forEach(one => one.finish())")
    assert set(opened.evaluate(faded)) == {"0.1"}
    assert opened.evaluate(LIVE).startswith(f"Held: {words}; ")
    facts = opened.evaluate(FACTS)
    assert words in facts and "held" in facts
    press(opened, "Escape")
    assert opened.evaluate(HELD) == [] and opened.evaluate(LIVE) == "Let go."
    assert opened.evaluate(LIT) == []


def test_the_facts_of_a_node_are_those_of_the_tables(opened: Browser, small: ReportData) -> None:
    rows = first(small)
    sums = rows.group_by("side", "source").agg(pl.col("score").sum())
    opened.evaluate("[...document.querySelectorAll('.stage .mlp')][0].focus()")
    press(opened, "Enter")
    name = opened.evaluate("document.querySelector('.facts code').textContent")
    for side in ("before", "after"):
        own = sums.filter(pl.col("side") == side)
        score = own.filter(pl.col("source") == name)["score"].item()
        rank = 1 + own.filter(pl.col("score").abs() > abs(score)).height
        best = rows.filter((pl.col("side") == side) & ((pl.col("source") == name) | (pl.col("target") == name)))
        inside = [k for k in (50, 100, 200, 400) if k >= best["rank"].min()]
        line = f"{side}\t{formats.number(score)}\t{rank}\t{len(inside)} of 4 (K ≥ {inside[0]})"
        assert line in opened.evaluate(FACTS)
    lists = "[...document.querySelectorAll('.facts h4')].map(one => one.textContent)"
    edges = circuit.edges_of(rows, k=40)
    expected = [("Incoming edges", sum(edge.target == name for edge in edges))]
    expected += [("Outgoing edges", sum(edge.source == name for edge in edges))]
    assert opened.evaluate(lists) == [f"{title}: {amount}" for title, amount in expected if amount]


def test_from_a_node_the_keyboard_goes_on_to_its_edges_and_back(opened: Browser, small: ReportData) -> None:
    opened.evaluate("[...document.querySelectorAll('.stage .mlp')][0].focus()")
    press(opened, "Enter", "Enter", "Enter")  # holds, goes to the first edge, holds that
    names = opened.evaluate("document.querySelector('.facts code').textContent").split(" → ")
    (edge,) = [one for one in circuit.edges_of(first(small), k=40) if [one.source, one.target] == names]
    facts = opened.evaluate(FACTS)
    for side, score, rank in (("before", edge.before, edge.rank_before), ("after", edge.after, edge.rank_after)):
        assert f"{side}\t{formats.number(score)}\t{rank}\t" in facts
    assert edge.fate.capitalize() in facts and len(opened.evaluate(LIT)) == 1
    table = small.tables["edge_roles"].filter(task="ioi", pair="diffusion-s0", source=names[0], target=names[1])
    for role in table["token_role"].unique():
        values = [table.filter(token_role=role, side=side)["score"].item() for side in ("before", "after")]
        assert f"\n{role}\t" in facts, values
    assert opened.evaluate("document.querySelector('.facts').contains(document.activeElement)")
    press(opened, "Escape")
    assert opened.evaluate("document.activeElement.matches('.stage .mlp')")


def test_numbers_are_written_as_in_the_rest_of_the_page(opened: Browser) -> None:
    values = [0, 1.5, -0.25, 0.00049, -0.0000123, 0.0005, 9.9994, 12.345, -999.9, 1234.4, -56789, 2.5e-12, None]
    written = opened.evaluate(f"(model => {json.dumps(values)}.map(model.written))(circuitModel({json.dumps(EMPTY)}))")
    assert written == [formats.number(value) for value in values]


def test_tab_goes_by_layer_and_arrows_go_along_and_across_layers(opened: Browser) -> None:
    slide(opened, 200)
    stops = "[...document.querySelectorAll('.stage [tabindex=\"0\"]')].map(one => one.getAttribute('aria-label'))"
    words = [label.split(":")[0].split(",")[0] for label in opened.evaluate(stops)]
    assert words == ["input", *(f"layer {layer}" for layer in range(6)), "logits"]
    opened.evaluate("document.querySelector('.stage [tabindex=\"0\"]').focus()")
    press(opened, "ArrowUp", "ArrowUp")
    assert opened.evaluate(FOCUSED).startswith("layer 1, ")
    reached = opened.evaluate("document.activeElement.getBoundingClientRect().left")
    press(opened, "ArrowLeft")
    assert opened.evaluate("document.activeElement.getBoundingClientRect().left") < reached
    here = opened.evaluate(FOCUSED)
    assert here.startswith("layer 1, ") and here in opened.evaluate(stops)  # where Tab comes back to
    outline = "getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth"
    assert opened.evaluate(outline) == "3px"
    press(opened, "ArrowDown", "ArrowDown")
    assert opened.evaluate(FOCUSED).startswith("input")


def centre(browser: Browser, thing: str) -> tuple[float, float]:
    """Where something is on the screen, after it has been scrolled to."""
    browser.evaluate(f"{thing}.scrollIntoView({{block: 'center'}})")
    x, y = browser.evaluate(
        f"(() => {{ const b = {thing}.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] }})()"
    )
    return x, y


def test_the_pointer_shows_and_a_click_holds(opened: Browser) -> None:
    idle = opened.evaluate(FACTS)
    node = "[...document.querySelectorAll('.stage .head')].at(-1)"
    x, y = centre(opened, node)
    opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    shown = opened.evaluate(FACTS)
    assert shown != idle and len(opened.evaluate(LIT)) > 0
    opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert opened.evaluate(FACTS) == idle and opened.evaluate(LIT) == []
    for kind in ("mousePressed", "mouseReleased"):
        opened.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert opened.evaluate(FACTS).replace(" · held", "") == shown and len(opened.evaluate(HELD)) == 1
    slide(opened, 400)
    assert len(opened.evaluate(HELD)) == 1 and len(opened.evaluate(LIT)) > 0
    opened.evaluate("document.querySelectorAll('.picks button')[1].click()")
    assert len(opened.evaluate(HELD)) == 1  # so that the same node can be looked at in the other pair


def test_a_thin_edge_is_found_a_few_pixels_away(opened: Browser) -> None:
    x, y = opened.evaluate(
        """(() => { const edge = [...document.querySelectorAll('.stage .edge')][0];
          edge.scrollIntoView({block: 'center'});
          const at = edge.getPointAtLength(edge.getTotalLength() / 2).matrixTransform(edge.getScreenCTM());
          return [at.x + 3, at.y] })()"""
    )
    opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert " → " in opened.evaluate("document.querySelector('.facts code')?.textContent")


def test_the_filters_of_the_page_choose_here_too(opened: Browser) -> None:
    opened.evaluate("document.querySelector('.filters [name=pair]').value = 'control-s0'")
    opened.evaluate("document.querySelector('.filters [name=pair]').dispatchEvent(new Event('change'))")
    visible = "[...document.querySelectorAll('.picks button')].filter(b => b.checkVisibility()).map(b => b.ariaLabel)"
    assert [label.split(":")[0] for label in opened.evaluate(visible)] == ["ioi, control-s0", "countdown, control-s0"]
    assert opened.evaluate("document.querySelector('.stage').ariaLabel").startswith("Circuit of ioi, control-s0: ")


def test_paper_has_the_fixed_drawings_and_no_controls(opened: Browser) -> None:
    slide(opened, 200)
    seen = "['.explorer', '.still .panel'].map(one => document.querySelector(one).checkVisibility())"
    assert opened.evaluate(seen) == [True, False]
    opened.call("Emulation.setEmulatedMedia", media="print")
    assert opened.evaluate(seen) == [False, True]
    note = opened.evaluate("document.querySelector('.still .tally').innerText")
    opened.call("Emulation.setEmulatedMedia", media="")
    assert note.startswith("40 edges each: ")
    assert opened.pdf().startswith(b"%PDF-")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_themes(browser: Browser, page: Path, scheme: str) -> None:
    browser.open(page, width=390, scheme=scheme)
    for view in ("overlaid", "beside", "all"):
        browser.evaluate(f"document.querySelector('[name=circuit-view][value={view}]').click()")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    browser.evaluate("document.querySelector('[name=circuit-view][value=overlaid]').click()")
    colours = "[document.body, document.querySelector('.stage .node text')].map(one => getComputedStyle(one))"
    ground, ink = browser.evaluate(f"[{colours}[0].backgroundColor, {colours}[1].fill]")
    assert (ground, ink) == {
        "light": ("rgb(255, 255, 255)", "rgb(28, 33, 38)"),
        "dark": ("rgb(21, 24, 27)", "rgb(228, 231, 234)"),
    }[scheme]
    assert browser.problems() == []


def test_a_tap_holds_and_what_is_said_stays_in_view(browser: Browser, page: Path) -> None:
    browser.open(page, width=390)
    x, y = centre(browser, "[...document.querySelectorAll('.stage .mlp')].at(-1)")
    browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert browser.evaluate(f"new Promise(done => setTimeout(() => done({HELD}.length), 300))") == 1
    low, high = browser.evaluate(
        "(() => { const b = document.querySelector('.facts').getBoundingClientRect(); return [b.top, b.bottom] })()"
    )
    assert 450 < low < high <= 900


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_circuits(browser: Browser, page: Path, scheme: str) -> None:
    axe = axe_source()
    browser.open(page, width=1280, scheme=scheme)
    browser.evaluate(f"{axe}; 0")
    for look in ("0", "document.querySelector('.stage .mlp').focus()", "edges.focus()"):
        browser.evaluate(look)
        press(browser, "Enter")
        browser.evaluate("document.getAnimations().forEach(one => one.finish())")
        report = browser.evaluate("axe.run('#circuits', {resultTypes: ['violations']}).then(r => JSON.stringify(r))")
        found = json.loads(report)
        assert len(found["passes"]) > 10
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found["violations"]] == []
