"""How far the rate of something that happens by chance may be from what it should be, after some repetitions."""

from __future__ import annotations

from scipy.stats import binom


def as_often(count: int, repetitions: int, rate: float) -> bool:
    """Whether a count is within the central 99.6% of the binomial distribution of a rate."""
    low, high = binom.interval(0.996, repetitions, rate)
    return bool(low <= count <= high)
