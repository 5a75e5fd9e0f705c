"""How often tests reject what is true.

Rates are of 6,000 data sets at the level .05: their Monte Carlo standard error is sqrt(.05 x .95 / 6,000) = .0028, so that
the band of .03 to .07 reaches seven of them to either side. Every test of a cell sees the same data sets.

One-sided tests of exponential effects on 12 prompts are known to be beyond the band (`KNOWN`, documented in
`stats.skewness`); those of gamma effects, of skewness 1.4, are at its edge.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from simulated import EFFECTS, Floats, in_clusters

from stats import (
    Contrast,
    benjamini_hochberg,
    difference_test,
    equivalence_test,
    holm,
    linear_contrast,
    mean_replicates,
    non_inferiority,
    permutation_test,
    resampling_weights,
    tost,
)
from stats.hypothesis_tests import TestResult

DATA_SETS = 4000
MARGIN = 20.0  # in standard deviations of a prompt: whichever bound is not tested is far away
TWO_SIDED = ("difference",)
LOWER = ("less", "bound less", "equivalence at the upper end")
UPPER = ("greater", "bound greater", "equivalence at the lower end", "non-inferiority")
KINDS = (*TWO_SIDED, *LOWER, *UPPER)


def moved(contrast: Contrast, by: float) -> tuple[float, float | None, float | None]:
    return contrast.estimate + by, contrast.se, contrast.df


def every_kind(contrast: Contrast) -> dict[str, TestResult]:
    """Every kind of test of an estimate whose true value is 0, moved to where its null hypothesis is just true."""
    g = contrast.skewness
    return {
        "difference": difference_test(*moved(contrast, 0), skewness=g),
        "less": difference_test(*moved(contrast, 0), alternative="less", skewness=g),
        "greater": difference_test(*moved(contrast, 0), alternative="greater", skewness=g),
        "bound less": difference_test(*moved(contrast, 0.7), null=0.7, alternative="less", skewness=g),
        "bound greater": difference_test(*moved(contrast, -0.7), null=-0.7, alternative="greater", skewness=g),
        "equivalence at the upper end": tost(*moved(contrast, MARGIN), margin=MARGIN, skewness=g),
        "equivalence at the lower end": tost(*moved(contrast, -MARGIN), margin=MARGIN, skewness=g),
        "non-inferiority": non_inferiority(*moved(contrast, -MARGIN), margin=MARGIN, skewness=g),
    }


def one_mean(rng: np.random.Generator, draw: Callable[..., Floats], prompts: int) -> Contrast:
    return contrast_of([draw(rng, prompts)], [1], ["task"])


def paired_difference(rng: np.random.Generator, draw: Callable[..., Floats], prompts: int) -> Contrast:
    """Two models on the same prompts, with a part that they share."""
    shared, one, two = draw(rng, (3, prompts))
    return contrast_of([shared + one, shared + two], [1, -1], ["task", "task"])


def difference_in_differences(rng: np.random.Generator, draw: Callable[..., Floats], prompts: int) -> Contrast:
    """The shift of one pair less that of another, on one task, less the same on another task of other size and spread."""
    first, second = draw(rng, (4, prompts)), 2 * draw(rng, (4, prompts * 3 // 2))
    parts = [task[0] + task[i] for task in (first, second) for i in (1, 2)]
    return contrast_of(parts, [1, -1, -1, 1], ["a", "a", "b", "b"])


def two_tasks(rng: np.random.Generator, draw: Callable[..., Floats], prompts: int) -> Contrast:
    """The shift on one task less that on another, of other size and spread."""
    return contrast_of([draw(rng, prompts), 2 * draw(rng, prompts * 3 // 2)], [1, -1], ["a", "b"])


def contrast_of(values: list[Floats], weights: list[float], groups: list[str]) -> Contrast:
    parts = [mean_replicates(each, resampling_weights(len(each), 2, seed=0)) for each in values]
    return linear_contrast(parts, weights, groups)


def rejections(make: Callable[..., Contrast], effects: str, prompts: int) -> dict[str, float]:
    rng = np.random.default_rng([3, prompts])
    counts = dict.fromkeys(KINDS, 0)
    for _ in range(DATA_SETS):
        for kind, test in every_kind(make(rng, EFFECTS[effects], prompts)).items():
            assert test.p is not None
            counts[kind] += test.p < 0.05
    return {kind: count / DATA_SETS for kind, count in counts.items()}


@pytest.mark.long
@pytest.mark.parametrize("make", [one_mean, paired_difference, difference_in_differences, two_tasks])
@pytest.mark.parametrize("effects", ["normal", "gamma", "exponential"])
@pytest.mark.parametrize("prompts", [12, 40])
def test_x(prompts, effects, make):
    print(prompts, effects, make.__name__, {k:round(v,4) for k,v in rejections(make, effects, prompts).items()})
