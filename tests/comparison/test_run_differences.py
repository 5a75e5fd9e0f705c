"""What differs between two documents, and between two runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from stored_runs import equivalent, estimate, finding, findings, undefined, write_run

from mechshift_core.comparison import compare_runs, formats
from mechshift_core.comparison.differences import differences
from mechshift_core.errors import UsageError
from reports.compare import Compared
from stats.findings import Alternative, Findings, Part

CASES: dict[str, tuple[Any, Any, list[tuple[str, str, Any, Any]]]] = {
    "nothing": ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, []),
    "a scalar": ({"a": {"b": 1}}, {"a": {"b": 2}}, [("a.b", "changed", 1, 2)]),
    "an entry more": ({}, {"a": {"b": 1}}, [("a", "added", None, {"b": 1})]),
    "an entry less": ({"a": None}, {}, [("a", "removed", None, None)]),
    "a truth value is no number": ({"a": 1}, {"a": True}, [("a", "changed", 1, True)]),
    "another kind": ({"a": [1]}, {"a": {"b": 1}}, [("a", "changed", [1], {"b": 1})]),
    "scalars in a list": ({"k": [1, 2]}, {"k": [2, 1]}, [("k", "changed", [1, 2], [2, 1])]),
    "by name": (
        {"t": [{"name": "a", "n": 1}, {"name": "b"}]},
        {"t": [{"name": "b"}, {"name": "a", "n": 2}, {"name": "c"}]},
        [("t[a].n", "changed", 1, 2), ("t[c]", "added", None, {"name": "c"})],
    ),
    "by id": ({"h": [{"id": "x", "p": 1}]}, {"h": [{"id": "x", "p": 2}]}, [("h[x].p", "changed", 1, 2)]),
    "by place": (
        {"r": [{"a": 1}, {"a": 2}]},
        {"r": [{"a": 1}, {"a": 3}, {}]},
        [("r[1].a", "changed", 2, 3), ("r[2]", "added", None, {})],
    ),
    "names that repeat": (
        {"r": [{"name": "x"}, {"name": "x", "b": 1}]},
        {"r": [{"name": "x"}, {"name": "x", "b": 2}]},
        [("r[1].b", "changed", 1, 2)],
    ),
}
"""What differs -> first, second, changes."""


@pytest.mark.parametrize("case", CASES)
def test_differences_have_a_path_and_both_values(case: str) -> None:
    first, second, expected = CASES[case]
    assert [(c.path, c.kind, c.first, c.second) for c in differences(first, second)] == expected


def test_ignored_paths_are_left_out_wherever_they_stand() -> None:
    found = differences({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 2}, "d": 3}, ignore=("a.b", "d"))
    assert [change.path for change in found] == ["a.c"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(PLAIN, PLAIN)
def test_differences_are_none_of_the_same_and_mirrored_the_other_way(first: Any, second: Any) -> None:
    assert differences(first, first) == ()
    there, back = differences(first, second), differences(second, first)
    mirrored = {"added": "removed", "removed": "added", "changed": "changed"}
    assert {(c.path, c.kind) for c in there} == {(c.path, mirrored[c.kind]) for c in back}


def compared(folder: Path, before: Findings, after: Findings) -> dict[str, Compared]:
    made = compare_runs(write_run(folder / "one", before), write_run(folder / "two", after))
    assert not made.spec and not made.provenance
    assert made.same_findings + len(made.findings) >= len(before.hypotheses)
    return {found.name: found for found in (*made.findings, *made.estimates)}


def test_findings_and_estimates_are_matched_and_only_those_that_differ_are_shown(tmp_path: Path) -> None:
    before = findings(finding(), equivalent(), undefined(), estimates=(estimate(), estimate(task="ioi")))
    after = findings(
        finding(estimate=-0.2, low=-0.34, high=-0.06),
        equivalent(),
        undefined(id="late"),
        estimates=(estimate(estimate=0.9, low=0.8, high=1.0), estimate(task="ioi")),
    )
    found = compared(tmp_path, before, after)
    assert list(found) == ["lower", "none", "late", "retention of diffusion on countdown (between)"]
    assert found["lower"].difference == pytest.approx(0.2)
    half = float(scipy_stats.t.ppf(0.975, 198)) * math.hypot(0.07, 0.07)  # as `mechshift check` has it
    assert (found["lower"].low, found["lower"].high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)
    assert found["lower"].beyond is True
    assert (found["none"].second, found["late"].first, found["none"].beyond) == (None, None, None)


def test_another_estimand_has_no_difference_and_another_confidence_no_interval(tmp_path: Path) -> None:
    before = findings(finding(), equivalent(), estimates=(estimate(),))
    after = findings(finding(estimand="something else"), equivalent(margin=0.3), estimates=(estimate(confidence=0.9),))
    found = compared(tmp_path, before, after)
    assert found["lower"].difference is None and found["lower"].redefined[0].startswith("estimand was 'retention on c")
    assert (found["kept"].difference, found["kept"].beyond) == (0.0, False)
    assert found["kept"].redefined == ("margin was 0.2 and is 0.3",)
    kept = found["retention of diffusion on countdown (between)"]
    assert (kept.difference, kept.beyond, kept.redefined) == (0.0, None, ("confidence was 0.95 and is 0.9",))


def test_other_choices_of_a_study_are_compared_under_their_names(tmp_path: Path) -> None:
    made = [
        Findings(
            name="made-up",
            hypotheses=(finding(),),
            estimates=(),
            alternatives=(Alternative(choice="denoising", value="4", hypotheses=(other,), estimates=()),),
        )
        for other in (finding(), finding(verdict="refuted"))
    ]
    assert list(compared(tmp_path, *made)) == ["denoising 4: lower"]


def test_a_spec_that_can_not_be_read_is_an_error_with_its_place(tmp_path: Path) -> None:
    one, two = (
        write_run(tmp_path / "one", findings()),
        write_run(tmp_path / "two", findings(), spec="schema: mechshift/v1\nnam: x\n"),
    )
    with pytest.raises(UsageError, match=r"two/spec.yaml:2:1: unknown key 'nam'"):
        compare_runs(one, two)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = "<b>|`x`\n\x1b[31m\u202e"
    made = compare_runs(
        write_run(tmp_path / "one", findings(finding(id=name))),
        write_run(tmp_path / "two", findings(finding(id=name, verdict="refuted")), provenance={name: name}),
    )
    assert all(line.isprintable() for line in formats.text(made).splitlines())
    text = formats.markdown(made)
    assert "<" not in text and "\x1b" not in text
    assert "&lt;b&gt;\\|\\`x\\`" in text


def test_how_a_run_came_by_its_cells_is_no_difference(tmp_path: Path) -> None:
    shared = {"cells_from_the_store": {"node (x86_64)": ["0" * 32]}}
    one, two = write_run(tmp_path / "one", findings()), write_run(tmp_path / "two", findings(), provenance=shared)
    assert compare_runs(one, two).provenance == ()
    other = write_run(tmp_path / "other", findings(), provenance={**shared, "cells": 5})
    assert [change.path for change in compare_runs(one, other).provenance] == ["cells"]


def test_parts_that_move_against_each_other_differ_though_their_average_does_not(tmp_path: Path) -> None:
    def made(local: float, everywhere: str = "regime") -> Findings:
        parts = tuple(
            Part(key="regime", level=level, estimate=at, low=at - 0.1, high=at + 0.1, p=0.5, se=0.05, df=60.0)
            for level, at in (("local", local), ("global", -local))
        )
        return findings(finding(every=everywhere, parts=parts))

    one, other = write_run(tmp_path / "one", made(0.0)), write_run(tmp_path / "other", made(0.3))
    compared = compare_runs(one, other)
    assert [found.name for found in compared.findings] == ["lower, local alone", "lower, global alone"]
    local = compared.findings[0]
    assert (local.difference, local.low, local.high) == pytest.approx((0.3, 0.3 - 0.02**0.5, 0.3 + 0.02**0.5))
    assert compared.same_findings == 1
    average = write_run(tmp_path / "average", made(0.0, "")), write_run(tmp_path / "averages", made(0.3, ""))
    assert compare_runs(*average).findings == ()
