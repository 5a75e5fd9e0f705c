from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from stats import centred_log_ratio, depth_slope, fit_mixed_model, scaled_depth, shift_frame, two_stage_slope


def shares(seed: int, n: int = 20, layers: int = 6, *, tilt: float = 0.0) -> NDArray[np.float64]:
    """Random shares; with a tilt, more in early layers, and more so in some prompts than in others."""
    rng = np.random.default_rng(seed)
    logs = rng.standard_normal((n, layers)) - tilt * rng.gamma(2, size=(n, 1)) * np.linspace(-1, 1, layers)
    return np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)


def test_the_table_has_a_row_for_each_prompt_and_layer() -> None:
    before, after = np.array([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]]), np.array([[0.25, 0.25, 0.5], [0.4, 0.3, 0.3]])
    frame = shift_frame(
        before, after, prompt=["b", "a"], labels={"regime": ["local", "global"], "seed": np.array([1, 2])}
    )
    assert frame.columns == ["prompt", "regime", "seed", "layer", "depth", "shift"]
    np.testing.assert_allclose(frame["shift"], [-0.25, 0, 0.25, 0.2, 0, -0.2])
    assert frame.drop("shift").rows() == [
        ("b", "local", 1, 0, -0.5), ("b", "local", 1, 1, 0), ("b", "local", 1, 2, 0.5),
        ("a", "global", 2, 0, -0.5), ("a", "global", 2, 1, 0), ("a", "global", 2, 2, 0.5),
    ]  # fmt: skip
    assert shift_frame(before, after)["prompt"].to_list() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("scale", ["share", "log-ratio"])
def test_the_mixed_model_of_one_random_slope_is_the_two_stage_analysis(scale: Any) -> None:
    before, after = shares(1), shares(2, tilt=0.5)
    fit = fit_mixed_model(shift_frame(before, after, scale=scale), formula="shift ~ depth", random="0 + depth | prompt")
    assert fit.status == "ok"
    slope = fit.contrast({"depth": 1})
    stages = two_stage_slope(before, after, scale=scale)
    assert slope.estimate == pytest.approx(stages.estimate) and stages.estimate < 0
    for name in ("se", "df", "statistic", "low", "high"):
        assert getattr(slope, name) == pytest.approx(getattr(stages, name), rel=1e-5), name
    assert slope.p == pytest.approx(stages.p, rel=1e-4)
    # Changes sum to zero within a prompt.
    assert fit.fixed["estimate"][0] == pytest.approx(0, abs=1e-12)


def test_the_two_stage_analysis_is_a_t_test_of_the_slopes() -> None:
    before, after = shares(3), shares(4, tilt=0.2)
    slopes = depth_slope(after - before)
    expected = scipy_stats.ttest_1samp(slopes, 0)
    found = two_stage_slope(before, after, confidence=0.9)
    assert (found.statistic, found.p, found.df) == pytest.approx((expected.statistic, expected.pvalue, 19))
    interval = expected.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    # Rows of the same prompt are one unit: with equal numbers, a t-test of the means.
    means = scipy_stats.ttest_1samp(slopes.reshape(10, 2).mean(axis=1), 0)
    by_unit = two_stage_slope(before, after, unit=np.repeat(range(10), 2))
    assert (by_unit.statistic, by_unit.p, by_unit.df) == pytest.approx((means.statistic, means.pvalue, 9))


def test_with_few_units_there_is_an_estimate_and_no_test() -> None:
    found = two_stage_slope(shares(1, n=4), shares(2, n=4))
    assert found.status == "points only" and found.p is None and found.se > 0
    assert found.message == "4 unit(s): fewer than 5, no test"


@given(seed=st.integers(0, 500), layers=st.integers(2, 9))
def test_log_ratios_sum_to_zero_and_keep_ratios(seed: int, layers: int) -> None:
    x = shares(seed, 5, layers)
    found = centred_log_ratio(x)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], np.log(x[:, 1] / x[:, 0]))
    np.testing.assert_allclose(found, np.log(x / scipy_stats.gmean(x, axis=1)[:, None]))


def test_zeros_are_replaced_multiplicatively() -> None:
    x = np.array([[0.0, 0.5, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25], [0, 0, 0, 1]])
    filled = np.exp(centred_log_ratio(x, replacement=0.01))
    filled /= filled.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(filled[0], [0.01, 0.495, 0.297, 0.198])
    np.testing.assert_allclose(filled[1], x[1])
    np.testing.assert_allclose(filled[2], [0.01, 0.01, 0.01, 0.97])
    default = np.exp(centred_log_ratio(x))
    assert (default / default.sum(axis=1, keepdims=True))[0, 0] == pytest.approx(1 / 16)


def test_a_prompt_may_have_a_row_for_each_seed() -> None:
    before, after = shares(5, n=40), shares(6, n=40, tilt=0.3)
    frame = shift_frame(before, after, prompt=[*range(10)] * 4, labels={"seed": np.repeat(range(4), 10)})
    fit = fit_mixed_model(frame, formula="shift ~ depth", random=["0 + depth | prompt", "0 + depth | seed"])
    assert fit.groups == {"prompt": 10, "seed": 4} and fit.n == 240
    np.testing.assert_allclose(np.unique(frame["depth"]), scaled_depth(6))
    assert isinstance(frame, pl.DataFrame)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: shift_frame(a, b[:3]), r"after: expected the shape of before, \(4, 6\), got \(3, 6\)"),
        (
            lambda a, b: shift_frame(a * 2, b),
            "before: expected shares .*, got 0 row.* negative values and 4 with another",
        ),
        (lambda a, b: shift_frame(a, -b), "after: expected shares .*, got 4 row.* and 4 with another sum of 4"),
        (lambda a, b: shift_frame(a, b, scale="ratio"), "scale: expected 'share' or 'log-ratio', got 'ratio'"),
        (lambda a, b: shift_frame(a, b, replacement=0.1), "replacement: only for log-ratios"),
        (lambda a, b: shift_frame(a, b, prompt=["x"]), "prompt: expected 4 labels, .*, got 1"),
        (lambda a, b: shift_frame(a, b, labels={"depth": [1] * 4}), "labels: expected other names .*, got depth"),
        (lambda a, b: two_stage_slope(a, b, unit=["x"]), "unit: expected 4 labels"),
        (lambda a, b: shift_frame(a[:, :1], b[:, :1]), "before: expected at least 2 layers, got 1"),
        (lambda a, b: centred_log_ratio(np.eye(3), replacement=0.6), "got 0.6 for each of 2 zeros"),
        (lambda a, b: centred_log_ratio(np.eye(3), replacement=2), "replacement: expected a number between 0 and 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(shares(1, n=4), shares(2, n=4))


def test_labels_are_of_one_type_and_numbers_are_numbers() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(3), size=3)
    assert shift_frame(shares, shares, labels={"year": [1, 2.5, 3]})["year"].to_list()[::3] == [1.0, 2.5, 3.0]
    with pytest.raises(ValueError, match="labels: expected numbers, or labels of one type, in column 'a', got int"):
        shift_frame(shares, shares, labels={"a": [1, "1", 2]})
    with pytest.raises(ValueError, match="prompt: expected a column of values, got 3"):
        shift_frame(shares, shares, prompt=3)  # type: ignore[arg-type]
