from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from stats import MixedModelFit, fit_mixed_model, tost

REFERENCES = Path(__file__).parents[1] / "data" / "mixed-models"
NUMBERS = ["estimate", "se", "df", "statistic", "p", "ci_low", "ci_high"]
SLOPES = ["0 + depth | prompt", "0 + depth | seed"]


def reference(name: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    frame = pl.read_csv(REFERENCES / f"{name}.csv")
    return frame, json.loads((REFERENCES / f"{name}.json").read_text(encoding="utf-8"))


def crossed(
    seed: int, *, prompts: int = 10, seeds: int = 4, layers: int = 5, prompt_sd: float = 0.2, seed_sd: float = 0.1
) -> pl.DataFrame:
    """Slopes over depth that vary over prompts and over seeds; residual standard deviation .1."""
    rng = np.random.default_rng(seed)
    prompt, run, layer = (
        x.ravel() for x in np.meshgrid(np.arange(prompts), np.arange(seeds), np.arange(layers), indexing="ij")
    )
    depth = layer / (layers - 1) - 0.5
    slope = prompt_sd * rng.standard_normal(prompts)[prompt] + seed_sd * rng.standard_normal(seeds)[run]
    shift = slope * depth + 0.1 * rng.standard_normal(len(depth))
    return pl.DataFrame(
        {
            "shift": shift,
            "depth": depth,
            "regime": np.where(prompt % 2 == 0, "local", "global"),
            "role": np.where(run % 2 == 0, "control", "diffusion"),
            "prompt": [f"p{p}" for p in prompt],
            "seed": run,
        }
    )


def variances(fit: MixedModelFit) -> list[float]:
    return fit.variances["variance"].to_list()


def row(fit: MixedModelFit, term: str) -> dict[str, Any]:
    return fit.fixed.row(by_predicate=pl.col("term") == term, named=True)


def same_tests(one: pl.DataFrame, other: pl.DataFrame, rtol: float = 1e-5) -> None:
    for number in NUMBERS:
        np.testing.assert_allclose(one[number], other[number], rtol=rtol, atol=1e-9, err_msg=number)


# Reference fits and closed forms


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


# The boundary


def test_a_variance_of_zero_is_singular_and_the_tests_are_those_without_it() -> None:
    frame = crossed(0, seed_sd=0)
    fit = fit_mixed_model(frame, formula="shift ~ depth * regime", random=SLOPES)
    assert fit.status == "singular"
    assert fit.messages == ("the variance of (depth | seed) is zero",)
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
    assert fit.messages == ("the variance of (depth | prompt) is zero", "the variance of (depth | seed) is zero")
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
    assert fit.messages == ("the variance of (Intercept | prompt) is zero",)


def test_a_correlation_of_one_is_singular_and_has_tests() -> None:
    rng = np.random.default_rng(3)
    x, g = np.tile(np.linspace(0, 1, 6), 12), np.repeat(range(12), 6)
    effect = rng.standard_normal(12)[g]
    frame = pl.DataFrame({"y": effect * (1 + x) + 0.3 * rng.standard_normal(72), "x": x, "g": g})
    fit = fit_mixed_model(frame, formula="y ~ x", random="1 + x | g")
    assert fit.status == "singular" and fit.messages == (
        "the covariance matrix of (Intercept, x | g) has rank 1, not 2",
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


# Invariances


@settings(max_examples=10)
@given(seed=st.integers(0, 500), seed_sd=st.sampled_from([0.0, 0.1]))
def test_order_of_rows_and_names_of_groups_do_not_matter(seed: int, seed_sd: float) -> None:
    frame = crossed(seed, seed_sd=seed_sd)
    fit = fit_mixed_model(frame, formula="shift ~ depth * regime", random=SLOPES)
    renamed = frame.sample(fraction=1, shuffle=True, seed=seed).with_columns(
        prompt=pl.col("prompt").map_elements(lambda name: f"x{7 * int(name[1:]) % 10}", return_dtype=pl.String),
        seed=-pl.col("seed"),
    )
    other = fit_mixed_model(renamed, formula="shift ~ depth * regime", random=SLOPES)
    same_tests(fit.fixed, other.fixed)
    np.testing.assert_allclose(variances(other), variances(fit), rtol=1e-4, atol=1e-9)
    assert other.status == fit.status and other.messages == fit.messages


@settings(max_examples=10)
@given(seed=st.integers(0, 500), factor=st.sampled_from([-1e-6, 1e6]), stretch=st.sampled_from([1e-4, 28.0]))
def test_units_of_the_response_and_of_depth_do_not_matter(seed: int, factor: float, stretch: float) -> None:
    frame = crossed(seed)
    fit = fit_mixed_model(frame, formula="shift ~ depth * regime", random=SLOPES)
    changed = frame.with_columns(shift=pl.col("shift") * factor + 3 * factor, depth=pl.col("depth") * stretch)
    other = fit_mixed_model(changed, formula="shift ~ depth * regime", random=SLOPES)
    for term in ("depth", "depth:regime[T.local]"):
        assert row(other, term)["estimate"] == pytest.approx(row(fit, term)["estimate"] * factor / stretch)
        assert row(other, term)["df"] == pytest.approx(row(fit, term)["df"], rel=1e-5)
        assert row(other, term)["p"] == pytest.approx(row(fit, term)["p"], rel=1e-5)
    scale = np.array([(factor / stretch) ** 2] * 2 + [factor**2])
    np.testing.assert_allclose(variances(other), np.array(variances(fit)) * scale, rtol=1e-4)
    assert other.status == fit.status


def test_the_order_of_random_effects_orders_the_variances_only() -> None:
    frame = crossed(3)
    fit = fit_mixed_model(frame, formula="shift ~ depth * regime", random=SLOPES)
    other = fit_mixed_model(frame, formula="shift ~ depth * regime", random=SLOPES[::-1])
    assert other.variances["group"].to_list() == ["seed", "prompt", "Residual"]
    same_tests(fit.fixed, other.fixed)


def test_any_mapping_of_columns_is_data() -> None:
    import pandas as pd

    frame = crossed(3)
    fit = fit_mixed_model(frame, formula="shift ~ depth", random=SLOPES)
    for data in (frame.to_dict(as_series=False), pd.DataFrame(frame.to_dict(as_series=False))):
        assert fit_mixed_model(data, formula="shift ~ depth", random=SLOPES).fixed.equals(fit.fixed)  # type: ignore[arg-type]


# Contrasts


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


# Formulas and data


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x",
        "y ~ x * a",
        "y ~ 0 + a",
        "y ~ a + b - 1",
        "y ~ x:a",
        "y ~ a * b - 1",
        "y ~ x * a * b",
        "y ~ (x + b):a",
        "y ~ (a + b) * x - b:x",
        "y ~ C(k) * x",
        "y ~ a:b",
        "y ~ 1 + x + a - x",
    ],
)
def test_columns_are_those_of_formulaic(formula: str) -> None:
    import formulaic
    import pandas as pd

    from stats.mixed_design import fixed_design

    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"y": rng.standard_normal(48), "x": rng.standard_normal(48), "a": list("uvw") * 16, "k": [3, 1, 2, 5] * 12}
    ).with_columns(b=pl.Series(["s", "t"] * 24).gather(rng.permutation(48)))
    _, y, design = fixed_design(frame, formula)
    expected = formulaic.model_matrix(formula, pd.DataFrame(frame.to_dict(as_series=False)))
    theirs = pd.DataFrame(expected.rhs)
    assert sorted(design.names) == sorted(theirs.columns)
    np.testing.assert_allclose(design.matrix, theirs[design.names].to_numpy(dtype=float))
    np.testing.assert_allclose(y, frame["y"])


def test_an_enum_keeps_its_own_order_and_other_factors_are_sorted() -> None:
    frame = crossed(1).with_columns(
        pl.col("regime").cast(pl.Enum(["local", "unused", "global"])), odd=pl.col("seed") > 1
    )
    fit = fit_mixed_model(frame, formula="shift ~ regime + odd", random=SLOPES)
    assert fit.fixed["term"].to_list() == ["Intercept", "regime[T.global]", "odd[T.True]"]
    categorical = frame.with_columns(pl.col("regime").cast(pl.String).cast(pl.Categorical))
    fit = fit_mixed_model(categorical, formula="shift ~ `regime`", random=SLOPES)
    assert fit.fixed["term"].to_list() == ["Intercept", "regime[T.local]"]


GAPS = crossed(1).with_columns(
    gap=pl.when(pl.col("seed") == 2).then(None).otherwise(pl.col("depth")),
    hole=pl.when(pl.col("prompt") == "p3").then(float("nan")).otherwise(pl.col("shift")),
    nobody=pl.when(pl.col("prompt") == "p3").then(None).otherwise(pl.col("prompt")),
    one=pl.lit("a"),
    own=pl.int_range(pl.len()),
    twin=pl.col("seed") * 2,
    double=2 * pl.col("depth"),
    flat=pl.lit(1.0),
)


@pytest.mark.parametrize(
    ("formula", "random", "message"),
    [
        ("shift", "1 | seed", "formula: expected 'response ~ terms', got 'shift'"),
        ("shift ~ deep", "1 | seed", "formula: no column 'deep' in the data; it has shift, depth, regime"),
        ("drift ~ depth", "1 | seed", "formula: no column 'drift' in the data"),
        ("shift ~ depth", "1 | sead", r"random '1 \| sead': no column 'sead' in the data"),
        ("shift ~ gap", "1 | seed", "no gaps in column 'gap', got 50 missing or infinite in 200 rows"),
        ("hole ~ depth", "1 | seed", "no gaps in column 'hole', got 20 missing or infinite in 200 rows"),
        ("shift ~ depth", "1 | nobody", "no gaps in column 'nobody', got 20 missing or infinite in 200 rows"),
        ("regime ~ depth", "1 | seed", "formula: expected numbers in column 'regime', got String"),
        ("shift ~ one", "1 | seed", "formula: expected at least 2 levels of 'one', got 1"),
        ("shift ~ depth", "1 | one", r"random '1 \| one': expected at least 2 levels of 'one', got 1"),
        ("shift ~ depth", "1 | own", "expected fewer effects than rows, got 200 effects of 'own' for 200 rows"),
        ("shift ~ depth + double", "1 | seed", "got double as a combination of the columns before"),
        ("shift ~ depth + flat", "1 | seed", "got flat as a combination of the columns before"),
        (
            "shift ~ C(own)",
            "1 | seed",
            "formula: expected more rows than the 200 columns of the fixed effects, got 200",
        ),
        ("shift ~ depth", ["1 | seed", "1 | twin"], "Intercept of 'twin' can't be told from that of 'seed'"),
        ("shift ~ depth", ["1 | seed", "1 | seed"], "Intercept of 'seed' can't be told from that of 'seed'"),
        ("shift ~ C(seed)", "1 | seed", r"\(Intercept \| seed\) can't be told from the fixed effects of 'shift ~ C"),
        ("shift ~ depth", [], "random: expected at least one entry such as"),
        ("shift ~ depth", "seed", r"random 'seed': expected 'terms \| group'"),
        ("shift ~ depth", "1 | ", "expected a group such as a, a:b or a/b"),
        ("shift ~ depth", "0 | seed", "expected at least one term, in '0'"),
        ("shift ~ log(depth)", "1 | seed", r"functions such as log\(\) are not read: add a column"),
        ("shift ~ depth | seed", "1 | seed", "formula: can't read '|' here"),
        ("shift ~ depth ** 2", "1 | seed", r"expected the name of a column, got '\*', in 'depth \*\* 2'"),
        ("shift ~ depth +", "1 | seed", r"formula: expected a column, in 'depth \+'"),
        ("shift ~ (depth", "1 | seed", r"formula: expected '\)'"),
        ("shift ~ 2 + depth", "1 | seed", "formula: can't read the number 2 here"),
        ("shift ~ shift", "1 | seed", "formula: the response 'shift' can't be one of the terms"),
        ("C(seed) ~ depth", "1 | prompt", r"formula: expected numbers as the response, got C\(seed\)"),
        ("shift ~ __import__('os')", "1 | seed", "functions such as __import__"),
    ],
)
def test_what_can_not_be_fitted_is_refused_with_what_was_expected(formula: str, random: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_mixed_model(GAPS, formula=formula, random=random)


def test_a_combination_of_levels_without_rows_is_named() -> None:
    frame = crossed(1).filter((pl.col("regime") == "global") | (pl.col("role") == "control"))
    with pytest.raises(ValueError, match=r"got regime\[T.local\]:role\[T.diffusion\] as a combination of"):
        fit_mixed_model(frame, formula="shift ~ regime * role", random=SLOPES)


def test_gaps_in_columns_that_are_not_used_do_not_matter() -> None:
    fit = fit_mixed_model(GAPS, formula="shift ~ depth", random=SLOPES)
    assert fit.status == "ok" and fit.n == GAPS.height


# Diagnostics


def test_diagnostics_say_how_the_fit_went() -> None:
    frame, _ = reference("crossed_slopes")
    fit = fit_mixed_model(frame, formula="shift ~ depth * regime", random=SLOPES)
    found = fit.diagnostics
    assert found.converged and found.expected_gain < 1e-10 and 0 <= found.optimizer_gap < 1e-2
    assert found.random_effects == sum(fit.groups.values()) == fit.random_effects.height
    assert 1 <= found.condition_number < 5
    assert abs(found.skewness) < 0.3 and abs(found.excess_kurtosis) < 0.5 and 2 < found.largest_residual < 4.5
    outlier = frame.with_columns(shift=pl.when(pl.int_range(pl.len()) == 9).then(0.5).otherwise(pl.col("shift")))
    strange = fit_mixed_model(outlier, formula="shift ~ depth * regime", random=SLOPES).diagnostics
    assert strange.largest_residual > 10 and strange.skewness > 3 and strange.excess_kurtosis > 30


def test_a_fit_says_what_it_is() -> None:
    fit = fit_mixed_model(crossed(1), formula="shift ~ depth", random=SLOPES[0], confidence=0.9)
    assert (fit.response, fit.formula, fit.random) == ("shift", "shift ~ depth", ("0 + depth | prompt",))
    assert (fit.n, fit.groups, fit.confidence) == (200, {"prompt": 10}, 0.9)
    assert fit.method == "REML, Satterthwaite degrees of freedom"
    assert fit.fixed.columns == ["term", *NUMBERS] and fit.variances.columns == ["group", "term", "variance"]
    assert fit.covariances.is_empty()
    with pytest.raises(ValueError, match="confidence: expected a number between 0 and 1, got 95"):
        fit_mixed_model(crossed(1), formula="shift ~ depth", random=SLOPES, confidence=95)
