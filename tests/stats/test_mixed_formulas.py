"""Formulas and data of mixed models: columns as elsewhere, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest
from mixed_tables import SLOPES, crossed

from stats import fit_mixed_model


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
        "y ~ (a + b) * x - b:x",
        "y ~ C(k) * x",
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


AS_IN_R = {
    "y ~ a:b": "Intercept a[p]:b[u] a[q]:b[u] a[p]:b[v] a[q]:b[v] a[p]:b[w]",
    "y ~ 0 + a:b": "a[p]:b[u] a[q]:b[u] a[p]:b[v] a[q]:b[v] a[p]:b[w] a[q]:b[w]",
    "y ~ a + a:b": "Intercept a[T.q] a[p]:b[T.v] a[q]:b[T.v] a[p]:b[T.w] a[q]:b[T.w]",
    "y ~ x + x:a:b": "Intercept x x:a[p]:b[u] x:a[q]:b[u] x:a[p]:b[v] x:a[q]:b[v] x:a[p]:b[w]",
    "y ~ a + b:c": "Intercept a[T.q] b[u]:c[m] b[v]:c[m] b[w]:c[m] b[u]:c[n] b[v]:c[n]",
    "y ~ c + a:b": "Intercept c[T.n] a[p]:b[u] a[q]:b[u] a[p]:b[v] a[q]:b[v] a[p]:b[w]",
    "y ~ a:b + b:c": (
        "Intercept a[p]:b[u] a[q]:b[u] a[p]:b[v] a[q]:b[v] a[p]:b[w] b[u]:c[T.n] b[v]:c[T.n] b[w]:c[T.n]"
    ),
    "y ~ a:b:c": (
        "Intercept a[p]:b[u]:c[m] a[q]:b[u]:c[m] a[p]:b[v]:c[m] a[q]:b[v]:c[m] a[p]:b[w]:c[m] a[q]:b[w]:c[m] "
        "a[p]:b[u]:c[n] a[q]:b[u]:c[n] a[p]:b[v]:c[n] a[q]:b[v]:c[n] a[p]:b[w]:c[n]"
    ),
    "y ~ a + a:b:c": (
        "Intercept a[T.q] a[p]:b[u]:c[m] a[q]:b[u]:c[m] a[p]:b[v]:c[m] a[q]:b[v]:c[m] a[p]:b[w]:c[m] a[q]:b[w]:c[m] "
        "a[p]:b[u]:c[n] a[q]:b[u]:c[n] a[p]:b[v]:c[n] a[q]:b[v]:c[n]"
    ),
}
"""The columns that R's model.matrix has, and that lme4 keeps where they are linearly dependent (R 4.2.2)."""


@pytest.mark.parametrize("formula", AS_IN_R)
def test_interactions_without_their_margins_are_coded_as_in_r(formula: str) -> None:
    from stats.mixed_design import fixed_design

    labels = np.array(list(itertools.product("pq", "uvw", "mn", range(3))))
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({name: labels[:, i] for i, name in enumerate("abc")})
    frame = frame.with_columns(x=pl.Series(rng.standard_normal(36)), y=pl.Series(rng.standard_normal(36)))
    assert fixed_design(frame, formula)[2].names == AS_IN_R[formula].split()


def test_cells_are_held_against_the_one_that_r_leaves_out() -> None:
    rows = range(60)
    frame = pl.DataFrame(
        {
            "a": ["pq"[i % 2] for i in rows],
            "b": ["uvw"[i // 2 % 3] for i in rows],
            "g": [i * 7 // 6 % 10 for i in rows],
            "y": [i * 37 % 101 / 25 + i * 7 // 6 % 10 * 0.8 for i in rows],
        }
    )
    fit = fit_mixed_model(frame, formula="y ~ a:b", random="1 | g")
    # R 4.2.2, lme4 1.1-31, lmerTest 3.1-3: lmer(y ~ a:b + (1 | g)).
    assert fit.fixed["estimate"].to_list() == pytest.approx([5.308, 0.276, 0.544, 0.408, 0.272, 0.136], abs=1e-6)
    assert fit.fixed["se"].to_list() == pytest.approx([0.8733806484, *[0.5860931561] * 5], rel=1e-6)
    assert fit.fixed["df"].to_list() == pytest.approx([13.49370819, *[45] * 5], rel=1e-5)


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


MIXED = {
    "y": np.arange(24) % 7 + np.sin(np.arange(24)),
    "x": np.cos(np.arange(24)),
    "g": [f"g{i % 6}" for i in range(24)],
}


def test_whole_and_other_numbers_are_numbers() -> None:
    numbers = [1 if i % 3 else 2.5 for i in range(24)]
    found = fit_mixed_model({**MIXED, "w": numbers}, formula="y ~ w", random="1 | g")
    same = fit_mixed_model({**MIXED, "w": np.array(numbers)}, formula="y ~ w", random="1 | g")
    assert found.fixed.equals(same.fixed)


@pytest.mark.parametrize("values", [[1, "a"] * 12, [1j] * 24, [{1}] * 24, [0.5, 2**53 + 1] * 12])
def test_values_that_are_neither_numbers_nor_labels_matter_where_they_are_used(values: list[object]) -> None:
    data = {**MIXED, "w": values}
    assert fit_mixed_model(data, formula="y ~ x", random="1 | g").n == 24
    for formula, random in (("y ~ w", "1 | g"), ("y ~ x", "1 | w"), ("w ~ x", "1 | g")):
        with pytest.raises(ValueError, match="expected numbers, or labels of one type, in column 'w', got "):
            fit_mixed_model(data, formula=formula, random=random)


@pytest.mark.parametrize("kind", ["datetime64[D]", "datetime64[s]", "timedelta64[D]"])
def test_times_are_no_covariate_and_no_factor_by_themselves(kind: str) -> None:
    data = {**MIXED, "day": (np.arange(24) % 4).astype("int64").astype(kind)}
    with pytest.raises(ValueError, match=r"column 'day', got .*numbers for a trend, or write C\(day\)"):
        fit_mixed_model(data, formula="y ~ day", random="1 | g")
    assert fit_mixed_model(data, formula="y ~ C(day)", random="1 | g").fixed.height == 4
    assert fit_mixed_model(data, formula="y ~ x", random="1 | day").groups == {"day": 4}


@pytest.mark.parametrize(("values", "message"), [(3, "w: expected a column of values, got 3"), ([1, 2], "one length")])
def test_columns_have_values_for_every_row(values: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_mixed_model({**MIXED, "w": values}, formula="y ~ x", random="1 | g")


def test_an_enum_keeps_its_order_in_a_mapping_of_columns() -> None:
    levels = pl.Series(["late", "early"] * 12, dtype=pl.Enum(["late", "early"]))
    fit = fit_mixed_model({**MIXED, "when": levels}, formula="y ~ when", random="1 | g")
    assert fit.fixed["term"].to_list() == ["Intercept", "when[T.early]"]
