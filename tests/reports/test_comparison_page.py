"""The page of two compared runs: its parts, and that no text on it acts."""

from __future__ import annotations

import pytest
from report_markup import read
from test_report_hostile import HOSTILE

from reports.compare import Change, Compared, ComparedRuns, Numbers, render_comparison, summary

BEFORE = Numbers(estimate=-0.4, low=-0.54, high=-0.26, verdict="supported", status="ok")
AFTER = Numbers(estimate=0.4, low=0.26, high=0.54, verdict="refuted", status="ok")


def runs(text: str = "early-shift") -> ComparedRuns:
    """Two runs that differ in every part, with a text wherever a run can put one."""
    return ComparedRuns(
        first=text,
        second=f"{text} too",
        version="0.1.0",
        spec=(Change(path=text, kind="changed", first=text, second=[text]),),
        provenance=(Change(path="packages.torch", kind="added", first=None, second=text),),
        findings=(Compared(name=text, first=BEFORE, second=AFTER, difference=0.8, low=0.6, high=1.0),),
        estimates=(Compared(name=text, first=BEFORE, second=None, redefined=(text,)),),
        same_findings=3,
    )


def test_the_page_has_every_part_with_both_sides() -> None:
    tree = read(render_comparison(runs()))
    assert [section.get("id") for section in tree.all("section")] == ["findings", "estimates", "spec", "provenance"]
    assert [bdi.words() for bdi in tree.all("h1")[0].all("bdi")] == ["early-shift", "early-shift too"]
    cells = [[cell.words().strip() for cell in row.walk() if cell.tag in ("th", "td")] for row in tree.all("tr")]
    assert [" ".join(text.split()) for text in cells[1]] == [
        "early-shift",
        "−0.400 [−0.540, −0.260], supported",
        "0.400 [0.260, 0.540], refuted",
        "0.800 [0.600, 1.000]",
        "yes",
    ]
    assert [" ".join(text.split()) for text in cells[-1]] == ["packages.torch", "–", "early-shift"]
    assert "The same in both runs, and not shown: 3." in tree.words()
    assert summary(runs()) == "1 finding, 1 estimate, 1 entry of the spec and 1 entry of the provenance differ."


def test_the_page_lets_nothing_act_but_its_own_stylesheet() -> None:
    page = render_comparison(runs())
    tree = read(page)
    (policy,) = [meta.get("content") for meta in tree.all("meta") if meta.get("http-equiv")]
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert not [element for element in tree.walk() if element.get("style")]
    assert "http" not in page.replace("http-equiv", "")
    assert render_comparison(runs()) == page


def test_runs_that_do_not_differ_say_so() -> None:
    page = render_comparison(
        ComparedRuns(first="a", second="b", version="0", spec=(), provenance=(), findings=(), estimates=())
    )
    assert "Nothing differs." in page
    assert page.count("Nothing differs here.") == 4


@pytest.mark.parametrize("kind", HOSTILE)
def test_text_from_a_run_stays_text(kind: str) -> None:
    text = HOSTILE[kind]
    tree = read(render_comparison(runs(text)))
    assert not {element.tag for element in tree.walk()} & {"script", "img", "iframe", "svg"}
    assert len(tree.all("style")) == 1
    assert not [name for element in tree.walk() for name in element.attributes if name.startswith("on")]
    assert " ".join(text.split()) in " ".join(tree.all("h1")[0].words().split())


def test_controls_become_visible() -> None:
    page = render_comparison(runs("a\u202eb\x00\ud800"))
    assert not {"\u202e", "\x00", "\ud800"} & set(page)
    assert "a⟨U+202E⟩b⟨U+0000⟩⟨U+D800⟩" in page
