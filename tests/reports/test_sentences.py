"""Sentences of findings: every measure with every test, verdict and kind of comparison, in one snapshot to be read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from synthetic_run import WORDS, finding, group
from syrupy.assertion import SnapshotAssertion

from mechshift_core.kinds import testables
from reports.prose import vocabulary
from reports.sentences import sentence, shows_opposite
from stats.findings import Finding, Group, Verdict

ONE = (group(1, "treatment", "global", 0.31),)
TWO = (group(1, "treatment", "local", 0.31), group(-1, "control", "local", 0.8))
FOUR = (
    group(1, "treatment", "global", 0.2),
    group(-1, "treatment", "local", 0.5),
    group(-1, "control", "global", 0.7),
    group(1, "control", "local", 0.51),
)
COMPARISONS: dict[str, tuple[Group, ...]] = {"alone": ONE, "against": TWO, "twice": FOUR}
VERDICTS: tuple[Verdict, ...] = ("supported", "refuted", "inconclusive", "not estimable")
TESTS = (
    ("difference", "less", None, 0.0),
    ("difference", "greater", None, 0.0),
    ("difference", "two-sided", None, 0.0),
    ("equivalence", "equivalent", 0.2, 0.0),
    ("non_inferiority", "not inferior", 0.2, -0.2),
    ("bound", "greater", None, 0.1),
)
ROLES = {"treatment": "after diffusion"}


def made(
    measure: str, test: tuple[str, str, float | None, float], groups: tuple[Group, ...], verdict: Verdict
) -> Finding:
    """A finding whose estimate is that of its groups, on the side that its verdict needs, with a fitting interval."""
    kind, alternative, margin, null = test
    estimate = sum(one.sign * (one.estimate or 0.0) for one in groups)
    up = kind == "bound" or alternative in ("greater", "two-sided") or (kind == "non_inferiority")
    if verdict == "refuted":
        up = not up
    if (estimate > 0) != up:
        groups = tuple(replace(one, estimate=round(top(groups) - (one.estimate or 0.0), 9)) for one in groups)
    if verdict == "supported" and kind == "equivalence":
        groups = tuple(replace(one, estimate=round(0.1 * (one.estimate or 0.0), 9)) for one in groups)
    estimate = sum(one.sign * (one.estimate or 0.0) for one in groups)
    half = abs(estimate) * 1.5 if verdict == "inconclusive" else abs(estimate) / 4
    lacking = verdict == "not estimable"
    return finding(
        measure=measure,
        test=kind,
        alternative=alternative,
        margin=margin,
        null=null,
        groups=groups,
        verdict=verdict,
        estimate=None if lacking else estimate,
        low=estimate - half,
        high=estimate + half,
    )


def top(groups: tuple[Group, ...]) -> float:
    """What values are taken from to lie on the other side: 0 where there is one."""
    return 0.0 if len(groups) == 1 else 1.0


def words(found: Finding) -> str:
    said = sentence(found)
    return f"{said.result} {said.meaning}"


def cases() -> Iterator[tuple[str, str, tuple[str, str, float | None, float], Verdict]]:
    """Everything of a measure of pairs and of a shift; of the others both directions, alone and against the control."""
    for measure in ("retention", "depth_slope"):
        yield from itertools.product([measure], COMPARISONS, TESTS, VERDICTS)
    others = [one.name for one, _ in testables() if one.name not in ("retention", "depth_slope")]
    yield from itertools.product(others, ("alone", "against"), TESTS[:1], VERDICTS[:2])


def test_every_measure_test_verdict_and_comparison(snapshot: SnapshotAssertion) -> None:
    with vocabulary(WORDS, ROLES):
        said = [
            f"{measure}, {how}, {test[0]} {test[1]}, {verdict}: "
            + words(made(measure, test, COMPARISONS[how], verdict))
            for measure, how, test, verdict in cases()
            if (test[1], verdict) != ("two-sided", "refuted")
        ]
    assert "\n".join(said) == snapshot


@pytest.mark.parametrize("measure", [one.name for one, _ in testables()])
def test_no_difference_is_called_a_value(measure: str) -> None:
    """-0.49 is what lies between two values: it stands with `lower`, never by itself."""
    with vocabulary(WORDS, ROLES):
        said = words(made(measure, TESTS[0], TWO, "supported"))
    assert "0.310 after diffusion, 0.800 in the control; 0.490 lower" in said
    assert "−0.490" not in said


@pytest.mark.parametrize("measure", [one.name for one, _ in testables()])
def test_every_measure_has_words_for_both_directions(measure: str) -> None:
    assert {WORDS[measure].lower, WORDS[measure].higher}.isdisjoint({"lower", "higher"})
    assert WORDS[measure].lower != WORDS[measure].higher


def test_a_difference_in_differences_says_all_four_values() -> None:
    with vocabulary(WORDS, ROLES):
        said = sentence(made("retention", TESTS[0], FOUR, "supported")).result
    assert said.startswith(
        "Retention index after diffusion: 0.200 on global tasks (countdown, infilling) and 0.500 on ioi; "
        "in the control: 0.700 and 0.510. The first minus the second is 0.490 lower after diffusion than in the control"
    )


def test_a_value_compared_with_the_ceiling_says_both() -> None:
    found = finding(
        test="equivalence",
        margin=0.2,
        groups=(group(1, "treatment", "local", 0.93),),
        estimate=-0.07,
        low=-0.1,
        high=-0.02,
    )
    with vocabulary(WORDS, ROLES):
        said = sentence(found).result
    assert said.startswith("Retention index on ioi after diffusion: 0.930; that is 0.070 lower than 1 (")
    assert "0.020 to 0.100 lower" in said


def test_an_interval_across_zero_names_both_ways() -> None:
    with vocabulary(WORDS, ROLES):
        said = sentence(made("integration", TESTS[1], TWO, "inconclusive")).result
    assert "0.245 lower to 1.225 higher" in said


def test_groups_that_differ_in_two_ways_are_named_whole() -> None:
    groups = (group(1, "treatment", "global", 0.3), group(-1, "control", "local", 0.8))
    with vocabulary(WORDS, ROLES):
        said = sentence(made("retention", TESTS[0], groups, "supported")).result
    assert "0.300 on global tasks (countdown, infilling) after diffusion, 0.800 on ioi in the control" in said


@pytest.mark.parametrize("groups", [(), (group(1, "treatment", "", None),), (TWO[0], TWO[1], TWO[1])])
def test_what_can_not_be_taken_apart_has_its_estimate(groups: tuple[Group, ...]) -> None:
    with vocabulary(WORDS, ROLES):
        found = finding(groups=groups)
        name = "Retention index" if len(groups) == 1 else found.estimand[:1].upper() + found.estimand[1:]
        assert sentence(found).result.startswith(f"{name}: −0.487 (95 % interval −0.628 to")


def test_what_refutes_a_claim_is_the_p_of_its_opposite() -> None:
    found = replace(made("retention", TESTS[0], TWO, "refuted"), p_corrected=1.0, p_opposite_corrected=0.0004)
    with vocabulary(WORDS, ROLES):
        said = sentence(found).result
    assert "the opposite claim has corrected p\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}.001" in said and ".999" not in said


def test_a_trend_is_said_of_the_trajectories() -> None:
    one = (group(1, "treatment", "global", 0.02), group(-1, "control", "global", 0.005))
    found = made("retention", TESTS[1], one, "supported")
    with vocabulary(WORDS, ROLES):
        said = sentence(replace(found, along="trend")).result
    assert said.startswith("Trend of the retention index along the way on global tasks")
    assert ": 0.020 after diffusion, 0.005 in the control; 0.015 higher" in said
    assert "more of the circuit kept" not in said  # a rising value need not be a high one


def test_budgets_are_said_beside_each_other() -> None:
    first, second = group(1, "treatment", "global", 0.4), group(-1, "treatment", "global", 0.3)
    both = (replace(first, budget="step 1 of 4"), replace(second, budget="step 4 of 4"))
    with vocabulary(WORDS, ROLES):
        said = sentence(made("retention", TESTS[1], both, "supported")).result
        other = tuple(replace(one, role="control", sign=-one.sign, estimate=0.5) for one in both)
        twice = sentence(made("retention", TESTS[1], (*both, *other), "inconclusive")).result
        same = tuple(replace(one, estimate=0.5) for one in (*both, *other))
        none = sentence(made("retention", TESTS[1], same, "inconclusive")).result
    assert ": 0.400 at step 1 of 4, 0.300 at step 4 of 4; 0.100 higher" in said
    assert "after diffusion: 0.400 at step 1 of 4 and 0.300 at step 4 of 4; in the control: 0.500 and 0.500." in twice
    assert "The first minus the second is as large after diffusion as in the control" in none


def test_a_side_of_all_tasks_beside_one_of_a_single_task_says_so() -> None:
    first = replace(group(1, "treatment", "", 0.895), task="infilling", tasks=("infilling",))
    second = replace(group(-1, "control", "", 0.976), tasks=("ioi", "infilling"))
    with vocabulary(WORDS, ROLES):
        said = sentence(made("retention", TESTS[0], (first, second), "supported")).result
    assert "0.895 on infilling after diffusion, 0.976 in the control on all tasks (ioi, infilling)" in said


def open_case(test: tuple[str, str, float | None, float], low: float, high: float, **changes: Any) -> Finding:
    """An inconclusive finding of two groups with an interval, corrected p = .2 and that of the opposite .061."""
    kind, alternative, margin, null = test
    found = finding(
        test=kind, alternative=alternative, margin=margin, null=null, groups=TWO, verdict="inconclusive",
        estimate=(low + high) / 2, low=low, high=high,
    )  # fmt: skip
    return replace(found, p=0.05, p_corrected=0.2, p_opposite=0.03, p_opposite_corrected=0.061, **changes)


OPPOSITE = "the opposite claim has corrected p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}.061"


@pytest.mark.parametrize(
    ("test", "low", "high", "where"),
    [
        (TESTS[3], -0.6, -0.3, "outside the margin of ±0.2"),
        (TESTS[3], 0.21, 0.4, "outside the margin of ±0.2"),
        (TESTS[4], -0.6, -0.3, "below −0.2"),
        (TESTS[0], 0.1, 0.3, "opposite to the claim"),
        (TESTS[1], -0.3, -0.1, "opposite to the claim"),
        (TESTS[5], -0.3, 0.09, "opposite to the claim"),
    ],
)
def test_an_interval_that_looks_like_a_refutation_has_p_of_the_opposite(
    test: tuple[str, str, float | None, float], low: float, high: float, where: str
) -> None:
    found = open_case(test, low, high)
    with vocabulary(WORDS, ROLES):
        said = sentence(found)
    assert shows_opposite(found)
    assert OPPOSITE in said.result and "corrected p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}.20" in said.result
    assert f"The whole interval lies {where}, but the opposite has corrected p" in said.meaning
    assert "compatible with values inside and outside" not in said.meaning


@pytest.mark.parametrize(
    ("test", "low", "high"),
    [(TESTS[3], -0.6, 0.1), (TESTS[3], -0.2, 0.2), (TESTS[0], -0.3, 0.1), (TESTS[2], 0.0, 0.3), (TESTS[4], -0.3, 0.1)],
)
def test_an_interval_on_no_side_has_not(test: tuple[str, str, float | None, float], low: float, high: float) -> None:
    found = open_case(test, low, high)
    with vocabulary(WORDS, ROLES):
        said = sentence(found)
    assert not shows_opposite(found)
    assert OPPOSITE not in said.result and "The whole interval" not in said.meaning


def test_an_interval_on_the_side_of_the_claim_says_why_it_is_no_support() -> None:
    with vocabulary(WORDS, ROLES):
        within = sentence(open_case(TESTS[3], -0.1, 0.1)).meaning
        lower = sentence(open_case(TESTS[0], -0.3, -0.1)).meaning
        every = sentence(open_case(TESTS[0], -0.3, -0.1, every="task")).meaning
    assert "The whole interval lies within the margin of ±0.2, but the claim has corrected p" in within
    assert "The whole interval lies where the claim holds, but the claim has corrected p" in lower
    assert every.endswith("The interval is that of the average; the claim is of every task.")


def test_equal_values_are_no_difference_and_none_is_signed() -> None:
    same = (group(1, "treatment", "local", 0.5), group(-1, "control", "local", 0.5))
    one = (group(1, "treatment", "local", 1.0),)
    with vocabulary(WORDS, ROLES):
        none = sentence(finding(groups=same, estimate=0.0, low=0.0, high=0.0, verdict="inconclusive")).result
        equal = sentence(finding(test="equivalence", margin=0.2, groups=one, estimate=0.0, low=-0.1, high=0.1)).result
        ceiling = sentence(
            finding(test="equivalence", margin=0.2, groups=(group(1, "treatment", "local", 0.9),), estimate=-0.1)
        ).result
    assert "0.500 after diffusion, 0.500 in the control; no difference (95 % interval 0 to 0" in none
    assert "higher" not in none and "lower" not in none
    assert "no difference than" not in equal
    assert "0.100 lower than 1 (" in ceiling


def test_a_refutation_in_one_task_says_nothing_of_the_average() -> None:
    found = replace(made("depth_slope", TESTS[0], TWO, "refuted"), every="task")
    with vocabulary(WORDS, ROLES):
        assert "later layers" not in sentence(found).result
        assert "later layers" in sentence(replace(found, every="")).result


EVERY = [
    (one.name, how, test, verdict)
    for (one, _), how, test, verdict in itertools.product(testables(), COMPARISONS, TESTS, VERDICTS)
    if (test[1], verdict) != ("two-sided", "refuted")
]


def test_no_sentence_of_any_measure_and_test_calls_a_contrast_a_value() -> None:
    """What follows the name of a measure and a colon is a value; of a difference stands `lower` or `higher`."""
    with vocabulary(WORDS, ROLES):
        said = {case: sentence(made(case[0], case[2], COMPARISONS[case[1]], case[3])) for case in EVERY}
    for (measure, how, _, verdict), found in said.items():
        whole = f"{found.result} {found.meaning}"
        assert "None" not in whole and "  " not in whole and ".." not in whole and "−0.000" not in whole
        if how != "alone":
            assert not re.search(r": −?[\d.]+ \(", found.result)
            assert verdict == "not estimable" or re.search(r"\d (higher|lower)", found.result)
            assert verdict != "not estimable" or found.result.startswith("Difference in ")
        if WORDS[measure].shift or how != "alone":
            continue
        assert WORDS[measure].lower not in whole and WORDS[measure].higher not in whole


def test_a_direction_of_a_difference_says_than_what() -> None:
    """Both may have moved to later layers, one of them less."""
    groups = (group(1, "treatment", "local", 0.31), group(-1, "control", "local", 0.8))
    with vocabulary(WORDS, ROLES):
        said = sentence(made("depth_slope", TESTS[0], groups, "supported")).result
        alone = sentence(made("depth_slope", TESTS[0], ONE, "supported")).result
    assert said.endswith(": earlier layers than in the control.")
    assert alone.endswith(": earlier layers.")


def test_a_distance_by_itself_is_no_way_towards_anything() -> None:
    with vocabulary(WORDS, ROLES):
        said = sentence(made("weight_shift", TESTS[1], ONE, "supported")).result
    assert said.startswith("Shift of the weights on global tasks") and "further apart" not in said


def test_a_value_by_itself_is_not_lower_than_another() -> None:
    with vocabulary(WORDS, ROLES):
        said = {verdict: sentence(made("depth_slope", TESTS[4], ONE, verdict)).meaning for verdict in VERDICTS[:3]}
        to_ceiling = sentence(
            finding(
                test="non_inferiority", margin=0.2, null=-0.2, groups=(group(1, "treatment", "local", 0.9),),
                estimate=-0.1, low=-0.15, high=-0.05,
            )
        ).meaning  # fmt: skip
    assert said["supported"].startswith("It is above −0.2, that is, not below zero by more than the margin of 0.2")
    assert said["refuted"] == "It is below −0.2, that is, below zero by more than the margin of 0.2."
    assert said["inconclusive"] == "The data do not settle whether it is below −0.2."
    assert to_ceiling.startswith("It is not lower by more than the margin of 0.2")
