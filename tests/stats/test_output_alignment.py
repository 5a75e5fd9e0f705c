"""The weighted entropy and its null against all permutations; decision times against walks through a prompt."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stats import decision_times, output_alignment

KINDS = ["head", "head", "mlp", "head", "mlp"]


def drawn(examples: int = 20, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 3, (examples, 5)), rng.normal(size=(examples, 5))


def within_kinds() -> list[list[int]]:
    """Every way to deal out what belongs to the heads among them, and that of the MLPs."""
    heads, mlps = [0, 1, 3], [2, 4]
    found = []
    for first, second in product(permutations(heads), permutations(mlps)):
        order = dict(zip(heads + mlps, first + second, strict=True))
        found.append([order[place] for place in range(5)])
    return found


def test_a_prompt_s_entropy_is_weighted_by_what_is_added_in_favour_of_the_answer() -> None:
    entropy, added = np.array([[1.0, 2.0, 4.0]]), np.array([[3.0, 1.0, -5.0]])
    assert output_alignment(entropy, added, ["head"] * 3).value == pytest.approx(0.75 * 1 + 0.25 * 2)
    nothing = output_alignment(entropy, -np.abs(added), ["head"] * 3)
    assert (nothing.value, nothing.null) == pytest.approx((7 / 3, 7 / 3))


def test_the_null_is_the_mean_over_all_permutations_of_the_weights_within_a_kind() -> None:
    entropy, added = drawn()
    found = output_alignment(entropy, added, KINDS)
    every = [output_alignment(entropy, added[:, order], KINDS) for order in within_kinds()]
    np.testing.assert_allclose(found.null_per_prompt, np.mean([one.per_prompt for one in every], axis=0))
    assert found.null == pytest.approx(np.mean([one.value for one in every]))
    assert found.excess == pytest.approx(found.value - found.null)


def test_the_quantiles_of_the_null_are_those_of_permutations_that_all_prompts_share() -> None:
    entropy, added = drawn()
    found = output_alignment(entropy, added, KINDS, draws=20_000)
    every = sorted(output_alignment(entropy, added[:, order], KINDS).value for order in within_kinds())
    assert found.null_low == pytest.approx(every[0]) and found.null_high == pytest.approx(every[-1])  # 12 permutations


def test_sharp_writers_of_the_answer_lie_below_the_null_and_unrelated_ones_within_it() -> None:
    rng = np.random.default_rng(4)
    sharp, inside = rng.uniform(0, 3, (40, 30)), 0
    added = 3 - sharp + rng.normal(0, 0.2, sharp.shape)
    assert output_alignment(sharp, added, ["head"] * 30).value < output_alignment(sharp, added, ["head"] * 30).null_low
    for _ in range(200):
        entropy, unrelated = rng.uniform(0, 3, 30), rng.normal(size=30)
        found = output_alignment(
            entropy + rng.normal(0, 0.1, (10, 30)), unrelated + rng.normal(0, 0.1, (10, 30)), ["head"] * 30, draws=200
        )
        inside += found.null_low <= found.value <= found.null_high
    assert 178 <= inside <= 199  # binomial band of .95 at p < .001 on either side


@pytest.mark.parametrize(
    ("entropy", "added", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 2)), "expected the shape of entropy, \\[2, 3\\], got \\[2, 2\\]"),
        (np.ones((2, 3)), np.full((2, 3), np.nan), "added: expected finite numbers"),
        (np.ones((2, 2)), np.ones((2, 2)), "kinds: expected 2 labels"),
    ],
)
def test_arrays_that_do_not_fit_are_named(entropy: np.ndarray, added: np.ndarray, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        output_alignment(entropy, added, ["head"] * 3)


def walked(right: list[bool]) -> int:
    """Steps before the deciding one."""
    first = len(right)
    while first and right[first - 1]:
        first -= 1
    return first


@given(arrays(np.bool_, (6, 5)), st.lists(st.integers(1, 5), min_size=6, max_size=6))
def test_an_answer_is_decided_where_it_stays(right: np.ndarray, steps: list[int]) -> None:  # type: ignore[type-arg]
    found = decision_times(right, np.array(steps))
    for row, count in enumerate(steps):
        own = right[row, :count].tolist()
        assert found.first[row] == walked(own)
        assert found.time[row] == walked(own) / count
        assert found.decided[row] == own[-1]
        null = np.mean([walked([*order, own[-1]]) for order in permutations(own[:-1])]) / count
        assert found.null[row] == pytest.approx(null)


def test_a_single_step_decides_all_or_nothing() -> None:
    found = decision_times(np.array([[True], [False]]), np.array([1, 1]))
    assert found.time.tolist() == found.null.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("right", "steps", "message"),
    [
        (np.ones((2, 3)), np.ones(2, dtype=int), "as booleans"),
        (np.ones((2, 3), dtype=bool), np.ones(3, dtype=int), r"got bool \[2, 3\] and \[3\]"),
        (np.ones((2, 3), dtype=bool), np.array([1, 4]), "expected 1 to 3, got 1 to 4"),
        (np.ones((2, 3), dtype=bool), np.array([0, 1]), "expected 1 to 3, got 0 to 1"),
    ],
)
def test_steps_that_are_not_there_are_named(right: np.ndarray, steps: np.ndarray, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        decision_times(right, steps)
