"""Values that are the same up to rounding have no spread: there is no test, no interval, and no denominator in them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

import stats
from mechshift_core.analysis.indices import Compared, SideIndex, replicated_index
from mechshift_core.analysis.samples import Sample
from stats.hypothesis_tests import difference_test
from stats.overlap import rank_overlap
from stats.prompt_means import mean_replicates
from stats.replicates import Replicated, linear_contrast

N = 12
BEFORE = np.random.default_rng(0).normal(size=N)
SAME = (BEFORE + 0.1) - BEFORE
"""0.1 in every place, but for rounding."""
WEIGHTS = stats.resampling_weights(N, 500, seed=0)


def test_the_values_do_differ() -> None:
    assert 0 < np.ptp(SAME) < 1e-15


@pytest.mark.parametrize("statistic", ["mean", "median", lambda values: float(np.mean(values))])
@pytest.mark.parametrize("method", ["percentile", "bca", "studentized"])
def test_intervals(statistic: str, method: str) -> None:
    found = stats.bootstrap_interval(SAME, statistic=statistic, method=method, replicates=200)
    assert (found.status, found.se, found.low) == ("points only", 0.0, None)
    assert found.estimate == pytest.approx(0.1)
    assert found.message.startswith("constant")


def test_intervals_over_two_kinds_and_of_many_means() -> None:
    cluster, crossed = np.repeat(np.arange(6), 12), np.tile(np.arange(6), 12)
    both = stats.bootstrap_interval(np.tile(SAME, 6), cluster=cluster, crossed=crossed, replicates=200)
    assert (both.status, both.se) == ("points only", 0.0)
    many = stats.mean_intervals(np.stack([SAME, BEFORE], axis=1), replicates=200)
    assert many.se[0] == 0
    assert np.isnan(many.low[0])
    assert np.isfinite(many.low[1])


def test_a_shift_that_is_the_same_on_every_prompt() -> None:
    part = mean_replicates(SAME, WEIGHTS)
    contrast = linear_contrast([part], [1.0], ["task"])
    test = difference_test(contrast.estimate, contrast.se, contrast.df)
    assert (contrast.se, test.p, test.status) == (0.0, 2 * 0.5**N, "ok")
    assert test.message == "every unit gives the same value: the sign test decides"


def test_contrasts_whose_parts_cancel() -> None:
    x = np.random.default_rng(1).normal(size=N)
    parts = [mean_replicates(x + shift, WEIGHTS) for shift in (0.0, 0.1, 0.3)]
    weights = [1 / 3, 1 / 3, -2 / 3]
    means = linear_contrast(parts, weights, ["task"] * 3)
    assert means.se == 0
    bare = [
        Replicated(label="x", estimate=one.estimate, replicates=one.replicates, se=one.se, df=one.df, units=N)
        for one in parts
    ]
    assert linear_contrast(bare, weights, ["task"] * 3).se == 0
    apart = linear_contrast(parts, [1 / 3, 1 / 3, 1 / 3], ["task"] * 3)
    assert apart.se == pytest.approx(x.std(ddof=1) / np.sqrt(N))


def test_seeds_that_give_the_same() -> None:
    parts = [mean_replicates(SAME, WEIGHTS) for _ in range(6)]
    found = linear_contrast(parts, [1 / 6] * 6, ["task"] * 6, seeds=range(6))
    assert found.se == 0


def test_indices_of_prompts_that_are_all_the_same() -> None:
    effects = np.tile(np.random.default_rng(2).normal(size=7), (N, 1))
    replicates = stats.index_replicates(effects, WEIGHTS)
    assert replicates.std() > 0  # rounding
    sample = SimpleNamespace(
        units=N, by_template=False, pair=SimpleNamespace(name="pair"), task=SimpleNamespace(name="task")
    )
    before = SideIndex(float(replicates[0]), replicates, {})
    after = SideIndex(float(replicates[0]), replicates[::-1].copy(), {})
    for side in Compared("Gini index", before, after).sides.values():
        found = replicated_index(cast(Sample, sample), "gini", side)
        assert found.se == 0
        contrast = linear_contrast([found], [1.0], ["task"])
        assert contrast.se == 0
    tested = stats.percentile_difference(0.1, replicates)
    assert (tested.p, tested.status) == (None, "points only")


@pytest.mark.parametrize("examples", [2, 8])
def test_an_effect_that_is_only_rounding_is_no_denominator(examples: int) -> None:
    full, empty = np.full(examples, 0.3), np.full(examples, 0.1 + 0.2)
    assert (full != empty).all()
    circuits = np.stack([full * 0.5, full * 0.9])
    curve = stats.faithfulness_curve(circuits, full=full, empty=empty, fractions=[0.1, 0.5])
    assert (curve.status, curve.cpr.estimate) == ("undefined", None)
    assert "is 0" in curve.message
    ratio = stats.transfer_ratio(full * 0.5, full * 0.9, full=full, empty=empty).ratio
    assert (ratio.status, ratio.estimate) == ("undefined", None)
    nothing_restored = stats.transfer_ratio(empty, full, full=full, empty=np.full(examples, 0.3)).ratio
    assert "m(own) - m(empty), is 0" in nothing_restored.message


def test_slopes_that_are_the_same_and_ranks_of_rounding() -> None:
    shares = np.random.default_rng(3).dirichlet(np.ones(4), size=8) * 0.5 + 0.125
    moved = shares + np.array([0.02, 0.01, -0.01, -0.02])
    test = stats.two_stage_slope(shares, moved)
    assert (test.se, test.p, test.status) == (0.0, 2 * 0.5**8, "ok")
    assert test.estimate == pytest.approx(-0.042)
    assert rank_overlap(SAME, BEFORE).spearman is None


@pytest.mark.parametrize("offset", [0.0, 2020.0, 1.7e9, -1e12])
def test_a_large_offset_is_no_rounding(offset: float) -> None:
    found = stats.bootstrap_interval(BEFORE + offset, replicates=200)
    part = mean_replicates(BEFORE + offset, WEIGHTS)
    expected = BEFORE.std(ddof=1) / np.sqrt(N)
    assert found.se == pytest.approx(expected, rel=1e-3)
    assert part.se == pytest.approx(expected, rel=1e-3)
    assert linear_contrast([part], [1.0], ["task"]).se == pytest.approx(expected, rel=1e-3)
