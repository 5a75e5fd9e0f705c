"""Many means at once are what one mean at a time gives."""

from __future__ import annotations

import numpy as np
import pytest

from stats import bootstrap_interval, mean_intervals, means


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


@pytest.mark.parametrize("values", [[[np.nan]], np.empty((0, 2)), np.empty((5, 0)), [1.0, 2.0]])
def test_values_must_be_finite_and_there(values: object) -> None:
    with pytest.raises(ValueError, match="values: expected"):
        mean_intervals(values)  # type: ignore[arg-type]
