"""Where a covariate or the response has its zero, and its unit, change nothing but the units of what comes out.

The numbers are those of R 4.2.2 with lme4 1.1-31 and lmerTest 3.1-3 (bobyqa, rhoend 1e-9) on `years.csv`, 146 rows of
25 groups over the years 1990 to 2009, with t = yr - 2000.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from mixed_tables import REFERENCES, SLOPES, crossed, row, same_tests, variances

from stats import MixedModelFit, fit_mixed_model

YEARS = pl.read_csv(REFERENCES / "years.csv").with_columns(
    t=pl.col("yr") - 2000,
    half=pl.when(pl.col("g").rank("dense") % 2 == 0).then(pl.lit("even")).otherwise(pl.lit("odd")),
)
SECONDS = 365.25 * 86400
UNITS = {
    "years": (1.0, 0.0),
    "calendar years": (1.0, 2000.0),
    "kelvin": (1.0, 273.15),
    "far kelvin": (0.01, 300.0),
    "unix time": (SECONDS, 946684800.0),
    "milliseconds": (1000 * SECONDS, 946684800e3),
    "far away": (1.0, -3e9),
    "tiny": (1e-100, 1e-97),
}
"""What t is multiplied with, and what is added then."""


def fitted(unit: str, formula: str, random: str) -> tuple[MixedModelFit, float, float]:
    factor, origin = UNITS[unit]
    frame = YEARS.with_columns(x=pl.col("t") * factor + origin)
    return fit_mixed_model(frame, formula=formula, random=random), factor, origin


def numbers(fit: MixedModelFit, term: str) -> list[float]:
    found = row(fit, term)
    return [found[name] for name in ("estimate", "se", "df", "p")]


@pytest.mark.parametrize("unit", UNITS)
def test_random_slopes_are_those_of_r_in_any_unit(unit: str) -> None:
    fit, factor, origin = fitted(unit, "y ~ x", "1 + x | g")
    assert (fit.status, fit.messages) == ("ok", ())
    slope = [0.1229102749 / factor, 0.01990053942 / factor, 24.66576453, 1.964797233e-06]
    # A number at such an origin is known to so many digits only.
    known = max(2e-5, 1e-15 * abs(origin) / factor)
    np.testing.assert_allclose(numbers(fit, "x"), slope, rtol=known)
    assert fit.loglik == pytest.approx(-235.0723394 + np.log(factor) * -1, abs=1e-4)
    # R's covariance matrix of the effects at t = 0, moved to the user's zero.
    turn = np.array([[1.0, -origin / factor], [0.0, 1 / factor]])
    expected = turn @ np.array([[0.761494091248, 0.016352982420], [0.016352982420, 0.003970592344]]) @ turn.T
    np.testing.assert_allclose(variances(fit), [expected[0, 0], expected[1, 1], 0.975311698387], rtol=2e-4)
    assert fit.covariances["covariance"].item() == pytest.approx(expected[0, 1], rel=2e-4)


@pytest.mark.parametrize("unit", UNITS)
def test_slopes_by_group_are_those_of_r_in_any_unit(unit: str) -> None:
    fit, factor, _ = fitted(unit, "y ~ x * half", "1 + x | g")
    slope = [0.125086014021 / factor, 0.02929430846 / factor, 26.19490096, 2.275552481e-04]
    difference = [-0.005645597717 / factor, 0.04044804217 / factor, 24.20310720, 8.901495675e-01]
    np.testing.assert_allclose(numbers(fit, "x"), slope, rtol=1e-4)
    np.testing.assert_allclose(numbers(fit, "x:half[T.odd]"), difference, rtol=1e-4)
    by = fit.slopes("x", by=["half"])
    assert by["estimate"].to_list() == pytest.approx([0.125086014 / factor, 0.119440416 / factor], rel=1e-5)
    [odd] = fit.slope_differences("x", between="half")["estimate"]
    assert odd == pytest.approx(-0.005645597717 / factor, rel=1e-4)


@pytest.mark.parametrize("unit", ["years", "calendar years", "unix time"])
def test_the_intercept_is_where_the_zero_is(unit: str) -> None:
    fit, factor, origin = fitted(unit, "y ~ x", "1 + x | g")
    # Of R at t = 0; elsewhere on the line, with the same test at t = 0 as a contrast.
    assert row(fit, "Intercept")["estimate"] == pytest.approx(3.2332378478 - 0.1229102749 * origin / factor, rel=1e-5)
    there = fit.contrast({"Intercept": 1.0, "x": origin})
    assert (there.estimate, there.se, there.df) == (
        pytest.approx(3.2332378478, rel=1e-5),
        pytest.approx(0.19786078177, rel=1e-5),
        pytest.approx(21.41292536, rel=1e-4),
    )


def test_predictions_are_in_the_units_that_were_given() -> None:
    near, far = (fitted(unit, "y ~ x", "1 + x | g")[0].random_effects for unit in ("years", "calendar years"))
    moved = near.pivot("term", index="level", values="estimate")
    expected = (moved["Intercept"] - 2000 * moved["x"]).to_list()
    assert far.filter(pl.col("term") == "Intercept")["estimate"].to_list() == pytest.approx(expected, rel=1e-4)
    assert far.filter(pl.col("term") == "x")["estimate"].to_list() == pytest.approx(moved["x"].to_list(), rel=1e-4)


@pytest.mark.parametrize(
    ("random", "loglik", "singular"), [("1 + x + x2 | g", -238.3368262, True), ("0 + x | g", -252.0615743, False)]
)
def test_other_random_effects_are_those_of_r(random: str, loglik: float, singular: bool) -> None:
    frame = YEARS.with_columns(x=pl.col("t"), x2=pl.col("t") ** 2)
    fit = fit_mixed_model(frame, formula="y ~ x + x2" if singular else "y ~ x", random=random)
    assert fit.loglik == pytest.approx(loglik, abs=2e-4)
    assert fit.status == ("singular" if singular else "ok")
    far = frame.with_columns(x=pl.col("t") + 2000, x2=(pl.col("t") + 2000) ** 2)
    if singular:  # a polynomial spans the same wherever its zero is
        other = fit_mixed_model(far, formula="y ~ x + x2", random=random)
        assert other.loglik == pytest.approx(loglik, abs=2e-4) and other.status == "singular"
        # The likelihood is flat near a singular maximum.
        assert numbers(other, "x2") == pytest.approx(numbers(fit, "x2"), rel=1e-2)


def test_a_slope_without_intercept_has_its_zero_where_it_is() -> None:
    fit = fit_mixed_model(YEARS, formula="y ~ t", random="0 + t | g")
    np.testing.assert_allclose(numbers(fit, "t"), [0.145654037, 0.02415493077, 24.77507411, 2.776623816e-06], rtol=1e-4)
    assert fit_mixed_model(YEARS, formula="y ~ yr", random="0 + yr | g").loglik != pytest.approx(fit.loglik, abs=1)


@pytest.mark.parametrize("added", [1e6, 1e12, -1e12])
def test_the_zero_of_the_response_does_not_matter(added: float) -> None:
    near = fit_mixed_model(YEARS, formula="y ~ t * half", random="1 + t | g")
    far = fit_mixed_model(YEARS.with_columns(y=pl.col("y") + added), formula="y ~ t * half", random="1 + t | g")
    assert far.status == near.status == "ok"
    digits = 1e-15 * abs(added)
    for term in ("t", "t:half[T.odd]", "half[T.odd]"):
        for name in ("se", "df"):
            assert row(far, term)[name] == pytest.approx(row(near, term)[name], rel=1e-5 + digits), (term, name)
        assert row(far, term)["estimate"] == pytest.approx(row(near, term)["estimate"], abs=1e-7 + digits)
    assert row(far, "Intercept")["estimate"] - added == pytest.approx(row(near, "Intercept")["estimate"], abs=digits)


def test_a_response_of_equal_values_is_constant_wherever_its_zero_is() -> None:
    fit = fit_mixed_model(YEARS.with_columns(y=pl.lit(1e12)), formula="y ~ t", random="1 | g")
    assert fit.status == "failed" and "is constant" in fit.messages[0]


@pytest.mark.parametrize("formula", ["shift ~ depth * regime * size", "shift ~ 0 + regime + regime:depth:size"])
def test_products_of_covariates_do_not_depend_on_origins(formula: str) -> None:
    near = crossed(5).with_columns(size=pl.int_range(pl.len()).shuffle(seed=1) / 200)
    far = near.with_columns(depth=pl.col("depth") * 10 + 5000, size=pl.col("size") + 900)
    free = "*" in formula
    fits = [fit_mixed_model(frame, formula=formula, random="1 + depth | prompt") for frame in (near, far)]
    assert all(fit.status != "failed" for fit in fits)
    interaction = "depth:size" if free else "regime[global]:depth:size"
    one, other = (row(fit, interaction) for fit in fits)
    if free:
        assert other["estimate"] * 10 == pytest.approx(one["estimate"], rel=1e-4)
        assert [other[k] for k in ("df", "p")] == pytest.approx([one[k] for k in ("df", "p")], rel=1e-3)
        slopes = [fit.slopes("depth") for fit in fits]
        np.testing.assert_allclose(slopes[1]["estimate"] * 10, slopes[0]["estimate"], rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(slopes[1]["df"], slopes[0]["df"], rtol=1e-3)
    else:  # without its margins an interaction is another model
        assert other["statistic"] != pytest.approx(one["statistic"], rel=1e-3)


@pytest.mark.parametrize("random", [SLOPES, ["1 + depth | prompt", "1 | seed"], ["1 + depth || prompt"]])
def test_there_are_never_more_degrees_of_freedom_than_rows(random: list[str]) -> None:
    for seed in range(6):
        frame = crossed(seed, prompts=5, seeds=2, layers=3, prompt_sd=0.0, seed_sd=0.0)
        fit = fit_mixed_model(frame, formula="shift ~ depth * regime", random=random)
        if fit.status != "failed":
            assert fit.fixed["df"].max() <= frame.height - 4  # type: ignore[operator]


def test_a_covariate_that_varies_by_rounding_only_is_refused() -> None:
    frame: dict[str, Any] = {"y": YEARS["y"], "g": YEARS["g"], "x": [0.1 + 0.2, 0.3] * 73}
    with pytest.raises(ValueError, match="linearly independent"):
        fit_mixed_model(pl.DataFrame(frame), formula="y ~ x", random="1 | g")


def test_columns_are_turned_onto_those_of_the_design() -> None:
    fit, _, _ = fitted("calendar years", "y ~ x * half", "1 + x | g")
    basis = fit.design.basis
    np.testing.assert_allclose(basis.matrix @ basis.onto, fit.design.matrix, rtol=1e-12)
    assert np.linalg.cond(basis.matrix) < 5 < np.linalg.cond(fit.design.matrix)
    same_tests(fit.fixed.filter(pl.col("term") == "x"), fitted("years", "y ~ x * half", "1 + x | g")[0].fixed[1:2])
