"""The outcome of a check as text, Markdown and JUnit XML, whatever names and reasons contain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored_runs import PROMPTS, equivalent, finding, findings, undefined
from syrupy.assertion import SnapshotAssertion

from mechshift_core.gate import Gate, StoredRun, check_run, formats
from mechshift_core.markdown import escape, printable, table
from stats.baseline import Baseline
from stats.findings import Finding, Part

HOSTILE = (
    "<script>alert(1)</script>",
    "a | b \\| c",
    "`code` **bold** _it_ [x](http://evil) ![i](j) &lt; $x$ @user #1",
    "two\nlines\r\nthree\u2028four",
    "\x00\x1b[31mred\x1b[0m\u202etxt\ufeff\ud800",
    "]]> --> <!-- <?xml",
)


def gate(
    recorded: tuple[Finding, ...],
    found: tuple[Finding, ...],
    *,
    must_hold: tuple[str, ...] = (),
    failures: tuple[str, ...] = (),
    digest: str = PROMPTS["countdown"],
) -> Gate:
    provenance = {"data": {"countdown": {"sha256": digest}}}
    run = StoredRun(path=Path("after"), findings=findings(*found), provenance=provenance, failures=failures)
    return check_run(run, Baseline.of(findings(*recorded), prompts=PROMPTS), must_hold=must_hold)


@pytest.fixture
def every_outcome() -> Gate:
    """Everything that a check on the same prompts can say of a finding."""
    flipped = finding(id="flipped", estimate=0.4, low=0.26, high=0.54, verdict="refuted")
    bare = finding(id="bare", low=None, high=None, se=None, verdict="inconclusive")
    recorded = (
        finding(), equivalent(), finding(id="flipped"), finding(id="gone"), finding(id="other"), bare, undefined(),
    )  # fmt: skip
    moved = equivalent(estimate=0.05, low=-0.01, high=0.11)
    other = finding(id="other", measure="depth_slope")
    found = (finding(), moved, flipped, other, replace(bare, estimate=-0.5), undefined(), finding(id="fresh"))
    return gate(recorded, found, must_hold=("kept", "bare"))


def test_text(every_outcome: Gate, snapshot: SnapshotAssertion) -> None:
    assert formats.text(every_outcome) == snapshot


def test_markdown(every_outcome: Gate, snapshot: SnapshotAssertion) -> None:
    assert formats.markdown(every_outcome) == snapshot


def test_text_of_findings_on_other_prompts(snapshot: SnapshotAssertion) -> None:
    found = (finding(estimate=-0.41), equivalent(estimate=0.2, low=0.14, high=0.26))
    assert formats.text(gate((finding(), equivalent()), found, digest="44" * 32)) == snapshot


def test_every_outcome_is_in_the_junit_report(every_outcome: Gate) -> None:
    suite = ElementTree.fromstring(formats.junit(every_outcome).encode()).find("testsuite")
    assert suite is not None
    kinds = {}
    for case in suite:
        assert case.get("classname") == "mechshift.made-up"
        failure, skipped = case.find("failure"), case.find("skipped")
        kinds[case.get("name")] = failure.get("type") if failure is not None else skipped is not None and "skipped"
        beside = case.findtext("system-out") or ""
        assert case.get("name") in beside
    assert kinds == {
        "lower": False,
        "kept": False,
        "flipped": "regressed",
        "other": "redefined",
        "bare": "not supported",
        "none": False,
        "fresh": "skipped",
        "gone": "missing",
    }
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "8", "failures": "4", "errors": "0", "skipped": "1"}
    flipped = suite.find("testcase[@name='flipped']/failure")
    assert flipped is not None and flipped.text is not None
    for shown in ("−0.400 [−0.540, −0.260], supported", "0.400 [0.260, 0.540], refuted", "±0.140"):
        assert shown in flipped.text


def test_a_partial_run_is_an_error_of_the_junit_report_and_listed_in_markdown() -> None:
    made = gate((finding(),), (finding(),), failures=("circuit of a on b: out of memory",))
    assert made.exit_code == 3
    error = ElementTree.fromstring(formats.junit(made).encode()).find("testsuite/testcase[@name='run']/error")
    assert error is not None and error.get("message") == "circuit of a on b: out of memory"
    assert "- circuit of a on b\\: out of memory" in formats.markdown(made)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    made = gate((finding(id=name),), (finding(id=name, estimand=name),), failures=(name,), must_hold=(name,))
    made = replace(made, name=name)
    root = ElementTree.fromstring(formats.junit(made).encode())
    assert {element.tag for element in root.iter()} == {
        "testsuites", "testsuite", "testcase", "failure", "error", "system-out",
    }  # fmt: skip
    text = formats.markdown(made)
    assert "<" not in text and "\x1b" not in text and "\u202e" not in text
    text.encode()
    header, _, row = (line for line in text.splitlines() if line.startswith("|"))
    assert row.replace("\\\\", "").replace("\\|", "").count("|") == header.count("|")
    assert all(line.isprintable() for line in formats.text(made).splitlines())
    json.dumps(formats.as_json(made), allow_nan=False)


@given(st.text())
def test_an_escaped_text_holds_no_markup(text: str) -> None:
    escaped = escape(text)
    assert escaped.isprintable()
    assert not set("<>") & set(escaped)
    unescaped = escaped.replace("&lt;", "<").replace("&gt;", ">")
    for mark in "`*_[]|&$@:#!~{}":
        assert unescaped.count(f"\\{mark}") >= text.count(mark)
    assert len(printable(text)) <= len(text)


def test_a_table_has_a_rule_under_its_headings() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_run_without_digests_is_compared_by_seed() -> None:
    run = StoredRun(path=Path("after"), findings=findings(finding()), provenance={}, failures=())
    assert run.baseline.prompts == {}
    (found,) = check_run(run, Baseline.of(findings(finding()), prompts=PROMPTS)).comparisons
    assert found.same_prompts


def test_a_run_knows_its_models_and_whether_seeds_are_random() -> None:
    provenance = {
        "models": {"arm": {"weights_sha256": "aa"}, "unread": {"weights_sha256": ""}, "odd": 3},
        "units": {"template": "fixed", "seed": "random"},
    }
    run = StoredRun(path=Path("after"), findings=findings(), provenance=provenance, failures=())
    assert (run.baseline.models, run.baseline.random_seeds) == ({"arm": "aa"}, True)
    earlier = replace(run, provenance={"models": []})
    assert (earlier.baseline.models, earlier.baseline.random_seeds) == ({}, False)


def test_what_is_said_of_a_finding_that_did_not_change_is_shown() -> None:
    term = replace(finding().terms[0], task="countdown")
    part = Part(key="task", level="countdown", estimate=-0.4, low=-0.54, high=-0.26, p=0.01, se=0.07, df=99.0)
    made = finding(every="task", terms=(term,), parts=(part,))
    before = json.loads(Baseline.of(findings(made), prompts=PROMPTS).to_json())
    del before["findings"][0]["parts"]
    run = StoredRun(path=Path("after"), findings=findings(made), provenance={}, failures=())
    text = formats.text(check_run(run, Baseline.from_json(json.dumps(before))))
    assert text.splitlines()[1] == "  its parts are not in the baseline, so they can move unseen: --update records them"
