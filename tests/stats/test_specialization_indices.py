"""Specialization beside its sign-flip null and cross-fitted, held against slow ways and simulated effects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from stats import gini, index_replicates, inequality_index, resampling_weights
from stats import specialization as module
from stats.inequality import INDEX_NAMES, INEQUALITIES, IndexName
from stats.specialization import sign_flip_null, specialization, specializations

EACH_INDEX = pytest.mark.parametrize("index", INDEX_NAMES)


@pytest.mark.long
@EACH_INDEX
def test_sign_flip_null_equals_flipping_examples_one_draw_at_a_time(index: IndexName) -> None:
    effects = np.random.default_rng(0).standard_normal((8, 15)) + 1
    null = sign_flip_null(effects, index=index, draws=4000)
    rng = np.random.default_rng(1)
    slow = np.array(
        [inequality_index(np.abs((rng.choice([-1, 1], 8)[:, None] * effects).mean(axis=0)), index) for _ in range(4000)]
    )
    assert null.mean == pytest.approx(slow.mean(), abs=5 * slow.std() / np.sqrt(2000))
    assert null.low == pytest.approx(np.quantile(slow, 0.025), abs=0.02)
    assert null.high == pytest.approx(np.quantile(slow, 0.975), abs=0.02)


def test_crossfitting_takes_rank_and_sign_from_one_half_and_values_from_the_other() -> None:
    effects = np.random.default_rng(2).standard_normal((2, 6)) * 0.1 + np.arange(1, 7) * [[1], [1]]
    # With two examples every split is the same pair of halves, up to order.
    moments: dict[str, list[float]] = {name: [] for name in INDEX_NAMES}
    totals = []
    for train, test in ((effects[0], effects[1]), (effects[1], effects[0])):
        signed = np.sign(train) * test
        totals.append(signed.sum())
        moments["gini"].append(sum((2 * i - 7) * signed[at] for i, at in enumerate(np.argsort(np.abs(train)), 1)))
        moments["participation_ratio"].append(sum(a * b for a, b in zip(train, test, strict=True)))
        moments["entropy"].append(sum(value * np.log(abs(a)) for value, a in zip(signed, train, strict=True)))
        moments["largest_share"].append(signed[np.argmax(np.abs(train))])
    moments["hoyer"] = moments["participation_ratio"]
    total, found = module._crossfit(effects, INDEX_NAMES, 3, 0)
    assert total.mean() == pytest.approx(np.mean(totals))
    for name, moment in zip(INDEX_NAMES, found, strict=True):
        assert moment.mean() == pytest.approx(np.mean(moments[name])), name
    mean, squares = np.mean(totals), np.mean(moments["hoyer"])
    expected = {
        "gini": np.mean(moments["gini"]) / (5 * mean),
        "participation_ratio": (6 - mean**2 / squares) / 5,
        "hoyer": (np.sqrt(6) - mean / np.sqrt(squares)) / (np.sqrt(6) - 1),
        "entropy": 1 - (np.log(mean) - np.mean(moments["entropy"]) / mean) / np.log(6),
        "largest_share": np.mean(moments["largest_share"]) / mean,
    }
    for name, moment in zip(INDEX_NAMES, found, strict=True):
        assert INEQUALITIES[name].value(total.mean(), moment.mean(), 6) == pytest.approx(expected[name]), name


def test_noise_has_no_excess_and_no_crossfitted_index() -> None:
    noise = np.random.default_rng(3).standard_normal((40, 30))
    for result in specializations(noise, draws=300):
        assert result.null.low < result.value < result.null.high
        assert result.crossfitted is None and result.crossfitted_status == "undefined"
        assert "by chance" in result.crossfitted_message


@EACH_INDEX
def test_the_null_holds_its_level(index: IndexName) -> None:
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(100):
        noise = rng.standard_normal((20, 12)) * rng.exponential(size=12)
        result = specialization(noise, index=index, splits=1, draws=200)
        inside += result.null.low <= result.value <= result.null.high
    assert 87 <= inside <= 100  # binomial band at 95 %: p < .001 outside


@EACH_INDEX
def test_crossfitting_recovers_the_index_that_noise_hides(index: IndexName) -> None:
    rng = np.random.default_rng(4)
    true = np.full(40, 1.0)  # all components the same
    expected = inequality_index(true, index)
    values, crossfitted = [], []
    for _ in range(30):
        result = specialization(true + rng.standard_normal((30, 40)), index=index, splits=20, draws=100)
        values.append(result.value)
        crossfitted.append(result.crossfitted)
    bias = np.mean(values) - expected
    assert bias > 0
    assert abs(np.mean(crossfitted) - expected) < 0.012
    if index == "entropy":  # the logarithm of a noisy weight is too low
        assert np.mean(crossfitted) < expected
    else:
        assert abs(np.mean(crossfitted) - expected) < 0.4 * bias


@EACH_INDEX
def test_few_strong_components_exceed_the_null(index: IndexName) -> None:
    rng = np.random.default_rng(5)
    true = np.zeros(40)
    true[:3] = [3, -2, 2]
    result = specialization(true + rng.standard_normal((60, 40)), index=index, draws=300)
    assert result.excess == pytest.approx(result.value - result.null.mean) and result.excess > 0
    expected = inequality_index(np.abs(true), index)
    assert result.crossfitted is not None
    assert abs(result.crossfitted - expected) < min(0.08, abs(result.value - expected))
    assert (result.index, result.n, result.components) == (index, 60, 40)


def test_several_indices_are_each_alone() -> None:
    effects = np.random.default_rng(6).standard_normal((12, 9)) + 0.5
    together = specializations(effects, splits=9, draws=50, seed=1)
    assert [one.index for one in together] == list(INDEX_NAMES)
    for one in together:
        assert one == specialization(effects, index=one.index, splits=9, draws=50, seed=1)


def test_results_depend_on_the_seed_and_not_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    effects = np.random.default_rng(6).standard_normal((12, 9)) + 0.5
    whole = specialization(effects, splits=9, draws=50, seed=1)
    other = specialization(effects, splits=9, draws=50, seed=2)
    weights = resampling_weights(12, 40, seed=0)
    replicates = index_replicates(effects, weights)
    monkeypatch.setattr("stats.specialization.BLOCK_NUMBERS", 1)
    assert specialization(effects, splits=9, draws=50, seed=1).null.mean == pytest.approx(whole.null.mean)
    np.testing.assert_allclose(index_replicates(effects, weights), replicates)
    assert other.null.mean != whole.null.mean and other.value == whole.value


@EACH_INDEX
def test_replicates_are_the_index_of_resampled_examples(index: IndexName) -> None:
    effects = np.random.default_rng(7).standard_normal((10, 8)) + 0.5
    weights = resampling_weights(10, 20, seed=0)
    slow = [inequality_index(np.abs(effects[np.repeat(np.arange(10), row)].mean(axis=0)), index) for row in weights]
    np.testing.assert_allclose(index_replicates(effects, weights, index=index), slow)
    with pytest.raises(ValueError, match="a column for each of 10 examples"):
        index_replicates(effects, weights[:, :9], index=index)
    with pytest.raises(ValueError, match="effects: all are zero in a replicate"):
        index_replicates(effects, 0 * weights, index=index)


EFFECTS = hnp.arrays(np.float64, (6, 5), elements=st.floats(-5, 5).map(lambda x: round(x, 3)))


@EACH_INDEX
@given(
    effects=EFFECTS,
    scale=st.floats(0.01, 100),
    components=st.permutations(range(5)),
    prompts=st.permutations(range(6)),
)
def test_an_index_has_no_unit_and_no_order(
    index: IndexName,
    effects: NDArray[np.float64],
    scale: float,
    components: list[int],
    prompts: list[int],
) -> None:
    effects = effects + np.array([20.0, 0, 0, 0, 0])
    one = specialization(effects, index=index, splits=2, draws=20)
    other = specialization(scale * effects[:, components], index=index, splits=2, draws=20)
    assert other.value == pytest.approx(one.value, abs=1e-9)
    assert other.null.mean == pytest.approx(one.null.mean, abs=1e-6)
    assert specialization(effects[prompts], index=index, splits=2, draws=20).value == pytest.approx(one.value, abs=1e-9)


@EACH_INDEX
@given(row=hnp.arrays(np.float64, 5, elements=st.floats(-5, 5)).filter(lambda x: np.abs(x).max() > 0.1))
def test_one_prompt_repeated_has_its_own_index_with_and_without_flips(
    index: IndexName, row: NDArray[np.float64]
) -> None:
    expected = inequality_index(np.abs(row), index)
    result = specialization(np.tile(row, (6, 1)), index=index, splits=2, draws=60)
    assert result.value == pytest.approx(expected, abs=1e-9)
    assert result.null.mean == pytest.approx(expected, abs=1e-6)
    assert result.null.draws < 60  # draws in which all cancel have no index


@EACH_INDEX
def test_what_can_not_be_measured_is_refused(index: IndexName) -> None:
    with pytest.raises(ValueError, match="some that do not cancel whatever their signs, got none"):
        specialization(np.zeros((4, 3)), index=index)
    with pytest.raises(ValueError, match="at least one value"):
        specialization(np.zeros((0, 3)), index=index)
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        specialization(np.ones((1, 3)), index=index)
    with pytest.raises(ValueError, match="at least 2 components, got 1"):
        specialization(np.ones((4, 1)), index=index)
    with pytest.raises(ValueError, match="finite"):
        specialization(np.full((4, 3), np.inf), index=index)


def test_an_unknown_index_is_refused() -> None:
    with pytest.raises(ValueError, match=r"index: expected 'gini', .* got 'theil'"):
        specialization(np.ones((4, 3)), index="theil")  # type: ignore[arg-type]
    assert gini([1, 3]) == specialization([[1, 3], [1, 3]], draws=20).value
