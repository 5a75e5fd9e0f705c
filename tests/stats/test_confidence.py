"""Brier scores against all outcomes one by one, calibration errors against simulated models whose truth is known."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stats import answer_paths, brier_scores, reliability


def test_a_brier_score_is_the_squared_distance_from_what_is_the_case() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(6), size=5)
    for answers in ([2], [0, 5]):
        merged = np.column_stack([p[:, answers].sum(1), np.delete(p, answers, axis=1)])
        truth = np.zeros(merged.shape[1])
        truth[0] = 1
        found = brier_scores(merged[:, 0], (merged[:, 1:] ** 2).sum(1))
        np.testing.assert_allclose(found, ((merged - truth) ** 2).sum(1))
    assert brier_scores([1.0, 0.0], [0.0, 1.0]).tolist() == [0.0, 2.0]


def test_the_true_probabilities_have_the_lowest_brier_score() -> None:
    truth = np.array([0.5, 0.3, 0.2])

    def mean(q: np.ndarray) -> float:  # type: ignore[type-arg]
        return float(sum(p * brier_scores([q[k]], [(np.delete(q, k) ** 2).sum()])[0] for k, p in enumerate(truth)))

    rng = np.random.default_rng(1)
    assert all(mean(truth) < mean(q) for q in rng.dirichlet(np.ones(3), size=50))


def slow_error(p: list[float], right: list[bool], bins: int) -> float:
    """The calibration error of probabilities that all differ, bin by bin."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    total = 0.0
    for number in range(bins):
        own = [i for place, i in enumerate(order) if int((place + 0.5) / len(p) * bins) == number]
        total += abs(sum(right[i] - p[i] for i in own))
    return total / len(p)


def test_the_calibration_error_is_that_of_bins_of_equal_numbers() -> None:
    rng = np.random.default_rng(2)
    p, right = rng.random(47), rng.random(47) < 0.4
    for bins in (1, 4, 10, 47):
        found = reliability(p, right, bins=bins, draws=10)
        assert found.ece == pytest.approx(slow_error(p.tolist(), right.tolist(), bins))
        assert len(found.count) == bins and np.ptp(found.count) <= 1 and found.count.sum() == 47
        assert (np.diff(found.confidence) > 0).all()
        assert ((found.low <= found.accuracy) & (found.accuracy <= found.high)).all()
    assert reliability(p, right, bins=47, draws=10).squared is None


def test_the_null_is_the_mean_over_all_outcomes() -> None:
    p = np.array([0.1, 0.25, 0.6, 0.9])
    exact = 0.0
    for outcome in product([False, True], repeat=4):
        weight = np.prod(np.where(outcome, p, 1 - p))
        exact += weight * slow_error(p.tolist(), list(outcome), 2)
    assert reliability(p, [True] * 4, bins=2, draws=40_000).null == pytest.approx(exact, abs=0.003)


def test_the_order_of_prompts_decides_nothing_even_where_confidences_are_the_same() -> None:
    p, right = np.array([0.5] * 10 + [0.9] * 5), np.arange(15) % 3 == 0
    found = reliability(p, right, bins=5, draws=10)
    assert found.count.tolist() == [10, 5]
    turned = reliability(p[::-1], right[::-1], bins=5, draws=10)
    assert (turned.ece, turned.squared) == pytest.approx((found.ece, found.squared))


@pytest.mark.long
def test_a_calibrated_model_is_in_its_band_and_its_squared_error_is_zero_on_average() -> None:
    rng = np.random.default_rng(3)
    inside, squared, errors = 0, [], []
    for seed in range(300):
        p = rng.beta(2, 1, size=60)
        found = reliability(p, rng.random(60) < p, draws=200, seed=seed)
        inside += found.null_low <= found.ece <= found.null_high
        squared.append(found.squared)
        errors.append(found.ece)
    assert 270 <= inside <= 296  # binomial band of .95 at p < .001 on either side, beside that of 200 draws
    assert abs(np.mean(squared)) < 3.3 * np.std(squared) / np.sqrt(300)
    assert np.mean(errors) > 0.1  # what the plain error would have said of a model without any


def test_the_squared_error_is_zero_on_average_whatever_the_confidences_of_a_bin_are() -> None:
    """Counted over all outcomes of one bin: with the variance of right alone the mean would be -.0533 here."""
    p = np.array([0.1, 0.5, 0.9])
    mean = 0.0
    for outcome in product([False, True], repeat=3):
        probability = np.prod(np.where(outcome, p, 1 - p))
        squared = reliability(p, outcome, bins=1, draws=1).squared
        assert squared is not None
        mean += probability * squared
    assert mean == pytest.approx(0, abs=1e-15)


def test_an_overconfident_model_is_out_of_it_by_as_much_as_is_planted() -> None:
    rng = np.random.default_rng(4)
    truth = rng.beta(2, 2, size=20_000) * 0.6
    found = reliability(truth + 0.3, rng.random(20_000) < truth, draws=200)
    assert found.ece == pytest.approx(0.3, abs=0.02) and found.squared == pytest.approx(0.09, abs=0.01)
    assert found.null_high < 0.02 < found.ece


@pytest.mark.parametrize(
    ("confidence", "right", "message"),
    [
        ([0.2, 1.2], [True, False], "confidence: expected probabilities, got 0.2 to 1.2"),
        ([0.2, 0.3], [True], "right: expected 2 outcomes, one for each confidence, got shape"),
        ([], [], "confidence: expected at least one value"),
        ([np.nan], [True], "confidence: expected finite numbers"),
        ([0.2], [2], "right: expected true or false"),
    ],
)
def test_what_does_not_fit_is_named(confidence: list[float], right: list[bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reliability(confidence, right)


def test_scores_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="others: expected 2 numbers, one for each answer, got 1"):
        brier_scores([0.1, 0.2], [0.3])


@given(arrays(np.bool_, (6, 5)), st.lists(st.integers(1, 5), min_size=6, max_size=6))
def test_paths_are_what_a_walk_through_the_steps_finds(right: np.ndarray, steps: list[int]) -> None:  # type: ignore[type-arg]
    found = answer_paths(right, np.array(steps))
    for row, count in enumerate(steps):
        own = right[row, :count].tolist()
        assert found.overwritten[row] == (True in own and not own[-1])
        assert found.corrected[row] == (False in own and own[-1])
        assert found.kept[row] == (False not in own)
        orders = [any(order) and not order[-1] for order in permutations(own)]
        assert found.null[row] == pytest.approx(np.mean(orders))


def test_paths_with_steps_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 to 3, got 0 to 1"):
        answer_paths(np.ones((2, 3), dtype=bool), [0, 1])


def within_templates(
    seed: int, templates: int, size: int, *, alike: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """A calibrated model that is right or wrong on the prompts of a template together, with some probability."""
    rng = np.random.default_rng([5, seed, templates])
    template = np.repeat(np.arange(templates), size)
    p = np.repeat(rng.beta(2, 1, templates), size)
    shared, own = np.repeat(rng.random(templates), size), rng.random(templates * size)
    return p, np.where(rng.random(templates * size) < alike, shared, own) < p, template


def test_a_prompt_that_is_a_template_of_its_own_is_as_good_as_none() -> None:
    p, right, _ = within_templates(0, 30, 1)
    one, other = reliability(p, right, draws=10, bins=5), reliability(p, right, cluster=np.arange(30), draws=10, bins=5)
    for name in ("confidence", "accuracy", "count", "ece", "squared"):
        assert getattr(one, name) == pytest.approx(getattr(other, name))


def test_prompts_of_one_template_count_as_one_where_they_are_all_alike() -> None:
    """Twenty copies of six prompts are six outcomes."""
    p, right = np.array([0.2, 0.3, 0.4, 0.6, 0.7, 0.8]), np.array([0, 1, 0, 1, 0, 1]) > 0
    alone = reliability(p, right, bins=1, draws=10)
    copied = reliability(p.repeat(20), right.repeat(20), cluster=np.arange(6).repeat(20), bins=1, draws=10)
    for name in ("accuracy", "ece", "squared"):
        assert getattr(copied, name) == pytest.approx(getattr(alone, name))
    assert copied.count.tolist() == [120]
    taken_alone = reliability(p.repeat(20), right.repeat(20), bins=1, draws=10)
    widths = [float(one.high[0] - one.low[0]) for one in (copied, alone, taken_alone)]
    assert widths[0] == pytest.approx(widths[1], abs=0.1) and widths[2] < 0.3 * widths[0]


def test_below_five_templates_there_is_no_null() -> None:
    p, right, template = within_templates(1, 4, 10)
    found = reliability(p, right, cluster=template, bins=2)
    assert (found.null, found.null_low, found.null_high) == (None, None, None)
    assert found.ece > 0


def test_the_null_of_templates_is_that_of_all_signs() -> None:
    p, right, template = within_templates(2, 6, 3, alike=1.0)
    exact = []
    for signs in product([-1, 1], repeat=6):
        deviations = (right - p) * np.array(signs)[template]
        order = np.argsort(p, kind="stable")
        exact.append(sum(abs(part.sum()) for part in np.split(deviations[order], 2)) / 18)
    found = reliability(p, right, cluster=template, bins=2, draws=20_000)
    assert found.null == pytest.approx(np.mean(exact), abs=0.003)


@pytest.mark.nightly
def test_a_calibrated_model_is_in_the_band_of_templates_and_not_in_that_of_prompts() -> None:
    """Twelve templates of ten prompts, of which those of one are mostly right or wrong together."""
    inside = {"templates": 0, "prompts": 0}
    for seed in range(400):
        p, right, template = within_templates(seed, 12, 10, alike=0.8)
        for unit, cluster in (("templates", template), ("prompts", None)):
            found = reliability(p, right, cluster=cluster, bins=4, draws=200, seed=seed)
            assert found.null_high is not None
            inside[unit] += found.ece <= found.null_high
    assert inside["templates"] >= 372 and inside["prompts"] < 300
