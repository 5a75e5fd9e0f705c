"""Shapley values, interactions and shares of orders against their definitions, shapiq, and games of known answer."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
import shapiq
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stats.shapley import (
    all_combinations,
    order_share_replicates,
    order_shares,
    sets_up_to,
    shapley_interactions,
)
from stats.shapley_sampling import estimated_interactions, sampled_combinations

Game = np.ndarray  # type: ignore[type-arg]

games = st.integers(1, 4).flatmap(lambda size: arrays(np.float64, (2, 2**size), elements=st.floats(-10, 10, width=32)))


def intact(game: Game, components: frozenset[int], size: int) -> float:
    """w(S): the metric with only these components intact."""
    return float(game[sum(1 << one for one in range(size) if one not in components)])


def by_definition(game: Game, members: tuple[int, ...], size: int) -> float:
    """I(S), term by term."""
    others = [one for one in range(size) if one not in members]
    total = 0.0
    for count in range(len(others) + 1):
        weight = math.factorial(count) * math.factorial(size - count - len(members))
        weight /= math.factorial(size - len(members) + 1)
        for context in itertools.combinations(others, count):
            for few in range(len(members) + 1):
                for part in itertools.combinations(members, few):
                    sign = (-1) ** (len(members) - few)
                    total += weight * sign * intact(game, frozenset(context + part), size)
    return total


@settings(deadline=None, max_examples=40)
@given(games)
def test_interactions_are_those_of_the_definition(metric: Game) -> None:
    size = metric.shape[1].bit_length() - 1
    found = shapley_interactions(metric, order=size)
    for column, members in enumerate(found.sets):
        expected = [by_definition(game, members, size) for game in metric]
        np.testing.assert_allclose(found.values[:, column], expected, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(games)
def test_shapley_values_are_means_over_orders_of_losing(metric: Game) -> None:
    size = metric.shape[1].bit_length() - 1
    expected = np.zeros((len(metric), size))
    for order in itertools.permutations(range(size)):
        lost = 0
        for one in order:
            expected[:, one] += metric[:, lost] - metric[:, lost | 1 << one]
            lost |= 1 << one
    found = shapley_interactions(metric, order=1)
    np.testing.assert_allclose(found.values, expected / math.factorial(size), atol=1e-9)
    np.testing.assert_allclose(found.values.sum(1), metric[:, 0] - metric[:, -1], atol=1e-9)


@pytest.mark.parametrize(("size", "order"), [(2, 2), (5, 3), (7, 4), (8, 2)])
def test_interactions_are_those_of_shapiq(size: int, order: int) -> None:
    metric = np.random.default_rng(size).normal(size=(2, 2**size))
    found = shapley_interactions(metric, order=order)
    for game, values in zip(metric, found.values, strict=True):

        def play(present: Game, game: Game = game) -> Game:
            return game[(~np.atleast_2d(present).astype(bool) @ (1 << np.arange(size)))]

        oracle = shapiq.ExactComputer(n_players=size, game=play)("SII", order)
        np.testing.assert_allclose(values, [oracle[members] for members in found.sets], atol=1e-10)


def test_of_three_that_stand_in_for_each_other_only_the_third_order_knows() -> None:
    """The metric falls only when all three are lost: no pair interacts at the full model, the triple does."""
    metric = np.ones((1, 8))
    metric[0, 7] = 0
    none, single, pair = metric[0, 0], metric[0, 1], metric[0, 3]
    assert pair - 2 * single + none == 0
    found = shapley_interactions(metric, order=3)
    assert found.sets == ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
    np.testing.assert_allclose(found.values[0], [1 / 3] * 3 + [-1 / 2] * 3 + [1])
    np.testing.assert_allclose(found.single, [[1 / 3] * 3])
    np.testing.assert_allclose(found.above_one, [[-1 / 2] * 3 + [1]])


def additive(rng: np.random.Generator, size: int, highest: int, examples: int = 1) -> Game:
    """Games whose dividends are of sets of at most so many components."""
    knocked_out = all_combinations(size)
    metric = np.zeros((examples, 2**size))
    for members in sets_up_to(size, highest):
        metric += rng.normal(size=(examples, 1)) * knocked_out[:, list(members)].all(1)
    return metric


@pytest.mark.parametrize("highest", [1, 2, 3])
def test_effects_of_some_order_have_no_shares_and_no_interactions_beyond_it(highest: int) -> None:
    metric = additive(np.random.default_rng(highest), 5, highest)
    shares = order_shares(metric, draws=10).value
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares[highest:], 0, atol=1e-12)
    assert (shares[:highest] > 1e-4).all()
    found = shapley_interactions(metric, order=5)
    beyond = [len(members) > highest for members in found.sets]
    np.testing.assert_allclose(found.values[:, beyond], 0, atol=1e-10)


def test_shares_are_those_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(3)
    metric = rng.normal(size=(4, 16)) + rng.normal(size=16)
    mean, signs = metric.mean(0), 1 - 2.0 * all_combinations(4)
    explained = [0.0]
    for order in range(1, 5):
        sets = [(), *sets_up_to(4, order)]
        columns = np.stack([signs[:, list(members)].prod(1) for members in sets], axis=1)
        fitted = columns @ np.linalg.lstsq(columns, mean, rcond=None)[0]
        explained.append(fitted.var() / mean.var())
    np.testing.assert_allclose(order_shares(metric, draws=1).value, np.diff(explained), atol=1e-10)


def test_a_component_that_does_nothing_is_in_no_interaction() -> None:
    metric = np.random.default_rng(4).normal(size=(3, 8))
    doubled = np.concatenate([metric, metric], axis=1)  # the fourth component changes nothing
    found = shapley_interactions(doubled, order=4)
    with_it = [3 in members for members in found.sets]
    np.testing.assert_allclose(found.values[:, with_it], 0, atol=1e-12)
    alone = shapley_interactions(metric, order=3)
    np.testing.assert_allclose(found.values[:, [not one for one in with_it]], alone.values, atol=1e-12)


def test_replicates_are_the_shares_of_repeated_examples() -> None:
    rng = np.random.default_rng(5)
    metric = rng.normal(size=(6, 8)) + 2 * rng.normal(size=8)
    weights = rng.multinomial(6, np.full(6, 1 / 6), size=20)
    found = order_share_replicates(metric, weights)
    for row, counts in zip(found, weights, strict=True):
        np.testing.assert_allclose(row, order_shares(np.repeat(metric, counts, axis=0), draws=1).value)


def test_noise_in_an_additive_game_exceeds_its_null_as_often_as_it_says() -> None:
    """2.5 % of 600, in a 99.9 % binomial band."""
    rng = np.random.default_rng(6)
    truth = additive(rng, 3, 1)
    beyond = 0
    for seed in range(600):
        found = order_shares(truth + rng.normal(size=(30, 8)), draws=400, seed=seed)
        beyond += found.value[1] > found.null_high[1]
    assert 4 <= beyond <= 29


def test_the_null_is_reproducible_and_depends_on_the_seed() -> None:
    metric = np.random.default_rng(7).normal(size=(10, 8))
    first, again, other = (order_shares(metric, draws=50, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.null, again.null)
    assert (first.null != other.null).all() and (first.null_low <= first.null_high).all()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_sample_gives_exactly_what_is_of_no_higher_order(order: int) -> None:
    metric = additive(np.random.default_rng(order), 9, order, examples=3)
    asked = {"order": order, "budget": 300, "seed": 2**40 + 1}
    knocked_out = sampled_combinations(9, **asked)
    assert len(knocked_out) <= 300 and len(np.unique(knocked_out, axis=0)) == len(knocked_out)
    assert knocked_out.all(1).any() and (~knocked_out).all(1).any()
    rows = knocked_out @ (1 << np.arange(9))
    found = estimated_interactions(metric[:, rows], knocked_out, **asked)
    exact = shapley_interactions(metric, order=order)
    assert found.sets == exact.sets
    np.testing.assert_allclose(found.values, exact.values, atol=1e-8)


def test_a_larger_sample_comes_closer() -> None:
    metric = additive(np.random.default_rng(8), 8, 4)
    exact = shapley_interactions(metric, order=2).values
    errors = []
    for budget in (60, 240):
        found = []
        for seed in range(8):
            asked = {"order": 2, "budget": budget, "seed": seed}
            knocked_out = sampled_combinations(8, **asked)
            rows = knocked_out @ (1 << np.arange(8))
            found.append(estimated_interactions(metric[:, rows], knocked_out, **asked).values)
        errors.append(np.square(np.array(found) - exact).mean())
    assert errors[1] < errors[0] / 2


def test_an_estimate_refuses_another_sample() -> None:
    knocked_out = sampled_combinations(6, order=2, budget=30, seed=1)
    metric = np.zeros((1, len(knocked_out)))
    with pytest.raises(ValueError, match="expected the sample of this order, budget and seed, got another one"):
        estimated_interactions(metric, knocked_out, order=2, budget=30, seed=2)
    with pytest.raises(ValueError, match=r"knocked_out: expected \[30, components\], got \[29, 6\]"):
        estimated_interactions(metric, knocked_out[1:], order=2, budget=30, seed=1)


def test_a_sample_without_shapiq_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shapiq", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'shapiq>=1.4'"):
        sampled_combinations(6, order=2, budget=30)


BAD = {
    "not a power of two": (lambda: shapley_interactions(np.zeros((2, 6)), order=1), "expected 2, 4, 8, .* got 6"),
    "one column": (lambda: order_shares(np.zeros((2, 1))), "got 1"),
    "too many": (lambda: all_combinations(13), "components: expected at most 12, got 13"),
    "none": (lambda: all_combinations(0), "components: expected at least 1, got 0"),
    "order too high": (lambda: shapley_interactions(np.zeros((2, 4)), order=3), "order: expected at most 2, .* got 3"),
    "order zero": (lambda: sets_up_to(3, 0), "order: expected at least 1, got 0"),
    "not finite": (lambda: shapley_interactions(np.array([[0.0, np.nan]]), order=1), "finite numbers, got 1 NaN"),
    "no effect": (lambda: order_shares(np.ones((3, 4))), "expected a knock-out that changes its mean"),
    "weights": (lambda: order_share_replicates(np.eye(4), np.ones((2, 3))), "a column for each of 4 examples"),
    "no effect in a replicate": (
        lambda: order_share_replicates(np.array([[0.0, 1], [0, 0]]), np.array([[1, 1], [0, 2]])),
        "no knock-out changes its mean in a replicate",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_named(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
