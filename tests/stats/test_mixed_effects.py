"""Fits of mixed models: those of R and of closed forms, and at the boundary."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
from mixed_tables import SLOPES, crossed, reference, row, same_tests, variances
from scipy import stats as scipy_stats

from stats import fit_mixed_model
from stats.mixed_effects import SINGULAR


@pytest.mark.parametrize("name", ["crossed_slopes", "unbalanced"])
def test_fits_are_those_of_r(name: str) -> None:
    frame, expected = reference(name)
    fit = fit_mixed_model(frame, formula="shift ~ depth * regime", random=SLOPES)
    assert (fit.status, fit.messages) == ("ok", ())
    assert fit.loglik == pytest.approx(expected["reml_loglik"], abs=1e-5)
    written = [
        "(Intercept)" if name == "Intercept" else name.replace("[T.", "").rstrip("]") for name in fit.fixed["term"]
    ]
    assert written == [term["term"] for term in expected["fixed"]]
    for ours, theirs in zip(fit.fixed.iter_rows(named=True), expected["fixed"], strict=True):
        assert abs(ours["estimate"] - theirs["estimate"]) < 1e-6 * theirs["se"]
        assert ours["se"] == pytest.approx(theirs["se"], rel=1e-6)
        assert ours["df"] == pytest.approx(theirs["df"], rel=1e-5)
        assert ours["statistic"] == pytest.approx(theirs["t"], rel=1e-5)
        assert ours["p"] == pytest.approx(theirs["p"], rel=1e-4)
        half = scipy_stats.t.ppf(0.975, theirs["df"]) * theirs["se"]
        assert ours["ci_high"] - ours["ci_low"] == pytest.approx(2 * half, rel=1e-5)
    for ours, theirs in zip(fit.variances.iter_rows(named=True), expected["variance"], strict=True):
        assert (ours["group"], ours["term"]) == (theirs["group"], theirs["term"])
        assert ours["variance"] == pytest.approx(theirs["variance"], rel=1e-5)


def test_one_way_random_effects_are_those_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(1)
    groups, size = 7, 6
    y = 3 + np.repeat(rng.standard_normal(groups), size) + rng.standard_normal(groups * size)
    fit = fit_mixed_model(pl.DataFrame({"y": y, "g": np.repeat(range(groups), size)}), formula="y ~ 1", random="1 | g")
    table = y.reshape(groups, size)
    between, within = size * table.mean(axis=1).var(ddof=1), table.var(axis=1, ddof=1).mean()
    np.testing.assert_allclose(variances(fit), [(between - within) / size, within], rtol=1e-7)
    mean = row(fit, "Intercept")
    assert mean["estimate"] == pytest.approx(y.mean())
    assert mean["se"] == pytest.approx(np.sqrt(between / len(y)), rel=1e-7)
    assert mean["df"] == pytest.approx(groups - 1, rel=1e-6)
    # The predictions are the groups' deviations, shrunk.
    shrunk = (1 - within / between) * (table.mean(axis=1) - y.mean())
    np.testing.assert_allclose(fit.random_effects["estimate"], shrunk, rtol=1e-6)
    assert fit.random_effects["level"].to_list() == [str(g) for g in range(groups)]


def test_a_paired_design_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    before = rng.standard_normal(12)
    after = before + 0.4 + 0.5 * rng.standard_normal(12)
    frame = pl.DataFrame({"y": np.r_[before, after], "when": ["a"] * 12 + ["b"] * 12, "unit": [*range(12), *range(12)]})
    found = row(fit_mixed_model(frame, formula="y ~ when", random="1 | unit"), "when[T.b]")
    paired = scipy_stats.ttest_rel(after, before)
    assert found["estimate"] == pytest.approx((after - before).mean())
    assert found["statistic"] == pytest.approx(paired.statistic, rel=1e-6)
    assert found["df"] == pytest.approx(11, rel=1e-6)
    assert found["p"] == pytest.approx(paired.pvalue, rel=1e-5)
    interval = paired.confidence_interval()
    assert [found["ci_low"], found["ci_high"]] == pytest.approx([interval.low, interval.high], rel=1e-6)


@pytest.mark.parametrize("random", ["1 + x | g", "x | g", "( 1 + x|g )"])
def test_correlated_slopes_of_a_balanced_design_are_a_t_test_over_the_groups_lines(random: str) -> None:
    rng = np.random.default_rng(3)
    groups, x = 9, np.array([0.0, 1, 2, 4])
    effects = rng.multivariate_normal([1, 0.5], [[1, 0.4], [0.4, 0.5]], size=groups)
    table = effects[:, :1] + effects[:, 1:] * x + 0.3 * rng.standard_normal((groups, 4))
    frame = pl.DataFrame({"y": table.ravel(), "x": np.tile(x, groups), "g": np.repeat(range(groups), 4)})
    fit = fit_mixed_model(frame, formula="y ~ x", random=random)
    lines = np.linalg.lstsq(np.column_stack([np.ones(4), x]), table.T, rcond=None)[0].T
    spread = np.cov(lines.T)
    np.testing.assert_allclose(fit.fixed["estimate"], lines.mean(axis=0))
    np.testing.assert_allclose(fit.fixed["se"], np.sqrt(np.diag(spread) / groups), rtol=1e-6)
    np.testing.assert_allclose(fit.fixed["df"], [groups - 1] * 2, rtol=1e-5)
    residual = ((table - lines[:, :1] - lines[:, 1:] * x) ** 2).sum() / (groups * 2)
    expected = spread - residual * np.linalg.inv(np.array([[4, x.sum()], [x.sum(), x @ x]]))
    np.testing.assert_allclose(variances(fit), [expected[0, 0], expected[1, 1], residual], rtol=1e-5)
    (pair,) = fit.covariances.iter_rows(named=True)
    assert (pair["group"], pair["term"], pair["other"]) == ("g", "Intercept", "x")
    assert pair["covariance"] == pytest.approx(expected[0, 1], rel=1e-5)
    assert pair["correlation"] == pytest.approx(expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1]), rel=1e-5)


def test_crossed_groups_of_a_balanced_design_are_those_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(4)
    table = rng.standard_normal((6, 1)) + 0.7 * rng.standard_normal(8) + 0.5 * rng.standard_normal((6, 8))
    frame = pl.DataFrame({"y": table.ravel(), "a": np.repeat(range(6), 8), "b": np.tile(range(8), 6)})
    fit = fit_mixed_model(frame, formula="y ~ 1", random=["1 | a", "1 | b"])
    a, b = 8 * table.mean(axis=1).var(ddof=1), 6 * table.mean(axis=0).var(ddof=1)
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    error = (rest**2).sum() / 35
    np.testing.assert_allclose(variances(fit), [(a - error) / 8, (b - error) / 6, error], rtol=1e-6)
    assert fit.fixed["se"][0] == pytest.approx(np.sqrt((a + b - error) / 48), rel=1e-6)
    assert fit.fixed["df"][0] == pytest.approx((a + b - error) ** 2 / (a**2 / 5 + b**2 / 7 + error**2 / 35), rel=1e-5)


@pytest.mark.parametrize("relabelled", [False, True])
def test_nested_groups_of_a_balanced_design_are_those_of_the_analysis_of_variance(relabelled: bool) -> None:
    rng = np.random.default_rng(5)
    table = rng.standard_normal((5, 1, 1)) + 0.8 * rng.standard_normal((5, 4, 1)) + 0.5 * rng.standard_normal((5, 4, 3))
    a, b = np.repeat(range(5), 12), np.tile(np.repeat(range(4), 3), 5)
    # Prompts numbered anew within each template, or not, are the same nested design.
    frame = pl.DataFrame({"y": table.ravel(), "template": a, "prompt": b + 4 * a if relabelled else b})
    fit = fit_mixed_model(frame, formula="y ~ 1", random="1 | template/prompt")
    outer, inner = 12 * table.mean(axis=(1, 2)).var(ddof=1), 3 * table.mean(axis=2).var(axis=1, ddof=1).mean()
    error = table.var(axis=2, ddof=1).mean()
    assert fit.variances["group"].to_list() == ["template", "template:prompt", "Residual"]
    np.testing.assert_allclose(variances(fit), [(outer - inner) / 12, (inner - error) / 3, error], rtol=1e-6)
    assert fit.fixed["se"][0] == pytest.approx(np.sqrt(outer / 60), rel=1e-6)
    assert fit.fixed["df"][0] == pytest.approx(4, rel=1e-5)
    assert fit.groups == {"template": 5, "template:prompt": 20}


@pytest.mark.parametrize("random", [SLOPES, ["1 | prompt", "0 + depth | prompt", "1 | seed"], ["1 + depth || prompt"]])
def test_statsmodels_finds_the_same_fit(random: list[str]) -> None:
    import pandas as pd
    from statsmodels.formula.api import mixedlm

    frame = crossed(5).sample(fraction=0.8, seed=0)
    components = {
        "0 + depth | prompt": ["0 + depth:C(prompt)"],
        "0 + depth | seed": ["0 + depth:C(seed)"],
        "1 | prompt": ["0 + C(prompt)"],
        "1 | seed": ["0 + C(seed)"],
        "1 + depth || prompt": ["0 + C(prompt)", "0 + depth:C(prompt)"],
    }
    parts = [formula for entry in random for formula in components[entry]]
    data = pd.DataFrame(frame.to_dict(as_series=False)).assign(all=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of variances near zero
        model = mixedlm(
            "shift ~ depth * regime",
            data,
            groups="all",
            re_formula="0",
            vc_formula={f"{i}": part for i, part in enumerate(parts)},
        )
        theirs = model.fit(reml=True, method="powell")
    ours = fit_mixed_model(frame, formula="shift ~ depth * regime", random=random)
    # Ours may be the better maximum, not the worse.
    assert theirs.llf - 1e-6 <= ours.loglik <= theirs.llf + 1e-2
    np.testing.assert_allclose(sorted(ours.fixed["estimate"]), sorted(theirs.fe_params), atol=1e-3 * max(theirs.bse_fe))
    np.testing.assert_allclose(sorted(ours.fixed["se"]), sorted(theirs.bse_fe), rtol=0.01)


def test_a_variance_of_zero_is_singular_and_the_tests_are_those_without_it() -> None:
    frame = crossed(0, seed_sd=0)
    fit = fit_mixed_model(frame, formula="shift ~ depth * regime", random=SLOPES)
    assert fit.status == "singular"
    assert fit.messages == ("the variance of (depth | seed) is zero", SINGULAR)
    assert variances(fit)[1] == 0 and variances(fit)[0] > 0
    without = fit_mixed_model(frame, formula="shift ~ depth * regime", random=SLOPES[:1])
    assert without.status == "ok"
    same_tests(fit.fixed, without.fixed)
    assert fit.loglik == pytest.approx(without.loglik)


def test_without_any_random_variance_the_tests_are_those_of_least_squares() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    frame = crossed(0)
    # Groups that are more alike than by chance.
    noise = rng.standard_normal(frame.height)
    noise -= np.polyval(np.polyfit(frame["depth"], noise, 1), frame["depth"])
    frame = frame.with_columns(
        shift=pl.Series(noise) - 0.999 * pl.Series(_group_slopes(frame, noise)) * frame["depth"] + 0.3 * frame["depth"]
    )
    fit = fit_mixed_model(frame, formula="shift ~ depth", random=SLOPES)
    assert fit.status == "singular"
    assert fit.messages[:-1] == ("the variance of (depth | prompt) is zero", "the variance of (depth | seed) is zero")
    assert variances(fit)[:2] == [0, 0]
    least = sm.OLS(frame["shift"].to_numpy(), sm.add_constant(frame["depth"].to_numpy())).fit()
    np.testing.assert_allclose(fit.fixed["estimate"], least.params, atol=1e-12)
    np.testing.assert_allclose(fit.fixed["se"], least.bse, rtol=1e-9)
    np.testing.assert_allclose(fit.fixed["df"], [frame.height - 2] * 2, rtol=1e-9)
    np.testing.assert_allclose(fit.fixed["p"], least.pvalues, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(fit.random_effects["estimate"], 0)


def _group_slopes(frame: pl.DataFrame, values: np.ndarray) -> np.ndarray:
    """Slope over depth of every row's prompt plus that of its seed."""
    total = np.zeros(frame.height)
    for group in ("prompt", "seed"):
        for level in frame[group].unique():
            rows = (frame[group] == level).to_numpy()
            depth = frame["depth"].to_numpy()[rows]
            total[rows] += depth @ values[rows] / (depth @ depth)
    return total


def test_changes_of_shares_have_no_intercept_of_prompts() -> None:
    rng = np.random.default_rng(1)
    shift = rng.standard_normal((20, 6)) + rng.standard_normal((20, 1)) * np.linspace(-3, 3, 6)
    shift -= shift.mean(axis=1, keepdims=True)
    frame = pl.DataFrame(
        {"shift": shift.ravel(), "depth": np.tile(np.linspace(-0.5, 0.5, 6), 20), "prompt": np.repeat(range(20), 6)}
    )
    fit = fit_mixed_model(frame, formula="shift ~ depth", random="1 + depth || prompt")
    assert fit.messages == ("the variance of (Intercept | prompt) is zero", SINGULAR)


def test_a_correlation_of_one_is_singular_and_has_tests() -> None:
    rng = np.random.default_rng(3)
    x, g = np.tile(np.linspace(0, 1, 6), 12), np.repeat(range(12), 6)
    effect = rng.standard_normal(12)[g]
    frame = pl.DataFrame({"y": effect * (1 + x) + 0.3 * rng.standard_normal(72), "x": x, "g": g})
    fit = fit_mixed_model(frame, formula="y ~ x", random="1 + x | g")
    assert fit.status == "singular" and fit.messages == (
        "the covariance matrix of (Intercept, x | g) has rank 1, not 2",
        SINGULAR,
    )
    assert abs(fit.covariances["correlation"][0]) == pytest.approx(1)
    assert 8 < fit.fixed["df"][0] < 14 and fit.diagnostics.converged
    # One effect of 1 + c x with the best c is the same model.
    ratio = np.sqrt(variances(fit)[1] / variances(fit)[0])
    one = fit_mixed_model(frame.with_columns(z=1 + ratio * pl.col("x")), formula="y ~ x", random="0 + z | g")
    assert one.loglik == pytest.approx(fit.loglik, abs=1e-6)
    np.testing.assert_allclose(one.fixed["se"], fit.fixed["se"], rtol=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([2.0] * 12, "the response 'y' is constant"),
        ([1.0, 2] * 6, "the response 'y' is an exact function of the fixed effects"),
        (np.repeat([1.0, 4, 2, 8], 3), "the residual variance is zero"),
    ],
)
def test_data_without_variation_fail_with_a_reason_and_without_numbers(values: list[float], message: str) -> None:
    frame = pl.DataFrame({"y": values, "x": [0, 1] * 6, "g": np.repeat(range(4), 3)})
    fit = fit_mixed_model(frame, formula="y ~ x", random="1 | g")
    assert fit.status == "failed" and fit.messages[0].startswith(message)
    assert fit.fixed["term"].to_list() == ["Intercept", "x"]
    assert fit.fixed.drop("term").null_count().row(0) == (2,) * 7
    assert variances(fit) == [None, None] and fit.loglik is None and not fit.diagnostics.converged
    with pytest.raises(ValueError, match="the model has no fit: the res"):
        fit.contrast({"x": 1})
