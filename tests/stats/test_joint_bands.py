"""Curves with joint errors, change-points and half-way points, against closed forms and where the truth is planted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from stats.change_points import (
    MOST_DRAWS,
    change_point,
    halfway_point,
    no_change_of_shares,
    no_change_within_prompts,
    out_of_reach,
    wanted_draws,
)
from stats.rates import exact_band
from stats.replicates import Replicated
from stats.trajectories import (
    Curve,
    halfway_weights,
    joint_curve,
    simultaneous_band,
    trend_weights,
    value_weights,
)

DRAWS = 1000


def of_prompts(values: NDArray[np.float64], places: list[float] | None = None) -> Curve:
    """The means of values [prompts, points] as a curve."""
    n, points = values.shape
    influence = (values - values.mean(axis=0)) / np.sqrt(n * (n - 1))
    parts = [
        Replicated(
            label=str(point),
            estimate=float(values[:, point].mean()),
            replicates=None,
            se=float(np.linalg.norm(influence[:, point])),
            df=n - 1,
            units=n,
            influence=influence[:, point],
        )
        for point in range(points)
    ]
    return joint_curve(parts, range(points) if places is None else places)


def drawn(seed: int, means: NDArray[np.float64], n: int, rho: float = 0.7) -> NDArray[np.float64]:
    """Normal values [n, points] of prompts whose points are correlated."""
    rng = np.random.default_rng(seed)
    shared, own = rng.standard_normal((n, 1)), rng.standard_normal((n, len(means)))
    return np.asarray(means + np.sqrt(rho) * shared + np.sqrt(1 - rho) * own)


def test_the_covariance_is_that_of_the_means_of_the_prompts() -> None:
    values = drawn(1, np.zeros(4), 30)
    assert of_prompts(values).covariance == pytest.approx(np.cov(values.T) / 30)


def test_replicates_give_their_covariance_where_there_is_no_influence() -> None:
    replicates = drawn(2, np.zeros(3), 500)
    parts = [
        Replicated(label="x", estimate=1.0, replicates=row, se=float(row.std(ddof=1)), df=20, units=21)
        for row in replicates.T
    ]
    assert joint_curve(parts, [0, 1, 2]).covariance == pytest.approx(np.cov(replicates.T))


def test_a_point_that_is_known_has_no_error_and_widens_nothing() -> None:
    curve = of_prompts(drawn(3, np.zeros(3), 30))
    parts = [
        Replicated(
            label="x", estimate=0.2, replicates=None, se=0.1, df=29, units=30, influence=np.r_[[0.1], np.zeros(29)]
        )
    ]
    known = joint_curve([0.0, *parts], [0, 5])
    band = simultaneous_band(known, draws=20_000)
    assert (band.low[0], band.high[0], band.se[0]) == (0.0, 0.0, 0.0)
    assert band.critical == pytest.approx(stats.t.ppf(0.975, 29), rel=0.03)  # one point: the usual quantile
    assert simultaneous_band(curve).critical > band.critical


def test_independent_points_have_the_quantile_of_independent_t() -> None:
    curve = Curve(places=np.arange(6.0), estimates=np.zeros(6), covariance=np.eye(6), df=1000.0, skewness=np.zeros(6))
    expected = stats.norm.ppf((1 + 0.95 ** (1 / 6)) / 2)
    assert simultaneous_band(curve, draws=40_000).critical == pytest.approx(expected, rel=0.01)


def test_what_has_no_error_is_refused_by_name() -> None:
    lonely = Replicated(label="similarity", estimate=1.0, replicates=None, se=None, df=2, units=3, message="3 prompts")
    with pytest.raises(ValueError, match="similarity: 3 prompts"):
        joint_curve([lonely, lonely], [0, 1])
    with pytest.raises(ValueError, match="increasing"):
        joint_curve([0.0, lonely], [1, 1])
    with pytest.raises(ValueError, match="measured"):
        joint_curve([0.0, 1.0], [0, 1])


def test_linear_quantities_are_what_their_names_say() -> None:
    places, values = np.array([0.0, 100.0, 400.0, 1000.0]), np.array([1.0, 4.0, 2.0, 3.0])
    assert trend_weights(places) @ values == pytest.approx(np.polyfit(places / 1000, values, 1)[0])
    for at in (0.0, 50.0, 400.0, 999.0, 1000.0):
        assert value_weights(places, at) @ values == pytest.approx(np.interp(at, places, values))
        assert halfway_weights(places, at) @ values == pytest.approx(np.interp(at, places, values) - 2.0)
    with pytest.raises(ValueError, match="from 0 to 1000, got 1001"):
        value_weights(places, 1001.0)


def test_the_split_is_that_of_least_squares() -> None:
    for seed in range(20):
        values = drawn(seed, np.zeros(7), 12)
        curve = of_prompts(values)
        y = curve.estimates
        residual = {k: ((y[:k] - y[:k].mean()) ** 2).sum() + ((y[k:] - y[k:].mean()) ** 2).sum() for k in range(1, 7)}
        best = min(residual, key=lambda k: residual[k])
        found = change_point(curve, draws=DRAWS)
        assert (found.before, found.after) == (best - 1, best)
        assert found.step == pytest.approx(y[best:].mean() - y[:best].mean())
        assert best in found.splits


def test_a_large_step_is_found_and_nothing_else() -> None:
    found = change_point(of_prompts(drawn(5, np.r_[np.zeros(3), np.ones(5)], 40), [10.0 * n for n in range(8)]))
    assert (found.before, found.after, found.low, found.high, found.splits) == (20.0, 30.0, 20.0, 30.0, (3,))
    assert found.changed and found.p == pytest.approx(1 / 10_001)


def test_a_shift_that_grows_from_an_exact_zero_has_its_change_at_the_first_step() -> None:
    values = drawn(6, np.full(4, 2.0), 30)
    measured = [
        Replicated(
            label="x", estimate=float(column.mean()), replicates=None, se=float(stats.sem(column)), df=29, units=30,
            influence=(column - column.mean()) / np.sqrt(30 * 29),
        )
        for column in values.T
    ]  # fmt: skip
    found = change_point(joint_curve([0.0, *measured], range(5)))
    assert (found.before, found.after) == (0.0, 1.0) and found.changed


def test_nothing_that_varies_is_no_change() -> None:
    found = change_point(of_prompts(np.ones((10, 4))))
    assert (found.status, found.p, found.changed) == ("undefined", None, False)


def test_half_of_a_straight_line_is_its_middle_and_of_flat_ends_nowhere() -> None:
    values = drawn(7, np.linspace(0.0, 4.0, 9), 60)
    found = halfway_point(of_prompts(values, [100.0 * n for n in range(9)]))
    assert found.place is not None
    assert found.low < found.place < found.high
    assert found.low <= 400 <= found.high
    flat = halfway_point(of_prompts(drawn(8, np.zeros(5), 30)))
    assert (flat.place, flat.low, flat.high, flat.status) == (None, 0.0, 4.0, "undefined")


def test_the_confidence_set_of_half_is_where_the_gap_is_not_significant() -> None:
    """Against every place of a fine grid, one by one."""
    curve = of_prompts(drawn(9, np.array([0.0, 0.2, 0.7, 0.9, 1.0]), 40))
    quantile, held = stats.t.ppf(0.975, 39), []
    for place in np.linspace(0, 4, 4001):
        weights = halfway_weights(curve.places, place)
        if abs(weights @ curve.estimates) <= quantile * np.sqrt(weights @ curve.covariance @ weights):
            held.append(place)
    found = halfway_point(curve)
    assert (found.low, found.high) == (pytest.approx(min(held), abs=2e-3), pytest.approx(max(held), abs=2e-3))


def shares(means: NDArray[np.float64], n: int, repetitions: int, *, split: int, half: float) -> tuple[float, ...]:
    """How often a change is shown, the split is in its set, and half in its set; and the mean size of the former."""
    shown = covered = at_half = size = 0
    for seed in range(repetitions):
        curve = of_prompts(drawn(1000 + seed, means, n))
        found, middle = change_point(curve, draws=DRAWS), halfway_point(curve)
        shown += found.changed
        covered += split in found.splits
        size += len(found.splits)
        at_half += middle.low <= half <= middle.high
    return shown / repetitions, covered / repetitions, at_half / repetitions, size / repetitions


@pytest.mark.nightly
@pytest.mark.parametrize("n", [8, 40])
def test_no_change_is_called_one_in_five_of_a_hundred(n: int) -> None:
    shown, *_ = shares(np.zeros(8), n, 400, split=1, half=0.0)
    assert shown <= stats.binom.ppf(0.999, 400, 0.05) / 400


@pytest.mark.nightly
@pytest.mark.parametrize(("step", "split"), list(itertools.product([0.3, 0.8], [1, 4, 7])))
def test_planted_steps_are_in_their_set_as_often_as_it_says(step: float, split: int) -> None:
    means = np.where(np.arange(8) >= split, step, 0.0)
    shown, covered, at_half, _ = shares(means, 30, 200, split=split, half=split - 0.5)
    assert min(covered, at_half) >= stats.binom.ppf(0.001, 200, 0.95) / 200
    assert shown > 0.5


@pytest.mark.nightly
def test_a_gradual_trend_has_its_best_split_and_its_half_in_their_sets() -> None:
    shown, covered, at_half, size = shares(np.linspace(0.0, 1.0, 9)[:-1], 30, 200, split=4, half=3.5)
    assert min(covered, at_half) >= stats.binom.ppf(0.001, 200, 0.95) / 200
    assert shown > 0.9 and size > 1  # no single place


def test_no_change_of_shares_is_what_all_orders_within_prompts_say() -> None:
    right = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0]], dtype=bool)  # [points, prompts]
    steps = np.array([[-1, 0.5, 0.5], [-0.5, -0.5, 1]]) * np.sqrt(2 / 3)

    def largest(values: NDArray[np.bool_]) -> float:
        return float(np.abs(steps @ values.sum(axis=1)).max())

    orders = list(itertools.permutations(range(3)))
    every = [
        largest(np.stack([right[list(order), prompt] for prompt, order in enumerate(chosen)], axis=1))
        for chosen in itertools.product(orders, repeat=4)
    ]
    exact = np.mean(np.array(every) >= largest(right) - 1e-9)
    assert no_change_of_shares(right, draws=20_000) == pytest.approx(exact, abs=0.015)


def test_where_all_models_are_right_nothing_changes_and_bands_are_not_empty() -> None:
    assert no_change_of_shares(np.ones((5, 10), dtype=bool)) == 1
    assert exact_band(10, 10, 0.95) == pytest.approx((0.025 ** (1 / 10), 1))
    assert exact_band(3, 10, 0.9) == pytest.approx(stats.binomtest(3, 10).proportion_ci(0.9, "exact"))
    with pytest.raises(ValueError, match="of true or false, got float64"):
        no_change_of_shares(np.ones((5, 10)))


@pytest.mark.nightly
@pytest.mark.parametrize(("accuracy", "prompts"), [(0.95, 60), (0.98, 100)])
def test_shares_near_one_that_do_not_change_are_not_said_to(accuracy: float, prompts: int) -> None:
    """By the largest |t| .11 and .15 of data sets were."""
    rng, found = np.random.default_rng(2), 0
    for _ in range(400):
        z = np.sqrt(0.6) * rng.standard_normal(prompts) + np.sqrt(0.4) * rng.standard_normal((8, prompts))
        found += no_change_of_shares(z < stats.norm.ppf(accuracy), draws=400) < 0.05
    assert found <= stats.binom.ppf(0.999, 400, 0.05)


def test_p_of_one_of_many_series_can_reach_the_level_after_the_correction() -> None:
    curve = of_prompts(drawn(5, np.r_[np.zeros(3), np.ones(3)], 60))
    alone, among = change_point(curve), change_point(curve, family=800)
    assert alone.p is not None and among.p is not None
    assert 800 * alone.p > 0.05 > 800 * among.p
    assert (alone.before, alone.splits) == (among.before, among.splits)
    flat = of_prompts(drawn(8, np.zeros(5), 30))
    assert change_point(flat).p == change_point(flat, family=800).p  # nothing rests on more draws


def test_permutations_of_one_of_many_series_are_as_many_as_it_takes() -> None:
    right = np.r_[np.zeros((3, 30)), np.ones((3, 30))] > 0
    alone, among = no_change_of_shares(right), no_change_of_shares(right, family=800)
    assert 800 * alone > 0.05 > 800 * among


def test_a_family_beyond_all_draws_is_told() -> None:
    family = MOST_DRAWS
    assert wanted_draws(0.95, family) == MOST_DRAWS
    assert out_of_reach(MOST_DRAWS, 0.95, family).startswith("no p can reach the level 0.05: of 1,000,000 draws the ")
    assert not out_of_reach(wanted_draws(0.95, 800), 0.95, 800)


def slow_permutations(values: NDArray[np.float64]) -> float:
    """p of all orders of the models within every prompt, one by one."""
    points, prompts = values.shape

    def largest(of: NDArray[np.float64]) -> float:
        splits = [np.sqrt(k * (points - k) / points) * abs(of[k:].mean() - of[:k].mean()) for k in range(1, points)]
        return max(splits)

    observed, reached, total = largest(values), 0, 0
    for orders in itertools.product(itertools.permutations(range(points)), repeat=prompts):
        drawn_values = np.stack([values[list(order), number] for number, order in enumerate(orders)], axis=1)
        reached += largest(drawn_values) >= observed - 1e-12
        total += 1
    return reached / total


def test_permutations_within_prompts_are_those_of_all_orders() -> None:
    values = np.array([[0.0, 0.0, 1.0, 0.0], [0.5, 0.0, 1.0, 0.25], [1.0, 0.5, 1.0, 0.25]])
    found = no_change_within_prompts(values, draws=20_000)
    assert found == pytest.approx(slow_permutations(values), abs=0.01)


@pytest.mark.nightly
@pytest.mark.parametrize(("n", "share"), [(20, 0.05), (40, 0.05), (100, 0.02)])
def test_series_of_mostly_equal_values_are_called_changed_no_more_often_than_the_level(n: int, share: float) -> None:
    """Shifts of seven models from the first one, of which most are 0."""
    permuted = 0
    for seed in range(400):
        rng = np.random.default_rng([77, seed, n])
        lost = rng.random((8, n)) < share
        permuted += no_change_within_prompts(lost.astype(np.float64) - lost[0], draws=400, seed=seed) < 0.05
    assert permuted <= stats.binom.ppf(0.999, 400, 0.05)
