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
from stats.findings import Finding, Part, Term
from stats.regression import Comparison, compare_findings

OTHER = dict.fromkeys(PROMPTS, "33" * 32)


def part(level: str, estimate: float | None, se: float | None = 0.1, **changes: Any) -> Part:
    """-0.5 [-0.7, -0.3] and the like."""
    ends = {"low": None, "high": None} if estimate is None or se is None else {
        "low": estimate - 2 * se, "high": estimate + 2 * se
    }  # fmt: skip
    made = Part(key="regime", level=level, estimate=estimate, p=0.01, se=se, df=49.0, **ends)
    return replace(made, **changes)


def term(task: str, regime: str) -> Term:
    return Term(pair="d", role="treatment", seed=0, task=task, regime=regime, weight=0.5, estimate=0.0, n=100)


TERMS = (term("countdown", "global"), term("ioi", "local"))


def every(*parts: Part, of: Finding | None = None, **changes: Any) -> Finding:
    return replace(finding() if of is None else of, **{"every": "regime", "parts": parts, "terms": TERMS, **changes})


def compared(before: Finding, after: Finding, *, prompts: Mapping[str, str] = PROMPTS, **options: Any) -> Comparison:
    baseline = Baseline.from_json(Baseline.of(findings(before), prompts=PROMPTS).to_json())
    (found,) = compare_findings(baseline, Baseline.of(findings(after), prompts=prompts), **options)
    return found


ROW = {"level": "a", "tasks": ["ioi"], "estimate": 1, "se": 1, "df": 1, "low": 0, "high": 2}
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
        (
            every(part("global", -0.5), part("local", -0.3), part("mixed", 2.0)),
            "unchanged",
            ("mixed: the baseline has no such part",),
        ),
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
    before = every(part("global", -0.5), bare, low=None, high=None)
    assert compared(before, before).outcome == "unchanged"
    moved = compared(before, every(part("global", -0.5), replace(bare, estimate=-0.31), low=None, high=None))
    assert moved.outcome == "undecided" and moved.reasons[0].startswith("local: there is neither a margin nor")


def test_a_part_in_which_nothing_varies_is_held_against_the_interval_of_the_average() -> None:
    before = every(part("global", -0.5), part("local", 0.123456, se=0.0))
    assert compared(before, every(part("global", -0.5), part("local", 0.123457, se=0.0))).outcome == "equivalent"
    moved = compared(before, every(part("global", -0.5), part("local", 0.3, se=0.0)))
    assert moved.outcome == "regressed" and moved.reasons == (
        "local: it differs by +0.177, more than 0.14 (half of the average's interval)",
    )
    alone = finding(estimate=0.123456, se=0.0, low=0.123456, high=0.123456)
    assert compared(alone, replace(alone, estimate=0.123457)).outcome == "equivalent"
    assert compared(alone, replace(alone, estimate=0.2)).outcome == "undecided"


@pytest.mark.parametrize("now", [part("local", 0.9, se=0.0), part("local", 0.9, se=0.01)])
def test_an_error_of_zero_is_an_error(now: Part) -> None:
    before = every(part("global", -0.5), part("local", 0.1, se=0.0))
    found = compared(before, every(part("global", -0.5), now), prompts=OTHER)
    assert found.outcome == "regressed" and found.reasons[0].startswith("local: it differs by +0.8 on other prompts")
    more = every(part("global", -0.5), part("local", 0.1, se=0.0, df=99.0))
    assert compared(before, more, prompts=OTHER).outcome == "consistent"


def test_each_part_is_of_its_own_prompts() -> None:
    """The prompts of one task changed; the other task's part is exact all the same."""
    one = {**PROMPTS, "countdown": "33" * 32}
    after = every(part("global", -0.52), part("local", 0.0))
    assert compared(BEFORE, after, prompts=one).reasons == (
        "local: it differs by +0.3, more than 0.2 (half of the recorded interval)",
    )
    near = compared(BEFORE, every(part("global", -0.52), part("local", -0.301)), prompts=one)
    assert near.outcome == "consistent"  # the worse of that and equivalent
    tasks = [row["tasks"] for row in json.loads(Baseline.of(findings(BEFORE)).to_json())["findings"][0]["parts"]]
    assert tasks == [["countdown"], ["ioi"]]


def test_margin_and_tolerance_hold_for_each_part() -> None:
    kept = equivalent()
    before = every(part("global", 0.0), part("local", 0.06), of=kept)
    after = every(part("global", 0.15), part("local", -0.09), of=kept)
    assert compared(before, after).outcome == "equivalent"
    assert compared(before, after, tolerance=0.1).outcome == "regressed"


def test_a_part_of_an_average_may_move() -> None:
    before = replace(BEFORE, every="")
    assert compared(before, every(part("global", -0.8), part("local", 0.0), every="")).outcome == "unchanged"


def test_what_an_earlier_version_wrote_has_no_parts_and_that_is_said() -> None:
    text = Baseline.of(findings(BEFORE), prompts=PROMPTS).to_json()
    content = json.loads(text)
    assert [one["level"] for one in content["findings"][0]["parts"]] == ["global", "local"]
    assert Baseline.from_json(text).to_json() == text
    moved = every(part("global", -0.8), part("local", 0.0))
    del content["findings"][0]["parts"]
    run = Baseline.of(findings(moved), prompts=PROMPTS)
    (found,) = compare_findings(Baseline.from_json(json.dumps(content)), run)
    assert (found.outcome, found.reasons) == (
        "unchanged",
        ("its parts are not in the baseline, so they can move unseen: --update records them",),
    )
    assert "parts" not in json.loads(Baseline.of(findings(finding())).to_json())["findings"][0]
    older = replace(moved, parts=tuple(replace(one, se=None, df=None) for one in moved.parts))
    assert Baseline.of(findings(older)).findings[0].parts == ()
    assert compared(BEFORE, older).reasons == (
        "an earlier version analysed the run, without its parts: `mechshift analyze RUN` adds them",
    )


@pytest.mark.parametrize("margin", [None, 0.2])
def test_on_other_prompts_the_gate_keeps_its_level_over_all_parts(margin: float | None) -> None:
    """Four parts that did not change; each at the level itself would fail in .19 of the runs without a margin."""
    rng = np.random.default_rng(11)
    each = 4
    terms = tuple(term("countdown", str(k)) for k in range(each))
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
            mean = float(means.mean())
            ends = {"low": mean - 1.97 * se, "high": mean + 1.97 * se}
            pair.append(every(*parts, of=whole, estimate=mean, se=se, df=236.0, terms=terms, **ends))
        counted[compared(*pair, prompts=OTHER).outcome] += 1
    assert scipy_stats.binomtest(counted["regressed"], 400, 0.05, alternative="greater").pvalue > 0.001
    if margin is None:
        assert counted["consistent"] > 300 and counted["undecided"] == counted["equivalent"] == 0
    else:
        assert counted["undecided"] > 100  # a margin of 1.1 standard errors of a difference shows little


def test_on_other_prompts_a_part_that_moved_is_found() -> None:
    found = compared(BEFORE, every(part("global", -1.1), part("local", 0.3)), prompts=OTHER)
    assert found.outcome == "regressed" and [one.partition(":")[0] for one in found.reasons] == ["global", "local"]
    # At the level of one part, but not of both: p = .036 and .013, held against .0125.
    assert compared(BEFORE, every(part("global", -0.8), part("local", -0.3)), prompts=OTHER).outcome == "consistent"
    assert compared(BEFORE, every(part("global", -0.855), part("local", -0.3)), prompts=OTHER).outcome == "consistent"
    assert compared(BEFORE, every(part("global", -0.87), part("local", -0.3)), prompts=OTHER).outcome == "regressed"


def test_the_average_is_tested_and_shown_at_half_of_the_level_where_parts_are_tested_too() -> None:
    """p = .029: beyond the level, not beyond half of it."""
    after = replace(BEFORE, estimate=-0.182, low=-0.322, high=-0.042)
    found = compared(BEFORE, after, prompts=OTHER)
    assert found.low is not None and found.tolerance is not None and found.difference is not None
    assert found.outcome == "consistent" and found.low < 0 < found.difference < found.tolerance
    assert found.basis == "sampling error of the difference, at a level of 0.025 since each part is tested too"
    untestable = every(part("global", -0.5, se=None), part("local", -0.3, se=None))
    alone = compared(untestable, replace(untestable, estimate=-0.182, low=-0.322, high=-0.042), prompts=OTHER)
    assert alone.outcome == "regressed" and "level of" not in alone.basis


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        ("x", r'findings\[0\].parts: expected a list, got "x"'),
        (["x"], r'findings\[0\].parts\[0\]: expected a mapping, got "x"'),
        ([{"level": "a", "tasks": []}], r"findings\[0\].parts\[0\].estimate: expected, but not there"),
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
