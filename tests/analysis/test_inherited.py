"""What is inherited: the ratio, its delta-method error, and the cases without a value."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mechshift_core.analysis.hypotheses import Evidence
from mechshift_core.measures.overlap.inherited import filled, inherited, with_inherited
from mechshift_core.spec import Spec
from stats.replicates import Replicated


def spec(*roles: str) -> Spec:
    pairs = [
        SimpleNamespace(name=f"p{place}", role=role, unrelated=role == "unrelated") for place, role in enumerate(roles)
    ]
    statistics = SimpleNamespace(confidence=0.95)
    return cast("Spec", SimpleNamespace(pairs=pairs, tasks=[SimpleNamespace(name="ioi")], statistics=statistics))


def similar(estimate: float, noise: np.ndarray[Any, Any]) -> Replicated:
    return Replicated(
        label="similarity", estimate=estimate, replicates=estimate + noise, se=float(noise.std(ddof=1)), df=39, units=40
    )


def evidence(**values: Replicated) -> Evidence:
    return Evidence({("similarity", pair, "ioi"): value for pair, value in values.items()}, {}, {})


def noises(count: int) -> list[np.ndarray[Any, Any]]:
    drawn = np.random.default_rng(0).normal(size=(count, 400)) * 0.01
    return [*(drawn - drawn.mean(axis=1, keepdims=True))]


def test_it_runs_from_the_mean_of_unrelated_pairs_to_one_with_the_error_of_both() -> None:
    own, first, second = noises(3)
    found = inherited(
        evidence(p0=similar(0.9, own), p1=similar(0.5, first), p2=similar(0.7, second)),
        spec("treatment", "unrelated", "unrelated"),
    )
    assert [*found] == [("p0", "ioi")]
    one = found["p0", "ioi"]
    assert one.unrelated == pytest.approx(0.6) and one.found is not None and one.found.df == 39
    assert one.found.estimate == pytest.approx(0.75)
    assert one.found.replicates is not None
    expected = own / 0.4 - 0.1 / 0.16 * (first + second) / 2
    np.testing.assert_allclose(one.found.replicates - 0.75, expected, atol=1e-12)
    assert one.found.se == pytest.approx(expected.std(ddof=1))
    exact = ((0.9 + own) - (0.6 + (first + second) / 2)) / (1 - (0.6 + (first + second) / 2))
    assert one.found.se == pytest.approx(exact.std(ddof=1), rel=0.05)
    (row,) = filled([{"pair": "p0", "task": "ioi"}], found, spec("treatment", "unrelated", "unrelated"))
    assert row["unrelated"] == one.unrelated and row["inherited"] == one.found.estimate
    low, high = cast("float", row["inherited_low"]), cast("float", row["inherited_high"])
    assert low < 0.75 < high and high - low == pytest.approx(2 * 2.0227 * one.found.se, rel=1e-3)


def test_an_equal_model_inherits_all_and_one_like_the_unrelated_nothing() -> None:
    own, level = noises(2)
    zero = np.zeros(400)
    for value, noise, expected in ((1.0, zero, 1.0), (0.6, own, 0.0)):
        found = inherited(evidence(p0=similar(value, noise), p1=similar(0.6, level)), spec("control", "unrelated"))
        one = found["p0", "ioi"].found
        assert one is not None and one.estimate == pytest.approx(expected)
        assert (one.se == pytest.approx(0.0, abs=1e-12)) == (value == 1.0)


def test_without_a_level_or_a_similarity_there_is_a_reason_and_without_unrelated_pairs_nothing() -> None:
    own, level = noises(2)
    few = Evidence({("similarity", "p0", "ioi"): similar(0.9, own)}, {("similarity", "p1", "ioi"): "no signal"}, {})
    made = with_inherited(few, inherited(few, spec("treatment", "unrelated")))
    assert made.problems["inherited", "p0", "ioi"] == "no level of unrelated models (p1: no signal)"
    same = evidence(p0=similar(0.9, own), p1=similar(0.98, level))
    assert inherited(same, spec("treatment", "unrelated"))["p0", "ioi"].message == (
        "unrelated models are as similar as equal ones"
    )
    assert inherited(evidence(p0=similar(0.9, own)), spec("treatment")) == {}
    clear = evidence(p0=similar(0.9, own), p1=similar(0.5, level))
    again = with_inherited(clear, inherited(clear, spec("treatment", "unrelated")))
    assert ("inherited", "p0", "ioi") in again.replicated and ("inherited", "p1", "ioi") not in again.replicated
