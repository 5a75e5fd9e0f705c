"""The pages in a real browser: what a person does from a spec to its report, and what no page may do."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from axe_core import axe_source
from chromium_pipe import Browser
from servers import REAL, Server, serving, study
from stored_runs import equivalent, estimate, finding, findings, write_run

from mechshift_core.service.root import Root
from mechshift_core.service.tokens import Tokens

PROGRAM = shutil.which("chromium")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PROGRAM is None, reason="needs the program `chromium` on PATH (apt install chromium)"),
]
HOSTILE = "<script>window.evil=1</script><img src=x onerror=window.evil=1>\u202edekcart" + "w" * 300
PAGES = {
    "runs": "/",
    "run": "/runs/first",
    "hostile": "/runs/hostile",
    "new": "/new?template=interventions",
    "findings": "/findings",
    "estimates": "/findings?sort=estimate",
    "trend": "/trend?study=series&id=lower",
    "compare": "/compare?run=first&run=second&run=hostile",
    "sql": "/sql",
    "trash": "/trash",
    "missing": "/runs/none",
}
REPORT = """<!doctype html><html lang="en"><title>report</title><h1>The report</h1><script>
document.querySelector("h1").textContent += " runs";
try { parent.document.title = "taken over" } catch (error) { document.querySelector("h1").textContent += " alone" }
fetch("/api/v1/runs").catch(() => document.querySelector("h1").textContent += " and reaches nothing")
</script>"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("root")
    changed = finding(estimate=0.4, low=0.26, high=0.54, verdict="refuted")
    for name, found in (
        ("first", findings(name="series", estimates=(estimate(), estimate(measure="depth_slope", side="shift")))),
        ("second", findings(changed, equivalent(), name="series")),
        ("hostile", findings(finding(claim=HOSTILE, message=HOSTILE, id=HOSTILE[:60]), name=HOSTILE)),
    ):
        write_run(root / name, found, failures=(HOSTILE,) if name == "hostile" else ())
        (root / name / "report.html").write_text(REPORT)
    with serving(root) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as running:
        yield running


class Visitor:
    """Somebody in front of the browser."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self.browser, self.server = browser, server

    def go(self, path: str, *, width: int = 1280, scheme: str = "light") -> None:
        before = self.browser.evaluate("performance.timeOrigin")
        self.browser.open(self.server.address + path, width=width, scheme=scheme)
        self.see(f"performance.timeOrigin !== {before} && document.readyState === 'complete'")

    def see(self, expression: str, *, seconds: float = 30) -> Any:
        """What an expression gives once it is something."""
        end = time.monotonic() + seconds
        while not (found := self.browser.evaluate(expression)):
            text = self.browser.evaluate("document.body.innerText")
            assert time.monotonic() < end, f"not seen: {expression}\n{text}"
            time.sleep(0.05)
        return found

    def says(self, text: str, *, within: str = "body", seconds: float = 30) -> None:
        self.see(f"document.querySelector({within!r})?.innerText.includes({json.dumps(text)})", seconds=seconds)

    def press(self, label: str) -> None:
        """Press a button or follow a link by its words."""
        found = f"[...document.querySelectorAll('button, a, summary')].find(b => b.innerText.trim() === {label!r})"
        self.see(f"!!{found}")
        self.browser.evaluate(f"{found}.click()")

    def type(self, text: str) -> None:
        self.browser.call("Input.insertText", text=text)

    def keys(self, *names: str, modifiers: int = 0) -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40, "End": 35, "Backspace": 8}
        for name in names:
            named = {"key": name, "code": name, "windowsVirtualKeyCode": codes[name], "modifiers": modifiers}
            text = {"text": "\r"} if name == "Enter" else {}
            self.browser.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
            self.browser.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def put(self, text: str, *, caret: int | None = None) -> None:
        """Have the editor hold a text, as if typed."""
        self.browser.evaluate(
            f"(() => {{const a = document.getElementById('spec'); a.focus(); a.value = {json.dumps(text)};"
            f"const at = {len(text) if caret is None else caret}; a.setSelectionRange(at, at);"
            "a.dispatchEvent(new Event('input'))})()"
        )

    @property
    def text(self) -> str:
        return str(self.browser.evaluate("document.getElementById('spec').value"))


@pytest.fixture
def visitor(browser: Browser, server: Server) -> Visitor:
    made = Visitor(browser, server)
    made.go("/trash")
    browser.evaluate("sessionStorage.clear()")
    return made


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.nightly), 1920])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_the_window_and_asks_nobody_else(visitor: Visitor, name: str, width: int) -> None:
    visitor.go(PAGES[name], width=width)
    time.sleep(0.3)
    browser = visitor.browser
    wide = "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
    wide += " && !e.closest('.scroll, .editor')).map(e => e.outerHTML.slice(0, 99))"
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, browser.evaluate(wide)
    assert all(url.startswith((visitor.server.address, "data:")) for url in browser.requests())
    expected = [one for one in browser.problems() if not ("404" in one and name == "missing")]
    assert [one for one in expected if "/report" not in one] == []
    assert browser.evaluate("window.evil") is None and browser.evaluate("document.title") != "taken over"
    levels = browser.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.nightly), "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(visitor: Visitor, name: str, scheme: str) -> None:
    visitor.go(PAGES[name], scheme=scheme)
    browser = visitor.browser
    if name == "new":
        visitor.see("performance.getEntriesByType('resource').some(r => r.name.endsWith('/schema') && r.responseEnd)")
        time.sleep(0.2)
        visitor.put("schema: mechshift/v1\nnonsense: 1\nmodels: {a: {par")
        visitor.see("!!document.querySelector('.problems') && !document.querySelector('.suggestions').hidden")
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert serious(browser) == []


def serious(browser: Browser) -> list[Any]:
    """What axe-core says of the page that matters: rule and elements."""
    browser.evaluate(f"{axe_source()}; 0")
    options = "{resultTypes: ['violations'], iframes: false}"
    found = json.loads(browser.evaluate(f"axe.run(document, {options}).then(r => JSON.stringify(r))"))
    assert len(found["passes"]) > 15
    bad = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in bad]


@pytest.mark.parametrize("width", [1280, 390])
def test_from_a_mistake_in_a_spec_to_its_report_and_the_trash(visitor: Visitor, width: int) -> None:
    visitor.go("/new", width=width)
    wrong = study("sleep=4", name=f"walk-{width}").replace("masked_diffusion", "masked_difusion")
    visitor.put(wrong)
    visitor.says("1 problem", within="#said")
    visitor.says("Line 6", within="#problems")
    assert visitor.browser.evaluate("document.querySelector('.numbers .wrong').textContent") == "6"
    visitor.press("Submit")
    visitor.see("document.activeElement.dataset.line === '6'")
    visitor.keys("Enter")
    assert visitor.browser.evaluate("document.activeElement.id") == "spec"
    place = visitor.text.index("masked_difusion")
    visitor.browser.evaluate(f"document.getElementById('spec').setSelectionRange({place}, {place + 15})")
    visitor.type("masked_diffusion")
    visitor.says("No problem found", within="#said")
    visitor.keys("Escape")
    visitor.press("Submit")
    visitor.see("location.pathname.startsWith('/runs/')")
    name = visitor.browser.evaluate("location.pathname.split('/')[2]")
    visitor.says("0 of 10", within="#progress")
    visitor.says("[0/10] cells", within="#log")
    assert visitor.browser.evaluate("sessionStorage.getItem('mechshift-draft')") is None
    visitor.says("complete", within=".standing")
    visitor.says("It is lower.", within="#verdicts")
    frame = "document.querySelector('#report iframe')"
    assert visitor.see(f"{frame}.getAttribute('sandbox')") == "allow-scripts allow-downloads"
    visitor.press("Move to the trash")
    visitor.says(f"{name} is in the trash")
    visitor.press("Restore it")
    visitor.says("complete", within=".standing")
    visitor.go(f"/?q=walk-{width}", width=width)
    assert visitor.browser.evaluate("[...document.querySelectorAll('[data-name]')].map(r => r.dataset.name)") == [name]


def test_progress_reaches_the_page_within_a_second(visitor: Visitor) -> None:
    name = visitor.server.submit("sleep=30", name="prompt")
    visitor.server.until(name, "running")
    visitor.go(f"/runs/{name}")
    visitor.says("0 of 10", within="#progress")
    attempt = visitor.server.root / ".mechshift" / "jobs" / name / "attempts" / "1"
    taken = []
    for done in (3, 7):
        found = {"what": "circuit of \u202eevil", "done": done, "total": 10, "seconds_left": 75.0, "at": "now"}
        (attempt / "progress.json").write_text(json.dumps(found))
        begun = time.monotonic()
        visitor.says(f"{done} of 10, about 1 min 15 s left", within="#progress")
        taken.append(time.monotonic() - begun)
    assert min(taken) < 1
    visitor.says("Now: circuit of ⟨U+202E⟩evil", within="#progress")
    with (attempt / "log.txt").open("a") as log:
        log.write(f"{HOSTILE}\n")
    visitor.says("<script>window.evil=1</script>", within="#log")
    visitor.press("Cancel")
    visitor.says("cancelled", within=".standing")
    visitor.press("Resume")
    visitor.says("running", within=".standing")
    visitor.says("2", within="#attempts")
    visitor.press("Cancel")
    visitor.says("cancelled", within=".standing")
    assert visitor.browser.evaluate("window.evil") is None


def test_the_list_keeps_itself_up_to_date_and_the_focus_where_it_is(visitor: Visitor) -> None:
    name = visitor.server.submit("sleep=3", name="listed")
    visitor.server.until(name, "running")
    visitor.go("/", width=390)
    box = f"document.querySelector('[data-name={json.dumps(name)}] input')"
    visitor.browser.evaluate(f"{box}.focus(), {box}.click(), window.same = {box}, scrollTo(0, 120)")
    visitor.see(f"document.querySelector('[data-name={json.dumps(name)}]').innerText.includes('complete')")
    visitor.says("supported", within=f"[data-name='{name}'] .found")
    assert visitor.browser.evaluate(f"document.activeElement === window.same && {box}.checked")
    assert visitor.browser.evaluate("scrollY") == 120
    visitor.browser.evaluate("document.querySelector('[data-name=first] input').click()")
    visitor.press("Compare 2 selected")
    visitor.says("in 2 runs", within="main")
    assert visitor.browser.evaluate("new URLSearchParams(location.search).getAll('run')") == [name, "first"]


def test_a_report_runs_in_a_frame_of_its_own_and_reaches_nothing(visitor: Visitor) -> None:
    visitor.go("/runs/first")
    visitor.browser.evaluate("document.querySelector('iframe').scrollIntoView()")
    time.sleep(1)
    assert visitor.browser.evaluate("document.title") == "series: complete · mechshift"
    assert visitor.browser.evaluate("document.querySelector('iframe').contentDocument") is None
    visitor.go("/api/v1/runs/first/report")
    visitor.see("document.querySelector('h1').textContent === 'The report runs and reaches nothing'")
    assert visitor.browser.evaluate("self.origin") == "null"


PLACES = [
    ("models:\n  a: {source: x, paradigm: |}", ["autoregressive", "masked_diffusion"]),
    ("models:\n  a:\n    par|", ["paradigm"]),
    ("models:\n  a: {par|", ["paradigm"]),
    ("pairs:\n  - {name: d, before: |}\nmodels:\n  a: {source: x}\n  b:\n    source: y", ["a", "b"]),
    ("pairs:\n- name: d\n  role: |\n  before: a", ["treatment", "control", "unrelated"]),
    ("pairs:\n  - name: d\n    before: a\n    |", ["after", "role", "seed", "prompts"]),
    ("interventions:\n  - {name: c, kind: edge_attribution, q|}", ["quadrature"]),
    ("interventions:\n  - {name: c, kind: edge_attribution}\n  - {name: d, kind: circuit_patching, of: |}", ["c", "d"]),
    ("interventions:\n  - {qu|, kind: edge_attribution}", ["quadrature"]),
    ("hypotheses:\n  - id: x\n    test: {kind: bo|", ["bound"]),
    ("hypotheses:\n  - id: x\n    where:\n      role: control\n      re|", ["regime"]),
    ("tasks: [\n  {name: a, # why\n   regime: |", ["local", "global"]),
    ("measures:\n  |", ["overlap", "depth", "specialization", "integration", "alignment"]),
    ("select: {correct: |}", ["both", "before", "any", "none"]),
    ("schema: |", ["mechshift/v1"]),
    ("# sch|", None),
    ("name: 'sch|", None),
    ("title: |", []),
]


@pytest.fixture(scope="module")
def suggesting(browser: Browser, server: Server) -> str:
    """A function of the page: what may stand at a place of a text."""
    browser.open(f"{server.address}/new", width=1280)
    base = browser.evaluate("document.querySelector('script[type=module]').src.replace('editor.js', '')")
    return (
        "(async (text, at) => {"
        f"const {{placeAt}} = await import('{base}yaml_place.js'), {{suggest}} = await import('{base}suggestions.js');"
        "const schema = await (await fetch('/api/v1/specs/schema')).json(), place = placeAt(text, at);"
        "return place && suggest(schema, place, text).map(one => one.text)})"
    )


@pytest.mark.parametrize(("text", "wanted"), PLACES)
def test_what_may_stand_at_a_place(browser: Browser, suggesting: str, text: str, wanted: list[str] | None) -> None:
    at = text.index("|")
    assert browser.evaluate(f"{suggesting}({json.dumps(text.replace('|', '', 1))}, {at})") == wanted


def test_suggestions_are_chosen_from_the_keyboard(visitor: Visitor) -> None:
    visitor.go("/new")
    area, shown = "document.getElementById('spec')", "!document.querySelector('.suggestions').hidden"
    end = time.monotonic() + 30
    while not visitor.browser.evaluate(shown):  # until the schema is there
        visitor.put("sche")
        assert time.monotonic() < end
    active = f"document.getElementById({area}.getAttribute('aria-activedescendant'))"
    assert visitor.browser.evaluate(f"{active}.getAttribute('aria-selected')") == "true"
    visitor.says("1 may stand here", within=".pane [role=status]")
    visitor.keys("Enter")
    assert visitor.text == "schema: "
    assert visitor.browser.evaluate(shown) and visitor.browser.evaluate(active) is None
    visitor.keys("ArrowDown", "Enter")
    assert visitor.text == "schema: mechshift/v1"
    visitor.keys("Enter")
    visitor.type("ti")
    assert visitor.browser.evaluate(shown)
    visitor.keys("Escape")
    assert not visitor.browser.evaluate(shown)
    visitor.keys("Tab")
    assert visitor.browser.evaluate("document.activeElement.id") != "spec"
    assert visitor.text == "schema: mechshift/v1\nti"
    visitor.browser.evaluate(f"{area}.focus()")
    visitor.keys(" ", modifiers=2)
    assert visitor.browser.evaluate(shown)


def test_nothing_that_was_typed_is_lost(visitor: Visitor) -> None:
    visitor.go("/new")
    mine = study("mine") + "# my own words \U0001f642\n"
    visitor.put(mine)
    time.sleep(0.6)
    visitor.go("/new")
    visitor.says("This is what you wrote before.", within="#kept")
    assert visitor.text == mine
    visitor.go("/new?template=calibration")
    visitor.says("What you wrote before is kept.", within="#kept")
    assert "name: calibration" in visitor.text
    visitor.press("Take it back")
    assert visitor.text == mine
    visitor.go("/")
    visitor.go("/new")
    visitor.see(f"document.getElementById('spec').value === {json.dumps(mine)}")
    visitor.press("Start afresh")
    visitor.see("document.getElementById('spec').value.includes('name: quickstart')")
    visitor.press("Undo that")
    assert visitor.text == mine


def test_files_are_read_here_and_go_along(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"clean": "a ü", "corrupt": "b"}\n')
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\x00\xff")
    visitor.go("/new")
    text = study("files", name="files").replace("examples: 20", "regime: local, dataset: pairs.jsonl")
    visitor.put(text)
    visitor.says("did not come along", within="#problems")
    browser = visitor.browser
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=root, selector="#upload")["nodeId"]
    paths = [str(tmp_path / name) for name in ("pairs.jsonl", "picture.png")]
    browser.call("DOM.setFileInputFiles", nodeId=node, files=paths)
    visitor.says("picture.png is no text", within="#editing")
    visitor.says("pairs.jsonl", within="#files")
    visitor.says("No problem found", within="#said")
    visitor.press("Submit")
    visitor.see("location.pathname.startsWith('/runs/')")
    name = browser.evaluate("location.pathname.split('/')[2]")
    inputs = visitor.server.root / ".mechshift" / "jobs" / name / "inputs"
    assert (inputs / "pairs.jsonl").read_bytes() == (tmp_path / "pairs.jsonl").read_bytes()


def test_a_spec_is_checked_with_its_models_and_cost(visitor: Visitor) -> None:
    visitor.go("/new")
    visitor.put(study("cost"))
    visitor.press("Check with models and cost")
    visitor.says("Expected time", within="#checked", seconds=120)
    table = "[...document.querySelectorAll('#checked tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    assert visitor.browser.evaluate(table)[0][:2] == ["ioi", "20"]


def test_a_table_s_box_scrolls_on_a_phone_and_the_skip_link_works(visitor: Visitor) -> None:
    visitor.go(PAGES["compare"], width=390)
    boxes = "[...document.querySelectorAll('.scroll')].some(b => b.scrollWidth > b.clientWidth && b.tabIndex === 0)"
    assert visitor.browser.evaluate(boxes)
    visitor.keys("Tab")
    assert visitor.browser.evaluate("document.activeElement.className") == "skip"
    assert visitor.browser.evaluate("getComputedStyle(document.activeElement).left") == "0px"
    visitor.keys("Enter")
    visitor.see("document.activeElement.id === 'main'")
    grounds = []
    for scheme in ("light", "dark"):
        visitor.go("/", scheme=scheme)
        grounds.append(visitor.browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(21, 24, 27)"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_somebody_logs_in_does_something_and_leaves(browser: Browser, tmp_path: Path, scheme: str) -> None:
    with serving(tmp_path) as guarded:
        visitor = Visitor(browser, guarded)
        visitor.go("/")
        visitor.says("No runs yet")
        assert serious(browser) == []
        token = Tokens(Root(tmp_path)).create("ada")
        visitor.go("/findings?verdict=refuted", width=390, scheme=scheme)
        visitor.says("asks for a token")
        visitor.see("document.activeElement.name === 'token'")
        assert serious(browser) == []
        visitor.type("mst_wrong")
        visitor.keys("Enter")
        visitor.says("knows no such token")
        visitor.see("document.activeElement.name === 'token'")  # what is typed before is lost
        visitor.type(token)
        visitor.keys("Enter")
        visitor.says("Nothing fits")
        assert browser.evaluate("location.pathname + location.search") == "/findings?verdict=refuted"
        assert browser.evaluate("document.cookie") == "" and serious(browser) == []
        visitor.go("/new")
        visitor.put(study("sleep=30", name="owned"))
        visitor.press("Submit")
        visitor.says("by ada", within=".facts")
        visitor.press("Cancel")
        visitor.says("cancelled", within=".standing")
        visitor.press("Log out")
        visitor.says("asks for a token")
        visitor.go("/")
        visitor.says("asks for a token")


def test_everything_can_be_done_without_a_script(visitor: Visitor) -> None:
    browser = visitor.browser
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        visitor.go("/new", width=390)
        area = "document.getElementById('spec')"
        assert browser.evaluate("getComputedStyle(document.querySelector('.gutter')).display") == "none"
        browser.evaluate(
            f"{area}.value = {json.dumps(study('sleep=6', name='plain').replace('arm, after', 'ram, after'))}"
        )
        visitor.press("Submit")
        visitor.says("Line 8", within="#problems")
        assert "before: ram" in visitor.text
        browser.evaluate(f"{area}.value = {area}.value.replace('ram', 'arm')")
        visitor.press("Submit")
        visitor.see("location.pathname.startsWith('/runs/plain')")
        visitor.says("0 of 10", within="#progress")
        visitor.says("complete", within=".standing")  # the page loads itself again
        visitor.says("It is lower.", within="#verdicts")
        visitor.press("Move to the trash")
        visitor.press("Restore it")
        visitor.says("complete", within=".standing")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


REAL_SPEC = """\
schema: mechshift/v1
name: real
title: A tiny study, computed
models:
  arm: {source: "bundled:tiny-s0/arm", paradigm: autoregressive}
  mdm: {source: "bundled:tiny-s0/mdm", paradigm: masked_diffusion}
pairs:
  - {name: diffusion, before: arm, after: mdm, role: treatment}
tasks:
  - {name: ioi, examples: 12}
interventions:
  - {name: circuit, kind: edge_attribution, steps: 2}
measures:
  specialization: {}
hypotheses:
  - {id: less, claim: Less specialised., measure: specialization, test: {kind: difference, alternative: less}}
statistics: {bootstrap: {replicates: 100}}
"""


def test_a_study_is_computed_and_its_report_read(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, command=REAL) as real:
        visitor = Visitor(browser, real)
        visitor.go("/new")
        visitor.put(REAL_SPEC)
        visitor.press("Submit")
        visitor.see("location.pathname.startsWith('/runs/real')")
        visitor.says("of 2", within="#progress", seconds=120)
        visitor.says("complete", within=".standing", seconds=300)
        visitor.says("Less specialised.", within="#verdicts")
        assert visitor.browser.evaluate("document.querySelectorAll('#verdicts .badge').length") >= 2
        visitor.says("2 computed", within=".facts")
        visitor.says("report", within="#log")
        assert browser.problems() == [] and all(url.startswith(real.address) for url in browser.requests())
        visitor.press("Open the report by itself")
        visitor.see("document.querySelector('h1')?.innerText.includes('A tiny study, computed')")
        assert browser.evaluate("self.origin") == "null"
