"""Rates of a family of hypotheses from estimates whose distribution is known, held against closed forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mechshift_core import load_spec
from mechshift_core.analysis.planting import Decisions, Known
from mechshift_core.spec import Hypothesis, Spec
from stats.calibration import HypothesisCalibration
from stats.findings import Finding, Status
from stats.hypothesis_tests import difference_test
from stats.replicates import Contrast

pytestmark = pytest.mark.long

SPEC = Path(__file__).parents[2] / "specs" / "quickstart.yaml"
DF, SE = 19, 0.5
GROUPS = {"contrast": {"role": ["treatment", "control"]}}


def spec(correction: str = "holm") -> Spec:
    loaded = load_spec(SPEC, check_files=False)
    return loaded.model_copy(
        update={"statistics": loaded.statistics.model_copy(update={"correction": correction})},
    )


def hypothesis(test: dict[str, Any], *, name: str = "h", measure: str = "depth_slope", **more: Any) -> Hypothesis:
    return Hypothesis.model_validate({"id": name, "measure": measure, "test": test, **more})


def finding(estimate: float, se: float, *, status: Status = "ok", message: str = "") -> Finding:
    """The finding of a two-sided test from zero: p only says here that it was tested."""
    result = difference_test(estimate, se, DF)
    blank = dict.fromkeys(("id", "claim", "measure", "estimand", "method"), "")
    return Finding(
        **blank,
        test="difference",
        alternative="two-sided",
        margin=None,
        estimate=estimate,
        se=se,
        low=result.low,
        high=result.high,
        confidence=0.95,
        statistic=result.statistic,
        df=DF,
        p=result.p if status == "ok" else None,
        p_corrected=None,
        correction="holm",
        family_size=1,
        n={},
        seed=0,
        verdict="inconclusive",
        status=status,
        message=message,
    )


def decisions(tests: list[Hypothesis], *, repetitions: int = 1500, truth: float = 0.0, scale: float = 1.0) -> Decisions:
    """Independent estimates, normal around the truth, with standard errors that are `scale` times what they should."""
    rng = np.random.default_rng(1)
    shape = (repetitions, len(tests))
    estimates = truth + SE * rng.normal(size=shape)
    errors = scale * SE * np.sqrt(rng.chisquare(DF, size=shape) / DF)
    rows = [
        [finding(float(e), float(s)) for e, s in zip(*row, strict=True)] for row in zip(estimates, errors, strict=True)
    ]
    return Decisions(spec(), [Known.of(one, truth) for one in tests], rows, contrasts(rows))


def contrasts(rows: list[list[Finding]]) -> list[list[tuple[Contrast, ...] | None]]:
    """What such findings were decided on."""
    return [
        [
            None
            if one.estimate is None
            else (Contrast(estimate=one.estimate, se=one.se, df=one.df, replicates=None, units=()),)
            for one in row
        ]
        for row in rows
    ]


def one(found: Decisions, *distances: float) -> HypothesisCalibration:
    (calibrated,), _ = found.calibrated(distances)
    return calibrated


LONG = pytest.mark.long


@pytest.mark.parametrize("alternative", ["less", *(pytest.param(x, marks=LONG) for x in ("greater", "two-sided"))])
def test_power_is_that_of_the_noncentral_t(alternative: str) -> None:
    found = one(decisions([hypothesis({"kind": "difference", "alternative": alternative})]), 0.5, 1.5)
    assert [point.distance for point in found.power] == [0.0, 0.5, 1.5]
    sign = -1 if alternative == "less" else 1
    assert [point.value for point in found.power] == [0.0, sign * 0.5, sign * 1.5]
    tail = 0.025 if alternative == "two-sided" else 0.05
    critical = scipy_stats.t.ppf(1 - tail, DF)
    for point in found.power:
        exact = float(scipy_stats.nct.sf(critical, DF, point.distance / SE))
        if alternative == "two-sided":
            exact += float(scipy_stats.nct.cdf(-critical, DF, point.distance / SE))
        assert point.rate.value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 1500))
    assert found.false_positives[0].rate.flag == ""
    assert found.coverage is not None and found.coverage.flag == ""
    assert found.se == pytest.approx(SE, rel=0.03) and found.sd == pytest.approx(SE, rel=0.1)


def test_the_detectable_effect_is_found_on_the_default_grid() -> None:
    found = one(decisions([hypothesis({"kind": "difference", "alternative": "less"})], repetitions=600))
    assert found.detectable is not None
    critical = scipy_stats.t.ppf(0.95, DF)
    assert scipy_stats.nct.sf(critical, DF, found.detectable / SE) == pytest.approx(0.8, abs=0.06)
    assert found.detectable_corrected == pytest.approx(found.detectable)  # a family of one


def test_standard_errors_that_are_too_small_are_flagged() -> None:
    found = one(decisions([hypothesis({"kind": "difference"})], repetitions=300, scale=0.5), 1.0)
    assert found.false_positives[0].rate.flag == "above"
    assert found.coverage is not None and found.coverage.flag == "below"


def test_a_test_that_always_rejects_is_flagged() -> None:
    found = decisions([hypothesis({"kind": "difference"})], repetitions=100)
    rows = [[finding(5.0, 0.1)]] * 100
    (calibrated,), family = Decisions(found.spec, found.known, rows, contrasts(rows)).calibrated((1.0,))
    assert calibrated.false_positives[0].rate.value == 1.0
    assert calibrated.false_positives[0].rate.flag == "above"
    assert family is not None and family.flag == "above"


def test_an_equivalence_is_at_its_null_at_either_margin_and_has_its_power_in_the_middle() -> None:
    margin = 3 * SE
    found = one(decisions([hypothesis({"kind": "equivalence", "margin": margin}, **GROUPS)]), 1.0, 100.0)
    assert [point.value for point in found.false_positives] == [margin, -margin]
    assert [point.rate.flag for point in found.false_positives] == ["", ""]
    assert [point.distance for point in found.power] == [0.0, 1.0, margin]
    unshifted = found.power[-1]
    assert (unshifted.value, unshifted.shift) == (0.0, 0.0)
    critical, rng = scipy_stats.t.ppf(0.95, DF), np.random.default_rng(0)
    estimates, errors = SE * rng.normal(size=10**6), SE * np.sqrt(rng.chisquare(DF, size=10**6) / DF)
    assert unshifted.rate.value == pytest.approx(np.mean(np.abs(estimates) + critical * errors < margin), abs=0.03)


@pytest.mark.parametrize(
    ("test", "null", "direction"),
    [
        ({"kind": "non_inferiority", "margin": 0.4}, -0.4, 1),
        pytest.param({"kind": "bound", "bound": 0.3, "alternative": "less"}, 0.3, -1, marks=LONG),
        pytest.param({"kind": "bound", "bound": 0.3, "alternative": "greater"}, 0.3, 1, marks=LONG),
    ],
)
def test_a_test_whose_null_is_elsewhere_is_moved_there(test: dict[str, Any], null: float, direction: int) -> None:
    found = one(decisions([hypothesis(test)]), 0.5)
    (at_null,) = found.false_positives
    assert (at_null.value, at_null.shift, at_null.rate.flag) == (null, null, "")
    unshifted = [point for point in found.power if point.shift == 0]
    assert len(unshifted) == (1 if direction * -null > 0 else 0)  # only where the A/A value is on the side of the claim


def test_retention_of_one_group_is_held_against_one_or_a_bound_and_otherwise_refused() -> None:
    retention: dict[str, Any] = {"measure": "retention"}
    bound = one(
        decisions([hypothesis({"kind": "bound", "bound": 0.8, "alternative": "greater"}, **retention)], truth=1.0)
    )
    assert (bound.truth, bound.status) == (1.0, "ok")
    assert bound.false_positives[0].shift == pytest.approx(-0.2)
    assert bound.coverage is not None and bound.coverage.flag == ""
    refused = one(decisions([hypothesis({"kind": "difference"}, **retention)], repetitions=50, truth=1.0))
    assert (refused.status, refused.false_positives, refused.power) == ("refused", (), ())
    assert "no A/A data" in refused.message and refused.coverage is not None
    contrast = Known.of(hypothesis({"kind": "difference"}, **retention, **GROUPS), 1.0)
    assert (contrast.truth, contrast.refused) == (0.0, "")
    to = {"kind": "equivalence", "margin": 0.2, "to": {"role": "control"}}
    assert Known.of(hypothesis(to, **retention), 1.0).truth == 0.0


FAMILIES = [("holm", 0.05), *(pytest.param(*one, marks=LONG) for one in (("benjamini-hochberg", 0.05), ("none", None)))]


@pytest.mark.parametrize(("correction", "nominal"), FAMILIES)
def test_the_family_rate_is_that_of_its_correction(correction: str, nominal: float | None) -> None:
    tests = [hypothesis({"kind": "difference"}, name=name) for name in "abcd"]
    made = decisions(tests, repetitions=500)
    _, family = Decisions(spec(correction), made.known, made.findings, made.contrasts).calibrated((1.0,))
    assert family is not None and family.nominal == nominal
    # Independent hypotheses: Holm's 1 - (1 - .05 / 4)^4, which Benjamini-Hochberg's equals at most slightly above.
    expected = 1 - 0.95**4 if correction == "none" else 0.049
    assert family.value == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 500))


def test_correction_costs_power() -> None:
    tests = [hypothesis({"kind": "difference"}, name=name) for name in "abcd"]
    found, _ = decisions(tests, repetitions=300).calibrated(())
    for each in found:
        assert each.detectable is not None and each.detectable_corrected is not None
        assert each.detectable < each.detectable_corrected
        assert all(point.corrected.count <= point.rate.count for point in each.power)


def test_repetitions_without_a_test_are_counted_out_and_said() -> None:
    tests = [hypothesis({"kind": "difference"}, name=name) for name in "ab"]
    made = decisions(tests, repetitions=40)
    untested = finding(0.0, 1.0, status="undefined", message="no ceiling")
    rows = [[a if number % 4 else untested, untested] for number, (a, _) in enumerate(made.findings)]
    (some, never), family = Decisions(made.spec, made.known, rows, contrasts(rows)).calibrated((1.0,))
    assert (some.tested, some.false_positives[0].rate.n) == (30, 30)
    assert some.message == "not tested in 10 of 40 repetitions: no ceiling"
    assert (never.tested, never.status, never.message) == (0, "undefined", "no ceiling")
    assert family is not None and family.n == 30
