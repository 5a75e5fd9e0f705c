from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate
from scipy import stats as scipy_stats

from stats import FaithfulnessCurve, RatioEstimate, faithfulness_curve, linear_contrast, transfer_ratio
from stats.replicates import Replicated

Floats = NDArray[np.float64]

FRACTIONS = [0.001, 0.01, 0.1, 0.5]
SHARES = np.array([0.1, 0.4, 0.9, 1.2])


def metrics(rng: np.random.Generator, n: int, *, noise: float = 0.3) -> tuple[Floats, Floats, Floats]:
    """Circuits [4, n], full and empty [n]; the faithfulness over infinitely many examples is `SHARES`."""
    empty = rng.standard_normal(n)
    effect = 1 + 0.4 * rng.standard_normal(n)
    circuits = empty + SHARES[:, None] * effect + noise * rng.standard_normal((4, n))
    return circuits, empty + effect, empty


def curve(seed: int, n: int = 30, **options: Any) -> FaithfulnessCurve:
    circuits, full, empty = metrics(np.random.default_rng(seed), n)
    return faithfulness_curve(circuits, full=full, empty=empty, fractions=FRACTIONS, **options)


def ends(result: RatioEstimate) -> tuple[float | None, float | None, float | None]:
    return result.estimate, result.low, result.high


def every_estimate(result: FaithfulnessCurve) -> list[RatioEstimate]:
    return [*result.faithfulness, result.cmd, result.cpr]


def test_circuits_that_keep_the_same_share_in_every_example_have_that_faithfulness_exactly() -> None:
    rng = np.random.default_rng(0)
    empty, effect = rng.standard_normal(12), 2 + rng.random(12)
    circuits = empty + SHARES[:, None] * effect
    result = faithfulness_curve(circuits, full=empty + effect, empty=empty, fractions=FRACTIONS)
    assert [f.estimate for f in result.faithfulness] == pytest.approx(SHARES.tolist(), rel=1e-12)
    assert [f.se for f in result.faithfulness] == [0.0] * 4
    assert {f.status for f in result.faithfulness} == {"points only"}
    assert result.faithfulness[0].message == "constant: every cluster gives the same value"
    assert result.effect.estimate == pytest.approx(effect.mean())


def test_the_full_circuit_has_faithfulness_one_and_the_empty_one_zero() -> None:
    _, full, empty = metrics(np.random.default_rng(1), 20)
    result = faithfulness_curve([empty, full], full=full, empty=empty, fractions=[0.5, 1.0])
    assert [f.estimate for f in result.faithfulness] == [0.0, 1.0]
    assert result.cpr.estimate == pytest.approx(0.25) and result.cmd.estimate == pytest.approx(0.75)


def test_the_ratio_is_one_of_means_and_not_the_mean_of_ratios() -> None:
    full, empty, circuit = [1.0, 9.0, 2.0, 8.0, 5.0], [0.0] * 5, [1.0, 0.0, 2.0, 0.0, 0.0]
    result = faithfulness_curve([circuit], full=full, empty=empty, fractions=[0.1])
    assert result.faithfulness[0].estimate == pytest.approx(3 / 25)


@pytest.mark.parametrize("last", [0.5, 1.0])
def test_cmd_and_cpr_are_trapezoidal_integrals_from_nothing_to_the_full_circuit(last: float) -> None:
    circuits, full, empty = metrics(np.random.default_rng(2), 25)
    sizes = [0.001, 0.02, 0.3, last]
    result = faithfulness_curve(circuits, full=full, empty=empty, fractions=sizes)
    f = (circuits.mean(1) - empty.mean()) / (full.mean() - empty.mean())
    x = np.array([0, *sizes, *([] if last == 1 else [1])])
    y = np.array([0, *f, *([] if last == 1 else [1])])
    assert [estimate.estimate for estimate in result.faithfulness] == pytest.approx(f.tolist())
    assert result.cpr.estimate == pytest.approx(integrate.trapezoid(y, x))
    assert result.cmd.estimate == pytest.approx(integrate.trapezoid(np.abs(1 - y), x))


def test_with_the_same_effect_in_every_example_the_interval_is_that_of_the_t_test() -> None:
    rng = np.random.default_rng(3)
    empty, kept = rng.standard_normal(15), rng.standard_normal(15)
    result = faithfulness_curve([empty + kept], full=empty + 2, empty=empty, fractions=[0.1], confidence=0.9)
    expected = scipy_stats.ttest_1samp(kept / 2, 0).confidence_interval(0.9)
    assert ends(result.faithfulness[0])[1:] == pytest.approx((expected.low, expected.high))
    assert (result.n, result.clusters, result.df, result.confidence) == (15, 15, 14, 0.9)


def test_the_effect_has_the_interval_of_the_paired_t_test() -> None:
    _, full, empty = metrics(np.random.default_rng(4), 30)
    expected = scipy_stats.ttest_rel(full, empty).confidence_interval(0.95)
    assert ends(curve(4).effect)[1:] == pytest.approx((expected.low, expected.high))


def test_standard_errors_are_those_of_the_delete_one_jackknife_over_clusters() -> None:
    circuits, full, empty = metrics(np.random.default_rng(5), 40)
    cluster = np.random.default_rng(6).integers(0, 9, 40)
    result = faithfulness_curve(circuits, full=full, empty=empty, fractions=FRACTIONS, cluster=cluster)
    b = full - empty
    # The integrals weight the sizes like this; the ends of the curve do not vary.
    weights = [0.01 / 2, (0.1 - 0.001) / 2, (0.5 - 0.01) / 2, (1 - 0.1) / 2]
    f = [float((circuit - empty).sum() / b.sum()) for circuit in circuits]
    without = []
    for c in np.unique(cluster):
        left = cluster != c
        without.append([float((circuits[s] - empty)[left].sum() / b[left].sum()) for s in range(4)])
    assert result.clusters == len(without)
    share = (len(without) - 1) / len(without)
    by_size = share * np.square(np.array(without) - np.mean(without, axis=0)).sum(axis=0)
    assert [estimate.se for estimate in result.faithfulness] == pytest.approx(np.sqrt(by_size).tolist())
    areas = np.array(without) @ np.array([weights, np.sign(np.array(f) - 1) * weights]).T
    both = share * np.square(areas - areas.mean(axis=0)).sum(axis=0)
    assert [result.cpr.se, result.cmd.se] == pytest.approx(np.sqrt(both).tolist())


def test_where_a_cluster_is_the_whole_denominator_the_error_is_to_first_order() -> None:
    own, other = np.array([5.0, -1.0]), np.array([2.0, 1.0])
    ratio = transfer_ratio(own, other, full=own, empty=np.zeros(2)).ratio
    assert ratio.estimate == pytest.approx(0.75)
    first_order = np.sqrt(2) * np.array([2 - 0.75 * 5, 1 + 0.75]) / 4
    assert ratio.influence is not None
    np.testing.assert_allclose(ratio.influence, first_order)


def test_examples_that_are_repeated_within_their_cluster_tell_nothing_new() -> None:
    circuits, full, empty = (np.repeat(m, 3, axis=-1) for m in metrics(np.random.default_rng(7), 30))
    repeated = faithfulness_curve(
        circuits, full=full, empty=empty, fractions=FRACTIONS, cluster=np.repeat(np.arange(30), 3)
    )
    for ours, once in zip(every_estimate(repeated), every_estimate(curve(7)), strict=True):
        assert ends(ours) == pytest.approx(ends(once))
    assert (repeated.n, repeated.clusters) == (90, 30)


def test_influences_give_the_standard_error_of_a_difference_of_dependent_estimates() -> None:
    rng = np.random.default_rng(8)
    circuits, full, empty = metrics(rng, 200)
    ours = faithfulness_curve(circuits, full=full, empty=empty, fractions=FRACTIONS)
    parts = [
        Replicated(label="f", estimate=f.estimate, replicates=None, se=f.se, df=199, units=200, influence=f.influence)
        for f in ours.faithfulness[1:3]
        if f.estimate is not None
    ]
    contrast = linear_contrast(parts, [-1, 1], ["task", "task"])
    drawn = rng.multinomial(200, np.full(200, 1 / 200), size=4000)
    base = drawn @ (full - empty)
    differences = (drawn @ (circuits[2] - circuits[1])) / base
    assert contrast.se == pytest.approx(differences.std(), rel=0.06)
    assert ours.cmd.influence is not None and ours.cmd.se == pytest.approx(np.linalg.norm(ours.cmd.influence))


@pytest.mark.nightly
def test_nominal_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(9)
    runs, covered = 1500, np.zeros(7)
    weights = [0.01 / 2, (0.1 - 0.001) / 2, (0.5 - 0.01) / 2, (1 - 0.1) / 2]
    truth = [*SHARES, 0.001 / 2 + weights @ np.abs(1 - SHARES), 0.25 + weights @ SHARES, 0.4 / 0.9]
    for _ in range(runs):
        circuits, full, empty = metrics(rng, 20)
        result = faithfulness_curve(circuits, full=full, empty=empty, fractions=FRACTIONS)
        ratio = transfer_ratio(circuits[2], circuits[1], full=full, empty=empty).ratio
        for i, (estimate, true) in enumerate(zip([*every_estimate(result), ratio], truth, strict=True)):
            assert estimate.low is not None and estimate.high is not None
            covered[i] += estimate.low <= true <= estimate.high
    assert (np.abs(covered / runs - 0.95) < 0.025).all(), covered / runs


@given(st.integers(0, 2**31), st.floats(-1e3, 1e3), st.floats(0.01, 100), st.booleans())
def test_neither_the_scale_nor_the_zero_nor_the_sign_of_the_metric_matters(
    seed: int, shift: float, scale: float, negative: bool
) -> None:
    circuits, full, empty = metrics(np.random.default_rng(seed), 15)
    factor = -scale if negative else scale
    moved = [factor * m + shift for m in (circuits, full, empty)]
    before = faithfulness_curve(circuits, full=full, empty=empty, fractions=FRACTIONS)
    after = faithfulness_curve(moved[0], full=moved[1], empty=moved[2], fractions=FRACTIONS)
    assert before.status == after.status
    for ours, theirs in zip(every_estimate(after), every_estimate(before), strict=True):
        assert ends(ours) == pytest.approx(ends(theirs), rel=1e-6, abs=1e-9)


@given(st.integers(0, 2**31), st.permutations(range(15)))
def test_the_order_of_the_examples_does_not_matter(seed: int, order: list[int]) -> None:
    circuits, full, empty = metrics(np.random.default_rng(seed), 15)
    cluster = np.arange(15) // 2
    options: dict[str, Any] = {"fractions": FRACTIONS}
    before = faithfulness_curve(circuits, full=full, empty=empty, cluster=cluster, **options)
    after = faithfulness_curve(
        circuits[:, order], full=full[order], empty=empty[order], cluster=cluster[order], **options
    )
    for ours, theirs in zip(every_estimate(after), every_estimate(before), strict=True):
        assert ends(ours) == pytest.approx(ends(theirs), rel=1e-9)


@pytest.mark.parametrize("effect", ["none", "noise"])
def test_without_an_effect_of_the_corruption_faithfulness_is_undefined_and_no_number_is_given(effect: str) -> None:
    rng = np.random.default_rng(10)
    circuits, _, empty = metrics(rng, 30)
    full = empty + (0 if effect == "none" else rng.standard_normal(30))
    result = faithfulness_curve(circuits, full=full, empty=empty, fractions=FRACTIONS)
    reason = "is 0" if effect == "none" else "does not clear 0"
    assert result.status == "undefined" and result.message.startswith(
        "the effect of the corruption, m(full) - m(empty)"
    )
    assert reason in result.message
    for estimate in every_estimate(result):
        assert (estimate.status, estimate.message) == ("undefined", result.message)
        assert ends(estimate) == (None, None, None) and estimate.se is None and estimate.influence is None
    assert result.effect.estimate is not None


@pytest.mark.parametrize("n", [1, 2, 4])
def test_fewer_than_five_examples_give_points_without_an_interval(n: int) -> None:
    circuits, full, empty = metrics(np.random.default_rng(11), n)
    result = faithfulness_curve(circuits, full=full, empty=empty, fractions=FRACTIONS)
    assert (result.status, result.message) == ("points only", f"{n} cluster(s): fewer than 5, no interval")
    expected = (circuits.mean(1) - empty.mean()) / (full.mean() - empty.mean())
    for estimate, f in zip(result.faithfulness, expected, strict=True):
        assert ends(estimate) == (pytest.approx(f), None, None) and estimate.status == "points only"
        assert (estimate.se is None) == (n == 1)


def test_the_transfer_ratio_is_the_ratio_of_two_faithfulnesses() -> None:
    circuits, full, empty = metrics(np.random.default_rng(12), 30)
    result = transfer_ratio(circuits[2], circuits[1], full=full, empty=empty)
    both = curve(12).faithfulness
    assert ends(result.own) == pytest.approx(ends(both[2])) and ends(result.other) == pytest.approx(ends(both[1]))
    assert result.own.estimate and result.other.estimate
    assert result.ratio.estimate == pytest.approx(result.other.estimate / result.own.estimate)
    same = transfer_ratio(circuits[1], circuits[1], full=full, empty=empty).ratio
    assert (same.estimate, same.se, same.status) == (1.0, 0.0, "points only")


def test_a_transfer_ratio_needs_an_effect_and_an_own_circuit_that_restores_some_of_it() -> None:
    rng = np.random.default_rng(13)
    circuits, full, empty = metrics(rng, 30)
    useless = transfer_ratio(empty + rng.standard_normal(30), circuits[0], full=full, empty=empty)
    assert useless.ratio.status == "undefined" and useless.own.status == useless.other.status == "ok"
    assert useless.ratio.message.startswith("what the own circuit restores, m(own) - m(empty), does not clear 0")
    no_effect = transfer_ratio(circuits[2], circuits[1], full=empty, empty=empty)
    assert {r.status for r in (no_effect.ratio, no_effect.own, no_effect.other)} == {"undefined"}
    assert no_effect.ratio.message == "the effect of the corruption, m(full) - m(empty), is 0"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"circuits": [1.0, 2.0]}, r"circuits: expected 2 dimension\(s\), got shape \(2,\)"),
        ({"circuits": [[1.0, np.nan]]}, r"circuits: expected finite numbers, got 1 NaN or infinite of 2"),
        ({"circuits": np.zeros((1, 0))}, r"circuits: expected at least one value"),
        ({"full": [1.0]}, r"full: expected a metric for each of 2 examples, got 1"),
        ({"empty": [1.0, np.inf]}, r"empty: expected finite numbers"),
        ({"fractions": [0.1, 0.2]}, r"fractions: expected one for each of 1 circuits, got 2"),
        ({"fractions": [0.0]}, r"fractions: expected rising sizes above 0 and up to 1, got \[0.0\]"),
        ({"fractions": [1.5]}, r"fractions: expected rising sizes above 0 and up to 1, got \[1.5\]"),
        ({"circuits": [[1.0, 2.0]] * 2, "fractions": [0.2, 0.2]}, r"fractions: expected rising sizes"),
        ({"cluster": [0]}, r"cluster: expected 2 labels"),
        ({"confidence": 1.0}, r"confidence: expected a number between 0 and 1, got 1.0"),
    ],
)
def test_wrong_input_is_an_error_that_says_what_was_expected(change: dict[str, Any], complaint: str) -> None:
    good: dict[str, Any] = {"circuits": [[1.0, 2.0]], "full": [1.0, 3.0], "empty": [0.0, 0.0], "fractions": [0.1]}
    faithfulness_curve(**good)
    with pytest.raises(ValueError, match=complaint):
        faithfulness_curve(**{**good, **change})
