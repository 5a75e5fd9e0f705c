"""Fixed templates as strata of a mean: its error by hand, replicates, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import EFFECTS, Floats

from stats import difference_test, linear_contrast, mean_replicates, resampling_weights
from stats.replicates import Replicated

RNG = np.random.default_rng(12)
TEMPLATE = np.repeat([0, 1, 2], [4, 7, 13])
WEIGHTS = resampling_weights(24, 4000, seed=0)


def part(values: Floats, template: object = TEMPLATE, **options: object) -> Replicated:
    return mean_replicates(values, WEIGHTS[:, : len(values)], strata=template, **options)


def test_the_error_is_that_within_templates() -> None:
    values = RNG.standard_normal(24) + 10 * TEMPLATE
    found = part(values)
    groups = [values[t == TEMPLATE] for t in range(3)]
    variance = sum((len(x) / 24) ** 2 * x.var(ddof=1) / len(x) for x in groups)
    assert found.estimate == pytest.approx(values.mean())
    assert found.se == pytest.approx(np.sqrt(variance))
    each = [(len(x) * x.var(ddof=1), len(x)) for x in groups]
    welch = sum(v for v, _ in each) ** 2 / sum(v**2 / (n + 1) for v, n in each) - 2
    assert found.df == pytest.approx(min(welch, 24**2 / (16 / 3 + 49 / 6 + 169 / 12))) and 3 < found.df < 21
    assert found.influence is not None and [found.influence[t == TEMPLATE].sum() for t in range(3)] == pytest.approx(
        [0, 0, 0], abs=1e-12
    )


def test_templates_of_one_size_leave_as_many_degrees_of_freedom_as_prompts_less_templates() -> None:
    same = np.tile(RNG.standard_normal(4), 6) + np.repeat(np.arange(6), 4)
    assert part(same, np.repeat(np.arange(6), 4)).df == pytest.approx(18)


def test_a_template_with_most_of_the_variance_leaves_the_degrees_of_freedom_that_it_has() -> None:
    values = RNG.standard_normal(24) * np.where(TEMPLATE == 0, 1000, 1)
    assert part(values).df == pytest.approx(3, abs=0.01)  # its 4 prompts: 4 + 1 - 2
    ends = [np.repeat([0, 1], [2, 22]), RNG.standard_normal(24)]
    assert part(ends[1] * np.where(ends[0] == 0, 1000, 1), ends[0]).df == pytest.approx(1, abs=0.01)


def test_the_skewness_of_small_templates_is_scaled_up_to_that_of_their_prompts() -> None:
    """Deviations from the mean of three values have less skewness than the values."""
    template = np.repeat(np.arange(2000), 3)
    values = np.random.default_rng(4).exponential(size=6000)
    one = mean_replicates(values, np.ones((1, 6000)), strata=template)
    assert linear_contrast([one], [1], ["a"]).skewness * np.sqrt(6000) == pytest.approx(2, abs=0.35)
    two = mean_replicates(values, np.ones((1, 6000)), strata=np.repeat(np.arange(3000), 2))
    assert linear_contrast([two], [1], ["a"]).skewness == 0


def test_equal_values_are_noticed_whatever_their_templates_and_tasks() -> None:
    values = np.zeros(40)
    values[[3, 11, 15, 22, 29, 33, 38]] = 1 + 0.1 * np.arange(7)
    template = np.repeat(np.arange(4), 10)
    for labels in (None, template):
        one = mean_replicates(values, np.ones((1, 40)), strata=labels)
        alone, both = linear_contrast([one], [1], ["a"]), linear_contrast([one, one], [1, -2], ["a", "b"])
        assert alone.concentration is not None and alone.concentration.same == 33
        assert both.concentration is not None and both.concentration.same == 66
        assert alone.concentration.alike and "33 of 40 prompts have the same value" in alone.concentration.warning()


def test_what_templates_differ_by_changes_nothing() -> None:
    values = RNG.standard_normal(24)
    one, two = part(values), part(values + np.array([0.0, 100.0, -7.0])[TEMPLATE])
    shift = two.estimate - one.estimate
    assert one.replicates is not None and two.replicates is not None
    assert two.replicates - shift == pytest.approx(one.replicates) and two.se == pytest.approx(one.se)
    skewness = [linear_contrast([each], [1], ["a"]).skewness for each in (one, two)]
    assert skewness[0] == pytest.approx(skewness[1])


@pytest.mark.parametrize("location", ["mean", "trimmed"])
def test_one_template_is_as_none(location: str) -> None:
    values = RNG.standard_normal(24)
    one, none = (mean_replicates(values, WEIGHTS, strata=t, location=location) for t in (["x"] * 24, None))
    assert (one.estimate, one.se, one.df) == (none.estimate, none.se, none.df)
    assert np.array_equal(one.replicates, none.replicates) and np.array_equal(one.influence, none.influence)


@pytest.mark.parametrize("location", ["mean", "trimmed"])
def test_the_spread_of_the_replicates_is_the_standard_error(location: str) -> None:
    found = part(RNG.standard_normal(24) + TEMPLATE, location=location)
    assert found.replicates is not None
    assert found.replicates.std() == pytest.approx(found.se, rel=0.06)


def test_prompts_alone_in_their_template_form_one_stratum_and_a_single_one_joins_all() -> None:
    values = RNG.standard_normal(24)
    several = np.r_[TEMPLATE[:22], 8, 9]
    assert part(values, several).se == pytest.approx(part(values, np.r_[TEMPLATE[:22], 8, 8]).se)
    single = np.r_[TEMPLATE[:23], 9]
    assert part(values, single).se == pytest.approx(mean_replicates(values, WEIGHTS).se)


def test_contrasts_of_pairs_stay_paired_within_templates() -> None:
    shared = RNG.standard_normal(24) * 5
    one, two = shared + RNG.standard_normal(24) + 3 * TEMPLATE, shared + RNG.standard_normal(24)
    contrast = linear_contrast([part(one), part(two)], [1, -1], ["a", "a"])
    assert contrast.se == pytest.approx(part(one - two).se)
    assert contrast.replicates == pytest.approx(part(one - two).replicates)


def test_a_selection_has_the_strata_of_its_own_prompts() -> None:
    values, ids = RNG.standard_normal(24), np.arange(0, 24, 2)
    found = mean_replicates(values[ids], WEIGHTS, examples=ids, strata=TEMPLATE)
    assert found.se == pytest.approx(part(values[ids], TEMPLATE[ids]).se)


def test_templates_that_differ_without_spread_are_no_evidence_of_no_error() -> None:
    values = np.array([-1.0, 1.1, 0.5])[TEMPLATE]
    assert part(values).se == pytest.approx(mean_replicates(values, WEIGHTS).se)
    assert part(np.full(24, 0.1)).se == 0


def test_the_trimmed_mean_has_the_error_of_its_winsorized_values_within_templates() -> None:
    values = RNG.standard_normal(24) + np.array([0.0, 1.0, -1.0])[TEMPLATE]
    found, plain = part(values, location="trimmed"), mean_replicates(values, WEIGHTS, location="trimmed")
    ordered = np.sort(values)
    w = np.clip(values, ordered[4], ordered[19])
    within = sum(len(x) / (len(x) - 1) * ((x - x.mean()) ** 2).sum() for x in (w[t == TEMPLATE] for t in range(3)))
    assert found.estimate == plain.estimate
    assert found.se == pytest.approx(np.sqrt(within * 23 / 24 / (16 * 15)))
    assert found.df == pytest.approx(15 * part(w).df / 23)


def test_strata_of_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="expected strata or clusters, got both"):
        part(RNG.standard_normal(24), cluster=TEMPLATE)
    with pytest.raises(ValueError, match="strata: expected 24 labels"):
        part(RNG.standard_normal(24), TEMPLATE[:-1])


def coverage(effects: str, sizes: list[int], *, strata: bool = True, location: str = "mean") -> float:
    """Of the mean of fixed templates with means of their own (SD 3), in 4,000 data sets (standard error .0035)."""
    template = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng([13, *sizes])
    means = 3 * rng.standard_normal(len(sizes))[template]
    draw, weights = EFFECTS[effects], np.ones((1, len(template)))
    truth = means.mean()
    if location == "trimmed":
        many = np.sort((draw(rng, (40_000, len(template))) + means).ravel())
        truth = many[len(many) // 5 : -(len(many) // 5)].mean()
    held = 0
    for values in draw(rng, (4000, len(template))) + means:
        one = mean_replicates(values, weights, strata=template if strata else None, location=location)
        contrast = linear_contrast([one], [1], ["a"])
        test = difference_test(contrast.estimate, contrast.se, contrast.df, skewness=contrast.skewness)
        assert test.low is not None and test.high is not None
        held += test.low <= truth <= test.high
    return held / 4000


@pytest.mark.nightly
@pytest.mark.parametrize("effects", ["normal", "gamma"])
@pytest.mark.parametrize("sizes", [[10, 10, 10], [5, 5, 5, 5], [4, 8, 28], [2] * 10])
def test_the_interval_over_fixed_templates_covers_as_often_as_it_says(effects: str, sizes: list[int]) -> None:
    assert 0.93 <= coverage(effects, sizes) <= 0.97


@pytest.mark.nightly
def test_without_strata_it_never_misses() -> None:
    assert coverage("normal", [10, 10, 10], strata=False) > 0.99
