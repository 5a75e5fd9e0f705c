from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stats import jaccard, retention, retention_index, split_half_overlap, top_k
from stats.overlap import expected_jaccard_within_strata
from stats.seeding import generator
from stats.split_half import draw_halves, half_overlaps, prompts

EDGES = 120
STRATA = np.arange(EDGES) % 6
Matrix = NDArray[np.float64]


def circuits(correlation: float, seed: int = 0) -> Matrix:
    """True scores of two models [2, E], correlated over edges."""
    rng = np.random.default_rng(seed)
    before, other = np.exp(rng.standard_normal((2, EDGES))) * rng.standard_normal((2, EDGES))
    return np.stack([before, correlation * before + np.sqrt(1 - correlation**2) * other])


def observe(true: Matrix, n: int, seed: int, noise: float = 2.0) -> tuple[Matrix, Matrix]:
    """Scores of n prompts for both models; the models share part of each prompt's noise."""
    rng = np.random.default_rng([seed, 1])
    shared = rng.standard_normal((n, EDGES))
    before, after = (mu + noise * (0.7 * shared + 0.7 * rng.standard_normal((n, EDGES))) for mu in true)
    return before, after


def overlaps_by_loop(before: Matrix, after: Matrix, first: Matrix, second: Matrix, k: int) -> list[float]:
    sets = {}
    for name, scores in (("b", before), ("a", after)):
        for half, weights in (("1", first), ("2", second)):
            rows = np.repeat(np.arange(len(scores)), weights.astype(int))
            sets[name + half] = top_k(scores[rows].mean(axis=0), k)
    between = (jaccard(sets["b1"], sets["a2"]) + jaccard(sets["b2"], sets["a1"])) / 2
    chance = [expected_jaccard_within_strata(sets[x], sets[y], STRATA).item() for x, y in (("b1", "a2"), ("b2", "a1"))]
    return [
        float(between),
        float(jaccard(sets["b1"], sets["b2"])),
        float(jaccard(sets["a1"], sets["a2"])),
        np.mean(chance),
    ]


def test_overlaps_of_weighted_halves_equal_the_loop_in_any_block_size() -> None:
    before, after = observe(circuits(0.7), 20, 0)
    rng = np.random.default_rng(0)
    half = rng.random((7, 20)) < 0.5
    weights = rng.integers(1, 4, (7, 20)).astype(np.float64)
    first, second = half * weights, ~half * weights
    for block_bytes in (1, 2**25):
        found = half_overlaps(before, after, first, second, top_k=[30, 5], strata=STRATA, block_bytes=block_bytes)
        for column, k in enumerate((30, 5)):
            for split in range(7):
                expected = overlaps_by_loop(before, after, first[split], second[split], k)
                values = (found.between, found.ceiling_before, found.ceiling_after, found.null)
                assert [float(value[split, column]) for value in values] == pytest.approx(expected)


def test_halves_are_balanced_within_templates_and_shared_by_all_selections() -> None:
    templates = np.array(list("aaaaaabbbbbccccc"))
    everything = prompts(16, examples=None, total=None, templates=templates)
    halves = draw_halves(everything, 200, generator(0, "test"))
    assert set(halves.sum(axis=1)) == {8}
    for name in "abc":
        counts = halves[:, templates == name].sum(axis=1)
        assert counts.max() - counts.min() <= 1
    assert np.abs(halves.mean(axis=0) - 0.5).max() < 0.2
    some = np.array([11, 2, 5])
    restricted = draw_halves(prompts(3, examples=some, total=16, templates=templates), 200, generator(0, "test"))
    np.testing.assert_array_equal(restricted, halves[:, some])


def test_identical_models_are_retained_exactly() -> None:
    before, _ = observe(circuits(1.0), 24, 0)
    result = retention_index(before, before, strata=STRATA, top_k=[10, 30], splits=10, replicates=50)
    assert result.estimate == pytest.approx(1) and result.se == 0
    assert result.status == "ok" and "do not vary" in result.message


def test_the_same_circuit_seen_through_other_noise_is_retained_and_another_circuit_is_not() -> None:
    options = {"strata": STRATA, "top_k": [10, 20, 30], "splits": 30, "replicates": 200}
    rng = np.random.default_rng(0)
    mu, other = circuits(0.0)
    before, same, different = (m + 2 * rng.standard_normal((60, EDGES)) for m in (mu, mu, other))
    kept = retention_index(before, same, **options)
    lost = retention_index(before, different, **options)
    assert kept.low is not None and kept.high is not None and kept.low < 1 < kept.high
    assert kept.estimate == pytest.approx(1, abs=0.15)
    assert lost.estimate == pytest.approx(0, abs=0.2)
    assert lost.high is not None and lost.high < kept.low


def test_index_is_the_ratio_of_its_parts_averaged_over_sizes() -> None:
    before, after = observe(circuits(0.8), 40, 1)
    result = retention_index(before, after, strata=STRATA, top_k=[10, 30], splits=20, replicates=40, seed=3)
    halves = split_half_overlap(before, after, strata=STRATA, top_k=[10, 30], splits=20, seed=3)
    ceilings = np.sqrt(halves.ceiling_before.mean(axis=0) * halves.ceiling_after.mean(axis=0))
    null = halves.null.mean(axis=0)
    expected = (halves.between.mean(axis=0) - null) / (ceilings - null)
    assert [row.estimate for row in result.by_k] == pytest.approx(expected.tolist())
    assert result.estimate == pytest.approx(expected.mean())
    assert [row.ceiling for row in result.by_k] == pytest.approx(ceilings.tolist())


def test_scaling_relabelling_edges_and_reordering_prompts_change_nothing() -> None:
    before, after = observe(circuits(0.8), 20, 2)
    templates = np.arange(20) % 3
    options = {"top_k": [15], "splits": 5, "replicates": 40, "templates": templates}
    result = retention_index(before, after, strata=STRATA, **options)
    edges, rows = np.random.default_rng(0).permutation(EDGES), np.random.default_rng(1).permutation(20)
    moved = retention_index(
        -4 * before[rows][:, edges],
        0.5 * after[rows][:, edges],
        strata=STRATA[edges] + 5,
        examples=rows,
        total=20,
        **options,
    )
    assert (moved.estimate, moved.se) == pytest.approx((result.estimate, result.se))


def test_swapping_the_models_gives_the_same_index() -> None:
    before, after = observe(circuits(0.6), 30, 3)
    one = retention_index(before, after, top_k=[15], splits=8, replicates=40)
    two = retention_index(after, before, top_k=[15], splits=8, replicates=40)
    assert (one.estimate, one.se) == pytest.approx((two.estimate, two.se))


def test_replicates_are_centred_scaled_and_determined_by_the_seed() -> None:
    before, after = observe(circuits(0.8), 30, 4)
    result = retention_index(before, after, strata=STRATA, top_k=[10, 20], splits=10, replicates=100, seed=5)
    again = retention_index(before, after, strata=STRATA, top_k=[10, 20], splits=10, replicates=100, seed=5)
    other = retention_index(before, after, strata=STRATA, top_k=[10, 20], splits=10, replicates=100, seed=6)
    assert result.replicates is not None and again.replicates is not None and other.replicates is not None
    np.testing.assert_array_equal(result.replicates, again.replicates)
    assert result.replicates.mean() == pytest.approx(result.estimate)
    assert result.replicates.std(ddof=1) == pytest.approx(result.se)
    assert abs(np.corrcoef(result.replicates, other.replicates)[0, 1]) < 0.4


def test_replicates_of_two_pairs_that_share_most_prompts_are_paired() -> None:
    true = circuits(0.8)
    before, after = observe(true, 60, 5)
    kept = np.flatnonzero(np.random.default_rng(0).random(60) < 0.9)
    options = {"strata": STRATA, "top_k": [15, 30], "splits": 10, "replicates": 300, "total": 60}
    everything = retention_index(before, after, **options)
    selected = retention_index(before[kept], after[kept], examples=kept, **options)
    elsewhere = retention_index(before[kept], after[kept], examples=kept[::-1], **options)
    assert everything.replicates is not None and selected.replicates is not None and elsewhere.replicates is not None
    assert np.corrcoef(everything.replicates, selected.replicates)[0, 1] > 0.6
    assert abs(np.corrcoef(everything.replicates, elsewhere.replicates)[0, 1]) < 0.3


def test_without_a_ceiling_above_chance_the_index_is_undefined() -> None:
    before, after = np.random.default_rng(0).standard_normal((2, 30, EDGES))
    result = retention_index(before, after, strata=STRATA, top_k=[10, 20], splits=20, replicates=100)
    assert result.status == "undefined" and result.estimate is None and result.replicates is None
    assert result.low is None and result.se is None
    assert "does not clear chance" in result.message
    assert any(row.status == "undefined" and row.estimate is None for row in result.by_k)


def test_sizes_beyond_the_edges_that_have_a_score_are_undefined() -> None:
    before, after = observe(circuits(0.9), 20, 0)
    after[:, 15:] = 0
    result = retention_index(before, after, strata=STRATA, top_k=[10, 20, EDGES], splits=5, replicates=40)
    assert [row.status for row in result.by_k] == ["ok", "undefined", "undefined"]
    assert result.status == "undefined" and result.estimate is None
    few = "only 15 edges have a score other than zero in a half of the prompts"
    assert result.message == f"K = 20: {few}; K = 120: {few}"
    everything = retention_index(before, before, top_k=[EDGES], splits=5, replicates=40)
    assert everything.status == "undefined" and everything.by_k[0].null == 1


def test_few_prompts_give_points_only() -> None:
    before, after = observe(circuits(0.9), 9, 0, noise=0.5)
    result = retention_index(before, after, strata=STRATA, top_k=[10])
    assert result.status == "points only" and result.estimate is not None
    assert result.low is None and result.replicates is None and "9 prompts" in result.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"after": np.ones((12, 3))}, "same prompts and edges before and after, got shapes"),
        ({"top_k": [EDGES + 1]}, "between 1 and 120"),
        ({"top_k": []}, "top_k: expected distinct sizes"),
        ({"top_k": [5, 5]}, "top_k: expected distinct sizes"),
        ({"templates": ["a"] * 3}, "templates: expected 12 labels"),
        ({"examples": [0] * 12}, "examples: expected distinct ids"),
        ({"examples": np.arange(12), "total": 10}, "examples: expected distinct ids from 0 to 9, got 0 to 11"),
        ({"strata": [0]}, "strata: expected one for each of 120 edges"),
        ({"replicates": 1}, "replicates: expected at least 40 for a confidence of 0.95"),
        ({"confidence": 1.0}, "confidence: expected a number between 0 and 1"),
        ({"before": np.full((12, EDGES), np.nan)}, "before: expected finite numbers"),
        ({"before": np.ones((1, EDGES)), "after": np.ones((1, EDGES))}, "at least 2 prompts"),
    ],
)
def test_errors_say_what_came(change: dict[str, object], message: str) -> None:
    before, after = observe(circuits(0.9), 12, 0)
    arguments = {"before": before, "after": after, "top_k": [10], "splits": 4, "replicates": 40} | change
    with pytest.raises(ValueError, match=message):
        retention_index(**arguments)


def simulate(simulations: int, n: int, replicates: int) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Estimates and standard errors of one pair, and of the difference between two pairs that share their prompts."""
    near, far = circuits(0.9), circuits(0.7)
    options = {"strata": STRATA, "top_k": [10, 20, 30], "splits": 20, "replicates": replicates}
    rows = []
    for simulation in range(simulations):
        before, after = observe(near, n, simulation)
        _, other = observe(far, n, simulation)
        one = retention_index(before, after, seed=simulation, **options)
        two = retention_index(before, other, seed=simulation, **options)
        assert one.estimate is not None and two.estimate is not None
        assert one.replicates is not None and two.replicates is not None
        spread = float((one.replicates - two.replicates).std(ddof=1))
        rows.append((one.estimate, one.se, one.estimate - two.estimate, spread))
    estimate, se, difference, difference_se = np.array(rows).T
    return estimate, se, difference, difference_se


def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval also where the ceilings are unequal, and of the prompts alone."""
    monkeypatch.setattr(retention, "_hidden", lambda *_: 0.0)


@pytest.mark.long
def test_standard_errors_match_the_spread_over_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere(monkeypatch)
    estimate, se, difference, difference_se = simulate(60, n=30, replicates=80)
    # The spread of 60 estimates is known to within 9 % (one standard error); a bootstrap without the correction for
    # split noise is too wide by more than half.
    assert 0.75 < np.sqrt((se**2).mean()) / estimate.std(ddof=1) < 1.4
    assert 0.75 < np.sqrt((difference_se**2).mean()) / difference.std(ddof=1) < 1.4


@pytest.mark.nightly
@pytest.mark.parametrize("n", [20, 40, 80])
def test_intervals_cover_near_nominal(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere(monkeypatch)
    from scipy import stats as scipy_stats

    estimate, se, difference, difference_se = simulate(500, n=n, replicates=200)
    t = scipy_stats.t.ppf(0.975, n - 1)
    for value, error in ((estimate, se), (difference, difference_se)):
        # Binomial standard error .01; the estimand is the mean of the estimates at this number of prompts.
        assert 0.92 <= (np.abs(value - value.mean()) <= t * error).mean() <= 0.99


def observe_templates(true: Matrix, templates: int, each: int, seed: int) -> tuple[Matrix, Matrix]:
    """Scores of both models on templates of so many prompts; much of the noise is a template's."""
    rng = np.random.default_rng([seed, 2])
    before, after = (
        mu + np.repeat(1.5 * rng.standard_normal((templates, EDGES)), each, axis=0)
        + 1.5 * rng.standard_normal((templates * each, EDGES))
        for mu in true
    )  # fmt: skip
    return before, after


def test_templates_can_be_what_is_drawn() -> None:
    before, after = observe_templates(circuits(0.8), 12, 4, 0)
    options = {"top_k": [10, 20], "strata": STRATA, "splits": 10, "replicates": 60, "templates": np.arange(48) // 4}
    prompts_drawn = retention_index(before, after, **options)
    drawn = retention_index(before, after, **options, units="templates")
    assert drawn.estimate == prompts_drawn.estimate and drawn.se != prompts_drawn.se
    assert (drawn.n, drawn.units, drawn.df) == (48, 12, 11)
    assert drawn.method == "bootstrap over templates, split noise removed; t interval"
    few = retention_index(before, after, **{**options, "templates": np.arange(48) // 12}, units="templates")
    assert few.status == "points only" and few.message == "4 templates: fewer than 5, no interval"
    assert few.low is None and few.replicates is None


@pytest.mark.nightly
def test_intervals_over_templates_cover_near_nominal() -> None:
    from scipy import stats as scipy_stats

    true, rows = circuits(0.9), []
    options = {"top_k": [10, 20, 30], "strata": STRATA, "splits": 20, "templates": np.arange(60) // 5}
    for simulation in range(400):
        before, after = observe_templates(true, 12, 5, simulation)
        for units in ("templates", "prompts"):
            found = retention_index(before, after, **options, units=units, replicates=150, seed=simulation)
            rows.append((found.estimate, found.se))
    estimate, se = np.array(rows, dtype=np.float64).reshape(400, 2, 2).transpose(2, 1, 0)
    quantile = scipy_stats.t.ppf(0.975, [[11], [59]])
    covered = (np.abs(estimate - estimate.mean(axis=1, keepdims=True)) <= quantile * se).mean(axis=1)
    # Binomial standard error .01; prompts of a template are not independent, as an interval over prompts would have it.
    assert 0.92 <= covered[0] <= 0.99 and covered[1] < 0.87, covered
