"""Interactions of components that are known by construction, and the ratio that sums them up."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stats import interaction_ratio, interaction_ratio_replicates, interactions, resampling_weights

ONE_PAIR = np.array([[0, 1]])


def of_game(value: object, examples: int = 3) -> float:
    """The mean interaction of two components in a game, a function of what is knocked out."""
    played = [[value(frozenset(out))] * examples for out in ((), (0,), (1,), (0, 1))]  # type: ignore[operator]
    none, first, second, both = (np.array(metric, dtype=float) for metric in played)
    found = interactions(none, np.stack([first, second], axis=1), both[:, None], ONE_PAIR)
    assert found.shape == (examples, 1)
    return float(found.mean())


def test_effects_that_add_up_do_not_interact() -> None:
    assert of_game(lambda out: 5.0 - 2 * (0 in out) - 1 * (1 in out)) == 0


def test_where_one_stands_in_for_the_other_losing_both_costs_more() -> None:
    assert of_game(lambda out: 0.0 if out == {0, 1} else 1.0) == -1


def test_of_two_links_of_a_chain_losing_both_costs_less() -> None:
    assert of_game(lambda out: 0.0 if out else 1.0) == 1


def test_the_ratio_is_the_sum_of_interactions_over_that_of_effects() -> None:
    rng = np.random.default_rng(0)
    effects, interaction = rng.normal(size=(30, 4)), rng.normal(size=(30, 6))
    found = interaction_ratio(effects, interaction, seed=1)
    expected = sum(abs(column.mean()) for column in interaction.T) / sum(abs(column.mean()) for column in effects.T)
    assert found.value == pytest.approx(expected)
    assert (found.n, found.components, found.pairs) == (30, 4, 6)
    assert found.excess == pytest.approx(found.value - found.null)


def test_interactions_that_are_noise_alone_lie_within_the_null_and_consistent_ones_above() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(100):
        found = interaction_ratio(1 + rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), draws=200)
        inside += found.null_low <= found.value <= found.null_high
    assert 87 <= inside <= 100  # binomial band at 95 %: p < .001 outside
    real = interaction_ratio(1 + rng.normal(size=(40, 3)), 1 + rng.normal(size=(40, 3)))
    assert real.value > real.null_high


def test_replicates_are_the_ratio_of_the_resampled_examples() -> None:
    rng = np.random.default_rng(3)
    effects, interaction = rng.normal(size=(12, 3)), rng.normal(size=(12, 3))
    weights = resampling_weights(12, 20, seed=0)
    found = interaction_ratio_replicates(effects, interaction, weights)
    for row, value in zip(weights, found, strict=True):
        drawn = np.repeat(np.arange(12), row)
        assert value == pytest.approx(interaction_ratio(effects[drawn], interaction[drawn], draws=1).value)


@given(
    arrays(np.float64, (7, 3), elements=st.floats(-5, 5)),
    arrays(np.float64, (7, 3), elements=st.floats(-5, 5)),
    st.floats(0.1, 10),
    st.permutations(range(7)),
)
def test_the_ratio_has_no_unit_and_no_order(
    effects: np.ndarray,
    interaction: np.ndarray,
    scale: float,
    order: list[int],  # type: ignore[type-arg]
) -> None:
    effects = effects + np.array([10.0, 0, 0])
    value = interaction_ratio(effects, interaction, draws=1).value
    assert interaction_ratio(scale * effects, scale * interaction, draws=1).value == pytest.approx(value, abs=1e-12)
    assert interaction_ratio(effects[order], interaction[order], draws=1).value == pytest.approx(value, abs=1e-12)


@given(arrays(np.float64, (5, 3), elements=st.floats(-5, 5)))
def test_a_sum_of_effects_has_no_interactions(effects: np.ndarray) -> None:  # type: ignore[type-arg]
    none = np.full(5, 3.0)
    members = np.array(list(combinations(range(3), 2)))
    both = none[:, None] - effects[:, members[:, 0]] - effects[:, members[:, 1]]
    np.testing.assert_allclose(interactions(none, none[:, None] - effects, both, members), 0, atol=1e-12)


NONE, SINGLE, BOTH = np.zeros(4), np.zeros((4, 2)), np.zeros((4, 1))
BAD = {
    "another number of examples": (NONE, SINGLE[:3], BOTH, ONE_PAIR, "as many examples everywhere, got 4, 3 and 4"),
    "a pair of one": (NONE, SINGLE, BOTH, np.array([[1, 1]]), "expected pairs of two of the 2 components"),
    "a component that is not there": (NONE, SINGLE, BOTH, np.array([[0, 2]]), "pairs of two of the 2 components"),
    "too few members": (NONE, SINGLE, BOTH, ONE_PAIR[:0], r"expected whole numbers \[1, 2\]"),
    "not finite": (NONE, SINGLE + np.nan, BOTH, ONE_PAIR, "single: expected finite numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_not_be_measured_is_refused(case: str) -> None:
    *given_, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        interactions(*given_)


def test_without_effects_there_is_no_ratio() -> None:
    with pytest.raises(ValueError, match="expected a component whose mean effect is not zero"):
        interaction_ratio(np.zeros((4, 2)), np.ones((4, 1)))
    with pytest.raises(ValueError, match="all are zero in a replicate"):
        interaction_ratio_replicates(np.zeros((4, 2)), np.ones((4, 1)), np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"interaction: expected \[4, pairs\] with a pair, got \[3, 1\]"):
        interaction_ratio(np.ones((4, 2)), np.ones((3, 1)))
