"""The likelihood of mixed models against slow and obvious twins, and their tests against simulated data."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from repeated import as_often
from scipy import linalg

from stats import fit_mixed_model, reml_layout
from stats.mixed_design import fixed_design, random_terms
from stats.reml import RestrictedLikelihood
from stats.reml_solution import Solution

FORMULA = "y ~ x * a"
RANDOM = [
    ["0 + x | p", "0 + x | s"],
    ["1 + x | p", "1 | s"],
    ["1 + x | s", "1 + x | p"],
    ["1 || p", "1 + x | s"],
    ["1 | s/p", "0 + x | p"],
    ["0 + a | s"],
    ["0 + x | p", "1 + x | p:s", "0 + a | s"],
    ["1 | s", "0 + x | s:a", "0 + x | p:s"],
    ["0 + x | p", "0 + x | s:a", "1 | s"],
    ["1 + x | p", "1 + x | s:a"],
]


def table(seed: int, *, p: int = 8, s: int = 4, rows: int = 5, sd: float = 0.5) -> pl.DataFrame:
    """Unbalanced data with crossed groups p and s, intercepts and slopes, and units far from one."""
    rng = np.random.default_rng(seed)
    ps, ss, xs = (v.ravel() for v in np.meshgrid(range(p), range(s), np.linspace(1, 3, rows), indexing="ij"))
    ps, ss = ps.astype(int), ss.astype(int)
    y = 40 + sd * (rng.standard_normal(p)[ps] + rng.standard_normal(p)[ps] * xs + rng.standard_normal(s)[ss] * xs)
    y += rng.standard_normal(len(y))
    frame = pl.DataFrame({"y": 0.01 * y, "x": 20 * xs, "a": np.where(ps % 2, "u", "v"), "p": ps, "s": ss})
    return frame[np.flatnonzero(rng.random(len(y)) < 0.75).tolist()]


class Dense:
    """-2 log restricted likelihood from the n x n covariance matrix of the data."""

    def __init__(self, frame: pl.DataFrame, random: list[str]) -> None:
        _, self.y, design = fixed_design(frame, FORMULA)
        self.x, self.terms = design.matrix, random_terms(frame, random)
        self.model = RestrictedLikelihood(self.y, self.x, self.terms)

    def variance(self, psi: list[NDArray[np.float64]], sigma2: float) -> NDArray[np.float64]:
        """Of y; psi and sigma2 in the scaled units of the model, in its order of terms."""
        found = sigma2 * np.eye(len(self.y))
        for matrix, unit, term in zip(psi, self.model.units, self.model.terms, strict=True):
            scaled = term.values / unit
            found += scaled @ matrix @ scaled.T * (term.codes[:, None] == term.codes)
        return found * self.model.scale**2

    def deviance(self, entries: NDArray[np.float64]) -> float:
        """At the entries of all psi and sigma2."""
        psi, at = [], 0
        for k in self.model.sizes:
            lower = np.zeros((k, k))
            count = k * (k + 1) // 2
            lower[np.tril_indices(k)] = entries[at : at + count]
            at += count
            psi.append(lower + np.tril(lower, -1).T)
        v = self.variance(psi, entries[-1])
        inverse = linalg.inv(v)
        information = self.x.T @ inverse @ self.x
        rest = self.y - self.x @ linalg.solve(information, self.x.T @ inverse @ self.y)
        logs = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
        return logs + rest @ inverse @ rest + (len(self.y) - self.x.shape[1]) * np.log(2 * np.pi)


@pytest.mark.parametrize("call", [reml_layout.CALL, 0.0], ids=["", "blocks told apart"])
@pytest.mark.parametrize("random", RANDOM)
def test_the_likelihood_and_its_derivatives_are_those_of_the_dense_model(
    random: list[str], call: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reml_layout, "CALL", call)
    dense = Dense(table(1), random)
    theta = np.random.default_rng(2).uniform(0.3, 1, dense.model.parameters)
    solution = Solution(dense.model, theta)
    entries = np.concatenate([psi[np.tril_indices(len(psi))] for psi in solution.psi] + [[solution.sigma2]])
    assert dense.model.deviance(theta) == pytest.approx(dense.deviance(entries), abs=1e-8)

    steps = np.diag(1e-4 * np.maximum(np.abs(entries), 0.01))
    size = np.diag(steps)
    gradient = [(dense.deviance(entries + d) - dense.deviance(entries - d)) / 2 / d.sum() for d in steps]
    np.testing.assert_allclose(solution.gradient, gradient, rtol=1e-4, atol=1e-4)
    hessian = np.zeros((len(entries), len(entries)))
    for (i, d), (j, e) in itertools.product(enumerate(steps), repeat=2):
        signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        hessian[i, j] = sum(a * b * dense.deviance(entries + a * d + b * e) for a, b in signs) / 4 / size[i] / size[j]
    np.testing.assert_allclose(solution.hessian, hessian, rtol=1e-3, atol=1e-4 * np.abs(hessian).max())


def of_templates(prompts: int) -> tuple[pl.DataFrame, list[str]]:
    """Two tasks of so many prompts in five templates each, on four pairs, with every unit that slopes vary over."""
    t, p, g, layer = (v.ravel() for v in np.meshgrid(range(2), range(prompts), range(4), range(4), indexing="ij"))
    prompt, template = t * prompts + p, t * 5 + p % 5
    y = np.random.default_rng(0).standard_normal(len(p))
    frame = pl.DataFrame(
        {"y": y, "x": layer, "a": t.astype(str), "g": g, "task": t, "template": template, "prompt": prompt}
    )
    groups = ("prompt", "prompt:g", "template", "template:g", "g", "task:g")
    return frame, [f"0 + x | {group}" for group in groups]


def test_blocks_take_the_columns_that_they_touch_and_no_others() -> None:
    frame, random = of_templates(100)
    _, y, design = fixed_design(frame, FORMULA)
    model = RestrictedLikelihood(y, design.basis, random_terms(frame, random))
    # Of all prompts as blocks each touches one template, its four pairs, and the pairs alone and in its task.
    assert (model.layout.blocks, model.layout.width, model.across.shape[2]) == (200, 5, 10 + 40 + 4 + 8 + 4 + 1)
    assert [len(blocks) for blocks, _, _ in model.alike] == [20] * 10
    assert {len(columns) for _, columns, _ in model.alike} == {1 + 4 + 4 + 4 + 4 + 1}
    theta = np.random.default_rng(1).uniform(0.1, 1, model.parameters)
    found = model.deviance(theta)
    model.alike = [(np.arange(200), np.arange(model.across.shape[2]), model.across)]
    assert found == pytest.approx(model.deviance(theta), rel=1e-12)


def test_nested_groupings_are_eliminated_in_blocks_and_what_crosses_them_is_dense() -> None:
    prompts, roles, layers = 1000, 2, 4
    p, r, layer = (v.ravel() for v in np.meshgrid(range(prompts), range(roles), range(layers), indexing="ij"))
    y = np.random.default_rng(0).standard_normal(len(p))
    frame = pl.DataFrame({"y": y, "x": layer, "a": r.astype(str), "p": p, "s": p % 20})
    _, _, design = fixed_design(frame, FORMULA)
    random = ["1 | s", "0 + x | p", "1 + x | p:a"]
    model = RestrictedLikelihood(y, design.basis, random_terms(frame, random))
    assert [term.group for term in model.terms] == ["p", "p:a", "s"] and model.given == [2, 0, 1]
    assert (model.layout.blocks, model.layout.width) == (1000, 1 + 2 * 2)
    assert model.across.shape == (1000, 5, 20 + 4 + 1)
    # Prompts in seeds are nested, too, but blocks of 50 prompts cost more than 20 columns that cross.
    largest = max(value.size for value in vars(model).values() if isinstance(value, np.ndarray))
    assert largest < 30 * len(y)


@pytest.mark.parametrize("random", RANDOM)
def test_estimates_and_residuals_are_those_of_the_dense_model(random: list[str]) -> None:
    frame = table(4, sd=1)
    fit = fit_mixed_model(frame, formula=FORMULA, random=random)
    dense = Dense(frame, random)
    solution = fit.inference.solution
    inverse = linalg.inv(dense.variance(solution.psi, solution.sigma2))
    covariance = linalg.inv(dense.x.T @ inverse @ dense.x)
    beta = covariance @ dense.x.T @ inverse @ dense.y
    np.testing.assert_allclose(fit.fixed["estimate"], beta, rtol=1e-6)
    np.testing.assert_allclose(fit.fixed["se"], np.sqrt(np.diag(covariance)), rtol=1e-6)
    rest = dense.y - dense.x @ beta
    left = dense.model.scale**2 * solution.sigma2 * inverse @ rest
    assert fit.diagnostics.largest_residual == pytest.approx(
        np.abs(left).max() / np.sqrt(fit.variances["variance"][-1]), rel=1e-6
    )


def test_degrees_of_freedom_are_twice_the_squared_variance_over_its_variance() -> None:
    frame = table(4, sd=1)
    fit = fit_mixed_model(frame, formula=FORMULA, random=RANDOM[0])
    assert fit.status == "ok"
    dense = Dense(frame, RANDOM[0])
    solution = fit.inference.solution
    entries = np.array([*(psi[0, 0] for psi in solution.psi), solution.sigma2])

    def variance_of_slope(at: NDArray[np.float64]) -> float:
        inverse = linalg.inv(dense.variance([at[[0]][:, None], at[[1]][:, None]], at[2]))
        return float(linalg.inv(dense.x.T @ inverse @ dense.x)[1, 1])

    steps = np.diag(1e-4 * entries)
    gradient = np.array(
        [(variance_of_slope(entries + d) - variance_of_slope(entries - d)) / 2 / d.sum() for d in steps]
    )
    uncertainty = 2 * linalg.inv(solution.hessian)
    expected = 2 * variance_of_slope(entries) ** 2 / (gradient @ uncertainty @ gradient)
    assert fit.fixed["term"][1] == "x"
    assert fit.fixed["df"][1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_no_point_of_a_grid_is_likelier_than_the_fit(seed: int) -> None:
    frame = table(seed, p=6, s=3, rows=4, sd=[0, 0.1, 0.5][seed % 3])
    random = RANDOM[0] if seed % 2 else ["1 + x | p"]
    fit = fit_mixed_model(frame, formula=FORMULA, random=random)
    assert fit.status in ("ok", "singular")
    model = Dense(frame, random).model
    grid = [0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2.5, 5, 20]
    signed = [-x for x in grid[:0:-1]] + grid
    axes = [grid, signed, grid] if model.parameters == 3 else [grid, grid]
    best = min(model.deviance(np.array(theta)) for theta in itertools.product(*axes))
    assert -2 * fit.loglik <= best + 1e-6


@pytest.mark.long
@pytest.mark.parametrize(
    "seeds", [range(3), pytest.param(range(3, 24), marks=pytest.mark.nightly)], ids=["few", "many"]
)
def test_small_and_singular_problems_converge(seeds: range) -> None:
    failed = []
    for seed, random in itertools.product(seeds, RANDOM):
        fit = fit_mixed_model(table(seed, p=6, s=3, rows=4, sd=[0, 0.2, 2][seed % 3]), formula=FORMULA, random=random)
        usable = fit.fixed["df"].is_finite().all() and fit.fixed["df"].min() > 0 and fit.fixed["se"].min() > 0
        if fit.status == "failed" or not usable or not fit.diagnostics.converged:
            failed.append((seed, random, fit.messages))
    assert failed == []


@pytest.mark.nightly
@pytest.mark.parametrize("seed_sd", [0.0, 0.05])
def test_tests_of_depth_and_regime_reject_as_often_as_they_say(seed_sd: float) -> None:
    prompts, seeds, layers, repetitions = 12, 5, 4, 400
    prompt, run, layer = (
        v.ravel() for v in np.meshgrid(range(prompts), range(seeds), np.arange(layers), indexing="ij")
    )
    depth = layer / (layers - 1) - 0.5
    regime = np.where(prompt % 2 == 0, "local", "global")
    rejected = {"depth": 0, "depth:regime[T.local]": 0}
    for repetition in range(repetitions):
        rng = np.random.default_rng([20, repetition])
        slope = 0.1 * rng.standard_normal(prompts)[prompt] + seed_sd * rng.standard_normal(seeds)[run]
        frame = pl.DataFrame(
            {
                "shift": slope * depth + 0.1 * rng.standard_normal(len(depth)),
                "depth": depth,
                "regime": regime,
                "prompt": prompt,
                "seed": run,
            }
        )
        fit = fit_mixed_model(
            frame, formula="shift ~ depth * regime", random=["0 + depth | prompt", "0 + depth | seed"]
        )
        assert fit.status != "failed"
        for term in rejected:
            rejected[term] += fit.fixed.row(by_predicate=pl.col("term") == term, named=True)["p"] < 0.05
    assert all(as_often(count, repetitions, 0.05) for count in rejected.values()), rejected
