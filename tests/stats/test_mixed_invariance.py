"""What a fit of a mixed model does not depend on, and what it says of itself."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_tables import NUMBERS, SLOPES, crossed, reference, row, same_tests, variances

from stats import fit_mixed_model


@pytest.mark.long
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


@pytest.mark.nightly
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
