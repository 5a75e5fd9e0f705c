"""Use over components: closed forms, what is undefined, and simulated coverage and error rates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from stats import linear_contrast, pooled_use
from stats.component_use import both_ways
from stats.faithfulness import RatioEstimate
from stats.findings import Status
from stats.hypothesis_tests import difference_test
from stats.replicates import Replicated


def drawn(
    rng: np.random.Generator, components: int, n: int, *, use: float, own: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Cross and own effects: the means of the own ones are of both signs, and half of the components have none."""
    means = own * np.where(np.arange(components) % 2, 0.0, np.linspace(-0.5, 1.5, components))
    shared = rng.standard_normal((components, n))
    a = means[:, None] + 0.6 * shared + 0.4 * rng.standard_normal((components, n))
    b = use * means[:, None] + 0.6 * use * shared + 0.6 * rng.standard_normal((components, n))
    return b, a


def test_it_is_the_slope_from_products_of_different_prompts() -> None:
    cross, own = drawn(np.random.default_rng(0), 3, 7, use=0.5, own=4.0)
    pairs = list(itertools.permutations(range(7), 2))
    product = sum(own[c, i] * cross[c, j] for c in range(3) for i, j in pairs)
    square = sum(own[c, i] * own[c, j] for c in range(3) for i, j in pairs)
    assert pooled_use(cross, own).estimate == pytest.approx(product / square)


def test_the_same_effects_are_used_wholly_and_any_multiple_by_that_factor() -> None:
    own = np.random.default_rng(1).standard_normal((4, 9)) + 2
    for factor in (1.0, 0.0, -0.5):
        found = pooled_use(factor * own, own)
        assert found.estimate == pytest.approx(factor, abs=1e-15)
        assert (found.se, found.status) == (0.0, "points only")


def test_components_that_work_against_the_answer_do_not_cancel() -> None:
    rng = np.random.default_rng(2)
    own = np.stack([rng.normal(1, 0.1, 20), rng.normal(-1, 0.1, 20)])
    assert pooled_use(0.3 * own, own).estimate == pytest.approx(0.3)


def test_with_one_component_the_error_is_that_of_a_ratio_of_means() -> None:
    """For many prompts, by the textbook formula; the products of different prompts differ from it by 1/n."""
    cross, own = drawn(np.random.default_rng(3), 1, 4000, use=0.5, own=-2.0)
    found = pooled_use(cross, own)
    ratio = cross.mean() / own.mean()
    se = np.std(cross[0] - ratio * own[0], ddof=1) / np.sqrt(4000) / abs(own.mean())
    assert found.estimate == pytest.approx(ratio, rel=2e-3)
    assert found.se == pytest.approx(se, rel=5e-3)


def test_units_of_one_example_are_the_examples_and_copies_are_one_unit() -> None:
    cross, own = drawn(np.random.default_rng(4), 5, 12, use=0.7)
    plain = pooled_use(cross, own)
    named = pooled_use(cross, own, cluster=[f"t{i:02d}" for i in range(12)])
    assert (named.estimate, named.low, named.high) == (plain.estimate, plain.low, plain.high)
    twice = pooled_use(np.repeat(cross, 2, axis=1), np.repeat(own, 2, axis=1), cluster=np.repeat(np.arange(12), 2))
    assert (twice.estimate, twice.se) == pytest.approx((plain.estimate, plain.se))
    assert twice.influence is not None and len(twice.influence) == 12


def test_without_an_effect_of_its_own_it_is_undefined() -> None:
    nothing = pooled_use(np.ones((3, 8)), np.zeros((3, 8)))
    assert (nothing.estimate, nothing.status) == (None, "undefined")
    assert nothing.message == "what the own activations restore is 0 over all components"
    noise = np.random.default_rng(5).standard_normal((3, 8))
    for mean in (0.0, 0.2):
        own = noise - noise.mean(axis=1, keepdims=True) + mean
        assert "does not clear 0" in pooled_use(noise, own).message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"own": np.ones((2, 3))}, r"own: expected as many effects as in cross, \[2, 4\], got \[2, 3\]"),
        ({"own": np.full((2, 4), np.nan)}, "own: expected finite numbers"),
        ({"own": np.ones(4)}, r"own: expected 2 dimension\(s\)"),
        ({"own": np.ones((2, 4)), "confidence": 1.0}, "confidence: expected a number between 0 and 1"),
    ],
)
def test_wrong_input_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pooled_use(np.ones((2, 4)), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("components", "n"), [(1, 8), (10, 8), (100, 20), (10, 60)])
def test_no_effect_is_hardly_ever_taken_for_one(components: int, n: int) -> None:
    rng = np.random.default_rng([6, components, n])
    defined = [
        pooled_use(rng.standard_normal((components, n)), rng.standard_normal((components, n))).estimate is not None
        for _ in range(500)
    ]
    assert np.mean(defined) < 0.01


@pytest.mark.parametrize(("n", "lowest"), [(10, 0.90), (60, 0.93)])
def test_intervals_cover_the_truth(n: int, lowest: float) -> None:
    rng = np.random.default_rng([7, n])
    covered = []
    for _ in range(600):
        found = pooled_use(*drawn(rng, 9, n, use=0.6, own=1.5))
        if found.low is not None and found.high is not None:
            covered.append(found.low <= 0.6 <= found.high)
    assert len(covered) > 500
    assert lowest <= np.mean(covered) <= 0.98


def test_a_contrast_of_two_pairs_on_the_same_prompts_errs_as_often_as_it_says() -> None:
    """Both pairs share a model, and so their own effects; their uses are the same."""
    rng, rejected = np.random.default_rng(8), []
    for _ in range(600):
        _, own = drawn(rng, 9, 40, use=0.6, own=1.5)
        parts = []
        for name in ("treatment", "control"):
            found = pooled_use(0.6 * own + 0.7 * rng.standard_normal(own.shape), own)
            assert found.estimate is not None
            parts.append(
                Replicated(
                    label=name,
                    estimate=found.estimate,
                    replicates=None,
                    se=found.se,
                    df=39,
                    units=40,
                    influence=found.influence,
                    linearised=True,
                )
            )
        contrast = linear_contrast(parts, [1.0, -1.0], ["task", "task"])
        p = difference_test(contrast.estimate, contrast.se, contrast.df).p
        assert p is not None
        rejected.append(p < 0.05)
    assert 0.025 <= np.mean(rejected) <= 0.075


def test_one_unit_or_effects_that_cancel_have_no_use() -> None:
    effects = np.array([[1.0, 2.0, 3.0]])
    alone = pooled_use(effects, effects, cluster=["a", "a", "a"])
    assert (alone.status, alone.estimate) == ("undefined", None) and "one independent unit" in alone.message
    against = pooled_use(np.array([[1.0, -1.0]]), np.array([[1.0, -1.0]]))
    assert (against.status, against.estimate) == ("undefined", None) and "does not clear 0" in against.message


def ratio(use: float | None, low: float | None, message: str = "") -> RatioEstimate:
    status: Status = "undefined" if use is None else "ok"
    return RatioEstimate(estimate=use, low=low, high=None, se=None, status=status, message=message, influence=None)


@pytest.mark.parametrize("factor", [0.2, 0.5, 1.0, 2.0, 10.0])
def test_a_factor_between_two_models_cancels_over_both_directions(factor: float) -> None:
    """The arithmetic mean of a factor and its inverse is above 1 for every factor but 1."""
    own = np.random.default_rng(5).standard_normal((6, 20)) + 2
    before = pooled_use(factor * own, own)
    after = pooled_use(own, factor * own)
    found = both_ways({"before": before, "after": after})
    assert not isinstance(found, str)
    assert found[0] == pytest.approx(1) and before.estimate == pytest.approx(factor)


def test_the_error_of_both_directions_is_the_slope_of_their_geometric_mean() -> None:
    mean, rates = both_ways({"before": ratio(0.5, 0.2), "after": ratio(0.9, 0.6)})  # type: ignore[misc]
    assert mean == pytest.approx(np.sqrt(0.45))
    for side, (one, other) in {"before": (0.5, 0.9), "after": (0.9, 0.5)}.items():
        slope = (np.sqrt((one + 1e-6) * other) - np.sqrt((one - 1e-6) * other)) / 2e-6
        assert rates[side] == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(
    ("uses", "reason"),
    [
        ({"before": ratio(0.9, 0.5), "after": ratio(0.1, -0.1)}, "into the model after: use 0.1 does not clear 0, as"),
        ({"before": ratio(0.9, 0.5), "after": ratio(0.1, 0.0)}, "into the model after: use 0.1 does not clear 0, as"),
        ({"before": ratio(-0.2, None), "after": ratio(0.9, 0.5)}, "into the model before: use -0.2 does not clear 0"),
        ({"before": ratio(None, None, "it restores nothing"), "after": ratio(0.9, 0.5)}, "before: it restores nothing"),
    ],
)
def test_a_geometric_mean_is_of_two_numbers_above_zero(uses: dict[str, RatioEstimate], reason: str) -> None:
    found = both_ways(uses)
    assert isinstance(found, str) and reason in found


def both_covered(seed: int, n: int, factor: float) -> bool | None:
    """Whether the interval of the use in both directions holds .6 x .6; None where it is undefined."""
    rng = np.random.default_rng([41, seed, n])
    cross, own = drawn(rng, 12, n, use=0.6 * factor, own=2.0)
    other, others = drawn(rng, 12, n, use=0.6 / factor, own=2.0)
    uses = {"before": pooled_use(cross, own), "after": pooled_use(other, others)}
    found = both_ways(uses)
    if isinstance(found, str):
        return None
    mean, rates = found
    error = sum(rates[side] * one.influence for side, one in uses.items() if one.influence is not None)
    test = difference_test(mean, float(np.linalg.norm(error)), n - 1)
    assert test.low is not None and test.high is not None
    return test.low <= 0.6 <= test.high


@pytest.mark.nightly
@pytest.mark.parametrize(("n", "factor"), [*itertools.product([10, 20, 60], [1.0, 3.0])])
def test_the_interval_of_both_directions_holds_the_geometric_mean(n: int, factor: float) -> None:
    found = [one for one in (both_covered(seed, n, factor) for seed in range(1000)) if one is not None]
    # With 10 prompts a use of .2 does not always clear its noise; else there is hardly one without an interval.
    assert len(found) >= (850 if (n, factor) == (10, 3.0) else 990)
    assert np.mean(found) >= 0.925
