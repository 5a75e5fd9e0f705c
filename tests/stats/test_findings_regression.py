"""When a finding has regressed from its record: every way to, and every way not to."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from stored_runs import PROMPTS, equivalent, finding, findings, undefined

from stats.baseline import Baseline, Recorded
from stats.estimate_differences import difference_interval, difference_of
from stats.findings import Finding, Verdict
from stats.regression import BAD, Comparison, compare_findings

OTHER = {**PROMPTS, "countdown": "33" * 32}


def compared(before: Finding, after: Finding, *, prompts: Any = PROMPTS, tolerance: float | None = None) -> Comparison:
    baseline = Baseline.of(findings(before), prompts=PROMPTS)
    run = Baseline.of(findings(after), prompts=prompts)
    (found,) = compare_findings(baseline, run, tolerance=tolerance)
    return found


def moved(made: Finding, by: float, **changes: Any) -> Finding:
    assert made.estimate is not None and made.low is not None and made.high is not None
    return replace(made, estimate=made.estimate + by, low=made.low + by, high=made.high + by, **changes)


SAME_PROMPTS = {
    "a rerun": (finding(), finding(), "unchanged"),
    "rounding below six digits": (finding(), moved(finding(), 1e-9), "unchanged"),
    "another machine": (finding(), moved(finding(), 1e-4), "equivalent"),
    "within half of the interval": (finding(), moved(finding(), -0.139), "equivalent"),
    "beyond half of the interval": (finding(), moved(finding(), -0.141), "regressed"),
    "a flipped sign": (finding(), moved(finding(), 0.8), "regressed"),
    "a verdict that flips": (finding(), moved(finding(), 0.01, verdict="inconclusive"), "equivalent"),
    "a verdict that flips with the estimate": (finding(), moved(finding(), 0.4, verdict="refuted"), "regressed"),
    "within the declared margin": (equivalent(), moved(equivalent(), 0.2), "equivalent"),
    "beyond the declared margin": (equivalent(), moved(equivalent(), 0.21), "regressed"),
    "no estimate in both": (undefined(), undefined(), "unchanged"),
    "no estimate any more": (finding(id="none"), undefined(), "regressed"),
    "another status": (undefined(), undefined(status="failed"), "regressed"),
    "no interval, equal": (finding(low=None, high=None, se=None), finding(low=None, high=None, se=None), "unchanged"),
    "no interval, moved": (
        finding(low=None, high=None, se=None, verdict="not estimable"),
        finding(low=None, high=None, se=None, verdict="not estimable", estimate=-0.41),
        "undecided",
    ),
    "another measure": (finding(), finding(measure="depth_slope"), "redefined"),
    "another estimand": (finding(), finding(estimand="retention on ioi"), "redefined"),
    "another test": (finding(), finding(test="bound", null=0.1), "redefined"),
    "the other direction": (finding(), finding(alternative="greater"), "redefined"),
    "another margin": (equivalent(), equivalent(margin=0.3), "redefined"),
    "another confidence": (finding(), finding(confidence=0.9), "redefined"),
}
"""What happens -> recorded, found, outcome."""


@pytest.mark.parametrize("case", SAME_PROMPTS)
def test_findings_on_the_same_prompts(case: str) -> None:
    before, after, outcome = SAME_PROMPTS[case]
    found = compared(before, after)
    assert found.outcome == outcome
    assert bool(found.reasons) == (outcome in (*BAD, "undecided") or before.verdict != after.verdict)


def test_reasons_name_what_was_and_what_is() -> None:
    flipped = compared(finding(), finding(verdict="inconclusive"))
    assert flipped.reasons == ("the verdict was supported and is inconclusive",)
    assert compared(finding(), moved(finding(), 0.8)).reasons == (
        "it differs by +0.8, more than 0.14 (half of the recorded interval)",
    )
    redefined = compared(equivalent(), equivalent(margin=0.3, measure="depth_slope"))
    assert redefined.reasons == ("measure was 'retention' and is 'depth_slope'", "margin was 0.2 and is 0.3")


@pytest.mark.parametrize(("tolerance", "outcome"), [(0.05, "regressed"), (0.11, "equivalent")])
def test_a_given_tolerance_comes_before_margin_and_interval(tolerance: float, outcome: str) -> None:
    for made in (finding(), equivalent()):
        found = compared(made, moved(made, 0.1), tolerance=tolerance)
        assert (found.outcome, found.tolerance, found.basis) == (outcome, tolerance, "given tolerance")


@pytest.mark.parametrize("tolerance", [0.0, -1.0, math.nan, math.inf])
def test_a_tolerance_is_a_number_above_zero(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance: expected a number > 0"):
        compared(finding(), finding(), tolerance=tolerance)


def test_what_is_new_and_what_is_missing_is_named() -> None:
    baseline = Baseline.of(findings(finding(), equivalent()))
    run = Baseline.of(findings(finding(id="other"), equivalent()))
    outcomes = {found.id: found.outcome for found in compare_findings(baseline, run)}
    assert outcomes == {"other": "new", "kept": "unchanged", "lower": "missing"}


OTHER_PROMPTS = {
    "without a margin, within sampling error": (finding(), moved(finding(), 0.19), "consistent"),
    "without a margin, beyond it": (finding(), moved(finding(), 0.20), "regressed"),
    "equivalence shown": (equivalent(), moved(equivalent(), 0.1), "equivalent"),
    "equivalence open": (equivalent(), moved(equivalent(), 0.2), "undecided"),
    "equivalence refuted": (equivalent(), moved(equivalent(), 0.3), "regressed"),
    "a verdict that flips": (equivalent(), moved(equivalent(), 0.1, verdict="inconclusive"), "equivalent"),
    "no standard error": (finding(), moved(finding(), 0.1, se=None), "undecided"),
    "the same numbers nevertheless": (finding(), finding(), "unchanged"),
}


@pytest.mark.parametrize("case", OTHER_PROMPTS)
def test_findings_on_other_prompts(case: str) -> None:
    before, after, outcome = OTHER_PROMPTS[case]
    found = compared(before, after, prompts=OTHER)
    assert (found.outcome, found.same_prompts) == (outcome, False)


def test_the_difference_on_other_prompts_is_welch_s() -> None:
    first, second = np.random.default_rng(0).normal(0, 1, 30), np.random.default_rng(1).normal(0.4, 2, 50)
    made = [
        finding(estimate=float(x.mean()), se=float(x.std(ddof=1) / math.sqrt(len(x))), df=len(x) - 1)
        for x in (first, second)
    ]
    found = compared(made[0], made[1], prompts=OTHER)
    expected = scipy_stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-5)


def test_infinite_degrees_of_freedom_are_a_normal_reference() -> None:
    found = compared(finding(df=math.inf), moved(finding(df=math.inf), 0.1), prompts=OTHER)
    assert found.high == pytest.approx(0.1 + 1.959964 * math.hypot(0.07, 0.07), abs=1e-5)


@pytest.mark.parametrize("effect", [0.0, 2.0, 4.0])
def test_a_gate_on_other_prompts_keeps_its_level_whatever_the_effect(effect: float) -> None:
    """At two standard errors every second verdict flips, which says nothing of the estimate."""
    rng = np.random.default_rng(3)
    fails = flips = 0
    for _ in range(1000):
        pair = []
        for x in rng.normal(effect / math.sqrt(60), 1, (2, 60)):
            mean, se = float(x.mean()), float(x.std(ddof=1) / math.sqrt(60))
            verdict: Verdict = "supported" if abs(mean) > 2 * se else "inconclusive"
            pair.append(finding(estimate=mean, se=se, df=59.0, low=mean - 2 * se, high=mean + 2 * se, verdict=verdict))
        fails += compared(pair[0], pair[1], prompts=OTHER).outcome == "regressed"
        flips += pair[0].verdict != pair[1].verdict
    assert scipy_stats.binomtest(fails, 1000, 0.05).pvalue > 0.001
    assert (flips > 400) == (effect == 2)


MODELS = {"arm-s0": "aa" * 32, "mdm-s0": "bb" * 32}
RETRAINED = {**MODELS, "mdm-s0": "cc" * 32}


def of_models(
    before: Finding, after: Finding, models: dict[str, str], *, random: bool, prompts: Any = PROMPTS
) -> Comparison:
    baseline = Baseline.of(findings(before), prompts=PROMPTS, models=MODELS, random_seeds=random)
    run = Baseline.of(findings(after), prompts=prompts, models=models, random_seeds=random)
    (found,) = compare_findings(baseline, run)
    return found


def test_models_of_other_seeds_are_another_sample_where_seeds_are_random() -> None:
    found = of_models(finding(df=4.0), moved(finding(df=4.0), 0.18), RETRAINED, random=True)
    assert (found.outcome, found.same_prompts, found.same_models) == ("consistent", True, False)
    expected = difference_of(finding(df=4.0), moved(finding(df=4.0), 0.18), confidence=0.95)
    assert expected is not None and found.low == pytest.approx(expected.low, abs=1e-5)
    beyond = of_models(finding(df=4.0), moved(finding(df=4.0), 0.3), RETRAINED, random=True)
    assert beyond.outcome == "regressed" and beyond.reasons[0].startswith("it differs by +0.3 of other models, p = ")
    few = finding(se=None)
    assert of_models(few, moved(few, 0.1), RETRAINED, random=True).reasons == (
        "other models, and a standard error is lacking",
    )


def test_with_fixed_seeds_other_models_are_held_against_the_tolerance_and_it_is_said() -> None:
    said = "other weights than recorded (mdm-s0): how much training seeds differ is in no interval"
    near = of_models(finding(), moved(finding(), 0.1), RETRAINED, random=False)
    assert (near.outcome, near.low, near.same_models, near.reasons) == ("equivalent", None, False, (said,))
    far = of_models(finding(), moved(finding(), 0.2), RETRAINED, random=False)
    assert far.outcome == "regressed" and far.reasons[-1] == said
    elsewhere = of_models(finding(), moved(finding(), 0.1), RETRAINED, random=False, prompts=OTHER)
    assert elsewhere.outcome == "consistent" and elsewhere.reasons == (said,)


@pytest.mark.parametrize(
    "models", [MODELS, {}, {**MODELS, "more": "dd" * 32}, {"renamed": "bb" * 32, "arm-s0": "aa" * 32}]
)
def test_the_same_weights_are_the_same_models_whatever_they_are_called(models: dict[str, str]) -> None:
    for random in (True, False):
        found = of_models(finding(), moved(finding(), 0.1), models, random=random)
        assert (found.outcome, found.same_models, found.reasons) == ("equivalent", True, ())


def test_a_gate_on_models_of_other_seeds_keeps_its_level() -> None:
    """Five seeds each on the same prompts, whose own error both share; held as exact, .29 would fail."""
    rng = np.random.default_rng(5)
    fails = exact = 0
    for _ in range(1000):
        prompts, pair = rng.normal(0, 0.02), []
        for x in rng.normal(0, 0.1, (2, 5)):
            se = math.hypot(float(x.std(ddof=1)) / math.sqrt(5), 0.02)
            mean, half = float(x.mean()) + prompts, float(scipy_stats.t.ppf(0.975, 4)) * se
            pair.append(finding(estimate=mean, se=se, df=4.0, low=mean - half, high=mean + half))
        fails += of_models(pair[0], pair[1], RETRAINED, random=True).outcome == "regressed"
        exact += of_models(pair[0], pair[1], MODELS, random=True).outcome == "regressed"
    assert fails / 1000 < 0.06 < exact / 1000


def test_without_digests_the_seeds_say_whether_prompts_are_the_same() -> None:
    assert compared(finding(), finding(), prompts={}).same_prompts
    assert not compared(finding(), finding(seed=8), prompts={}).same_prompts
    assert compared(finding(), finding(seed=8)).same_prompts
    assert not compared(finding(terms=()), finding(terms=(), seed=8)).same_prompts


@given(st.tuples(*[st.floats(-5, 5)] * 2), st.floats(0.01, 2), st.floats(0.01, 2))
def test_the_interval_of_a_difference_of_symmetric_intervals_adds_squares(
    estimates: tuple[float, float], h1: float, h2: float
) -> None:
    e1, e2 = estimates
    found = difference_interval((e1, e1 - h1, e1 + h1), (e2, e2 - h2, e2 + h2))
    assert found.difference == e2 - e1
    assert (found.low, found.high) == pytest.approx(
        (e2 - e1 - math.hypot(h1, h2), e2 - e1 + math.hypot(h1, h2)), abs=1e-9
    )


def test_the_interval_of_a_difference_keeps_asymmetry() -> None:
    found = difference_interval((0.0, -3.0, 4.0), (1.0, 1.0, 1.0))
    assert (found.low, found.high) == (1 - 4, 1 + 3)
    assert difference_interval((0.0, 0.1, 0.2), (0.0, 0.0, 0.0)).high == 0


def test_one_function_gives_the_interval_that_check_shows() -> None:
    before, after = finding(), moved(finding(), 0.1, se=0.09, df=49.0)
    shown = compared(before, after, prompts=OTHER)
    found = difference_of(before, after, confidence=0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((shown.low, shown.high), abs=1e-5)
    se = math.hypot(0.07, 0.09)
    df = (0.07**2 + 0.09**2) ** 2 / (0.07**4 / 99 + 0.09**4 / 49)
    half = float(scipy_stats.t.ppf(0.975, df)) * se
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-9)


def test_without_standard_errors_the_difference_is_made_of_both_intervals() -> None:
    before, after = finding(se=None), moved(finding(), 0.1)
    found = difference_of(before, after, confidence=0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.1 - math.hypot(0.14, 0.14), 0.1 + math.hypot(0.14, 0.14)))
    assert difference_of(finding(se=None, low=None), after, confidence=0.95) is None
    assert difference_of(undefined(), after, confidence=0.95) is None


def test_a_baseline_comes_back_from_its_file() -> None:
    hostile = finding(id="a\u2028\"b'\u202e", estimand="<b>|`")
    made = Baseline.of(findings(hostile, equivalent(), undefined(), finding(id="n", df=math.inf)), prompts=PROMPTS)
    text = made.to_json()
    assert Baseline.from_json(text) == made and "models" not in json.loads(text)
    known = replace(made, models=MODELS, random_seeds=True)
    assert Baseline.from_json(known.to_json()) == known
    assert Baseline.from_json(text).to_json() == text
    assert json.loads(text)["findings"][3]["df"] is None


def test_a_record_has_six_digits() -> None:
    assert Recorded.of(finding(estimate=-0.123456789, se=1.23456789e-9)).estimate == -0.123457


_WRITTEN = Baseline.of(findings(), prompts=PROMPTS).to_json()


def _edited(*path: str | int, value: Any) -> str:
    content = json.loads(_WRITTEN)
    entry = content
    for step in path[:-1]:
        entry = entry[step]
    if value is KeyError:
        del entry[path[-1]]
    else:
        entry[path[-1]] = value
    return json.dumps(content)


MALFORMED = {
    "no JSON": ("{", "line 1, column 2: not JSON"),
    "a conflict": ("<<<<<<< HEAD\n{}", "line 1, column 1: not JSON"),
    "nested without end": ("[" * 100_000, "nested too deeply|not JSON"),
    "a list": ("[]", "the top level: expected a mapping, got a list"),
    "other JSON": ('{"a": 1}', "schema: expected, but not there"),
    "another version": (_edited("schema", value="mechshift-baseline/v2"), "schema: expected 'mechshift-baseline/v1'"),
    "not a number": (_edited("findings", 1, "estimate", value=math.nan), "not JSON: NaN is no number"),
    "too large a number": (_edited("findings", 1, "se", value=10**400), r"findings\[1\].se: expected a finite number"),
    "text for a number": (
        _edited("findings", 1, "estimate", value="0.1"),
        r'findings\[1\].estimate: expected a finite number, got "0.1"',
    ),
    "a truth value for a number": (_edited("findings", 0, "null", value=True), r"findings\[0\].null: expected a fin"),
    "a truth value for a seed": (_edited("findings", 0, "seed", value=True), r"findings\[0\].seed: expected a whole"),
    "no estimate entry": (_edited("findings", 0, "estimate", value=KeyError), r"findings\[0\].estimate: expected, but"),
    "an unknown entry": (_edited("findings", 0, "margn", value=1), r"findings\[0\].margn: unknown; expected id, "),
    "an unknown verdict": (
        _edited("findings", 0, "verdict", value="true"),
        r"findings\[0\].verdict: expected one of supported, refuted, inconclusive, not estimable, got \"true\"",
    ),
    "a negative error": (_edited("findings", 0, "se", value=-1), r"findings\[0\].se: expected a number >= 0, got -1"),
    "no margin at all": (_edited("findings", 1, "margin", value=0), r"findings\[1\].margin: expected a number > 0"),
    "certainty": (_edited("findings", 0, "confidence", value=1), r"findings\[0\].confidence: expected a number betw"),
    "ends exchanged": (_edited("findings", 0, "low", value=9), r"findings\[0\].low: expected at most high"),
    "an id twice": (_edited("findings", 1, "id", value="lower"), r"findings\[1\].id: 'lower' is there twice"),
    "tasks as text": (_edited("findings", 0, "tasks", value="ioi"), r'findings\[0\].tasks: expected a list, got "ioi"'),
    "a task as number": (_edited("findings", 0, "tasks", value=[1]), r"findings\[0\].tasks\[0\]: expected text, got 1"),
    "a digest as number": (_edited("prompts", "ioi", value=1), "prompts.ioi: expected text, got 1"),
    "random seeds as text": (_edited("random_seeds", value="no"), 'random_seeds: expected true or false, got "no"'),
    "models as a list": (_edited("models", value=["a"]), "models: expected a mapping of models to digests"),
    "a finding as text": (_edited("findings", 0, value="x"), r'findings\[0\]: expected a mapping, got "x"'),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_baseline_is_refused_with_place_and_reason(case: str) -> None:
    text, message = MALFORMED[case]
    with pytest.raises(ValueError, match=message):
        Baseline.from_json(text)


@pytest.mark.long
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda x: st.lists(x, max_size=3)))
def test_whatever_stands_in_a_field_there_is_an_error_or_a_baseline(value: Any) -> None:
    for name in json.loads(Baseline.of(findings()).to_json())["findings"][0]:
        try:
            Baseline.from_json(_edited("findings", 0, name, value=value))
        except ValueError as error:
            assert str(error)
