"""Too few replicates, permutations and repetitions are refused, or called what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import stats
from stats.minimums import (
    MINIMUM_CLUSTERS,
    MINIMUM_PROMPTS,
    enough_permutations,
    fewest_permutations,
    fewest_replicates,
    smallest_p,
)
from stats.rates import binomial_rate, fewest_repetitions, uninformative

X = np.random.default_rng(0).normal(size=20)
SCORES = np.random.default_rng(1).normal(size=(20, 40))

CALLS: dict[str, Callable[..., Any]] = {
    "bootstrap_interval": lambda **options: stats.bootstrap_interval(X, **options),
    "percentile": lambda **options: stats.bootstrap_interval(X, method="percentile", **options),
    "bca": lambda **options: stats.bootstrap_interval(X, method="bca", **options),
    "median": lambda **options: stats.bootstrap_interval(X, statistic="median", **options),
    "within": lambda **options: stats.bootstrap_interval(X, cluster=range(20), within=range(20), **options),
    "mean_intervals": lambda **options: stats.mean_intervals(X[:, None], **options),
    "retention_index": lambda **options: stats.retention_index(SCORES, SCORES, top_k=[5], **options),
    "between_overlap": lambda **options: stats.between_overlap(SCORES, SCORES, top_k=[5], **options),
    "threshold_free_overlap": lambda **options: stats.threshold_free_overlap(SCORES, SCORES, **options),
    "percentile_difference": lambda replicates, confidence: stats.percentile_difference(
        0.1, np.linspace(0, 1, replicates), confidence=confidence
    ),
    "percentile_tost": lambda replicates, confidence: stats.percentile_tost(
        0.1, np.linspace(0, 1, replicates), margin=2, confidence=confidence
    ),
    "percentile_non_inferiority": lambda replicates, confidence: stats.percentile_non_inferiority(
        0.1, np.linspace(0, 1, replicates), margin=2, confidence=confidence
    ),
}
"""Every function with replicates and a confidence."""


def test_replicates_follow_from_the_confidence() -> None:
    assert [fewest_replicates(c) for c in (0.5, 0.9, 0.95, 0.99, 0.999)] == [4, 20, 40, 200, 2000]
    assert (MINIMUM_CLUSTERS, MINIMUM_PROMPTS) == (5, 10)


def test_a_tail_has_a_quantile_from_a_hundred_replicates_on() -> None:
    with pytest.raises(ValueError, match="replicates: expected at least 100, got 99"):
        stats.percentile_difference(0.1, np.linspace(0, 1, 99))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(("replicates", "confidence"), [(100, 0.999), (1999, 0.999), (19, 0.95), (39, 0.95), (1, 0.95)])
def test_too_few_replicates_for_the_confidence_are_refused(name: str, replicates: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=rf"at least \d+ for a confidence of .*, got {replicates}"):
        CALLS[name](replicates=replicates, confidence=confidence)


@pytest.mark.parametrize("name", CALLS)
def test_as_many_as_are_needed_will_do(name: str) -> None:
    result = CALLS[name](replicates=100 if "percentile_" in name else 40, confidence=0.95)
    assert result is not None


@pytest.mark.parametrize(
    "call",
    [
        lambda b: stats.threshold_free_overlap(SCORES, SCORES, permutations=b),
        lambda b: stats.stratified_permutation_null(X, X, np.zeros(20, int), [3], permutations=b),
        lambda b: stats.selectivity(np.abs(SCORES), ["a", "b"] * 10, permutations=b),
    ],
)
@pytest.mark.parametrize("permutations", [1, 39])
def test_permutations_that_reach_no_level_are_refused(call: Callable[[int], object], permutations: int) -> None:
    with pytest.raises(ValueError, match=f"permutations: expected at least 40, got {permutations}"):
        call(permutations)


def test_a_permutation_test_says_what_it_can_reach() -> None:
    few = stats.permutation_test(np.ones(20), permutations=9)
    assert few.p == pytest.approx(0.1) and few.message == "9 permutations: p can't be below 0.1"
    assert stats.permutation_test(np.ones(20), permutations=99).message == ""


def test_the_smallest_p_is_that_of_no_replicate_beyond() -> None:
    moved = np.linspace(5, 6, 100)
    one_sided = stats.percentile_difference(5.5, moved, alternative="greater").p
    two_sided = stats.percentile_difference(5.5, moved).p
    assert one_sided == pytest.approx(smallest_p(100)) and two_sided == pytest.approx(smallest_p(100, two_sided=True))
    assert smallest_p(100, family=4) == pytest.approx(4 / 101) and smallest_p(1, family=9) == 1
    assert fewest_permutations(0.001) == 999 and 1 / (1 + 999) <= 0.001
    assert enough_permutations(999, level=0.001) == 999


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2, 0.6])
def test_repetitions_that_tell_twice_the_level_from_the_level(level: float) -> None:
    enough = fewest_repetitions(level)
    wrong = min(2 * level, (1 + level) / 2)
    many = 4 * enough
    assert binomial_rate(np.arange(many) < round(wrong * many), nominal=level).flag == "above"
    few = max(1, enough // 4)
    assert binomial_rate(np.arange(few) < round(wrong * few), nominal=level).flag == ""
    assert uninformative(enough, level) == "" and uninformative(enough - 1, level)


def test_bands_of_a_single_repetition_are_uninformative() -> None:
    assert uninformative(1, 0.05) == (
        "uninformative: with 1 repetition a test that errs twice as often as its level of 0.05 could not be told from "
        "one that holds it; at least 105 are needed"
    )
