"""How often tests reject what is true.

Rates are of 4,000 data sets at the level .05: their Monte Carlo standard error is sqrt(.05 x .95 / 4,000) = .0034, so
that the band of .03 to .07 reaches five of them to either side. Every kind of test of a cell sees the same data sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from simulated import EFFECTS, Floats, in_clusters

from stats import (
    Contrast,
    benjamini_hochberg,
    difference_test,
    equivalence_test,
    holm,
    linear_contrast,
    mean_replicates,
    non_inferiority,
    permutation_test,
    resampling_weights,
    tost,
)
from stats.hypothesis_tests import Alternative, TestResult

DATA_SETS = 4000
MARGIN = 20.0  # in standard deviations of a prompt: whichever bound is not tested is far away


def every_kind(contrast: Contrast) -> dict[str, TestResult]:
    """Every kind of test of an estimate whose true value is 0, moved to where its null hypothesis is just true."""
    x, se, df, g = contrast.estimate, contrast.se, contrast.df, contrast.skewness
    return {
        "difference": difference_test(x, se, df, skewness=g),
        "less": difference_test(x, se, df, alternative="less", skewness=g),
        "greater": difference_test(x, se, df, alternative="greater", skewness=g),
        "bound": difference_test(x + 0.7, se, df, null=0.7, skewness=g),
        "below a bound": difference_test(x + 0.7, se, df, null=0.7, alternative="less", skewness=g),
        "above a bound": difference_test(x - 0.7, se, df, null=-0.7, alternative="greater", skewness=g),
        "equivalence, truth at the upper margin": tost(x + MARGIN, se, df, margin=MARGIN, skewness=g),
        "equivalence, truth at the lower margin": tost(x - MARGIN, se, df, margin=MARGIN, skewness=g),
        "non-inferiority": non_inferiority(x - MARGIN, se, df, margin=MARGIN, skewness=g),
    }


def one_mean(rng: np.random.Generator, draw: Callable[..., Floats], prompts: int) -> Contrast:
    return contrast_of([draw(rng, prompts)], [1], ["task"])


def paired_difference(rng: np.random.Generator, draw: Callable[..., Floats], prompts: int) -> Contrast:
    """Two models on the same prompts, with a part that they share."""
    shared, one, two = draw(rng, (3, prompts))
    return contrast_of([shared + one, shared + two], [1, -1], ["task", "task"])


def difference_in_differences(rng: np.random.Generator, draw: Callable[..., Floats], prompts: int) -> Contrast:
    """One shift less another on the same prompts, less the same on another task of other size and spread."""
    first, second = draw(rng, (4, prompts)), 2 * draw(rng, (4, prompts * 3 // 2))
    parts = [task[0] + task[i] for task in (first, second) for i in (1, 2)]
    return contrast_of(parts, [1, -1, -1, 1], ["a", "a", "b", "b"])


def two_tasks(rng: np.random.Generator, draw: Callable[..., Floats], prompts: int) -> Contrast:
    """The shift on one task less that on another, of other size and spread."""
    return contrast_of([draw(rng, prompts), 2 * draw(rng, prompts * 3 // 2)], [1, -1], ["a", "b"])


def contrast_of(values: list[Floats], weights: list[float], groups: list[str]) -> Contrast:
    parts = [mean_replicates(each, resampling_weights(len(each), 2, seed=0)) for each in values]
    return linear_contrast(parts, weights, groups)


def rejections(
    make: Callable[..., Contrast], effects: str, prompts: int, *, corrected: bool = True, data_sets: int = DATA_SETS
) -> dict[str, float]:
    rng = np.random.default_rng([3, prompts])
    counts: dict[str, int] = {}
    for _ in range(data_sets):
        contrast = make(rng, EFFECTS[effects], prompts)
        for kind, test in every_kind(contrast if corrected else replace(contrast, skewness=0.0)).items():
            assert test.p is not None
            counts[kind] = counts.get(kind, 0) + (test.p < 0.05)
    return {kind: count / data_sets for kind, count in counts.items()}


def outside(rates: dict[str, float], low: float = 0.03, high: float = 0.07) -> dict[str, float]:
    return {kind: rate for kind, rate in rates.items() if not low <= rate <= high}


@pytest.mark.nightly
@pytest.mark.parametrize("prompts", [12, 40])
@pytest.mark.parametrize(
    ("make", "effects"),
    [
        (one_mean, "normal"),
        (one_mean, "gamma"),
        (paired_difference, "normal"),
        (paired_difference, "exponential"),
        (difference_in_differences, "normal"),
        (difference_in_differences, "exponential"),
        (two_tasks, "normal"),
        (two_tasks, "gamma"),
    ],
)
def test_every_kind_of_test_rejects_a_true_null_as_often_as_it_says(
    make: Callable[..., Contrast], effects: str, prompts: int
) -> None:
    assert outside(rejections(make, effects, prompts)) == {}


@pytest.mark.nightly
@pytest.mark.parametrize("make", [one_mean, two_tasks])
def test_means_of_exponential_effects_hold_their_level_with_forty_prompts(make: Callable[..., Contrast]) -> None:
    assert outside(rejections(make, "exponential", 40)) == {}


@pytest.mark.nightly
def test_with_twelve_prompts_one_sided_tests_of_exponential_effects_are_a_known_limit() -> None:
    """In the long run .092 on the side of the long tail, .124 without the correction; two-sided .067, and .093 without.

    Since .067 is near the end of the band, there are four times as many data sets: a standard error of .0017.
    """
    rates = rejections(one_mean, "exponential", 12, data_sets=4 * DATA_SETS)
    plain = rejections(one_mean, "exponential", 12, corrected=False)
    assert outside({kind: rates[kind] for kind in ("difference", "bound")}) == {}
    assert rates["less"] == pytest.approx(0.092, abs=3 * 0.0023) and rates["less"] < plain["less"] - 0.02
    assert plain["difference"] > 0.07 and plain["less"] > 0.11


@pytest.mark.nightly
@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("clusters", [12, 40])
def test_sign_flips_of_symmetric_differences_in_clusters_hold_their_level(
    clusters: int, alternative: Alternative
) -> None:
    """A true null hypothesis of this test is symmetry, as of differences of two draws of one skewed distribution."""
    rejected = 0
    for i in range(DATA_SETS):
        rng = np.random.default_rng([4, clusters, i])
        cluster = np.repeat(np.arange(clusters), rng.integers(1, 9, clusters))
        one, two = EFFECTS["exponential"](rng, (2, clusters))
        values = (one - two)[cluster] + rng.standard_normal(len(cluster))
        test = permutation_test(values, cluster=cluster, alternative=alternative, permutations=199, seed=i)
        assert test.p is not None
        rejected += test.p <= 0.05  # of 200 values that are equally likely, 10
    assert 0.03 <= rejected / DATA_SETS <= 0.07


@pytest.mark.nightly
@pytest.mark.parametrize("end", [-MARGIN, MARGIN])
@pytest.mark.parametrize(
    ("effects", "clusters", "sizes"),
    [("normal", 12, "one"), ("normal", 12, "1-8"), ("normal", 40, "1-8"), ("exponential", 40, "one")],
)
def test_equivalence_of_clustered_data_at_either_margin_holds_its_level(
    effects: str, clusters: int, sizes: str, end: float
) -> None:
    tests = [
        equivalence_test(values + end, margin=MARGIN, cluster=cluster)
        for values, cluster in in_clusters(effects, clusters, sizes, data_sets=DATA_SETS, seed=5)
    ]
    assert 0.03 <= np.mean([test.p is not None and test.p < 0.05 for test in tests]) <= 0.07


def family(rng: np.random.Generator, effects: str, prompts: int, shifts: list[float]) -> list[float | None]:
    """p of one hypothesis for each shift, on tasks of their own; the hypothesis is true where the shift is 0."""
    contrasts = [paired_difference(rng, EFFECTS[effects], prompts) for _ in shifts]
    return [
        difference_test(contrast.estimate + shift, contrast.se, contrast.df, skewness=contrast.skewness).p
        for contrast, shift in zip(contrasts, shifts, strict=True)
    ]


def false_discoveries(effects: str, prompts: int, shifts: list[float]) -> dict[str, tuple[float, float]]:
    """By correction: how often there is any false discovery, and the mean share of discoveries that are false."""
    rng = np.random.default_rng([6, prompts])
    counts = {"holm": np.zeros(2), "benjamini-hochberg": np.zeros(2)}
    true = np.array(shifts) == 0
    for _ in range(DATA_SETS):
        p = family(rng, effects, prompts, shifts)
        for name, correction in (("holm", holm), ("benjamini-hochberg", benjamini_hochberg)):
            found = np.array(correction(p), dtype=np.float64) < 0.05
            wrong = np.count_nonzero(found & true)
            counts[name] += wrong > 0, wrong / max(np.count_nonzero(found), 1)
    return {name: (float(count[0]) / DATA_SETS, float(count[1]) / DATA_SETS) for name, count in counts.items()}


@pytest.mark.nightly
@pytest.mark.parametrize(("effects", "prompts"), [("normal", 12), ("normal", 40), ("exponential", 40)])
def test_holm_keeps_the_family_wise_error_and_benjamini_hochberg_the_false_discovery_rate(
    effects: str, prompts: int
) -> None:
    nothing = false_discoveries(effects, prompts, [0.0] * 5)
    assert 0.03 <= nothing["holm"][0] <= 0.07 and 0.03 <= nothing["benjamini-hochberg"][1] <= 0.07
    # With two of five hypotheses true, the rate is two fifths of the level: .02, with a Monte Carlo error of .0015.
    mixed = false_discoveries(effects, prompts, [0.0, 0.0, 3.0, 3.0, 3.0])
    assert 0.01 <= mixed["benjamini-hochberg"][1] <= 0.03 and mixed["holm"][0] <= 0.07
