from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from stats import gini, gini_replicates, resampling_weights
from stats import specialization as module
from stats.specialization import gini_rows, sign_flip_null, specialization

POSITIVE = hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(0, 1e6)).filter(lambda x: x.max() > 1e-3)


def gini_by_pairs(x: NDArray[np.float64]) -> float:
    """Mean absolute difference over all pairs of different components, over twice the mean."""
    n = len(x)
    return float(np.abs(x[:, None] - x).sum() / (n * (n - 1)) / (2 * x.mean()))


@given(x=POSITIVE, scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_gini_equals_pairwise_differences_and_ignores_scale_and_order(
    x: NDArray[np.float64], scale: float, seed: int
) -> None:
    assert gini(x) == pytest.approx(gini_by_pairs(x), abs=1e-9)
    assert gini(np.random.default_rng(seed).permutation(x) * scale) == pytest.approx(gini(x), abs=1e-9)
    assert -1e-12 <= gini(x) <= 1 + 1e-12


def test_gini_runs_from_equal_to_all_in_one() -> None:
    assert gini([2.0] * 7) == pytest.approx(0)
    assert gini([0, 0, 0, 3]) == pytest.approx(1)
    assert gini([1, 3]) == pytest.approx(0.5)


def test_noise_alone_has_the_gini_of_half_normal_values() -> None:
    x = np.abs(np.random.default_rng(0).standard_normal(200_000))
    assert gini(x) == pytest.approx(np.sqrt(2) - 1, abs=0.003)


def test_undefined_input_is_refused() -> None:
    with pytest.raises(ValueError, match="got only zeros"):
        gini([0.0, 0.0])
    with pytest.raises(ValueError, match=">= 0, got -1"):
        gini([1.0, -1.0])
    with pytest.raises(ValueError, match="at least 2 values"):
        gini([1.0])
    with pytest.raises(ValueError, match="finite"):
        gini([1.0, float("nan")])


def test_sign_flip_null_equals_flipping_examples_one_draw_at_a_time() -> None:
    effects = np.random.default_rng(0).standard_normal((8, 15)) + 1
    null = sign_flip_null(effects, draws=4000)
    rng = np.random.default_rng(1)
    slow = np.array([gini(np.abs((rng.choice([-1, 1], 8)[:, None] * effects).mean(axis=0))) for _ in range(4000)])
    assert null.mean == pytest.approx(slow.mean(), abs=5 * slow.std() / np.sqrt(2000))
    assert null.low == pytest.approx(np.quantile(slow, 0.025), abs=0.02)
    assert null.high == pytest.approx(np.quantile(slow, 0.975), abs=0.02)


def test_crossfitting_takes_rank_and_sign_from_one_half_and_values_from_the_other() -> None:
    effects = np.random.default_rng(2).standard_normal((2, 6)) * 0.1 + np.arange(1, 7) * [[1], [1]]
    # With two examples every split is the same pair of halves, up to order.
    tops, totals = [], []
    for train, test in ((effects[0], effects[1]), (effects[1], effects[0])):
        ordered = (np.sign(train) * test)[np.argsort(np.abs(train))]
        tops.append(sum((2 * i - 7) * value for i, value in enumerate(ordered, start=1)))
        totals.append(5 * ordered.sum())
    top, total = module._crossfit(effects, None, 3, 0)
    assert top.mean() / total.mean() == pytest.approx(sum(tops) / sum(totals))


def test_noise_has_no_excess_and_no_crossfitted_index() -> None:
    noise = np.random.default_rng(3).standard_normal((40, 30))
    result = specialization(noise, draws=300)
    assert result.null.low < result.value < result.null.high
    assert result.crossfitted is None and result.crossfitted_status == "undefined"
    assert "by chance" in result.crossfitted_message


def test_crossfitting_recovers_the_index_that_noise_hides() -> None:
    rng = np.random.default_rng(4)
    true = np.full(40, 1.0)  # all components the same: the true index is 0
    values, crossfitted = [], []
    for _ in range(30):
        result = specialization(true + rng.standard_normal((30, 40)), splits=20, draws=100)
        values.append(result.value)
        crossfitted.append(result.crossfitted)
    assert np.mean(values) > 0.08
    assert abs(np.mean(crossfitted)) < 0.01


def test_few_strong_components_exceed_the_null() -> None:
    rng = np.random.default_rng(5)
    true = np.zeros(40)
    true[:3] = [3, -2, 2]
    result = specialization(true + rng.standard_normal((60, 40)), draws=300)
    assert result.excess == pytest.approx(result.value - result.null.mean) and result.excess > 0
    assert result.crossfitted is not None and result.crossfitted > 0.9
    assert (result.n, result.components) == (60, 40)


def test_results_depend_on_the_seed_and_not_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    effects = np.random.default_rng(6).standard_normal((12, 9)) + 0.5
    whole = specialization(effects, splits=9, draws=50, seed=1)
    other = specialization(effects, splits=9, draws=50, seed=2)
    weights = resampling_weights(12, 40, seed=0)
    replicates = gini_replicates(effects, weights)
    monkeypatch.setattr("stats.specialization.BLOCK_NUMBERS", 1)
    assert specialization(effects, splits=9, draws=50, seed=1).null.mean == pytest.approx(whole.null.mean)
    np.testing.assert_allclose(gini_replicates(effects, weights), replicates)
    assert other.null.mean != whole.null.mean and other.value == whole.value


def test_replicates_are_the_index_of_resampled_examples() -> None:
    effects = np.random.default_rng(7).standard_normal((10, 8)) + 0.5
    weights = resampling_weights(10, 20, seed=0)
    slow = [gini(np.abs(effects[np.repeat(np.arange(10), row)].mean(axis=0))) for row in weights]
    np.testing.assert_allclose(gini_replicates(effects, weights), slow)
    with pytest.raises(ValueError, match="a column for each of 10 examples"):
        gini_replicates(effects, weights[:, :9])


def test_rows_are_independent_of_each_other() -> None:
    x = np.abs(np.random.default_rng(8).standard_normal((4, 6)))
    np.testing.assert_allclose(gini_rows(x), [gini(row) for row in x])
