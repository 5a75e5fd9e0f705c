"""Sets of a given number of prompts, retention at that number, and the status of unequal noise."""

from __future__ import annotations

import numpy as np
import pytest

from stats import overlap_by_prompts, retention, retention_index
from stats.mean_products import noise_ratio
from stats.score_blocks import InMemory
from stats.seeding import generator
from stats.similarity import score_similarity
from stats.sized_halves import sized_halves
from stats.split_half import prompts


def test_sets_are_disjoint_of_the_size_asked_for_and_balanced_over_templates() -> None:
    templates = np.repeat([0, 1, 2, 3], 12)
    chosen = prompts(40, examples=np.arange(2, 42), total=48, templates=templates)
    first, second = sized_halves(chosen, 50, generator(1, "test"), 10)
    assert (first.sum(axis=1) == 10).all() and (second.sum(axis=1) == 10).all() and not (first & second).any()
    of = templates[2:42]
    taken = np.stack([(first | second)[:, of == template].sum(axis=1) for template in range(4)], axis=1)
    assert (np.abs(taken - 20 * np.bincount(of) / 40) < 1.01).all()
    assert first.sum(axis=0).min() > 3 and first.sum(axis=0).max() < 23  # every prompt has its turn: 12.5 of 50
    everything = sized_halves(chosen, 5, generator(1, "test"), 20)
    assert (everything[0] ^ everything[1]).all()
    with pytest.raises(ValueError, match="at most half of 40 prompts, got 21"):
        sized_halves(chosen, 5, generator(1, "test"), 21)


def scores(seed: int, n: int, *, ratio: float = 1.0, kept: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mean, other = rng.normal(size=(2, 300)) ** 3
    after = np.where(np.arange(300) < kept * 300, mean, other)
    return mean + 3 * rng.normal(size=(n, 300)), after + 3 * ratio * rng.normal(size=(n, 300))


def test_at_one_number_of_prompts_samples_of_two_sizes_agree_where_their_halves_do_not() -> None:
    options = {"top_k": [40], "splits": 40, "replicates": 40}
    few, many = scores(4, 40), scores(4, 400)
    at_ten = [retention_index(*both, **options, half_size=10) for both in (few, many)]
    halves = [retention_index(*both, **options) for both in (few, many)]
    ceilings = [[one.by_k[0].ceiling for one in pair] for pair in (at_ten, halves)]
    assert abs(ceilings[0][0] - ceilings[0][1]) < 0.08 < ceilings[1][1] - ceilings[1][0]
    assert all(one.status == "ok" and one.se for one in at_ten)


def test_the_curve_has_the_overlaps_at_each_number() -> None:
    before, after = scores(1, 60)
    found = overlap_by_prompts(before, after, sizes=[5, 15, 30], top_k=[20, 40], splits=20)
    assert [(one.prompts, one.k) for one in found] == [(5, 20), (5, 40), (15, 20), (15, 40), (30, 20), (30, 40)]
    rising = [one.ceiling_before for one in found if one.k == 40]
    assert rising == sorted(rising) and rising[0] < rising[-1]
    same = overlap_by_prompts(before, before, sizes=[10], top_k=[40], splits=20)[0]
    assert same.retention is not None and abs(same.retention - 1) < 0.1


def test_the_noise_of_two_models_is_that_of_the_similarity() -> None:
    before, after = scores(2, 100, ratio=3.0, kept=1.0)
    ratio = noise_ratio(InMemory(before), InMemory(after))
    assert ratio == pytest.approx(3.0, rel=0.15)
    assert ratio == pytest.approx(score_similarity(before, after, replicates=50).noise_ratio)


def test_retention_is_undefined_where_the_ceilings_are_far_apart_and_says_so() -> None:
    before, after = scores(2, 100, ratio=5.0, kept=1.0)
    for both in ((before, after), (after, before)):
        found = retention_index(*both, top_k=[40], splits=10, replicates=40)
        (row,) = found.by_k
        above = sorted([row.ceiling_before - row.null, row.ceiling_after - row.null])
        assert above[1] > 1.5 * above[0] and row.hidden is not None and row.hidden > np.log(1.5) ** 2
        assert (found.status, found.estimate, row.status, row.estimate) == ("undefined", None, "undefined", None)
        ceilings = f"{row.ceiling_before:.2f} before and {row.ceiling_after:.2f} after"
        assert f"{ceilings}, are too unequal for a common ceiling; the similarity" in found.message
    several = retention_index(before, after, top_k=[40, 60], splits=10, replicates=40).message
    assert (several.count("are too unequal"), several.count("the similarity allows")) == (2, 1)
    assert several.endswith("; the similarity allows for unequal noise")


def test_what_unequal_noise_may_hide_is_added_to_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = scores(2, 100, ratio=3.0, kept=1.0)
    options = {"top_k": [40, 30], "splits": 10, "replicates": 40}
    found = retention_index(before, after, **options)
    assert found.status == "ok" and found.replicates is not None and found.low < 1 < found.high
    monkeypatch.setattr(retention, "_hidden", lambda *_: 0.0)
    plain = retention_index(before, after, **options)
    assert [one.estimate for one in (plain, *plain.by_k)] == [one.estimate for one in (found, *found.by_k)]
    for wide, narrow in zip(found.by_k, plain.by_k, strict=True):
        assert wide.hidden is not None and wide.se == pytest.approx(np.hypot(narrow.se, wide.hidden * wide.estimate))
    hidden = float(np.mean([row.hidden for row in found.by_k]))
    assert hidden > 0.001 and found.se == pytest.approx(np.hypot(plain.se, hidden * found.estimate))
    assert found.replicates - found.estimate == pytest.approx((plain.replicates - plain.estimate) * found.se / plain.se)


def test_what_unequal_noise_hides_has_its_own_noise_taken_off() -> None:
    """Equal models have ceilings that differ by chance alone: the square of that is no bias."""
    hidden = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        mean = np.random.default_rng(1).normal(size=300) ** 3
        before, after = (mean + 6 * rng.normal(size=(20, 300)) for _ in range(2))
        (row,) = retention_index(before, after, top_k=[40], splits=10, replicates=40).by_k
        if row.hidden is not None:
            hidden.append(row.hidden)
    assert len(hidden) > 30 and np.mean(np.array(hidden) == 0) > 0.5


@pytest.mark.nightly
@pytest.mark.parametrize("ratio", [1.0, 1.15, 1.3, 2.0])
def test_where_there_is_an_interval_it_holds_equal_circuits(ratio: float) -> None:
    """Noise that has nothing to do with an edge's mean, the case in which unequal noise lowers the index most."""
    covered = []
    rng = np.random.default_rng(5)
    mean, sd = rng.normal(size=1000) ** 3 / 4, 3 * np.abs(rng.normal(size=1000))
    for seed in range(100):
        draw = np.random.default_rng([seed, 9])
        before, after = (mean + factor * sd * draw.normal(size=(40, 1000)) for factor in (1.0, ratio))
        found = retention_index(before, after, top_k=[50], splits=20, replicates=60, seed=seed)
        if found.status == "ok":
            covered.append(found.low <= 1 <= found.high)  # type: ignore[operator]
    # Three Monte Carlo standard errors below .95; at 1:2 the ceilings are too far apart for most data sets.
    assert len(covered) > 60 if ratio < 2 else len(covered) < 30
    assert len(covered) < 30 or np.mean(covered) >= 0.885
