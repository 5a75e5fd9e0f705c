"""Contrasts and slopes of a fitted mixed model."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from mixed_tables import NUMBERS, SLOPES, crossed, reference, row

from stats import fit_mixed_model, tost


def test_a_contrast_is_the_coefficient_that_another_coding_gives() -> None:
    frame, _ = reference("unbalanced")
    fit = fit_mixed_model(frame, formula="shift ~ depth * regime", random=SLOPES, confidence=0.9)
    local = fit.contrast({"depth": 1, "depth:regime[T.local]": 1})
    apart = fit_mixed_model(frame, formula="shift ~ regime + depth:regime", random=SLOPES, confidence=0.9)
    expected = row(apart, "depth:regime[local]")
    np.testing.assert_allclose(_numbers(local), [expected[number] for number in NUMBERS], rtol=1e-6)
    assert local.confidence == 0.9 and local.status == "ok"
    assert fit.contrast({"depth": 2}).p == pytest.approx(row(fit, "depth")["p"])
    assert fit.contrast({"depth": 1}, null=row(fit, "depth")["estimate"]).p == pytest.approx(1)
    assert tost(local.estimate, local.se, local.df, margin=1).p < 0.01


def test_slopes_and_their_differences_are_contrasts() -> None:
    frame = crossed(7)
    fit = fit_mixed_model(frame, formula="shift ~ depth * regime * role", random=SLOPES)
    slopes = fit.slopes("depth")
    assert slopes.select("regime", "role").rows() == [
        ("global", "control"), ("global", "diffusion"), ("local", "control"), ("local", "diffusion"),
    ]  # fmt: skip
    np.testing.assert_allclose(slopes.row(0)[2:], [row(fit, "depth")[n] for n in NUMBERS], rtol=1e-9)
    cells = slopes["estimate"].to_numpy().reshape(2, 2)

    by_role = fit.slope_differences("depth", between="role", within=["regime"])
    assert by_role.select("regime", "role").rows() == [
        ("global", "diffusion - control"), ("local", "diffusion - control"),
    ]  # fmt: skip
    np.testing.assert_allclose(by_role["estimate"], cells[:, 1] - cells[:, 0])
    np.testing.assert_allclose(by_role.row(0)[2:], [row(fit, "depth:role[T.diffusion]")[n] for n in NUMBERS], rtol=1e-9)

    averaged = fit.slope_differences("depth", between="role")
    assert averaged["estimate"][0] == pytest.approx((cells[:, 1] - cells[:, 0]).mean())
    np.testing.assert_allclose(fit.slopes("depth", by=["regime"])["estimate"], cells.mean(axis=1))

    (both,) = fit.slope_differences("depth", between=["regime", "role"]).iter_rows(named=True)
    assert (both["regime"], both["role"]) == ("local - global", "diffusion - control")
    interaction = row(fit, "depth:regime[T.local]:role[T.diffusion]")
    np.testing.assert_allclose([both[n] for n in NUMBERS], [interaction[n] for n in NUMBERS], rtol=1e-9)


def test_slopes_take_other_covariates_at_their_mean() -> None:
    frame = crossed(8).with_columns(length=pl.int_range(pl.len()) % 7)
    fit = fit_mixed_model(frame, formula="shift ~ depth * length", random=SLOPES)
    slope = fit.contrast({"depth": 1, "depth:length": frame["length"].mean()})
    (found,) = fit.slopes("depth").iter_rows(named=True)
    assert found == pytest.approx(dict(zip(NUMBERS, _numbers(slope), strict=True)))


def _numbers(test: Any) -> list[float]:
    return [test.estimate, test.se, test.df, test.statistic, test.p, test.low, test.high]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit: fit.contrast({"deep": 1}), "weights: expected terms of Intercept, depth, .*, got deep"),
        (lambda fit: fit.contrast({"depth": 0}), "weights: expected finite numbers, not all zero"),
        (lambda fit: fit.contrast({"depth": np.nan}), "weights: expected finite numbers"),
        (lambda fit: fit.slopes("regime"), "covariate: expected one of depth, got 'regime'"),
        (lambda fit: fit.slopes("depth", by=["role"]), r"by: expected factors of the formula \(regime\), got role"),
        (
            lambda fit: fit.slope_differences("depth", between="regime", within=["regime"]),
            "between, within: expected different factors, got regime, regime",
        ),
        (lambda fit: fit.slope_differences("depth", between=[]), "between, within: expected different factors"),
    ],
)
def test_a_contrast_that_is_not_in_the_model_is_refused(call: Any, message: str) -> None:
    fit = fit_mixed_model(crossed(1), formula="shift ~ depth * regime", random=SLOPES)
    with pytest.raises(ValueError, match=message):
        call(fit)


def test_a_difference_without_an_interaction_is_refused() -> None:
    fit = fit_mixed_model(crossed(1), formula="shift ~ depth + regime", random=SLOPES)
    with pytest.raises(ValueError, match="between: the slope over depth can't differ so in 'shift ~ depth"):
        fit.slope_differences("depth", between="regime")
