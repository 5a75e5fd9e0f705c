"""Similarity of mean scores: against its definition, exact cases, statuses; coverage and bias by simulation (long)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from stats import score_similarity
from stats.checks import Scores
from stats.mean_products import neighbours

Floats = npt.NDArray[np.float64]
EDGES = 300


def vectors(rng: np.random.Generator, truth: float, edges: int = EDGES) -> tuple[Floats, Floats]:
    """Two vectors of length 1 with heavy tails whose cosine is the truth."""
    drawn = rng.normal(size=(2, edges)) * np.exp(1.2 * rng.normal(size=(2, edges)))
    first = drawn[0] / np.linalg.norm(drawn[0])
    rest = drawn[1] - first * (first @ drawn[1])
    return first, truth * first + np.sqrt(1 - truth**2) * rest / np.linalg.norm(rest)


def noise(rng: np.random.Generator, n: int, edges: int = EDGES) -> Floats:
    """Of expected length 1 each."""
    return rng.normal(size=(n, edges)) / np.sqrt(edges)


def scores(
    rng: np.random.Generator, n: int, means: tuple[Floats, Floats], *, ratio: float, sd: float, gain: float
) -> tuple[Floats, Floats]:
    """Scores of two models: a mean times a gain of the prompt, and noise that is `ratio` times as large after."""
    gains = np.exp(gain * rng.normal(size=(2, n, 1)) - gain**2 / 2)
    shared = noise(rng, n)
    first, second = (np.sqrt(0.5) * (shared + noise(rng, n)) for _ in "ab")
    return gains[0] * means[0] + sd * first, gains[1] * means[1] + sd * ratio * second


def by_definition(a: Floats, b: Floats) -> float:
    def product(x: Floats, y: Floats) -> float:
        return float(np.mean([x[i] @ y[j] for i in range(len(x)) for j in range(len(x)) if i != j]))

    return product(a, b) / np.sqrt(product(a, a) * product(b, b))


def test_the_estimate_is_the_jackknife_of_the_ratio_of_products_of_different_prompts() -> None:
    rng = np.random.default_rng(1)
    a, b = scores(rng, 12, vectors(rng, 0.7), ratio=1.5, sd=0.5, gain=0.3)
    without = [by_definition(np.delete(a, i, 0), np.delete(b, i, 0)) for i in range(12)]
    expected = 12 * by_definition(a, b) - 11 * np.mean(without)
    found = score_similarity(a, b, replicates=50)
    assert found.estimate == pytest.approx(expected, abs=1e-12)
    averages = a.mean(axis=0), b.mean(axis=0)
    lengths = [np.linalg.norm(x) for x in averages]
    assert found.plain == pytest.approx(averages[0] @ averages[1] / np.prod(lengths))
    assert found.status == "ok" and found.df == 11 and found.units == found.n == 12


def test_equal_scores_are_exactly_one_without_any_error_also_but_for_a_factor() -> None:
    rng = np.random.default_rng(2)
    a, _ = scores(rng, 20, vectors(rng, 1.0), ratio=1.0, sd=0.5, gain=0.3)
    for other in (a, 3 * a, a.astype(np.float32)):
        found = score_similarity(a.astype(other.dtype), other, replicates=50)
        assert found.estimate == pytest.approx(1.0, abs=1e-12) and found.se == 0.0
        assert found.low == found.high == found.estimate and "the same but for a factor" in found.message
    assert score_similarity(a, -a, replicates=50).estimate == pytest.approx(-1.0, abs=1e-12)


def test_neither_the_scale_nor_the_order_of_prompts_and_edges_matters() -> None:
    rng = np.random.default_rng(3)
    a, b = scores(rng, 15, vectors(rng, 0.6), ratio=2.0, sd=0.4, gain=0.3)
    found = score_similarity(a, b, replicates=50)
    prompts, edges = rng.permutation(15), rng.permutation(EDGES)
    for x, y in ((1e-6 * a, 7 * b), (a[prompts], b[prompts]), (a[:, edges], b[:, edges]), (b, a)):
        moved = score_similarity(x, y, replicates=50)
        assert moved.estimate == pytest.approx(found.estimate, rel=1e-9)
        assert moved.se == pytest.approx(found.se, rel=1e-6)


def test_replicates_are_centred_scaled_and_paired_by_example() -> None:
    rng = np.random.default_rng(4)
    means = vectors(rng, 0.8)
    a, b = scores(rng, 40, means, ratio=1.0, sd=0.6, gain=0.3)
    c = b + 0.01 * noise(rng, 40)
    one, other = (score_similarity(a, x, replicates=2000, seed=5, total=60, examples=np.arange(10, 50)) for x in (b, c))
    assert one.replicates is not None and other.replicates is not None and one.se is not None
    assert one.replicates.mean() == pytest.approx(one.estimate)
    assert one.replicates.std(ddof=1) == pytest.approx(one.se)
    assert (one.replicates - other.replicates).std() < 0.1 * one.se


def test_templates_are_strata_where_prompts_are_drawn_and_units_where_they_are() -> None:
    rng = np.random.default_rng(6)
    means = vectors(rng, 0.8)
    a, b = scores(rng, 60, means, ratio=1.0, sd=0.3, gain=0.0)
    template = np.arange(60) % 6
    own = [vectors(np.random.default_rng(t), 0.0)[0] for t in range(6)]
    a += 0.5 * np.array([own[t] for t in template])
    unstratified = score_similarity(a, b, replicates=50)
    stratified = score_similarity(a, b, templates=template, replicates=50)
    assert stratified.estimate == unstratified.estimate and stratified.df == 54
    assert stratified.se is not None and unstratified.se is not None and stratified.se < unstratified.se
    drawn = score_similarity(a, b, templates=template, units="templates", replicates=50)
    assert drawn.df == 5 and drawn.units == 6 and drawn.se is not None
    sums = [np.array([x[template == t].sum(axis=0) for t in range(6)]) for x in (a, b)]
    without = [by_definition(*(np.delete(x, t, 0) for x in sums)) for t in range(6)]
    assert drawn.estimate == pytest.approx(6 * by_definition(*sums) - 5 * np.mean(without))


def test_what_has_no_signal_or_too_few_prompts_is_told_and_not_numbered() -> None:
    rng = np.random.default_rng(7)
    a, b = scores(rng, 30, vectors(rng, 0.8), ratio=1.0, sd=0.4, gain=0.0)
    nothing = score_similarity(a, noise(rng, 30), replicates=50)
    assert nothing.status == "undefined" and nothing.estimate is None and nothing.replicates is None
    assert nothing.message == "the mean scores of the model after do not clear their noise"
    assert score_similarity(0 * a, b, replicates=50).plain is None
    few = score_similarity(a[:9], b[:9], replicates=50)
    assert few.status == "points only" and few.se is None and few.message == "9 prompts: fewer than 10, no interval"
    assert few.estimate is not None and abs(few.estimate - 0.8) < 0.2
    with np.errstate(all="raise"):
        one = score_similarity(a, b, templates=np.zeros(30), units="templates", replicates=50)
    assert one.status == "undefined" and one.estimate is None and one.reliability_before is None
    assert one.message == "similarity is made of products of different templates, and all prompts are of one"
    with pytest.raises(ValueError, match="expected the same prompts and edges"):
        score_similarity(a, b[:20])
    with pytest.raises(ValueError, match="at least 2 prompts"):
        score_similarity(a[:1], b[:1])
    with pytest.raises(ValueError, match="finite"):
        score_similarity(a, np.where(b > 0, np.nan, b))


class Streamed:
    """Scores read a few edges at a time."""

    def __init__(self, scores: Scores, edges: int) -> None:
        self.scores, self.edges, self.shape, self.dtype = scores, edges, scores.shape, scores.dtype

    def blocks(self, edges_per_block: int) -> Iterator[tuple[slice, Scores]]:
        for start in range(0, self.shape[1], self.edges):
            block = slice(start, min(start + self.edges, self.shape[1]))
            yield block, self.scores[:, block]


def test_it_is_the_same_in_blocks() -> None:
    rng = np.random.default_rng(8)
    a, b = scores(rng, 20, vectors(rng, 0.5), ratio=1.0, sd=0.4, gain=0.0)
    whole, blocks = (
        score_similarity(a, b, replicates=50),
        score_similarity(Streamed(a, 70), Streamed(b, 70), replicates=50),
    )
    assert blocks.estimate == pytest.approx(whole.estimate, abs=1e-12) and blocks.se == pytest.approx(whole.se)


def test_neighbours_of_very_many_prompts_are_summed_within_their_template() -> None:
    group = np.array([0, 1] * 6)
    unit = neighbours(group, 5)
    assert unit is not None and neighbours(group, 12) is None
    assert sorted(np.bincount(unit)) == [3, 3, 3, 3]
    assert all(len(set(group[unit == one])) == 1 for one in range(4))
    rng = np.random.default_rng(9)
    a, b = scores(rng, 1500, vectors(rng, 0.8), ratio=1.0, sd=1.0, gain=0.2)
    found = score_similarity(a, b, replicates=300)
    assert found.se is not None and found.replicates is not None
    assert abs(found.estimate - 0.8) < 3 * found.se and found.n == 1500  # type: ignore[operator]


@pytest.mark.nightly
@pytest.mark.parametrize("truth", [1.0, 0.85, 0.55, 0.3])
@pytest.mark.parametrize(("n", "ratio"), [(20, 1.0), (20, 2.0), (20, 4.0), (60, 2.0), (300, 4.0)])
def test_bias_and_coverage(truth: float, n: int, ratio: float) -> None:
    rng = np.random.default_rng([n, int(10 * ratio), int(100 * truth)])
    means = vectors(rng, truth)
    repetitions = 1000 if n < 300 else 300
    found = [
        score_similarity(*scores(rng, n, means, ratio=ratio, sd=0.8, gain=0.2), replicates=40)
        for _ in range(repetitions)
    ]
    defined = [one for one in found if one.estimate is not None]
    assert len(defined) > 0.95 * repetitions
    bias = np.mean([one.estimate - truth for one in defined if one.estimate is not None])
    assert abs(bias) < 0.02
    covered = np.mean([one.low <= truth <= one.high for one in defined if one.low is not None and one.high is not None])
    band = 2.6 * np.sqrt(0.95 * 0.05 / len(defined))
    assert 0.93 - band < covered < 0.97 + band
