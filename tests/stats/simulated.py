"""Data sets whose truth is known, for simulations of coverage and of error rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, "int | tuple[int, ...]"], Floats]
EFFECTS: dict[str, Draw] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "gamma": lambda rng, size: (rng.gamma(4, size=size) - 4) / 2,
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,
    "log-normal": lambda rng, size: (rng.lognormal(size=size) - np.exp(0.5)) / np.sqrt(np.exp(2) - np.exp(1)),
}
"""Distributions of mean 0 and standard deviation 1, of skewness 0, 1, 2 and 6.2."""


def in_clusters(
    effects: str, clusters: int, sizes: str, *, data_sets: int, seed: int
) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
    """Values of mean 0 with the cluster of each: `sizes` `one` (the effect itself) or `1-8` (with noise within)."""
    rng = np.random.default_rng([seed, clusters])
    for _ in range(data_sets):
        effect = EFFECTS[effects](rng, clusters)
        if sizes == "one":
            yield effect, np.arange(clusters)
        else:
            cluster = np.repeat(np.arange(clusters), rng.integers(1, 9, clusters))
            yield effect[cluster] + rng.standard_normal(len(cluster)), cluster


def _outliers(mean: float) -> Draw:
    """Normal values of which every one in twenty is ten times as large; of mean 0."""

    def draw(rng: np.random.Generator, size: int | tuple[int, ...]) -> Floats:
        values = rng.standard_normal(size) + mean
        return np.where(rng.random(size) < 0.05, 10 * values, values) - 1.45 * mean

    return draw


def _zeros(share: float) -> Draw:
    def draw(rng: np.random.Generator, size: int | tuple[int, ...]) -> Floats:
        return np.where(rng.random(size) < share, 0.0, rng.standard_normal(size) + 2)

    return draw


MIXTURES: dict[str, Draw] = {
    "normal": EFFECTS["normal"],
    "gamma": EFFECTS["gamma"],
    "5 % x 10": _outliers(0.0),
    "5 % x 10, shifted": _outliers(1.0),
    "many zeros": _zeros(0.4),
    "half zeros": _zeros(0.5),
}
"""What has outliers or many zeros, and what has not: 40 % of `many zeros` are 0, the others N(2, 1)."""
