"""Tables of a mixed model: its fixed effects, variances, covariances and predictions, or nulls where it has no fit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from stats.checks import Floats
from stats.hypothesis_tests import TestResult
from stats.reml import RestrictedLikelihood
from stats.reml_solution import Solution

_NUMBERS = ("estimate", "se", "df", "statistic", "p", "ci_low", "ci_high")


def result_columns(test: TestResult | None) -> dict[str, float | None]:
    """Numbers of a test by the names of their columns; None without a test."""
    if test is None:
        return dict.fromkeys(_NUMBERS)
    values = (test.estimate, test.se, test.df, test.statistic, test.p, test.low, test.high)
    return dict(zip(_NUMBERS, values, strict=True))


def table_schema(labels: Sequence[str], numbers: Sequence[str] = _NUMBERS) -> dict[str, Any]:
    """Types of columns of labels, then of numbers, by default those of a test."""
    return dict.fromkeys(labels, pl.String) | dict.fromkeys(numbers, pl.Float64)


def fixed_table(names: Sequence[str], tests: Sequence[TestResult] | None) -> pl.DataFrame:
    """term, then as :func:`result_columns`, for every fixed effect."""
    rows = [{"term": name} | result_columns(tests[i] if tests else None) for i, name in enumerate(names)]
    return pl.DataFrame(rows, schema=table_schema(["term"]))


def variance_table(model: RestrictedLikelihood, solution: Solution | None) -> pl.DataFrame:
    """group, term, variance, in the units of the data and the order of the formula; the last row is the residual's."""
    rows = []
    for i in model.given:
        found = np.diag(_covariance(model, solution, i)).tolist() if solution else [None] * model.sizes[i]
        rows += [(model.terms[i].group, name, value) for name, value in zip(model.terms[i].names, found, strict=True)]
    rows.append(("Residual", "Residual", solution.sigma2 * model.scale**2 if solution else None))
    return pl.DataFrame(rows, schema=table_schema(["group", "term"], ["variance"]), orient="row")


def covariance_table(model: RestrictedLikelihood, solution: Solution | None) -> pl.DataFrame:
    """group, term, other, covariance, correlation; the correlation is null if a variance is zero."""
    rows = []
    for i in model.given:
        for a, b in itertools.combinations(range(model.sizes[i]), 2):
            covariance = correlation = None
            if solution:
                matrix = _covariance(model, solution, i)
                covariance, size = float(matrix[a, b]), float(np.sqrt(matrix[a, a] * matrix[b, b]))
                correlation = covariance / size if size > 0 else None
            names = model.terms[i].names
            rows.append((model.terms[i].group, names[a], names[b], covariance, correlation))
    schema = table_schema(["group", "term", "other"], ["covariance", "correlation"])
    return pl.DataFrame(rows, schema=schema, orient="row")


def prediction_table(model: RestrictedLikelihood, solution: Solution | None) -> pl.DataFrame:
    """group, level, term, estimate, in the units of the data; no rows without a solution."""
    rows: list[tuple[str, str, str, float]] = []
    predictions = solution.predictions() if solution else []
    for i in model.given if predictions else []:
        term = model.terms[i]
        for level, values in zip(term.levels, predictions[i], strict=True):
            rows += [(term.group, level, name, value) for name, value in zip(term.names, values.tolist(), strict=True)]
    return pl.DataFrame(rows, schema=table_schema(["group", "level", "term"], ["estimate"]), orient="row")


def _covariance(model: RestrictedLikelihood, solution: Solution, i: int) -> Floats:
    unit = model.units[i]
    return model.terms[i].covariance(solution.psi[i] * model.scale**2 / unit / unit[:, None])
