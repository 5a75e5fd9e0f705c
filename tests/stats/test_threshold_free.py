"""Agreement without a threshold and the plain top-K overlap, against loops, enumeration and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from streamed import Streamed

from stats import mean_agreement, rank_overlap, ranks, retention_index, split_half_overlap, weighted_jaccard
from stats.mean_agreement import MEASURES, half_agreement, permuted_agreement
from stats.plain_overlap import between_overlap
from stats.threshold_free import threshold_free_overlap

EDGES = 60
STRATA = np.arange(EDGES) % 4
Matrix = NDArray[np.float64]


def observe(
    correlation: float, n: int, seed: int, *, noise: float = 1.0, circuit: int = 0, edges: int = EDGES
) -> tuple[Matrix, Matrix]:
    """Scores of n prompts for two models whose true scores correlate over edges."""
    true = np.random.default_rng(circuit)
    one, other = np.exp(true.standard_normal((2, edges))) * true.standard_normal((2, edges))
    rng = np.random.default_rng([seed, 1])
    shared = rng.standard_normal((n, edges))
    models = one, correlation * one + np.sqrt(1 - correlation**2) * other
    before, after = (mu + noise * (0.7 * shared + 0.7 * rng.standard_normal((n, edges))) for mu in models)
    return before, after


def by_hand(a: Matrix, b: Matrix) -> list[float]:
    ranks = rank_overlap(a, b)
    assert ranks.spearman is not None and ranks.cosine is not None
    return [float(weighted_jaccard(a, b)), ranks.spearman, ranks.cosine]


@pytest.mark.parametrize("block_bytes", [1, 2**25])
def test_agreements_of_weighted_halves_equal_the_loop(block_bytes: int) -> None:
    before, after = observe(0.6, 12, 0)
    before[:, :9] = 0  # tied ranks
    rng = np.random.default_rng(0)
    half, weights = rng.random((5, 12)) < 0.5, rng.integers(1, 4, (5, 12)).astype(np.float64)
    first, second = half * weights, ~half * weights
    found = half_agreement(before, after, first, second, sizes=np.array([EDGES]), block_bytes=block_bytes)
    for split in range(5):
        b1, b2, a1, a2 = (
            np.average(scores, axis=0, weights=own[split]) for scores in (before, after) for own in (first, second)
        )
        between = np.mean([by_hand(b1, a2), by_hand(b2, a1)], axis=0)
        np.testing.assert_allclose(found.between[split], between)
        np.testing.assert_allclose(found.ceiling_before[split], by_hand(b1, b2))
        np.testing.assert_allclose(found.ceiling_after[split], by_hand(a1, a2))


@given(
    seed=st.integers(0, 10_000), levels=st.sampled_from([0, 1, 4]), strata=st.integers(1, 7), edges=st.integers(1, 90)
)
@settings(max_examples=40, deadline=None)
def test_long_vectors_in_blocks_and_any_order_equal_the_loop(seed: int, levels: int, strata: int, edges: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = np.exp(2 * rng.standard_normal((2, 6, edges))) * rng.standard_normal((2, 6, edges))
    if levels:
        before, after = rng.integers(-levels, levels + 1, (2, 6, edges)).astype(np.float64)
    code = rng.integers(0, strata, edges)
    order = np.argsort(code, kind="stable")
    first = np.eye(6)[:3] + np.eye(6)[3:]
    second = 1 - first
    sizes = np.unique(code, return_counts=True)[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "FEW", 0)
        patch.setattr(mean_agreement, "AT_HAND", edges)
        blocks = Streamed(before, 13), Streamed(after, 13)
        found = half_agreement(*blocks, first, second, sizes=sizes, order=order, block_bytes=64 * edges)
    for split in range(3):
        b1, b2, a1, a2 = (own[split] @ x / own[split].sum() for x in (before, after) for own in (first, second))
        for name, pairs in (
            ("between", ((b1, a2), (b2, a1))), ("ceiling_before", ((b1, b2),)), ("ceiling_after", ((a1, a2),))
        ):  # fmt: skip
            spread = all(np.ptp(x) > 0 for pair in pairs for x in pair)
            got = getattr(found, name)[split]
            if spread:
                np.testing.assert_allclose(got, np.mean([by_hand(*pair) for pair in pairs], axis=0), atol=1e-12)
            else:
                assert np.isnan(got[1])


@pytest.mark.long
@pytest.mark.parametrize("edges", [40, 3000])
def test_blocks_of_scores_and_other_types_give_the_same(edges: int) -> None:
    before, after = (x.astype(np.float16) for x in observe(0.6, 12, 3, edges=edges))
    options = {"strata": np.arange(edges) % 3, "splits": 4, "replicates": 40, "permutations": 40}
    whole = threshold_free_overlap(before.astype(np.float64), after.astype(np.float64), **options)
    single = before.astype(np.float32), after.astype(np.float32)
    blocks = Streamed(single[0], 700), Streamed(single[1], 700)
    for other in ((before, after), single, blocks):
        for one, expected in zip(threshold_free_overlap(*other, **options, block_bytes=50_000), whole, strict=True):
            assert one.status == expected.status == "ok"
            for name in ("between", "full", "null", "ceiling", "estimate", "se", "low", "between_high"):
                assert getattr(one, name) == pytest.approx(getattr(expected, name), abs=1e-12)
    single[1][3, 7] = np.nan
    for bad in (single, (Streamed(single[0], 700), Streamed(single[1], 700))):
        with pytest.raises(ValueError, match="after: expected finite numbers, got 1 NaN or infinite"):
            threshold_free_overlap(*bad, **options)


def test_one_edge_has_no_ranks_and_rows_that_are_the_same_have_no_spread() -> None:
    before, after = observe(0.5, 12, 2, edges=1)
    found = threshold_free_overlap(abs(before), abs(after), splits=4, replicates=40, permutations=40)
    assert [one.between is None for one in found] == [False, True, False]
    before, after = observe(0.5, 12, 2)
    after[...] = 3.0
    found = threshold_free_overlap(before, after, splits=4, replicates=40, permutations=40)
    assert [one.between is None for one in found] == [False, True, False]
    assert "no spread" in found[1].message


def test_chance_is_the_mean_over_all_permutations_within_strata() -> None:
    rng = np.random.default_rng(3)
    sizes = np.array([3, 1, 4])
    bounds = [0, 3, 4, 8]
    a, b = rng.standard_normal((2, 8))
    b[5] = b[6]
    groups = [itertools.permutations(range(i, j)) for i, j in itertools.pairwise(bounds)]
    orders = [list(itertools.chain(*parts)) for parts in itertools.product(*groups)]
    assert len(orders) == 6 * 24
    every = np.array([by_hand(a, b[order]) for order in orders])
    # The same scores in both halves: every pairing is that of a with b.
    rows, ones = np.ones((2, 1)), np.eye(2)[:1]
    found = half_agreement(rows * a, rows * b, ones, 1 - ones, sizes=sizes).null[0]
    np.testing.assert_allclose(found[1:], every[:, 1:].mean(axis=0), atol=1e-12)
    smaller = np.mean([np.minimum(abs(a), abs(b[order])).sum() for order in orders])
    assert found[0] == pytest.approx(smaller / (abs(a).sum() + abs(b).sum() - smaller))
    full, drawn = permuted_agreement(a, b, sizes, 4000, 0)
    np.testing.assert_allclose(full, by_hand(a, b))
    np.testing.assert_allclose(drawn.mean(axis=0), every.mean(axis=0), atol=4 * every.std() / np.sqrt(4000))
    possible = {tuple(row) for row in every.round(9)}
    assert {tuple(row) for row in drawn.round(9)} <= possible


def test_the_index_is_the_ratio_of_its_parts_on_the_halves_of_the_retention_index() -> None:
    before, after = observe(0.7, 20, 1)
    options = {"templates": np.arange(20) % 2, "splits": 8, "seed": 5}
    found = threshold_free_overlap(before, after, strata=STRATA, replicates=40, **options)
    assert [one.measure for one in found] == list(MEASURES)
    from stats.seeding import generator
    from stats.split_half import draw_halves, prompts

    chosen = prompts(20, examples=None, total=None, templates=options["templates"])
    first = draw_halves(chosen, 8, generator(5, "split halves")).astype(float)
    order = np.argsort(STRATA, kind="stable")
    halves = half_agreement(before[:, order], after[:, order], first, 1 - first, sizes=np.full(4, 15))
    for place, one in enumerate(found):
        between, null, *ceilings = (
            float(x[:, place].mean())
            for x in (halves.between, halves.null, halves.ceiling_before, halves.ceiling_after)
        )
        ceiling = float(np.sqrt(ceilings[0] * ceilings[1]))
        assert (one.between, one.ceiling) == pytest.approx((between, ceiling))
        assert one.estimate == pytest.approx((between - null) / (ceiling - null))
        assert one.full == pytest.approx(by_hand(before.mean(0), after.mean(0))[place])
        assert one.low is not None and one.high is not None and one.low < one.estimate < one.high
        assert one.between_low is not None and one.between_low < one.between


def test_the_same_circuit_through_noise_reaches_its_ceiling_and_another_circuit_does_not() -> None:
    rng = np.random.default_rng(0)
    mu, other = (np.exp(rng.standard_normal(EDGES)) * rng.standard_normal(EDGES) for _ in range(2))
    before, same, different = (m + 5 * rng.standard_normal((60, EDGES)) for m in (mu, mu, other))
    for kept, lost in zip(
        threshold_free_overlap(before, same, splits=20, replicates=60),
        threshold_free_overlap(before, different, splits=20, replicates=60),
        strict=True,
    ):
        assert kept.low is not None and kept.high is not None and kept.low < 1 < kept.high
        assert kept.p == pytest.approx(1 / 1001)
        assert lost.estimate is not None and lost.high is not None
        assert abs(lost.estimate) < 0.35 and lost.high < kept.low
        assert kept.between is not None and kept.ceiling is not None and kept.between < 0.95


def test_a_model_keeps_all_of_itself_whatever_the_scale_of_ranks_and_angles() -> None:
    before, after = observe(0.5, 16, 2)
    same = threshold_free_overlap(before, before, strata=STRATA, splits=6, replicates=40)
    assert [one.estimate for one in same] == pytest.approx([1, 1, 1])
    assert [one.se for one in same] == [0, 0, 0]
    plain = threshold_free_overlap(before, after, strata=STRATA, splits=6, replicates=40)
    scaled = threshold_free_overlap(3 * before, 7 * after, strata=STRATA, splits=6, replicates=40)
    both = threshold_free_overlap(3 * before, 3 * after, strata=STRATA, splits=6, replicates=40)
    for one, other in [*zip(plain[1:], scaled[1:], strict=True), (plain[0], both[0])]:
        assert (one.between, one.estimate, one.se) == pytest.approx((other.between, other.estimate, other.se))
    assert plain[0].between != pytest.approx(scaled[0].between, rel=0.05)


def test_standard_errors_are_the_spread_over_samples_of_prompts() -> None:
    runs = [observe(0.7, 24, seed, circuit=4) for seed in range(40)]
    found = [threshold_free_overlap(*run, strata=STRATA, splits=10, replicates=40, permutations=40) for run in runs]
    for place in range(3):
        ones = [row[place] for row in found]
        quantile = 2.0687  # t, 23 degrees of freedom
        widths = [(one.between_high - one.between) / quantile for one in ones]  # type: ignore[operator]
        assert np.mean(widths) == pytest.approx(np.std([one.between for one in ones], ddof=1), rel=0.3)
        assert np.mean([one.se for one in ones]) == pytest.approx(np.std([o.estimate for o in ones], ddof=1), rel=0.3)  # type: ignore[misc]


def test_what_can_not_be_had_has_a_reason_and_no_number() -> None:
    before, after = observe(0.7, 20, 1)
    for one in threshold_free_overlap(np.zeros_like(before), after, splits=4, replicates=40):
        assert (one.status, one.between, one.estimate, one.null) == ("undefined", None, None, None)
        assert "no spread" in one.message
    for one in threshold_free_overlap(before[:6], after[:6], splits=4, replicates=40):
        assert one.status == "points only" and one.low is None and one.between_low is None
        assert "6 prompts: fewer than" in one.message and one.between is not None
    with pytest.raises(ValueError, match="strata: expected one for each of 60 edges"):
        threshold_free_overlap(before, after, strata=STRATA[1:])


def test_models_without_a_circuit_have_no_ceiling() -> None:
    found = []
    for seed in range(30):
        noise = np.random.default_rng(seed).standard_normal((2, 20, EDGES))
        found += threshold_free_overlap(*noise, splits=10, replicates=40, permutations=40)
    undefined = [one for one in found if one.status == "undefined"]
    assert len(undefined) >= 0.9 * len(found)  # nominally .975
    for one in undefined:
        assert (one.estimate, one.se, one.low) == (None, None, None) and one.between is not None
        assert "agreement of each model with itself does not clear chance" in one.message


def test_the_plain_overlap_is_that_of_the_retention_index_with_paired_replicates() -> None:
    before, after = observe(0.7, 24, 3)
    other = observe(0.2, 24, 4)[1]
    options = {"top_k": [5, 15], "splits": 12, "replicates": 60, "seed": 2}
    found = between_overlap(before, after, **options)
    retained = retention_index(before, after, strata=STRATA, **options)
    assert [row[0] for row in found.by_k] == pytest.approx([row.between for row in retained.by_k])
    halves = split_half_overlap(before, after, top_k=[5, 15], splits=12, seed=2)
    assert found.estimate == pytest.approx(halves.between.mean())
    assert found.replicates is not None and found.se is not None and found.high is not None
    assert found.replicates.std(ddof=1) == pytest.approx(found.se)
    assert found.replicates.mean() == pytest.approx(found.estimate)
    assert found.high - found.estimate == pytest.approx(2.0687 * found.se, rel=1e-4)
    again, twin = between_overlap(before, other, **options), between_overlap(before, other, **options)
    assert again.replicates is not None and twin.replicates is not None
    np.testing.assert_array_equal(again.replicates, twin.replicates)
    few = between_overlap(before[:5], after[:5], **options)
    assert (few.se, few.replicates, few.low) == (None, None, None) and "5 prompts" in few.message


@pytest.mark.long
def test_the_plain_overlap_s_standard_error_is_the_spread_over_samples_of_prompts() -> None:
    runs = [observe(0.7, 24, seed, circuit=4, edges=400) for seed in range(60)]
    found = [between_overlap(*run, top_k=[30, 60], splits=20, replicates=60) for run in runs]
    spread = np.std([one.estimate for one in found], ddof=1)  # known to within 9 %
    assert np.mean([one.se for one in found]) == pytest.approx(spread, rel=0.25)  # type: ignore[misc]
