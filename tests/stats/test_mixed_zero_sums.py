"""Rows that sum to zero in groups: as many fewer as there are groups, and the same model as of their contrasts."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.linalg import helmert

from stats import MixedModelFit, fit_mixed_model

ROWS = ["prompt", "pair"]
UNITS = ["0 + depth | prompt", "0 + depth | prompt:pair", "0 + depth | pair"]


def shifts(seed: int, *, prompts: int = 20, pairs: int = 6, layers: int = 5, sd: float = 0.05) -> pl.DataFrame:
    """Shifts that sum to zero over the layers, with residuals of a standard deviation before that is so."""
    rng = np.random.default_rng(seed)
    prompt, pair, layer = (v.ravel() for v in np.meshgrid(range(prompts), range(pairs), range(layers), indexing="ij"))
    depth = layer / (layers - 1) - 0.5
    slope = 0.1 * rng.standard_normal(prompts)[prompt] + 0.05 * rng.standard_normal(pairs)[pair]
    slope += 0.08 * rng.standard_normal((prompts, pairs))[prompt, pair]
    noise = sd * rng.standard_normal((prompts * pairs, layers))
    shift = slope * depth + (noise - noise.mean(axis=1, keepdims=True)).ravel()
    role = np.where(pair % 2, "treatment", "control")
    return pl.DataFrame({"shift": shift, "depth": depth, "layer": layer, "prompt": prompt, "pair": pair, "role": role})


def fitted(frame: pl.DataFrame, formula: str = "shift ~ depth * role", random: Any = UNITS) -> MixedModelFit:
    return fit_mixed_model(frame, formula=formula, random=random, sums_to_zero=ROWS)


def contrasts(frame: pl.DataFrame, layers: int = 5) -> pl.DataFrame:
    """Orthonormal contrasts of the layers, L - 1 for every prompt and pair."""
    turn = helmert(layers)
    moved = {name: (frame[name].to_numpy().reshape(-1, layers) @ turn.T).ravel() for name in ("shift", "depth")}
    same = frame.filter(pl.col("layer") > 0).select("prompt", "pair", "role")
    return same.with_columns(**{name: pl.Series(values) for name, values in moved.items()})


def test_it_is_the_model_of_the_orthonormal_contrasts() -> None:
    frame = shifts(1)
    found = fitted(frame)
    other = fit_mixed_model(contrasts(frame), formula="shift ~ 0 + depth + depth:role", random=UNITS)
    assert found.fixed["term"].to_list() == other.fixed["term"].to_list() == ["depth", "depth:role[T.treatment]"]
    for column in ("estimate", "se", "df", "p"):
        np.testing.assert_allclose(found.fixed[column], other.fixed[column], rtol=1e-5)
    np.testing.assert_allclose(found.variances["variance"], other.variances["variance"], rtol=1e-5)
    assert found.loglik == pytest.approx(other.loglik, abs=1e-6)
    assert found.n == other.n == 20 * 6 * 4
    assert found.diagnostics.largest_residual is not None


@pytest.mark.parametrize("layers", [3, 6])
def test_the_residual_is_that_of_the_rows_before_they_sum_to_zero(layers: int) -> None:
    frame = shifts(2, prompts=100, layers=layers)
    right = fitted(frame).variances["variance"][-1]
    plain = fit_mixed_model(frame, formula="shift ~ 0 + depth + depth:role", random=UNITS).variances["variance"][-1]
    # 600 x (L - 1) independent rows: a relative standard error of at most .05.
    assert right == pytest.approx(0.05**2, rel=0.15)
    assert plain / right == pytest.approx((layers - 2) / (layers - 1), rel=0.05)


def test_effects_that_are_zero_by_construction_are_left_out() -> None:
    found = fitted(shifts(3), random=["1 + depth | prompt", "1 | pair"])
    assert found.left_out == ("Intercept", "role[T.treatment]", "Intercept | prompt", "Intercept | pair")
    assert found.variances.select("group", "term").rows() == [("prompt", "depth"), ("Residual", "Residual")]


def test_slopes_and_their_differences_are_had_as_ever() -> None:
    found = fitted(shifts(4))
    by = found.slopes("depth", by=["role"])["estimate"].to_list()
    [difference] = found.slope_differences("depth", between="role")["estimate"]
    assert difference == pytest.approx(by[1] - by[0])
    assert found.fixed["estimate"].to_list() == pytest.approx([by[0], difference])


def test_a_level_for_every_layer_has_one_that_follows_from_the_others() -> None:
    found = fitted(shifts(5), formula="shift ~ C(layer) * role", random=["0 + depth | prompt:pair"])
    assert found.fixed.height == 2 * 4 and found.left_out[0] == "Intercept"


BAD = {
    "shifts that do not sum to zero": (
        {"frame": shifts(1).with_columns(shift=pl.col("shift") + 0.1)},
        "expected a response that sums to zero in every group of prompt:pair, got 120 of 120",
    ),
    "nothing that varies": ({"formula": "shift ~ role"}, "expected an effect that varies within the groups"),
    "no random effect that varies": ({"random": "1 | prompt"}, "random: expected an effect that varies"),
    "groups of parts of a prompt": ({"random": "1 | layer"}, "divide rows that sum to zero together"),
    "two layers": (
        {"frame": shifts(1, layers=2), "random": "0 + depth | prompt:pair"},
        "got 120 effects of 'prompt:pair' for 120 rows",
    ),
    "every level of every layer": ({"formula": "shift ~ 0 + C(layer)"}, r"got C\(layer\)\[4\] as a combination"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_not_be_fitted_is_refused(case: str) -> None:
    changes, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        fitted(**{"frame": shifts(1), **changes})


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="sums_to_zero: no column 'seed'"):
        fit_mixed_model(shifts(1), formula="shift ~ depth", random=UNITS, sums_to_zero=["prompt", "seed"])
