"""Degrees of freedom that are whole numbers are whole, whatever the last digits of the variances."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from stats.degrees_of_freedom import satterthwaite
from stats.minimums import MINIMUM_CLUSTERS
from stats.percentile_tests import percentile_difference, percentile_tost
from stats.prompt_means import mean_replicates
from stats.replicates import linear_contrast
from stats.resampling import resampling_weights
from stats.two_way import two_way_variance

SIZES = (5, 7, 16, 23, 24, 50, 120, 200)


@pytest.mark.parametrize("n", [n for n in SIZES if n >= MINIMUM_CLUSTERS])
def test_a_single_sample_of_prompts_has_their_number_less_one(n: int) -> None:
    weights = resampling_weights(n, 20, seed=0)
    for seed in range(200):
        values = np.random.default_rng(seed).standard_normal(n)
        contrast = linear_contrast([mean_replicates(values, weights)], [1.0], ["task"])
        assert contrast.df == n - 1


@pytest.mark.parametrize("n", SIZES)
def test_samples_that_vary_alike_add_their_degrees_of_freedom(n: int) -> None:
    for variance in np.random.default_rng(n).random(200).tolist():
        assert satterthwaite(3 * variance, [(variance, n)] * 3) == 3 * n
        assert satterthwaite(variance, [(variance, n), (0.0, 5)]) == n
        assert two_way_variance(variance, 0.0, 0.0, df_first=n, df_second=4)[1] == n
        assert two_way_variance(variance, variance / 3, variance / 3, df_first=n, df_second=4) == (variance, n)


def test_others_are_left_as_they_are() -> None:
    assert satterthwaite(5.0, [(2.0, 10), (3.0, 20)]) == pytest.approx(25 / (4 / 10 + 9 / 20), rel=1e-15)
    near = satterthwaite(1.0 + 1e-9, [(1.0, 23)])
    assert near != 23 and near == pytest.approx(23)
    assert satterthwaite(2.0, [(1.0, math.inf), (1.0, math.inf)]) == math.inf
    assert satterthwaite(1.0, [(1.0, 9), (0.0, math.inf)]) == 9


def test_parts_that_cancel_but_for_rounding_have_no_standard_error() -> None:
    weights = resampling_weights(30, 50, seed=1)
    for seed in range(50):
        values = np.random.default_rng(seed).standard_normal(30)
        part = mean_replicates(values, weights)
        again = mean_replicates(values * 3 / 3, weights)
        for parts, of in (([part, again], [1.0, -1.0]), ([part] * 7 + [again], [1 / 7] * 7 + [-1.0])):
            for made in (parts, [replace(one, influence=None) for one in parts]):
                contrast = linear_contrast(made, of, ["task"] * len(of))
                assert contrast.se == 0
    third = mean_replicates(np.repeat([0.1 + 0.2, 0.3], 15), weights)
    assert third.se == 0 and third.replicates is not None and set(third.replicates) == {third.estimate}


def test_replicates_on_the_null_count_as_wrong_whatever_their_last_digit() -> None:
    lattice = np.repeat([0.1, 0.2, 0.3], 100)
    ps = {percentile_difference(0.2, lattice + nudge, alternative="greater", null=0.1).p for nudge in (0.0, 1e-17, 7.0)}
    assert ps == {101 / 301}
    margins = {percentile_tost(0.0, lattice + nudge, margin=0.1).p for nudge in (0.0, -0.2, 7.0)}
    assert margins == {101 / 301}
