"""Indices of inequality, held against definitions written out, known values, and simulated noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from stats import gini, hoyer, inequality_index, largest_share, normalized_entropy, participation_ratio
from stats.inequality import INDEX_NAMES, INEQUALITIES, IndexName, inequality_rows

Values = NDArray[np.float64]
POSITIVE = hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(0, 1e6)).filter(lambda x: x.max() > 1e-3)
EACH_INDEX = pytest.mark.parametrize("index", INDEX_NAMES)


def gini_by_pairs(x: Values) -> float:
    """Mean absolute difference over all pairs of different components, over twice the mean."""
    n = len(x)
    return float(np.abs(x[:, None] - x).sum() / (n * (n - 1)) / (2 * x.mean()))


def from_participation(x: Values) -> float:
    shares = x / x.sum()
    return float((len(x) - 1 / sum(share**2 for share in shares)) / (len(x) - 1))


def from_norms(x: Values) -> float:
    ratio = np.linalg.norm(x, 1) / np.linalg.norm(x, 2)
    return float((np.sqrt(len(x)) - ratio) / (np.sqrt(len(x)) - 1))


WRITTEN_OUT: dict[IndexName, Callable[[Values], float]] = {
    "gini": gini_by_pairs,
    "participation_ratio": from_participation,
    "hoyer": from_norms,
    "entropy": lambda x: float(1 - scipy_stats.entropy(x) / np.log(len(x))),
    "largest_share": lambda x: float(x.max() / x.sum()),
}


@pytest.mark.long
@EACH_INDEX
@given(x=POSITIVE, scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_an_index_is_its_definition_and_ignores_scale_and_order(
    index: IndexName, x: Values, scale: float, seed: int
) -> None:
    value = inequality_index(x, index)
    assert value == pytest.approx(WRITTEN_OUT[index](x), abs=1e-6)
    assert inequality_index(np.random.default_rng(seed).permutation(x) * scale, index) == pytest.approx(value, abs=1e-9)
    assert 0 <= value <= 1


@EACH_INDEX
def test_an_index_runs_from_equal_to_all_in_one(index: IndexName) -> None:
    assert inequality_index([2.0] * 7, index) == pytest.approx(1 / 7 if index == "largest_share" else 0)
    assert inequality_index([0, 0, 0, 3], index) == pytest.approx(1)


@EACH_INDEX
@given(x=POSITIVE, seed=st.integers(0, 99), part=st.floats(0, 0.5))
def test_moving_effect_from_a_larger_to_a_smaller_component_never_raises_an_index(
    index: IndexName, x: Values, seed: int, part: float
) -> None:
    first, second = np.random.default_rng(seed).choice(len(x), 2, replace=False)
    low, high = (first, second) if x[first] < x[second] else (second, first)
    moved = x.copy()
    step = part * (x[high] - x[low])
    moved[high], moved[low] = x[high] - step, x[low] + step
    assert inequality_index(moved, index) <= inequality_index(x, index) + 1e-9


def test_the_named_functions_are_the_textbook_s() -> None:
    x = [1.0, 3.0]
    assert gini(x) == pytest.approx(0.5)
    assert participation_ratio(x) == pytest.approx(16 / 10)
    assert hoyer(x) == pytest.approx((np.sqrt(2) - 4 / np.sqrt(10)) / (np.sqrt(2) - 1))
    assert normalized_entropy(x) == pytest.approx(-(np.log(0.25) / 4 + 0.75 * np.log(0.75)) / np.log(2))
    assert largest_share(x) == 0.75
    assert inequality_index(x, "participation_ratio") == pytest.approx(2 - participation_ratio(x))
    assert inequality_index(x, "entropy") == pytest.approx(1 - normalized_entropy(x))


def test_noise_alone_has_the_indices_of_half_normal_values() -> None:
    x = np.abs(np.random.default_rng(0).standard_normal(200_000))
    assert gini(x) == pytest.approx(np.sqrt(2) - 1, abs=0.003)  # .41
    assert participation_ratio(x) / len(x) == pytest.approx(2 / np.pi, abs=0.003)  # .64
    # Of few components they are the same: the small-sample factors are right.
    few = np.abs(np.random.default_rng(1).standard_normal((20_000, 60)))
    assert inequality_rows(few, "gini").mean() == pytest.approx(np.sqrt(2) - 1, abs=0.003)
    assert inequality_rows(few, "hoyer").mean() == pytest.approx(
        (1 - np.sqrt(2 / np.pi)) * 60**0.5 / (60**0.5 - 1), abs=0.01
    )


@EACH_INDEX
def test_rows_are_independent_of_each_other(index: IndexName) -> None:
    x = np.abs(np.random.default_rng(8).standard_normal((4, 6)))
    np.testing.assert_allclose(inequality_rows(x, index), [inequality_index(row, index) for row in x])


@EACH_INDEX
def test_undefined_input_is_refused(index: IndexName) -> None:
    with pytest.raises(ValueError, match="got only zeros"):
        inequality_index([0.0, 0.0], index)
    with pytest.raises(ValueError, match=">= 0, got -1"):
        inequality_index([1.0, -1.0], index)
    with pytest.raises(ValueError, match="at least 2 values"):
        inequality_index([1.0], index)
    with pytest.raises(ValueError, match="finite"):
        inequality_index([1.0, float("nan")], index)
    with pytest.raises(ValueError, match="at least one value"):
        inequality_index([], index)


def test_an_unknown_index_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"index: expected 'gini', 'participation_ratio', .* got 'theil'"):
        inequality_index([1.0, 2.0], "theil")  # type: ignore[arg-type]
    assert tuple(INEQUALITIES) == INDEX_NAMES
