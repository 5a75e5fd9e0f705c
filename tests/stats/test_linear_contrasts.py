from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from stats import (
    Replicated,
    cluster_weights,
    difference_test,
    linear_contrast,
    mean_replicates,
    paired_difference,
    resampling_weights,
)
from stats.replicates import Reference, combined
from stats.two_way import two_way_variance_of_mean


def part(estimate: float, se: float, *, df: float = 20, seed: int = 0, label: str = "x") -> Replicated:
    """An estimate with replicates of exactly this standard error."""
    draws = np.random.default_rng(seed).standard_normal(500)
    draws = (draws - draws.mean()) / draws.std(ddof=1)
    return Replicated(label=label, estimate=estimate, replicates=estimate + se * draws, se=se, df=df, units=int(df) + 1)


@given(seed=st.integers(0, 10_000), n=st.integers(5, 40))
def test_contrast_of_two_means_over_the_same_prompts_is_the_paired_t_test(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal(n)
    one, two = shared + rng.standard_normal(n), 2 * shared + rng.standard_normal(n)
    weights = resampling_weights(n, 20, seed=0)
    contrast = linear_contrast([mean_replicates(one, weights), mean_replicates(two, weights)], [1, -1], ["ioi", "ioi"])
    expected = scipy_stats.ttest_rel(one, two)
    found = difference_test(contrast.estimate, contrast.se, contrast.df)
    assert contrast.df == pytest.approx(n - 1)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-7)


def test_replicates_give_the_same_standard_error_as_the_analysis_of_paired_differences() -> None:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal(60)
    values = [shared + 0.5 * rng.standard_normal(60) for _ in range(2)]
    weights = resampling_weights(60, 20_000, seed=0)
    parts = [mean_replicates(value, weights) for value in values]
    contrast = linear_contrast(parts, [1, -1], ["ioi", "ioi"])
    assert contrast.replicates is not None
    # sqrt(59 / 60): the bootstrap's variance has no n - 1 correction. The Monte Carlo error of 20,000 draws is .5 %.
    assert contrast.replicates.std() == pytest.approx(contrast.se * np.sqrt(59 / 60), rel=0.02)
    assert contrast.se < parts[0].se  # the shared part cancels


def test_means_over_overlapping_selections_are_correlated_through_the_prompts_they_share() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal(40)
    weights = resampling_weights(40, 30_000, seed=0)
    first, second = np.arange(0, 30), np.arange(10, 40)
    one = mean_replicates(values[first], weights, examples=first)
    two = mean_replicates(values[second], weights, examples=second)
    contrast = linear_contrast([one, two], [1, -1], ["t", "t"])
    assert contrast.replicates is not None and contrast.units == (30,)
    assert contrast.replicates.std() == pytest.approx(contrast.se, rel=0.06)
    disjoint = linear_contrast([one, two], [1, -1], ["t", "u"])
    assert disjoint.se == pytest.approx(np.hypot(one.se, two.se)) and contrast.se < disjoint.se


def test_mean_replicates_are_weighted_means() -> None:
    values = np.random.default_rng(2).standard_normal(12)
    weights = resampling_weights(12, 30, seed=0)
    found = mean_replicates(values, weights, label="slope")
    slow = [np.mean(np.repeat(values, row)) for row in weights]
    np.testing.assert_allclose(found.replicates, slow)
    assert found.se == pytest.approx(scipy_stats.sem(values)) and (found.df, found.units, found.label) == (
        11,
        12,
        "slope",
    )


def test_independent_tasks_add_variances_with_welch_degrees_of_freedom() -> None:
    rng = np.random.default_rng(3)
    one, two = rng.standard_normal(12), 3 * rng.standard_normal(30)
    parts = [mean_replicates(x, resampling_weights(len(x), 10, seed=0)) for x in (one, two)]
    contrast = linear_contrast(parts, [1, -1], ["ioi", "countdown"])
    expected = scipy_stats.ttest_ind(one, two, equal_var=False)
    assert contrast.estimate / contrast.se == pytest.approx(expected.statistic)
    assert contrast.df == pytest.approx(expected.df) and contrast.units == (12, 30)


def test_dependence_within_a_task_is_kept_and_between_tasks_there_is_none() -> None:
    same, other = part(0.5, 0.1, seed=0), part(0.2, 0.1, seed=0)
    assert linear_contrast([same, other], [1, -1], ["a", "a"]).se == pytest.approx(0, abs=1e-12)
    assert linear_contrast([same, other], [1, 1], ["a", "a"]).se == pytest.approx(0.2)
    assert linear_contrast([same, other], [1, -1], ["a", "b"]).se == pytest.approx(0.1 * np.sqrt(2))
    single = linear_contrast([same], [-2], ["a"])
    assert (single.estimate, single.se, single.df) == pytest.approx((-1.0, 0.2, 20))


def test_difference_in_differences_is_invariant_to_the_order_of_its_parts() -> None:
    parts = [part(x, 0.1 + x / 10, df=10 + i, seed=i // 2) for i, x in enumerate((0.9, 0.4, 0.8, 0.7))]
    weights, groups = [1.0, -1, -1, 1], ["a", "a", "b", "b"]
    forward = linear_contrast(parts, weights, groups)
    backward = linear_contrast(parts[::-1], weights[::-1], groups[::-1])
    assert forward.estimate == pytest.approx(0.9 - 0.4 - 0.8 + 0.7)
    assert (forward.se, forward.df) == pytest.approx((backward.se, backward.df))
    assert 10 <= forward.df <= 10 + 12


def test_a_part_without_replicates_is_named() -> None:
    bare = Replicated(label="retention of p on ioi", estimate=1.0, replicates=None, se=None, df=3, units=4)
    contrast = linear_contrast([part(1, 0.1), bare], [1, -1], ["a", "b"])
    assert contrast.se is None and contrast.estimate == 0
    assert contrast.message == "no replicates: retention of p on ioi"


def test_constant_parts_are_decided_by_the_sign_test() -> None:
    weights = resampling_weights(9, 10, seed=0)
    contrast = linear_contrast([mean_replicates(np.full(9, 0.1), weights)], [1], ["a"])
    assert contrast.se == 0 and contrast.df == 8
    assert difference_test(contrast.estimate, contrast.se, contrast.df).p == 2 * 0.5**9


def test_errors_say_what_came() -> None:
    with pytest.raises(ValueError, match="as many weights and groups as parts, got 1, 2, 1"):
        linear_contrast([part(1, 0.1)], [1, 2], ["a"])
    with pytest.raises(ValueError, match="as many weights and groups as parts, got 0, 0, 0"):
        linear_contrast([], [], [])
    short = Replicated(label="y", estimate=0, replicates=np.zeros(3), se=1, df=3, units=4)
    with pytest.raises(ValueError, match=r"replicates: expected the same number in every part, got \[500, 3\]"):
        linear_contrast([part(1, 0.1), short], [1, 1], ["a", "a"])
    with pytest.raises(ValueError, match="at least 2 prompts"):
        mean_replicates([1.0], np.ones((3, 1)))
    with pytest.raises(ValueError, match="a column for each of 2 values"):
        mean_replicates([1.0, 2.0], np.ones((3, 5)))
    with pytest.raises(ValueError, match="2 distinct ids from 0 to 4"):
        mean_replicates([1.0, 2.0], np.ones((3, 5)), examples=[1, 1])


def crossed_parts(y: np.ndarray, weights: np.ndarray) -> list[Replicated]:  # type: ignore[type-arg]
    """A part for every seed, from values [prompts, seeds]."""
    return [mean_replicates(column, weights, label=f"seed {s}") for s, column in enumerate(y.T)]


def without_influence(parts: list[Replicated]) -> list[Replicated]:
    return [replace(part, influence=None) for part in parts]


def test_mean_over_seeds_has_the_variance_of_the_two_way_table() -> None:
    rng = np.random.default_rng(0)
    y = rng.standard_normal((40, 1)) + rng.standard_normal((1, 6)) + rng.standard_normal((40, 6))
    parts = crossed_parts(y, resampling_weights(40, 20_000, seed=0))
    labels = {"groups": ["t"] * 6, "seeds": range(6)}
    exact = linear_contrast(parts, [1 / 6] * 6, **labels)
    prompt, seed = (x.ravel() for x in np.meshgrid(np.arange(40), np.arange(6), indexing="ij"))
    variance, df = two_way_variance_of_mean(y.ravel(), prompt, seed, 40, 6)
    assert (exact.se, exact.df, exact.seeds) == pytest.approx((np.sqrt(variance), df, 6))
    drawn = linear_contrast(without_influence(parts), [1 / 6] * 6, **labels)
    # The bootstrap's variance over 40 prompts has no n - 1 correction; Monte Carlo error .5 %.
    assert (drawn.se, drawn.df) == pytest.approx((exact.se, exact.df), rel=0.02)
    assert drawn.replicates is None, "replicates over prompts say nothing of seeds"
    fixed = linear_contrast(parts, [1 / 6] * 6, ["t"] * 6)
    assert fixed.replicates is not None
    assert fixed.seeds is None and fixed.se < exact.se


def test_parts_of_one_seed_vary_together() -> None:
    """A difference between roles: what a seed does to both of them cancels."""
    rng = np.random.default_rng(1)
    of_seed = 5 * rng.standard_normal((1, 6))
    weights = resampling_weights(30, 50, seed=0)
    one, two = (of_seed + rng.standard_normal((30, 6)) for _ in range(2))
    parts = [*crossed_parts(one, weights), *crossed_parts(two, weights)]
    w, groups = [1 / 6] * 6 + [-1 / 6] * 6, ["t"] * 12
    cells = ["treatment"] * 6 + ["control"] * 6
    together = linear_contrast(parts, w, groups, seeds=[*range(6), *range(6)], cells=cells)
    difference = linear_contrast(crossed_parts(one - two, weights), [1 / 6] * 6, ["t"] * 6, seeds=range(6))
    assert (together.se, together.df) == pytest.approx((difference.se, difference.df))
    apart = linear_contrast(parts, w, groups, seeds=range(12), cells=cells)
    assert apart.se > 5 * together.se


def test_below_five_seeds_of_any_cell_there_is_no_standard_error() -> None:
    parts = [part(1, 0.1, seed=seed) for seed in range(7)]
    contrast = linear_contrast(
        parts, [0.2] * 5 + [-0.5] * 2, ["t"] * 7, seeds=[0, 1, 2, 3, 4, 0, 1], cells=["treatment"] * 5 + ["control"] * 2
    )
    assert (contrast.se, contrast.df, contrast.seeds) == (None, None, 2)
    assert contrast.message == "2 training seed(s): fewer than 5, no interval"
    with pytest.raises(ValueError, match="seeds: expected one for each of 7 parts, got 1"):
        linear_contrast(parts, [1] * 7, ["t"] * 7, seeds=[1])


def test_means_over_clusters_have_the_variance_of_the_cluster_means() -> None:
    rng = np.random.default_rng(2)
    template = np.arange(48) % 8
    one, two = rng.standard_normal((2, 48)) + rng.standard_normal(8)[template]
    weights = cluster_weights(template, 4000, seed=0)
    parts = [mean_replicates(x, weights, cluster=template) for x in (one, two)]
    contrast = linear_contrast(parts, [1, -1], ["t", "t"])
    expected = scipy_stats.ttest_1samp((one - two).reshape(6, 8).mean(axis=0), 0)
    found = difference_test(contrast.estimate, contrast.se, contrast.df)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert contrast.units == (8,) and contrast.replicates is not None
    assert contrast.replicates.std() == pytest.approx(contrast.se * np.sqrt(7 / 8), rel=0.05)
    few = mean_replicates(one[:24], weights, examples=np.flatnonzero(template < 4), cluster=template, label="slope")
    assert few.se is None and few.units == 4
    message = linear_contrast([few], [1], ["t"]).message
    assert message == "slope: 4 cluster(s): fewer than 5, no interval"


@pytest.mark.nightly
@pytest.mark.parametrize("analytic", [True, False])
@pytest.mark.parametrize(("prompts", "of_seed"), [(16, 0.3), (100, 0.3), (16, 0.0)])
def test_level_is_nominal_over_seeds_where_prompts_alone_are_far_off(
    prompts: int, of_seed: float, analytic: bool
) -> None:
    """A/A contrasts of two roles on two tasks, with five seeds each."""
    rng = np.random.default_rng(3)
    weights = [resampling_weights(prompts, 200, seed=task) for task in range(2)]
    labels = [(role, task, seed) for role in range(2) for task in range(2) for seed in range(5)]
    roles, tasks, seeds = ([label[i] for label in labels] for i in range(3))
    w, wrong = [(-1) ** role / 10 for role in roles], {"both": 0, "prompts": 0}
    for _ in range(1500):
        by_seed, by_prompt = of_seed * rng.standard_normal((2, 5)), rng.standard_normal((2, 2, prompts))
        parts = [
            mean_replicates(by_prompt[r, t] + by_seed[r, s] + rng.standard_normal(prompts), weights[t])
            for r, t, s in labels
        ]
        parts = parts if analytic else without_influence(parts)
        for name, options in {"both": {"seeds": seeds, "cells": roles}, "prompts": {}}.items():
            contrast = linear_contrast(parts, w, tasks, **options)
            wrong[name] += difference_test(contrast.estimate, contrast.se, contrast.df).p < 0.05
    rates = {name: count / 1500 for name, count in wrong.items()}
    # Three binomial standard errors (.006) around .05; conservative where seeds do not differ.
    assert 0.02 < rates["both"] < 0.068, rates
    if of_seed:
        assert rates["prompts"] > 0.08 and rates["prompts"] > 1.7 * rates["both"], rates


def test_cells_with_seeds_of_their_own_have_welchs_degrees_of_freedom() -> None:
    rng = np.random.default_rng(8)
    one, other = rng.standard_normal(6), 4 * rng.standard_normal(9)
    exact = [
        Replicated(label="", estimate=x, replicates=None, se=0.0, df=99, units=100, influence=np.zeros(100))
        for x in (*one, *other)
    ]
    w = [1 / 6] * 6 + [-1 / 9] * 9
    cells = ["treatment"] * 6 + ["control"] * 9
    found = linear_contrast(exact, w, ["t"] * 15, seeds=range(15), cells=cells)
    welch = scipy_stats.ttest_ind(one, other, equal_var=False)
    assert found.se is not None and found.estimate / found.se == pytest.approx(welch.statistic)
    assert found.df == pytest.approx(welch.df) and found.seeds == 6


def test_a_difference_is_a_contrast_of_two_in_one_group() -> None:
    rng = np.random.default_rng(5)
    strata = np.repeat([0, 1], 10)
    for analytic in (True, False):
        parts = []
        for name in "ab":
            influence = rng.normal(size=20)
            parts.append(
                Replicated(
                    label=name,
                    estimate=float(rng.normal()),
                    replicates=rng.normal(size=300),
                    se=float(np.sqrt(influence @ influence)),
                    df=19.0,
                    units=20,
                    influence=influence if analytic else None,
                    own=influence * 20 if analytic else None,
                    strata=strata if analytic else None,
                )
            )
        whole, alone = linear_contrast(parts, [1, -1], ["t", "t"]), paired_difference(*parts)
        found = linear_contrast([alone], [1], ["t"])
        for name in ("estimate", "se", "df", "skewness"):
            assert getattr(found, name) == pytest.approx(getattr(whole, name))
        assert found.se == pytest.approx(alone.se)
        np.testing.assert_allclose(found.replicates, whole.replicates)  # type: ignore[arg-type]


def test_differences_of_estimates_that_do_not_pair_are_refused() -> None:
    one = Replicated(label="a", estimate=0.0, replicates=np.zeros(3), se=1.0, df=2.0, units=3)
    with pytest.raises(ValueError, match="replicates: expected the same number in every part, got \\[3, 4\\]"):
        paired_difference(one, Replicated(label="b", estimate=0.0, replicates=np.zeros(4), se=1.0, df=2.0, units=3))


def test_where_all_seeds_agree_there_are_as_many_units_as_seeds() -> None:
    same = [
        Replicated(label="", estimate=0.2, replicates=None, se=0.0, df=199, units=200, influence=np.zeros(200))
        for _ in range(6)
    ]
    fixed = linear_contrast(same, [1 / 6] * 6, ["t"] * 6)
    random = linear_contrast(same, [1 / 6] * 6, ["t"] * 6, seeds=range(6))
    assert (fixed.se, fixed.df) == (0.0, 199) and (random.se, random.df) == (0.0, 5)
    found = difference_test(random.estimate, random.se, random.df, alternative="greater")
    assert found.p == 2**-6, "six seeds that agree, not 200 prompts"


def test_what_was_seen_on_no_prompt_of_any_seed_is_no_evidence_that_it_does_not_happen() -> None:
    never = [
        replace(mean_replicates(np.zeros(60), np.ones((1, 60)), label="overwritten"), counted=True) for _ in range(6)
    ]
    fixed = linear_contrast(never, [1 / 6] * 6, ["t"] * 6)
    random = linear_contrast(never, [1 / 6] * 6, ["t"] * 6, seeds=range(6))
    assert fixed.se is None and random.se is None and random.df is None
    assert random.message == fixed.message and "may still happen in up to 5%" in random.message.replace(" %", "%")


def test_what_estimates_are_counted_from_varies_over_its_seeds_too() -> None:
    """The difference of each pair from the mean of others, as one part each, is the difference of two means."""
    rng = np.random.default_rng(11)
    weights = resampling_weights(40, 300, seed=0)
    own, level = (
        without_influence(crossed_parts(rng.normal(size=(40, 6)) + 2 * rng.normal(size=(1, 6)), weights))
        for _ in range(2)
    )
    mean = np.mean([one.estimate for one in level])
    drawn = np.mean([one.replicates for one in level], axis=0)
    for seeds in (range(6), range(6, 12)):  # of the same trainings as the pairs, or of others
        counted = [
            replace(
                one,
                estimate=one.estimate - mean,
                replicates=one.replicates - drawn,
                references=tuple(
                    Reference(part=other, slope=-1 / 6, seed=seed) for other, seed in zip(level, seeds, strict=True)
                ),
            )
            for one in own
        ]
        found = linear_contrast(counted, [1 / 6] * 6, ["t"] * 6, seeds=range(6))
        expected = linear_contrast(
            [*own, *level],
            [1 / 6] * 6 + [-1 / 6] * 6,
            ["t"] * 12,
            seeds=[*range(6), *seeds],
            cells=["own"] * 6 + ["level"] * 6,
        )
        assert (found.estimate, found.se, found.df) == pytest.approx((expected.estimate, expected.se, expected.df))
        assert found.seeds == 6
        # The level's own seeds are half of it; without them the interval is that of a level that is known.
        alone = linear_contrast(
            [replace(one, references=()) for one in counted], [1 / 6] * 6, ["t"] * 6, seeds=range(6)
        )
        assert alone.se is not None and found.se is not None and found.se > 1.1 * alone.se
        fixed = linear_contrast(counted, [1 / 6] * 6, ["t"] * 6)
        assert fixed.se is not None and fixed.se < alone.se
    few = [replace(one, references=one.references[:4]) for one in counted]
    contrast = linear_contrast(few, [1 / 6] * 6, ["t"] * 6, seeds=range(6))
    assert contrast.se is None
    assert contrast.message == "counted from pairs of 4 training seed(s): fewer than 5, no interval"


def test_a_weighted_sum_of_estimates_is_their_contrast() -> None:
    rng = np.random.default_rng(12)
    weights = resampling_weights(30, 200, seed=0)
    parts = crossed_parts(rng.normal(size=(30, 3)), weights)
    for made in (parts, without_influence(parts)):
        one = combined(made, [0.5, 2.0, -1.0], label="trend")
        whole = linear_contrast(made, [0.5, 2.0, -1.0], ["t"] * 3)
        alone = linear_contrast([one], [1.0], ["t"])
        for name in ("estimate", "se", "df", "skewness"):
            assert getattr(alone, name) == pytest.approx(getattr(whole, name))
        assert one.se == pytest.approx(whole.se)
    nothing = combined([parts[0]] * 3, [0.1, 0.2, -0.3], label="trend of what stays as it is")
    assert (nothing.estimate, nothing.se) == (0.0, 0.0)
