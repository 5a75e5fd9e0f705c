"""Many means at once are what one mean at a time gives."""

from __future__ import annotations

import numpy as np
import pytest

from stats import (
    bootstrap_interval,
    difference_test,
    linear_contrast,
    mean_intervals,
    mean_replicates,
    means,
    resampling_weights,
)


def columns(n: int = 12) -> np.ndarray:  # type: ignore[type-arg]
    """Normal, skewed, shifted far off, constant, constant zero, and nearly constant columns."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(n, 3)) ** np.array([1, 2, 3]) + np.array([0, 1, 1e6])
    rare = np.zeros((n, 1))
    rare[0] = 1.0
    return np.hstack([drawn, np.full((n, 1), 0.3), np.zeros((n, 1)), rare])


@pytest.mark.parametrize("method", ["studentized", "percentile", "bca"])
@pytest.mark.parametrize("n", [3, 12])
def test_every_column_has_the_interval_that_it_has_alone(n: int, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "BLOCK_NUMBERS", 400)  # two columns a block
    values = columns(n)
    found = mean_intervals(values, method=method, confidence=0.9, replicates=200, seed=4)  # type: ignore[arg-type]
    assert found.n == n
    for at, column in enumerate(values.T):
        one = bootstrap_interval(column, method=method, confidence=0.9, replicates=200, seed=4)  # type: ignore[arg-type]
        for name in ("estimate", "low", "high", "se"):
            value = getattr(one, name)
            expected = np.nan if value is None else value
            assert getattr(found, name)[at] == pytest.approx(expected, rel=1e-9, nan_ok=True), (at, name)


TEMPLATE = np.repeat(["a", "b", "c"], [3, 4, 5])


def test_within_strata_every_column_has_the_interval_of_its_test() -> None:
    values = columns() + 5 * (TEMPLATE == "b")[:, None]
    found = mean_intervals(values, strata=TEMPLATE, confidence=0.9, replicates=200)
    for at, column in enumerate(values.T):
        one = bootstrap_interval(column, strata=TEMPLATE, confidence=0.9, replicates=200)
        part = mean_replicates(column, np.ones((1, 12)), strata=TEMPLATE)
        skewness = linear_contrast([part], [1], ["a"]).skewness
        test = difference_test(part.estimate, part.se, part.df, confidence=0.9, skewness=skewness)
        flat = np.ptp(column - 5 * (TEMPLATE == "b")) < 1e-9  # only templates differ: no evidence of no error
        if flat:
            assert "strata" not in one.method and one.se == pytest.approx(column.std(ddof=1) / np.sqrt(12))
        else:
            expected = (test.estimate, test.low, test.high, test.se)
            assert (one.estimate, one.low, one.high, one.se) == pytest.approx(expected, rel=1e-9)
            assert one.method == "mean: t, corrected for skewness, spread within strata"
        seen = tuple(getattr(found, name)[at] for name in ("estimate", "low", "high", "se"))
        assert seen == pytest.approx((one.estimate, one.low, one.high, one.se), rel=1e-9)
        assert found.df[at] == pytest.approx(part.df)
    assert found.units == 12


def test_percentiles_within_strata_are_those_of_replicates_that_keep_their_means() -> None:
    column = columns()[:, 0] + 5 * (TEMPLATE == "b")
    found = bootstrap_interval(column, strata=TEMPLATE, method="percentile", confidence=0.9, replicates=500, seed=3)
    drawn = resampling_weights(12, 500, seed=3)
    part = mean_replicates(column, drawn, strata=TEMPLATE)
    assert part.replicates is not None
    assert (found.low, found.high) == pytest.approx(np.quantile(part.replicates, [0.05, 0.95]))
    many = mean_intervals(column[:, None], strata=TEMPLATE, method="percentile", confidence=0.9, replicates=500, seed=3)
    assert (many.low[0], many.high[0]) == pytest.approx((found.low, found.high))


def test_one_stratum_is_as_none_and_few_values_have_no_interval() -> None:
    column = columns()[:, 1]
    assert bootstrap_interval(column, strata=["x"] * 12, replicates=200) == bootstrap_interval(column, replicates=200)
    few = bootstrap_interval(column[:4], strata=["x", "x", "y", "y"], replicates=200)
    assert few.status == "points only" and few.low is None


def test_strata_are_of_plain_means() -> None:
    for options in ({"statistic": "median"}, {"cluster": TEMPLATE}):
        with pytest.raises(ValueError, match="strata: only for a mean"):
            bootstrap_interval(columns()[:, 0], strata=TEMPLATE, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="strata or clusters, got both"):
        mean_intervals(columns(), strata=TEMPLATE, cluster=TEMPLATE)


@pytest.mark.parametrize("values", [[[np.nan]], np.empty((0, 2)), np.empty((5, 0)), [1.0, 2.0]])
def test_values_must_be_finite_and_there(values: object) -> None:
    with pytest.raises(ValueError, match="values: expected"):
        mean_intervals(values)  # type: ignore[arg-type]
