"""Selectivity finds what responds to one condition, and is unbiased where nothing does."""

from __future__ import annotations

import numpy as np
import pytest

from stats.selectivity import selectivity


def test_a_selective_quantity_is_told_from_an_indifferent_one() -> None:
    rng = np.random.default_rng(0)
    condition = np.repeat(["s1", "s2", "verb"], 20)
    activity = np.abs(rng.normal(size=(60, 3))) + 0.5
    activity[:, 1] = np.where(condition == "verb", 3.0, 1.0)
    activity[:, 2] = 0
    found = selectivity(activity, condition, seed=1)
    assert found.value[1] == pytest.approx((3 - 1) / (3 + 1)) and found.preferred[1] == 2
    assert found.p[1] == 1 / 201
    assert abs(found.value[0]) < 0.2 and found.value[2] == 0 and found.p[2] == 1


def test_without_a_held_out_half_noise_would_look_selective() -> None:
    rng = np.random.default_rng(1)
    condition = np.arange(40) % 4
    activity = np.abs(rng.normal(size=(40, 400)))
    found = selectivity(activity, condition, shuffles=19)
    assert -0.04 < found.value.mean() < 0
    many = selectivity(np.abs(rng.normal(size=(800, 100))), np.arange(800) % 4, splits=4, shuffles=1)
    assert many.value.mean() == pytest.approx(0, abs=0.005)
    means = np.stack([activity[condition == label].mean(0) for label in range(4)])
    naive = (means.max(0) - (means.sum(0) - means.max(0)) / 3) / (means.max(0) + (means.sum(0) - means.max(0)) / 3)
    assert naive.mean() > 0.1
    assert np.mean(found.p <= 0.05) == pytest.approx(0.05, abs=0.04)


def test_what_can_t_be_split_is_refused() -> None:
    with pytest.raises(ValueError, match="each 4 times or more, got counts \\[3, 5\\]"):
        selectivity(np.ones((8, 1)), [0] * 3 + [1] * 5)
    with pytest.raises(ValueError, match="activity: expected values >= 0, got -1"):
        selectivity(-np.ones((8, 1)), [0] * 4 + [1] * 4)
