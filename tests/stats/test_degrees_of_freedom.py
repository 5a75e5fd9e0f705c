"""Degrees of freedom that are whole numbers are whole, whatever the last digits of the variances."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stats.degrees_of_freedom import satterthwaite
from stats.replicates import linear_contrast, mean_replicates
from stats.resampling import resampling_weights
from stats.two_way import two_way_variance

SIZES = (2, 3, 7, 16, 23, 24, 50, 120, 200)


@pytest.mark.parametrize("n", SIZES)
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
