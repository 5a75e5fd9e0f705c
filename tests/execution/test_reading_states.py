"""States of a completion: which tokens are visible when the answer is read, and with which weight."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechshift_core.execution.batches import known_states
from mechshift_core.execution.reading import Reading, completed, hides_left, left_to_right, readings
from mechshift_core.spec.tasks import Denoising
from mechshift_core.tasks.counterfactual import Example

MASK = 99
# The prompt is 1 2 3, its completion 10 11 [12] 13 14, of which 12 is the answer.
EXAMPLE = Example(
    "t", (1, 2, 3, 10, 11), (1, 5, 3, 10, 11), (12,), (22,), 3, "", "", "", "",
    revealed=2, clean_rest_ids=(13, 14), corrupt_rest_ids=(23, 24),
)  # fmt: skip
ANY = st.builds(Reading, steps=st.one_of(st.integers(0, 12), st.just("per_token")))
EXAMPLES = st.builds(
    lambda revealed, masks: replace(EXAMPLE, clean_ids=(1,) * (2 + revealed), revealed=revealed, masks=masks),
    st.integers(0, 6),
    st.integers(1, 6),
)


def shown(reading: Reading, *, diffusion: bool = True) -> dict[tuple[int, ...], float]:
    """What is read, and its weight."""
    states = known_states(EXAMPLE, reading, diffusion=diffusion)
    return {completed(EXAMPLE, state, MASK)[3:]: weight for state, weight in states}


def test_one_token_a_step_reads_the_answer_when_all_before_it_is_known() -> None:
    assert shown(Reading()) == {(10, 11, MASK, MASK, MASK): 1.0}
    assert shown(Reading(), diffusion=False) == {(10, 11): 1.0}


def test_with_nothing_revealed_there_is_one_state() -> None:
    assert shown(Reading(steps=0)) == shown(Reading(steps=1)) == {(MASK,) * 5: 1.0}
    assert shown(Reading(steps=0), diffusion=False) == {(MASK, MASK): 1.0}


def test_steps_are_averaged_as_long_as_the_answer_is_hidden() -> None:
    expected = {(MASK,) * 5: 1 / 3, (10, *[MASK] * 4): 1 / 3, (10, 11, *[MASK] * 3): 1 / 3}
    assert shown(Reading(steps=5)) == pytest.approx(expected)
    assert shown(Reading(steps=2)) == pytest.approx({(MASK,) * 5: 1 / 2, (10, 11, *[MASK] * 3): 1 / 2})


def test_more_steps_than_tokens_reveal_one_token_a_step() -> None:
    assert shown(Reading(steps=100)) == shown(Reading(steps=5))


def test_states_that_an_autoregressive_model_cannot_tell_apart_count_together() -> None:
    first = replace(EXAMPLE, clean_ids=(1, 2, 3), corrupt_ids=(1, 5, 3), revealed=0, masks=5)
    assert known_states(first, Reading(steps=5), diffusion=False) == (((), 1.0),)


def test_the_corrupted_prompt_is_completed_by_its_own_solution() -> None:
    state = (True, False, False, True, True)
    assert completed(EXAMPLE, state, MASK) == (1, 2, 3, 10, MASK, MASK, 13, 14)
    assert completed(EXAMPLE, state, MASK, corrupted=True) == (1, 5, 3, 10, MASK, MASK, 23, 24)


@given(EXAMPLES, ANY, st.booleans())
def test_weights_sum_to_one_over_distinct_states_that_never_show_the_answer(
    example: Example, reading: Reading, diffusion: bool
) -> None:
    states = known_states(example, reading, diffusion=diffusion)
    assert sum(weight for _, weight in states) == pytest.approx(1)
    assert len({state for state, _ in states}) == len(states)
    for state, _ in states:
        assert len(state) == (example.revealed + example.masks if diffusion else example.revealed)
        assert not any(state[example.revealed :])


@given(EXAMPLES, ANY)
def test_both_paradigms_see_the_same_to_the_left_of_the_answer(example: Example, reading: Reading) -> None:
    seen: dict[tuple[bool, ...], float] = {}
    for state, weight in left_to_right(example, reading):
        seen[state[: example.revealed]] = seen.get(state[: example.revealed], 0.0) + weight
    assert dict(known_states(example, reading, diffusion=False)) == pytest.approx(seen)


@given(EXAMPLES, ANY)
def test_a_mask_is_needed_where_a_state_hides_what_stands_before_the_answer(example: Example, reading: Reading) -> None:
    hidden = any(not all(state[: example.revealed]) for state, _ in left_to_right(example, reading))
    assert hides_left(example, reading) is hidden
    assert hidden == (example.revealed > 0 and reading.steps != "per_token")


def test_the_budgets_of_a_spec_keep_their_order() -> None:
    assert [r.budget for r in readings(Denoising(steps=(4, "per_token", 1)))] == ["4", "per_token", "1"]
    assert [r.budget for r in readings(Denoising(reveal="all_masked"))] == ["all_masked"]
    assert readings(Denoising(reveal="confidence", steps=2)) == (Reading("confidence", 2),)
