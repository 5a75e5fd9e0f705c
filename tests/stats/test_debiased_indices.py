"""Indices that noise does not move: unbiased products by brute force, the jackknife, and rates under unequal noise."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student

from stats.debiased import CHANCE, debiased_interaction_share, debiased_specialization
from stats.jackknife import TAKEN_OFF, Jackknifed, jackknife, shift

Floats = NDArray[np.float64]


def by_hand(effects: Floats) -> float:
    """The index from all ordered pairs and fours of different prompts."""
    pairs, fours = list(permutations(range(len(effects)), 2)), list(permutations(range(len(effects)), 4))
    square = np.mean([effects[list(chosen)].prod(axis=0).sum() for chosen in pairs])
    fourth = np.mean([effects[list(chosen)].prod(axis=0).sum() for chosen in fours])
    return float(1 - np.log(square**2 / fourth) / np.log(effects.shape[1]))


def clear(n: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    return np.array([3.0, -2, 1, 0.2]) + rng.normal(size=(n, 4))


def test_the_index_is_that_of_products_over_different_prompts() -> None:
    effects = clear(7)
    found = debiased_specialization(effects)
    assert found.estimate == pytest.approx(by_hand(effects))
    without = np.array([by_hand(np.delete(effects, out, axis=0)) for out in range(7)])
    assert (found.deviations**2).sum() == pytest.approx(6 / 7 * ((without - without.mean()) ** 2).sum())
    first, second = np.triu_indices(7, 1)
    joint = [
        7 * by_hand(effects) - 6 * (without[a] + without[b]) + 5 * by_hand(np.delete(effects, [a, b], axis=0))
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(found.pairs, joint, atol=1e-8)


def test_with_templates_products_are_over_different_ones() -> None:
    effects = clear(12)
    labels = np.repeat(list("abcdef"), 2)
    found = debiased_specialization(effects, cluster=labels)
    assert found.units == 6
    assert found.estimate == pytest.approx(by_hand(effects.reshape(6, 2, 4).mean(axis=1)))


def test_without_noise_it_is_one_where_one_does_all_and_zero_where_all_do_the_same() -> None:
    for mean, expected in ((np.array([0.0, 5, 0]), 1.0), (np.array([2.0, -2, 2]), 0.0)):
        found = debiased_specialization(np.tile(mean, (8, 1)))
        assert found.estimate == pytest.approx(expected, abs=1e-9)
        assert found.influence is not None and not found.influence.any()


def test_noise_has_a_status_and_no_number() -> None:
    rng = np.random.default_rng(1)
    found = [debiased_specialization(rng.normal(size=(40, 12)), draws=200) for _ in range(200)]
    lacking = [one for one in found if one.estimate is None]
    assert len(lacking) >= 185  # 2.5 % are above the quantile by chance: 5, at most 15 with p > .999
    assert all(one.message == CHANCE and one.influence is None for one in lacking)
    few = debiased_specialization(clear(3))
    assert few.estimate is None and "at least 4 are needed" in few.message
    points = debiased_specialization(clear(4))
    assert points.estimate is not None and points.influence is None


def test_the_share_of_interactions_is_that_of_unbiased_squares() -> None:
    rng = np.random.default_rng(2)
    effects, interaction = clear(9), 1 + rng.normal(size=(9, 3))

    def square(values: Floats) -> float:
        return float(np.mean([values[list(two)].prod(axis=0).sum() for two in permutations(range(9), 2)]))

    found = debiased_interaction_share(effects, interaction)
    assert found.estimate == pytest.approx(square(interaction) / (square(interaction) + square(effects)))
    assert debiased_interaction_share(effects, 0 * interaction).estimate == 0
    with pytest.raises(ValueError, match=r"expected \[9, sets\], got \[8, 3\]"):
        debiased_interaction_share(effects, interaction[:8])


def test_an_index_does_not_shift_from_itself_and_halves_are_independent() -> None:
    one, other = debiased_specialization(clear(20)), debiased_specialization(clear(20, seed=1))
    same = shift(one, one, paired=True)
    assert same.estimate == 0 and same.before is not None and same.after is not None
    assert not (same.before + same.after).any()
    apart = shift(one, other, paired=False)
    assert one.influence is not None and other.influence is not None
    np.testing.assert_allclose(apart.after, other.influence)
    np.testing.assert_allclose(apart.before, -one.influence)
    with pytest.raises(ValueError, match="expected two estimates"):
        shift(one, Jackknifed(estimate=None, units=20, message="none"), paired=True)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(3).normal(size=30)

    def mean(first: NDArray[np.int64], second: NDArray[np.int64]) -> Floats:
        gone = [{int(a), int(b)} - {-1} for a, b in zip(first, second, strict=True)]
        return np.array([np.delete(x, list(out)).mean() for out in gone])

    found = jackknife(mean, 30, least=1)
    assert found.influence is not None
    assert np.linalg.norm(found.influence) == pytest.approx(x.std(ddof=1) / np.sqrt(30))


def test_noise_of_pairs_is_not_counted_twice() -> None:
    """The square of a mean that is zero: all of its variance is that of pairs."""
    rng = np.random.default_rng(4)
    ratios = []
    for _ in range(200):
        x = rng.normal(size=(30, 20))

        def square(first: NDArray[np.int64], second: NDArray[np.int64], x: Floats = x) -> Floats:
            padded = np.concatenate([x, np.zeros((1, 20))])
            sums = x.sum(axis=0) - padded[first] - padded[second]
            own = (x**2).sum(axis=0) - padded[first] ** 2 - padded[second] ** 2
            left = 30 - (first >= 0) - (second >= 0)
            return ((sums**2 - own).sum(axis=1)) / (left * (left - 1))

        found = jackknife(square, 30, least=2)
        assert found.influence is not None
        ratios.append((np.linalg.norm(found.influence) ** 2, np.linalg.norm(found.deviations) ** 2))
    corrected, plain = np.mean(ratios, axis=0) / (2 * 20 / (30 * 29))
    assert plain == pytest.approx(2, rel=0.15) and corrected == pytest.approx(2 - TAKEN_OFF, rel=0.15)


PROMPTS, REPETITIONS = 60, 1000
NOISES = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_t(4, shape) / np.sqrt(2),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
}
SPECIALIZED = [
    (24, 1.2, "heavy tails", 0.0),
    (24, 1.5, "skewed", 0.5),
    (48, 2.0, "normal", 0.0),
    (48, 1.5, "heavy tails", 0.5),
    (144, 1.2, "normal", 0.5),
    (144, 2.0, "skewed", 0.0),
]


def _noise(rng: np.random.Generator, kind: str, columns: int, correlation: float) -> tuple[Floats, Floats]:
    one, two = (NOISES[kind](rng, (PROMPTS, columns)) for _ in range(2))
    return one, correlation * one + np.sqrt(1 - correlation**2) * two


def _rejects(before: Jackknifed, after: Jackknifed) -> bool | None:
    """Whether the test of the shift rejects at .05; None where a model has no index."""
    if before.estimate is None or after.estimate is None:
        return None
    found = shift(before, after, paired=True)
    assert found.before is not None and found.after is not None
    statistic = abs(found.estimate) / np.linalg.norm(found.before + found.after)
    return bool(2 * student.sf(statistic, PROMPTS - 1) < 0.05)


def _holds_its_level(rejected: list[bool | None]) -> None:
    tested = [one for one in rejected if one is not None]
    assert len(tested) >= 0.97 * REPETITIONS
    assert 0.03 <= np.mean(tested) <= 0.07


@pytest.mark.nightly
@pytest.mark.parametrize(("components", "ratio", "kind", "correlation"), SPECIALIZED)
def test_specialization_is_not_moved_by_noise(components: int, ratio: float, kind: str, correlation: float) -> None:
    """A few strong components, the others with small effects or none; the model after is noisier, nothing else."""
    rng = np.random.default_rng([components, round(10 * ratio)])
    rejected = []
    for _ in range(REPETITIONS):
        true = rng.normal(0, 0.15, components) * rng.integers(0, 2, components)
        true[:4] = [3, -2, 2, 1]
        spread = 1.5 * rng.uniform(0.3, 1, components)
        noise, other = _noise(rng, kind, components, correlation)
        before = debiased_specialization(true + spread * noise, draws=100)
        after = debiased_specialization(true + ratio * spread * other, draws=100)
        rejected.append(_rejects(before, after))
    _holds_its_level(rejected)


@pytest.mark.nightly
@pytest.mark.parametrize(("components", "ratio", "kind", "strong"), [
    (8, 1.2, "normal", 3), (8, 1.5, "heavy tails", 28), (6, 2.0, "normal", 15), (8, 2.0, "heavy tails", 3)
])  # fmt: skip
def test_integration_is_not_moved_by_noise(components: int, ratio: float, kind: str, strong: int) -> None:
    rng = np.random.default_rng([components, round(10 * ratio), strong])
    pairs = components * (components - 1) // 2
    rejected = []
    for _ in range(REPETITIONS):
        effects = np.abs(rng.laplace(size=components)) + 0.3
        together = np.where(np.arange(pairs) < strong, rng.normal(0, 0.7, pairs), 0.0)
        true = np.concatenate([effects, together])
        spread = 1.5 * rng.uniform(0.3, 1, len(true))
        noise, other = _noise(rng, kind, len(true), 0.5)
        before, after = (
            debiased_interaction_share(one[:, :components], one[:, components:], draws=100)
            for one in (true + spread * noise, true + ratio * spread * other)
        )
        rejected.append(_rejects(before, after))
    _holds_its_level(rejected)
