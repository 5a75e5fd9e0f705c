"""The methods say what is tested, of which pairs, on how much, and what was tried otherwise; files have no mouse."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markupsafe import escape

from mechshift_core.kinds import testable, testables
from reports import MeasureFacts, MethodsFacts, PairFacts, ReportData
from reports.methods import measures_said, methods_of
from reports.page import sections_of
from stats.findings import Alternative

TESTED = MeasureFacts(
    words="depth slope",
    definition="slope over depth of the shift",
    reading="negative: earlier",
    scale="a share; -1 to 1",
)


def test_the_methods_define_what_is_tested_and_on_what(run: ReportData) -> None:
    pairs = [
        PairFacts(name="d", role="treatment", before="arm", after="mdm"),
        PairFacts(name="c", role="control", before="arm", after="more"),
        PairFacts(name="e", role="control", before="arm", after="most"),
    ]
    index = replace(TESTED, words="index", definition="index (mean over K)", reading="", scale="")
    facts = replace(run.methods, measures=[TESTED, index], pairs=pairs)
    provenance = {**run.provenance, "overrides": {"limit": 50, "seed": 3}}
    other = [Alternative(choice="top_k", value=value, hypotheses=(), estimates=()) for value in ("K = 50", "K = 400")]
    other.append(Alternative(choice="interval", value="percentile", hypotheses=(), estimates=()))
    findings = replace(run.findings, alternatives=tuple(other))
    said = methods_of(replace(run, methods=facts, provenance=provenance, findings=findings))
    assert (
        "Hypotheses are about these measures. Depth slope, that is, slope over depth of the shift (a share; -1 to 1); "
        "negative: earlier. Index (mean over K). "
    ) in said
    assert "Treatment, the change that the study asks about: d (arm before, mdm after). " in said
    assert "held against: c (arm before, more after) and e (arm before, most after). " in said
    assert "Unrelated" not in said
    assert "This run was limited to at most 50 prompts of each task." in said and "seed = 3" in said
    assert said.endswith("one of these changed at a time: number of edges: K = 50 and K = 400; interval: percentile.")


def test_methods_of_a_run_without_these_facts_say_nothing_of_them(run: ReportData) -> None:
    said = methods_of(replace(run, methods=MethodsFacts()))
    assert not [text for text in ("these measures", "Treatment", "limited", "decided again") if text in said]


@pytest.mark.parametrize("measure", [one.name for one, _ in testables()])
def test_every_measure_has_a_sentence_for_the_methods(measure: str) -> None:
    one = testable(measure)
    definition = one.estimand.format(index="index")
    facts = MeasureFacts(words=one.words, definition=definition, reading=one.reading, scale=one.scale)
    said = measures_said([facts]).removeprefix("Hypotheses are about these measures. ")
    assert one.words.lower() in said.lower() and f"({one.scale})" in said and one.reading in said
    assert said[0] == said[0].upper() and said.endswith(".") and not said.endswith("..")


@pytest.mark.long
def test_captions_of_files_have_no_hints_for_a_mouse(run: ReportData) -> None:
    sections = sections_of(run, broken=[])
    figures = [figure for one in sections for figure in one.figures]
    assert {"figure-circuits"} < {one.id for one in figures if one.hint}
    told = [text for one in figures for text in (one.caption, one.more)]
    assert not [text for text in told if re.search(r"\b([Pp]oint at|click|tap|hover)\b", text)]
    page = "".join(one.body for one in sections)
    assert all(str(escape(one.hint)) in page for one in figures if one.hint)
