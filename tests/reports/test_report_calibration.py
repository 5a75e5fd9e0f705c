"""The section on calibration: rates beside their nominal values, power, what is stale or refused."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from report_markup import read
from synthetic_run import report_data

from mechshift_core.calibration_file import calibration_facts
from reports import CalibrationFacts, render
from reports.sections import calibration
from stats.calibration import Calibration, HalvesUsed, HypothesisCalibration, MeasureCoverage, Planted
from stats.rates import Rate, binomial_rate


def rate(count: int, nominal: float | None = None) -> Rate:
    return binomial_rate([number < count for number in range(200)], nominal=nominal)


def planted(distance: float, count: int, *, null: float = 0.0, nominal: float | None = None) -> Planted:
    value = null - distance
    found = rate(count, nominal)
    return Planted(value=value, shift=value, distance=distance, rate=found, corrected=rate(count // 2))


def made(**changed: object) -> Calibration:
    named = {"measure": "depth_slope", "alternative": "less", "tested": 200, "se": 0.02, "sd": 0.021}
    curve = tuple(planted(step / 50, min(200, 10 + 40 * step)) for step in range(7))
    hypotheses = (
        HypothesisCalibration(
            id="<b>early</b>",
            test="difference",
            truth=0.0,
            false_positives=(planted(0.0, 40, nominal=0.05),),
            coverage=rate(189, 0.95),
            power=curve,
            detectable=0.08,
            **named,
        ),
        HypothesisCalibration(
            id="kept",
            test="equivalence",
            truth=0.0,
            false_positives=(planted(0.0, 9, null=0.2, nominal=0.05), planted(0.0, 8, null=-0.2, nominal=0.05)),
            coverage=rate(191, 0.95),
            power=curve,
            **named,
        ),
        HypothesisCalibration(
            id="lost", test="difference", truth=1.0, status="refused", message="no A/A data", coverage=None, **named
        ),
    )
    content = {
        "name": "study",
        "key": "now",
        "seed": 1,
        "repetitions": 200,
        "replicates": 500,
        "level": 0.05,
        "confidence": 0.95,
        "correction": "holm",
        "halves": (
            HalvesUsed(pair="p", task="t", model="m", prompts=55),
            HalvesUsed(pair="p", task="u", model="m", prompts=60),
        ),
        "hypotheses": hypotheses,
        "measures": (MeasureCoverage(measure="depth_slope", truth=0.0, rate=rate(190, 0.95)),),
        "family": rate(12, 0.05),
    }
    return Calibration(**{**content, **changed})


def section(facts: CalibrationFacts) -> str:
    shown = calibration.section(replace(report_data(), calibration=facts))
    assert shown is not None
    return str(shown.body)


def test_a_run_that_was_not_calibrated_has_no_section() -> None:
    assert calibration.section(report_data()) is None


@pytest.mark.long
def test_the_section_stands_on_the_page_and_states_its_rates() -> None:
    tree = read(render(replace(report_data(), calibration=calibration_facts(made(), key="now"))))
    (shown,) = (one for one in tree.all("section") if one.get("id") == "calibration")
    words = shown.words()
    assert "200 A/A data sets with 500 bootstrap replicates" in words
    assert "A half has 55 to 60 prompts" in words
    assert "Bands that exclude the nominal value: false positives of <b>early</b> (20 %, above 5 %)." in words
    assert "Stale" not in words
    assert len(shown.all("svg", class_="coefficients")) == 2
    assert len(shown.all("svg", class_="chart")) == 2
    (figure,) = shown.all("figure", class_="figure")
    assert figure.get("id") == "figure-calibration"
    assert [len(table.all("tr")) - 1 for table in shown.all("table")] == [7, 3, 14]


def test_every_rate_is_drawn_with_its_band_beside_the_nominal_value() -> None:
    body = section(calibration_facts(made(), key="now"))
    assert "False positives, nominal 5 %: &lt;b&gt;early&lt;/b&gt; 20 %" in body
    assert "kept at +0.2 4.5 %" in body and "kept at −0.2 4 %" in body and "any, corrected 6 %" in body
    assert "Coverage, nominal 95 %" in body and "each depth_slope 95 %" in body
    assert "Power of kept: .8 at a distance of beyond 0.120 from the null." in body
    assert "Detectable: 0.080." in body


def test_a_calibration_of_another_state_of_the_run_says_so() -> None:
    assert "Stale: the cells" in section(calibration_facts(made(), key="later"))


def test_rates_within_their_bands_are_not_warned_of() -> None:
    found = calibration_facts(made(), key="now")
    fine = replace(found, rates=found.rates.with_columns(flag=pl.lit("")))
    assert "The band of every rate contains its nominal value." in section(fine)


@pytest.mark.parametrize("kept", [(), (2,)])
def test_nothing_that_could_be_calibrated_is_a_table_without_drawings(kept: tuple[int, ...]) -> None:
    whole = made()
    few = made(hypotheses=tuple(whole.hypotheses[number] for number in kept), measures=(), family=None, halves=())
    body = section(calibration_facts(few, key="now"))
    assert '<svg class="chart"' not in body and "coefficients" not in body
    assert ("no A/A data" in body) == (2 in kept)
