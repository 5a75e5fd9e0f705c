"""Debiased linear CKA: against a slow sum over quadruples, simulated unrelated vectors, and a known population."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from stats.cka import linear_cka, mean_linear_cka

Floats = np.ndarray  # type: ignore[type-arg]


def slow_hsic(k: Floats, ell: Floats) -> float:
    """The U-statistic of order 4 that the unbiased HSIC is (Song et al. 2012, theorem 3), over all quadruples."""
    quadruples = list(permutations(range(len(k)), 4))
    total = sum(k[i, j] * (ell[i, j] + ell[q, r] - 2 * ell[i, q]) for i, j, q, r in quadruples)
    return float(total / len(quadruples))


def slow_cka(x: Floats, y: Floats) -> float:
    k, ell = x @ x.T, y @ y.T
    return slow_hsic(k, ell) / float(np.sqrt(slow_hsic(k, k) * slow_hsic(ell, ell)))


def drawn(seed: int, n: int, d: int = 5, e: int = 3) -> tuple[Floats, Floats]:
    made = np.random.default_rng(seed)
    x = made.normal(size=(n, d)) * made.uniform(0.3, 3, d) + made.normal(size=d)
    return x, x[:, :e] @ made.normal(size=(e, e)) + 0.7 * made.normal(size=(n, e)) + 4


@pytest.mark.parametrize("n", [4, 5, 8])
def test_it_is_the_sum_over_quadruples(n: int) -> None:
    x, y = drawn(n, n)
    assert linear_cka(x, y).debiased.estimate == pytest.approx(slow_cka(x, y), abs=1e-12)


@pytest.mark.parametrize("groups", [False, True])
def test_values_without_units_are_those_of_the_units_left(groups: bool) -> None:
    x, y = drawn(1, 12)
    cluster = np.repeat(np.arange(6), 2) if groups else np.arange(12)
    units = 6 if groups else 12

    found = linear_cka(x, y, cluster=cluster if groups else None).debiased
    without = np.array([slow_cka(x[cluster != number], y[cluster != number]) for number in range(units)])
    deviations = (units - 1) / np.sqrt(units * (units - 1)) * (without.mean() - without)
    np.testing.assert_allclose(found.deviations, deviations, atol=1e-10)
    assert found.influence is not None
    np.testing.assert_array_equal(found.influence, found.deviations)


def test_unrelated_vectors_have_nothing_in_common_where_the_usual_cka_says_nearly_all() -> None:
    made = np.random.default_rng(0)
    found = [linear_cka(made.normal(size=(12, 500)), made.normal(size=(12, 500))) for _ in range(300)]
    biased = np.array([one.biased for one in found])
    values = np.array([one.debiased.estimate for one in found])
    assert biased.min() > 0.9
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert values.std() < 0.2


def test_the_same_vectors_give_exactly_one_without_error() -> None:
    x, _ = drawn(2, 15)
    found = linear_cka(x, x)
    assert found.debiased.estimate == 1.0 and found.biased == 1.0
    assert not found.debiased.deviations.any()


def test_a_rotation_a_factor_and_an_offset_change_nothing() -> None:
    x, y = drawn(3, 20, d=6)
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(6, 6)))
    assert linear_cka(x, 3 * x @ turn + 100).debiased.estimate == pytest.approx(1.0, abs=1e-9)
    moved = linear_cka(3 * x @ turn + 100, y).debiased.estimate
    assert moved == pytest.approx(linear_cka(x, y).debiased.estimate, abs=1e-9)
    assert linear_cka(y, x).debiased.estimate == pytest.approx(linear_cka(x, y).debiased.estimate, abs=1e-12)


def test_the_order_of_the_inputs_changes_nothing() -> None:
    x, y = drawn(5, 11)
    order = np.random.default_rng(0).permutation(11)
    one, other = linear_cka(x, y).debiased, linear_cka(x[order], y[order]).debiased
    assert one.estimate == pytest.approx(other.estimate, abs=1e-12)
    np.testing.assert_allclose(one.deviations[order], other.deviations, atol=1e-10)


def test_layers_are_averaged() -> None:
    pairs = [drawn(seed, 9) for seed in (6, 7)]
    found = mean_linear_cka(*(np.stack(side) for side in zip(*pairs, strict=True))).debiased
    each = [linear_cka(*pair).debiased for pair in pairs]
    assert found.estimate == pytest.approx(np.mean([one.estimate for one in each]))
    np.testing.assert_allclose(found.deviations, np.mean([one.deviations for one in each], axis=0), atol=1e-12)


def test_few_inputs_are_refused_or_have_no_error() -> None:
    x, y = drawn(8, 6)
    with pytest.raises(ValueError, match="debiased CKA: expected at least 4 inputs, got 3"):
        linear_cka(x[:3], y[:3])
    assert linear_cka(x[:4], y[:4]).debiased.influence is None
    assert linear_cka(x[:5], y[:5]).debiased.influence is not None
    # Without the first template, too few inputs would be left.
    assert linear_cka(x, y, cluster=["a", "a", "a", "b", "c", "d"]).debiased.influence is None


def test_vectors_that_do_not_vary_have_no_value() -> None:
    x, y = drawn(9, 8)
    still = np.tile(x[:1], (8, 1))
    found = linear_cka(still, y)
    assert found.debiased.estimate is None and found.biased is None
    assert found.debiased.message == "the vectors of the model before are the same for all inputs"
    both = mean_linear_cka(np.stack([x, still]), np.stack([y[:, :3], y]))
    assert both.debiased.message == "the vectors of the model before are the same for all inputs in layer 1 of 2"


def test_wrong_shapes_and_numbers_are_refused() -> None:
    x, y = drawn(10, 8)
    with pytest.raises(ValueError, match="expected the same layers and inputs"):
        linear_cka(x, y[:7])
    with pytest.raises(ValueError, match="after: expected finite numbers, got 24 NaN"):
        linear_cka(x, np.full_like(y, np.nan))
    with pytest.raises(ValueError, match="before: expected 2 dimension"):
        linear_cka(x[0], y)


SCALES = np.array([3.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5])


def simulated(shared: float, n: int, repetitions: int, *, heavy: bool = False) -> dict[str, float]:
    """Of x = z and y = sqrt(s) z + sqrt(1 - s) w with z and w alike, whose CKA |C_xy|^2 / (|C_x| |C_y|) is s.

    Returns:
        Share of the 95 % intervals that cover it, mean of the estimates, median standard error over their spread.
    """
    made = np.random.default_rng([n, round(100 * shared)])
    reach = float(scipy_stats.t.ppf(0.975, n - 1))
    values, errors = np.empty(repetitions), np.empty(repetitions)
    for number in range(repetitions):
        drawn_one = made.standard_t(5, size=(2, n, 8)) if heavy else made.normal(size=(2, n, 8))
        z, w = drawn_one * SCALES
        found = linear_cka(z, np.sqrt(shared) * z + np.sqrt(1 - shared) * w).debiased
        assert found.influence is not None and found.estimate is not None
        values[number], errors[number] = found.estimate, np.linalg.norm(found.influence)
    covered = np.abs(values - shared) <= reach * errors
    return {
        "coverage": float(covered.mean()),
        "mean": float(values.mean()),
        "ratio": float(np.median(errors) / values.std()),
    }


CASES = [
    pytest.param(n, shared, heavy, marks=() if n == 20 and not heavy else pytest.mark.nightly)
    for n in (10, 20, 50, 100)
    for shared in (0.0, 0.3, 0.7, 0.95)
    for heavy in (False, True)
]


@pytest.mark.parametrize(("n", "shared", "heavy"), CASES)
def test_intervals_cover_a_known_population(n: int, shared: float, heavy: bool) -> None:
    """As `docs/statistics.md` says: too wide where nothing is shared, a little too narrow with few prompts."""
    repetitions = 400
    found = simulated(shared, n, repetitions, heavy=heavy)
    error = np.sqrt(0.05 * 0.95 / repetitions)
    assert found["coverage"] >= (0.90 if n >= 20 else 0.88) - 2 * error
    if shared == 0:
        assert found["coverage"] >= 0.95
        assert abs(found["mean"]) < 0.03
    if n >= 50:
        assert found["mean"] == pytest.approx(shared, abs=0.02)
