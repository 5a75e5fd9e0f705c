"""The barrier between two ends: closed forms, planted paths, and that held out it is not too high."""

from __future__ import annotations

import numpy as np
import pytest

from stats import difference_test, linear_contrast, mean_replicates, path_barrier, resampling_weights

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


def flat(values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.vstack([np.zeros(values.shape[1]), values, np.zeros(values.shape[1])])


def test_of_two_points_alike_the_halves_covary_as_the_closed_form_says() -> None:
    """E[x 1(x > y)] of two independent standard normal numbers is 1 / (2 sqrt(pi)): a covariance of 1 / pi in all."""
    values = np.random.default_rng(3).standard_normal((2, 4000))
    found = path_barrier(
        flat(values - values.mean(axis=1, keepdims=True)), points=[0, 0.4, 0.6, 1], half=np.arange(4000) < 2000
    )
    assert found.inflation == pytest.approx(np.sqrt(1 + 1 / np.pi), rel=0.03)


def test_a_clear_peak_and_what_does_not_vary_have_the_usual_error() -> None:
    bump = np.where(np.isclose(POINTS, 0.3), 2.0, 0.0)[:, None]
    noisy = bump + np.vstack([np.zeros(40), np.random.default_rng(4).standard_normal((9, 40)) / 9, np.zeros(40)])
    assert path_barrier(noisy, points=POINTS, half=HALF).inflation == 1
    assert path_barrier(np.repeat(bump, 40, axis=1), points=POINTS, half=HALF).inflation == 1
    assert path_barrier(np.zeros((11, 40)), points=POINTS, half=HALF).inflation == 1


@pytest.mark.nightly
def test_flat_paths_with_two_modes_are_no_barrier_more_often_than_it_says() -> None:
    """Skewed amplitudes of two shapes, 20 prompts: .11 two-sided without the factor, .053 of 1,000 with it."""
    rng, inner = np.random.default_rng(1), POINTS[1:-1, None]
    drawn, found = resampling_weights(20, 2, seed=0), np.zeros(2)
    for _ in range(1000):
        first, second = rng.exponential(size=(2, 20)) - 1
        path = flat(first * 4 * inner * (1 - inner) + second * np.sin(2 * np.pi * inner))
        barrier = path_barrier(path, points=POINTS, half=rng.permutation(np.arange(20) % 2 == 0))
        one = linear_contrast([mean_replicates(barrier.held_out, drawn)], [1], ["task"])
        for place, factor in enumerate((1.0, barrier.inflation)):
            test = difference_test(one.estimate, factor * float(one.se or 0), one.df, skewness=one.skewness)
            found[place] += test.p is not None and test.p < 0.05
    assert found[0] > 80 and 25 <= found[1] <= 70
