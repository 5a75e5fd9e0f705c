"""The barrier between two ends: closed forms, planted paths, and that held out it is not too high."""

from __future__ import annotations

import numpy as np
import pytest

from stats import path_barrier

POINTS = np.linspace(0, 1, 11)
HALF = np.arange(40) % 2 == 0


def test_a_straight_path_has_no_barrier_exactly() -> None:
    rng = np.random.default_rng(0)
    same = path_barrier(np.repeat(rng.random((1, 40)), 11, axis=0), points=POINTS, half=HALF)
    assert (same.height, same.at) == (0.0, 0.0)
    assert not same.excess.any() and not same.held_out.any()
    ends = rng.random((2, 40))
    line = (1 - POINTS)[:, None] * ends[0] + POINTS[:, None] * ends[1]
    assert path_barrier(line, points=POINTS, half=HALF).height == pytest.approx(0, abs=1e-15)


def test_a_planted_bump_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    bump = np.where(np.isclose(POINTS, 0.3), 2.0, 0.0)
    losses = (1 + POINTS)[:, None] + bump[:, None] + 0.1 * rng.standard_normal(40)
    found = path_barrier(losses, points=POINTS, half=HALF)
    assert (found.height, found.at) == pytest.approx((2.0, 0.3))
    assert found.chosen == pytest.approx((0.3, 0.3))
    assert found.held_out == pytest.approx(np.full(40, 2.0))


def test_below_the_line_the_barrier_is_zero_and_what_is_held_out_negative() -> None:
    losses = np.repeat(((POINTS - 0.5) ** 2)[:, None], 40, axis=1)
    found = path_barrier(losses, points=POINTS, half=HALF)
    assert (found.height, found.at) == (0.0, 0.0)
    assert found.held_out == pytest.approx(np.full(40, 0.4**2 - 0.5**2))


def test_each_prompt_is_read_at_the_point_that_the_other_half_chose() -> None:
    losses = np.zeros((4, 4))
    losses[1, :2], losses[2, 2:] = 5.0, 7.0
    found = path_barrier(losses, points=[0, 0.25, 0.75, 1], half=[True, True, False, False])
    assert found.chosen == (0.25, 0.75)
    assert found.held_out.tolist() == [0, 0, 0, 0] and found.height == 3.5


def test_held_out_a_noisy_flat_path_is_not_too_high() -> None:
    """The largest of nine noisy means is; the mean over data sets tells."""
    rng = np.random.default_rng(2)
    heights, held_out = [], []
    for _ in range(400):
        losses = np.vstack([np.zeros(40), rng.standard_normal((9, 40)), np.zeros(40)])
        found = path_barrier(losses, points=POINTS, half=rng.permutation(HALF))
        heights.append(found.height)
        held_out.append(found.held_out.mean())
    assert np.mean(heights) > 0.15
    assert abs(np.mean(held_out)) < 3 * np.std(held_out) / np.sqrt(400)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": [0, 1]}, "points: expected one for each of 3 rows"),
        ({"points": [0, 0.5, 0.9]}, "rising numbers from 0 to 1"),
        ({"points": [0, 1, 1]}, "rising numbers from 0 to 1"),
        ({"half": [True, True]}, "half: expected prompts in both halves"),
        ({"half": [True]}, "half: expected one for each of 2 prompts"),
        ({"losses": [[1, 2], [1, np.inf], [1, 2]]}, "losses: expected finite numbers"),
    ],
)
def test_wrong_input_is_refused(options: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"losses": np.ones((3, 2)), "points": [0, 0.5, 1], "half": [True, False]}
    given |= options
    losses = given.pop("losses")
    with pytest.raises(ValueError, match=message):
        path_barrier(losses, **given)  # type: ignore[arg-type]
