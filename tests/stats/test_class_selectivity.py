"""Selectivity for conditions, held against a slow way and simulated activity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from stats import selectivity

Values = NDArray[np.float64]


def by_hand(means: list[float], most: int) -> tuple[float, float]:
    rest = sum(mean for at, mean in enumerate(means) if at != most) / (len(means) - 1)
    return means[most] - rest, means[most] + rest


@pytest.mark.nightly
def test_crossfitting_chooses_on_one_half_and_measures_on_the_other() -> None:
    """Two examples a condition: each split is one of few, and both directions are taken."""
    rng = np.random.default_rng(0)
    activity, conditions = rng.exponential(size=(6, 4)), np.array([0, 0, 1, 1, 2, 2])
    expected = np.zeros((2, 4))
    for choice in range(8):  # every way of taking one example of each condition first
        first = [2 * at + (choice >> at & 1) for at in range(3)]
        second = [at for at in range(6) if at not in first]
        for component in range(4):
            train, test = activity[first, component].tolist(), activity[second, component].tolist()
            expected[:, component] += by_hand(test, train.index(max(train)))
    found = selectivity(activity, conditions, splits=3000, permutations=40)
    np.testing.assert_allclose(found.value, expected[0] / expected[1], atol=0.03)
    means = activity.reshape(3, 2, 4).mean(axis=1)
    for component in range(4):
        column = means[:, component].tolist()
        most = column.index(max(column))
        above, both = by_hand(column, most)
        assert found.observed[component] == pytest.approx(above / both)
        assert found.preferred[component] == most


def test_noise_is_selective_only_where_the_condition_is_chosen_on_the_same_examples() -> None:
    rng = np.random.default_rng(1)
    activity = rng.exponential(size=(80, 60))
    found = selectivity(activity, np.repeat(["a", "b", "c", "d"], 20), permutations=100)
    assert found.observed.min() > 0 and found.observed.mean() > 0.1
    assert abs(found.value.mean()) < 0.02
    assert np.mean(found.p <= 0.05) <= 0.15  # 60 at 5 %: more with p < .001
    assert np.mean((found.null_low <= found.value) & (found.value <= found.null_high)) >= 0.85


def test_a_selective_component_is_found_with_its_condition() -> None:
    rng = np.random.default_rng(2)
    conditions = np.repeat(["a", "b", "c"], 15)
    activity = rng.exponential(size=(45, 3))
    activity[conditions == "b", 1] *= 9
    activity[conditions != "c", 2] = 0
    found = selectivity(activity, conditions)
    assert found.conditions == ("a", "b", "c") and found.preferred[1:].tolist() == [1, 2]
    assert found.value[1] == pytest.approx(0.8, abs=0.1) and found.value[2] == 1
    assert found.p[1] == found.p[2] == pytest.approx(1 / 201)
    assert found.value[1] > found.null_high[1] and found.n == 45


ACTIVITY = hnp.arrays(np.float64, (9, 4), elements=st.floats(0, 10).map(lambda x: round(x, 2)))
CONDITIONS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])


@pytest.mark.long
@settings(max_examples=40)
@given(activity=ACTIVITY, scale=st.floats(0.01, 100), order=st.permutations(range(4)))
def test_selectivity_has_no_unit_and_no_order_of_components(activity: Values, scale: float, order: list[int]) -> None:
    one = selectivity(activity, CONDITIONS, splits=3, permutations=40)
    other = selectivity(scale * activity[:, order], CONDITIONS, splits=3, permutations=40)
    np.testing.assert_allclose(other.observed, one.observed[order], atol=1e-9)
    for found in (one.value, one.null, one.observed):
        assert np.isfinite(found).all() and found.min() >= -1 and found.max() <= 1
    assert one.observed.min() >= 0


@given(row=hnp.arrays(np.float64, 4, elements=st.floats(0, 10)))
def test_one_example_repeated_is_not_selective(row: Values) -> None:
    found = selectivity(np.tile(row, (9, 1)), CONDITIONS, splits=2, permutations=40)
    np.testing.assert_allclose(found.value, 0, atol=1e-9)
    np.testing.assert_allclose(found.observed, 0, atol=1e-9)
    assert (found.p == 1).all()


def test_the_seed_decides_the_draws() -> None:
    activity = np.random.default_rng(3).exponential(size=(9, 4))
    one, same, other = (selectivity(activity, CONDITIONS, permutations=40, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.null, same.null)
    assert (one.null != other.null).any() and (one.observed == other.observed).all()


BAD = {
    "negative": (np.full((4, 2), -1.0), [0, 0, 1, 1], "activity: expected values >= 0"),
    "empty": (np.zeros((0, 2)), [], "at least one value"),
    "one condition": (np.ones((4, 2)), [0, 0, 0, 0], r"at least 2, each of at least 2 examples, got \[4\]"),
    "a single example": (np.ones((4, 2)), [0, 0, 0, 1], r"got \[3, 1\]"),
    "too few labels": (np.ones((4, 2)), [0, 1], "conditions: expected 4 labels"),
    "not finite": (np.full((4, 2), np.nan), [0, 0, 1, 1], "finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_not_be_measured_is_refused(case: str) -> None:
    activity, conditions, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        selectivity(activity, conditions)
