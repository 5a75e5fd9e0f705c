"""How often intervals hold the truth.

Rates are of 5,000 data sets: their Monte Carlo standard error is sqrt(.95 x .05 / 5,000) = .003, so that the band of
.93 to .97 reaches six of them to either side of .95. Every hundred data sets have bootstrap draws of their own.
"""

from __future__ import annotations

import numpy as np
import pytest
from simulated import EFFECTS, in_clusters

from stats import bootstrap_interval, difference_test, linear_contrast, mean_replicates, resampling_weights

DATA_SETS = 5000


def bootstrap_coverage(effects: str, clusters: int, sizes: str, method: str = "studentized") -> float:
    covered = 0
    for i, (values, cluster) in enumerate(in_clusters(effects, clusters, sizes, data_sets=DATA_SETS, seed=1)):
        interval = bootstrap_interval(values, cluster=cluster, method=method, replicates=2000, seed=i // 100)
        assert interval.low is not None and interval.high is not None and interval.method == method
        covered += interval.low <= 0 <= interval.high
    return covered / DATA_SETS


def contrast_coverage(effects: str, prompts: int, *, corrected: bool = True) -> float:
    rng = np.random.default_rng([2, prompts])
    weights = resampling_weights(prompts, 2, seed=0)
    covered = 0
    for values in EFFECTS[effects](rng, (DATA_SETS, prompts)):
        contrast = linear_contrast([mean_replicates(values, weights)], [1], ["task"])
        skewness = contrast.skewness if corrected else 0.0
        test = difference_test(contrast.estimate, contrast.se, contrast.df, skewness=skewness)
        assert test.low is not None and test.high is not None
        covered += test.low <= 0 <= test.high
    return covered / DATA_SETS


@pytest.mark.nightly
@pytest.mark.parametrize("sizes", ["one", "1-8"])
@pytest.mark.parametrize("effects", ["normal", "exponential"])
@pytest.mark.parametrize("clusters", [12, 40])
def test_the_default_bootstrap_interval_covers_as_often_as_it_says(clusters: int, effects: str, sizes: str) -> None:
    rate = bootstrap_coverage(effects, clusters, sizes)
    assert 0.93 <= rate <= 0.97


@pytest.mark.nightly
@pytest.mark.parametrize("effects", ["normal", "gamma", "exponential"])
@pytest.mark.parametrize("prompts", [12, 40])
def test_the_interval_of_a_hypothesis_covers_as_often_as_it_says(prompts: int, effects: str) -> None:
    rate = contrast_coverage(effects, prompts)
    assert 0.93 <= rate <= 0.97


@pytest.mark.nightly
@pytest.mark.parametrize(("clusters", "expected"), [(12, (0.918, 0.895)), (40, (0.929, 0.921))])
def test_of_log_normal_effects_no_interval_holds_but_the_defaults_miss_it_by_less_than_others(
    clusters: int, expected: tuple[float, float]
) -> None:
    """Skewness 6.2 is documented as beyond the defaults (`expected`: their coverage); others miss more."""
    defaults = bootstrap_coverage("log-normal", clusters, "one"), contrast_coverage("log-normal", clusters)
    others = [bootstrap_coverage("log-normal", clusters, "one", method) for method in ("percentile", "bca")]
    others.append(contrast_coverage("log-normal", clusters, corrected=False))
    # Three Monte Carlo standard errors at .9.
    assert defaults == pytest.approx(expected, abs=3 * 0.0043)
    assert min(defaults) > max(others) + 0.01
