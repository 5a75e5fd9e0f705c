"""Claims on every task: the largest p, a refutation by one part, and parts that differ in sign."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mechshift_core.analysis.parts import described, disagreement, intersection_union
from mechshift_core.spec import Hypothesis
from stats.hypothesis_tests import TestResult, difference_test


def part(estimate: float) -> TestResult:
    return difference_test(estimate, 1.0, 50, alternative="less")


def claim(**test: object) -> Hypothesis:
    content = {"id": "less", "measure": "specialization", "test": {"kind": "difference", **test}}
    return Hypothesis.model_validate(content)


def test_p_is_the_largest_and_one_part_refutes() -> None:
    whole, parts = part(-2.0), {"ioi": part(-5.0), "sudoku": part(-1.0)}
    found = intersection_union(whole, parts)
    assert found.p == parts["sudoku"].p
    opposed = intersection_union(whole, {"ioi": part(-5.0), "sudoku": part(4.0)})
    one = part(4.0).p_opposite
    assert one is not None and opposed.p_opposite == pytest.approx(2 * one) and opposed.p == part(4.0).p
    assert intersection_union(whole, parts).p_opposite == 1.0


def test_all_but_p_is_of_the_average_and_the_method_names_the_part_that_decides() -> None:
    """From a report's numbers its interval follows, and what the gate compares has its own degrees of freedom."""
    whole = difference_test(-2.0, 0.5, 90, alternative="less")
    found = intersection_union(whole, {"ioi": difference_test(-4.0, 0.6, 60, alternative="less"), "sudoku": part(-1.0)})
    assert (found.estimate, found.se, found.df, found.statistic) == (-2.0, 0.5, 90, whole.statistic)
    assert (found.low, found.high) == (whole.low, whole.high)
    again = difference_test(found.estimate, found.se, found.df)
    assert (again.low, again.high) == (found.low, found.high)
    assert found.method == (
        "t-test of the average; p is that of sudoku, the largest of 2 "
        "(intersection-union, -1 with 50 degrees of freedom)"
    )


def test_a_part_without_a_test_leaves_none() -> None:
    lacking = replace(part(-5.0), p=None, p_opposite=None, status="points only", message="few")
    found = intersection_union(part(-2.0), {"ioi": part(-3.0), "sudoku": lacking})
    assert (found.p, found.p_opposite, found.status, found.message) == (None, None, "points only", "sudoku: few")


@pytest.mark.long
def test_a_true_claim_on_one_task_alone_is_rarely_supported() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    drawn = rng.standard_normal(4000)
    supported = [(intersection_union(part(-9.0), {"a": part(-9.0), "b": part(z)}).p or 0) < 0.05 for z in drawn]
    assert 0.035 <= np.mean(supported) <= 0.065


def test_parts_that_differ_in_sign_are_named() -> None:
    parts = described("task", {"ioi": part(-3.0), "sudoku": part(0.5)})
    said = disagreement(claim(alternative="less"), parts, 0.0)
    assert said.startswith("tasks differ in sign: ioi -3 [") and "sudoku 0.5 [" in said
    assert disagreement(claim(), described("task", {"a": part(-3.0), "b": part(-0.5)}), 0.0) == ""
    assert disagreement(claim(kind="equivalence", margin=1.0), parts, 0.0) == ""
    assert "on the side of -1:" in disagreement(claim(kind="bound", bound=-1.0, alternative="less"), parts, -1.0)
