"""A claim of every task or regime has regressed where one of its parts has, though their average stayed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from stored_runs import PROMPTS, equivalent, finding, findings

from stats.baseline import Baseline
from stats.findings import Finding, Part
from stats.regression import Comparison, compare_findings

OTHER = {**PROMPTS, "countdown": "33" * 32}


def part(level: str, estimate: float | None, se: float | None = 0.1, **changes: Any) -> Part:
    """-0.5 [-0.7, -0.3] and the like."""
    ends = {"low": None, "high": None} if estimate is None or se is None else {
        "low": estimate - 2 * se, "high": estimate + 2 * se
    }  # fmt: skip
    made = Part(key="regime", level=level, estimate=estimate, p=0.01, se=se, df=49.0, **ends)
    return replace(made, **changes)


def every(*parts: Part, of: Finding | None = None, **changes: Any) -> Finding:
    return replace(finding() if of is None else of, **{"every": "regime", "parts": parts, **changes})


def compared(before: Finding, after: Finding, *, prompts: Mapping[str, str] = PROMPTS, **options: Any) -> Comparison:
    baseline = Baseline.from_json(Baseline.of(findings(before), prompts=PROMPTS).to_json())
    (found,) = compare_findings(baseline, Baseline.of(findings(after), prompts=prompts), **options)
    return found


ROW = {"level": "a", "estimate": 1, "se": 1, "df": 1, "low": 0, "high": 2}
BEFORE = every(part("global", -0.5), part("local", -0.3))


@pytest.mark.parametrize(
    ("after", "outcome", "reasons"),
    [
        (BEFORE, "unchanged", ()),
        (every(part("local", -0.3), part("global", -0.5)), "unchanged", ()),
        (every(part("global", -0.6), part("local", -0.2)), "equivalent", ()),
        (
            every(part("global", -0.8), part("local", 0.0)),  # their mean stayed
            "regressed",
            (
                "global: it differs by -0.3, more than 0.2 (half of the recorded interval)",
                "local: it differs by +0.3, more than 0.2 (half of the recorded interval)",
            ),
        ),
        (every(part("global", -0.5)), "regressed", ("local: it is not among the parts any more",)),
        (every(part("global", -0.5), part("local", None)), "regressed", ("local: one of the two has no estimate",)),
        (every(part("global", -0.5), part("local", -0.3), part("mixed", 2.0)), "unchanged", ()),
        (finding(), "regressed", tuple(f"{one}: it is not among the parts any more" for one in ("global", "local"))),
    ],
)  # fmt: skip
def test_on_the_same_prompts_every_part_is_held_against_its_record(
    after: Finding, outcome: str, reasons: tuple[str, ...]
) -> None:
    found = compared(BEFORE, after)
    assert (found.outcome, found.reasons) == (outcome, reasons)
    assert found.difference == 0  # that of the average


def test_a_part_without_an_interval_is_undecided_once_it_moves() -> None:
    bare = part("local", -0.3, se=None)
    before = every(part("global", -0.5), bare)
    assert compared(before, before).outcome == "unchanged"
    moved = compared(before, every(part("global", -0.5), replace(bare, estimate=-0.31)))
    assert moved.outcome == "undecided" and moved.reasons[0].startswith("local: there is neither a margin nor")


def test_margin_and_tolerance_hold_for_each_part() -> None:
    kept = equivalent()
    before = every(part("global", 0.0), part("local", 0.06), of=kept)
    after = every(part("global", 0.15), part("local", -0.09), of=kept)
    assert compared(before, after).outcome == "equivalent"
    assert compared(before, after, tolerance=0.1).outcome == "regressed"


def test_a_part_of_an_average_may_move() -> None:
    before = replace(BEFORE, every="")
    assert compared(before, every(part("global", -0.8), part("local", 0.0), every="")).outcome == "unchanged"


def test_records_of_earlier_versions_have_no_parts() -> None:
    text = Baseline.of(findings(BEFORE), prompts=PROMPTS).to_json()
    content = json.loads(text)
    assert [one["level"] for one in content["findings"][0]["parts"]] == ["global", "local"]
    assert Baseline.from_json(text).to_json() == text
    del content["findings"][0]["parts"]
    (found,) = compare_findings(
        Baseline.from_json(json.dumps(content)),
        Baseline.of(findings(every(part("global", -0.8), part("local", 0.0))), prompts=PROMPTS),
    )
    assert found.outcome == "unchanged"
    assert "parts" not in json.loads(Baseline.of(findings(finding())).to_json())["findings"][0]


@pytest.mark.parametrize("margin", [None, 0.2])
def test_on_other_prompts_the_gate_keeps_its_level_over_all_parts(margin: float | None) -> None:
    """Four parts that did not change; each at the level itself would fail in .19 of the runs without a margin."""
    rng = np.random.default_rng(11)
    each = 4
    counted = {"regressed": 0, "undecided": 0, "consistent": 0, "equivalent": 0, "unchanged": 0}
    for _ in range(400):
        pair = []
        for x in rng.normal(0, 1, (2, each, 60)):
            means, errors = x.mean(1), x.std(1, ddof=1) / np.sqrt(60)
            parts = [
                part(str(k), float(m), float(s), df=59.0) for k, (m, s) in enumerate(zip(means, errors, strict=True))
            ]
            se = float(np.sqrt((errors**2).sum()) / each)
            whole = finding() if margin is None else equivalent(margin=margin)
            pair.append(every(*parts, of=whole, estimate=float(means.mean()), se=se, df=236.0))
        counted[compared(*pair, prompts=OTHER).outcome] += 1
    assert scipy_stats.binomtest(counted["regressed"], 400, 0.05, alternative="greater").pvalue > 0.001
    if margin is None:
        assert counted["consistent"] > 300 and counted["undecided"] == counted["equivalent"] == 0
    else:
        assert counted["undecided"] > 100  # a margin of 1.1 standard errors of a difference shows little


def test_on_other_prompts_a_part_that_moved_is_found() -> None:
    found = compared(BEFORE, every(part("global", -1.1), part("local", 0.3)), prompts=OTHER)
    assert found.outcome == "regressed" and [one.partition(":")[0] for one in found.reasons] == ["global", "local"]
    # At the level of one part, but not of both.
    assert compared(BEFORE, every(part("global", -0.8), part("local", -0.3)), prompts=OTHER).outcome == "consistent"
    assert compared(BEFORE, every(part("global", -0.86), part("local", -0.3)), prompts=OTHER).outcome == "regressed"


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        ("x", r'findings\[0\].parts: expected a list, got "x"'),
        (["x"], r'findings\[0\].parts\[0\]: expected a mapping, got "x"'),
        ([{"level": "a"}], r"findings\[0\].parts\[0\].estimate: expected, but not there"),
        ([{**ROW, "se": -1}], r"parts\[0\].se: expected a number >= 0"),
        ([{**ROW, "low": 3}], r"parts\[0\].low: expected at most high"),
        ([ROW] * 2, r"parts\[1\].level: 'a' is there twice"),
    ],
)  # fmt: skip
def test_malformed_parts_are_refused_with_their_place(edited: object, message: str) -> None:
    content = json.loads(Baseline.of(findings(BEFORE)).to_json())
    content["findings"][0]["parts"] = edited
    with pytest.raises(ValueError, match=message):
        Baseline.from_json(json.dumps(content))
