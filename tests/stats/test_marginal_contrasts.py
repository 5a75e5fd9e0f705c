"""Marginal slopes and their differences, against coefficients by hand and against statsmodels."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from mixed_tables import crossed
from statsmodels.regression.mixed_linear_model import MixedLM

from stats import fit_mixed_model, holm
from stats.mixed_contrasts import MarginalContrast, marginal_contrasts
from stats.mixed_results import MixedModelFit

FACTORS = {"role": ("treatment", "control"), "regime": ("global", "local")}
RANDOM = "0 + depth | prompt"
DEPTH, LOCAL, TREATMENT = "depth", "depth:regime[T.local]", "depth:role[T.treatment]"
BOTH = "depth:regime[T.local]:role[T.treatment]"
BY_HAND = {
    ("slope", "treatment", "global"): {DEPTH: 1, TREATMENT: 1},
    ("slope", "treatment", "local"): {DEPTH: 1, LOCAL: 1, TREATMENT: 1, BOTH: 1},
    ("slope", "control", "global"): {DEPTH: 1},
    ("slope", "control", "local"): {DEPTH: 1, LOCAL: 1},
    ("difference", "treatment - control", "global"): {TREATMENT: 1},
    ("difference", "treatment - control", "local"): {TREATMENT: 1, BOTH: 1},
    ("difference", "treatment", "global - local"): {LOCAL: -1, BOTH: -1},
    ("difference", "control", "global - local"): {LOCAL: -1},
    ("difference in differences", "treatment - control", "global - local"): {BOTH: -1},
}


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return crossed(7).with_columns(pl.col("role").replace("diffusion", "treatment"))


def named(found: tuple[MarginalContrast, ...]) -> dict[tuple[str, ...], MarginalContrast]:
    return {(one.kind, *one.levels.values()): one for one in found}


def fitted(frame: pl.DataFrame, formula: str) -> MixedModelFit:
    return fit_mixed_model(frame, formula=formula, random=RANDOM)


def test_contrasts_are_the_sums_of_coefficients_that_one_writes_by_hand(frame: pl.DataFrame) -> None:
    fit = fitted(frame, "shift ~ depth * regime * role")
    found = marginal_contrasts(fit, "depth", factors=FACTORS)
    assert list(named(found)) == list(BY_HAND)
    coefficients = dict(fit.fixed.select("term", "estimate").rows())
    for key, weights in BY_HAND.items():
        one = named(found)[key]
        assert one.test.estimate == pytest.approx(sum(w * coefficients[term] for term, w in weights.items()))
        assert one.test == fit.contrast({term: float(w) for term, w in weights.items()})
    assert [one.p_corrected for one in found] == holm([one.test.p for one in found])


def test_estimates_and_standard_errors_are_those_of_a_t_test_of_statsmodels(frame: pl.DataFrame) -> None:
    found = named(marginal_contrasts(fitted(frame, "shift ~ depth * regime * role"), "depth", factors=FACTORS))
    data = {name: frame[name].to_numpy() for name in ("shift", "depth", "prompt")}
    local, treatment = (
        (frame[f] == level).to_numpy().astype(float) for f, level in (("regime", "local"), ("role", "treatment"))
    )
    depth = data["depth"]
    # The full model with a slope in each cell: its contrasts are differences of columns.
    cells = {(t, g): depth * (treatment == t) * (local == g) for t in (1, 0) for g in (0, 1)}
    constants = [np.ones_like(local), local, treatment, local * treatment]
    design = np.column_stack([*constants, *cells.values()])
    other = MixedLM(data["shift"], design, groups=data["prompt"], exog_re=depth[:, None]).fit(reml=True)
    rows = {
        ("slope", "treatment", "local"): [0, 1, 0, 0],
        ("difference", "treatment - control", "global"): [1, 0, -1, 0],
        ("difference", "control", "global - local"): [0, 0, 1, -1],
        ("difference in differences", "treatment - control", "global - local"): [1, -1, -1, 1],
    }
    for key, weights in rows.items():
        test = other.t_test(np.array([[0] * 4 + weights]))
        assert found[key].test.estimate == pytest.approx(float(np.squeeze(test.effect)), rel=1e-4)
        assert found[key].test.se == pytest.approx(float(np.squeeze(test.sd)), rel=1e-3)


def test_the_coding_of_the_factors_does_not_matter(frame: pl.DataFrame) -> None:
    one = named(marginal_contrasts(fitted(frame, "shift ~ depth * regime * role"), "depth", factors=FACTORS))
    formula = "shift ~ regime * role + regime:role:depth"
    other = named(marginal_contrasts(fitted(frame, formula), "depth", factors=FACTORS))
    assert list(one) == list(other)
    for key, contrast in one.items():
        again = other[key].test
        assert (again.estimate, again.se, again.df) == pytest.approx(
            (contrast.test.estimate, contrast.test.se, contrast.test.df), rel=1e-5
        )


def test_what_a_formula_does_not_tell_apart_is_not_a_contrast(frame: pl.DataFrame) -> None:
    def keys(formula: str) -> list[tuple[str, ...]]:
        return list(named(marginal_contrasts(fitted(frame, formula), "depth", factors=FACTORS)))

    assert keys("shift ~ depth") == [("slope",)]
    assert keys("shift ~ depth + role") == [("slope",)]
    assert keys("shift ~ depth * role") == [
        ("slope", "treatment"), ("slope", "control"), ("difference", "treatment - control"),
    ]  # fmt: skip
    additive = keys("shift ~ depth * role + depth * regime")
    assert len(additive) == 8 and "difference in differences" not in {key[0] for key in additive}
    assert keys("shift ~ role") == []


def test_a_model_without_a_fit_has_no_contrasts(frame: pl.DataFrame) -> None:
    fit = fitted(frame.with_columns(shift=0.0), "shift ~ depth * role")
    assert fit.status == "failed" and marginal_contrasts(fit, "depth", factors=FACTORS) == ()
