"""What the fit of a mixed model has to say: tables, how it went, and tests of slopes and other contrasts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from stats.checks import Floats
from stats.hypothesis_tests import TestResult, difference_test
from stats.mixed_design import Design
from stats.mixed_tables import result_columns, table_schema
from stats.satterthwaite import Inference

FitStatus: TypeAlias = Literal["ok", "singular", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitDiagnostics:
    """How the fit went and what its residuals look like; None where there is no fit.

    Attributes:
        converged: Whether the restricted likelihood has its maximum here.
        expected_gain: How much another Newton step would lower the deviance; zero at the maximum of the likelihood.
        optimizer_gap: How much higher the deviance was where the worse of the two optimizers stopped.
        evaluations: Evaluations of the likelihood by both.
        condition_number: Of the fixed effects' columns over centred numbers, scaled to the same length; above 30 they
            are nearly dependent.
        random_effects: Number of random effects, over all groups.
        skewness: Of the residuals (given the random effects), `excess_kurtosis` likewise; both 0 if they are normal.
        largest_residual: Largest absolute residual, in residual standard deviations.
    """

    converged: bool
    expected_gain: float | None
    optimizer_gap: float | None
    evaluations: int
    condition_number: float
    random_effects: int
    skewness: float | None
    excess_kurtosis: float | None
    largest_residual: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MixedModelFit:
    """A fitted mixed model.

    Attributes:
        fixed: term, estimate, se, df, statistic, p, ci_low, ci_high; all but the term are null if the fit failed.
        variances: group, term, variance; the last row is the residual's.
        covariances: group, term, other, covariance, correlation of correlated random effects.
        random_effects: group, level, term, estimate: the predictions (BLUPs); no rows if the fit failed.
        status: `ok`; `singular` if a variance is zero or a correlation one at the maximum; `failed` if there is no fit.
            Tests of a singular fit take the variance to be zero. Where few levels of that grouping are compared they
            reject too often: with three seeds in each of two groups .11 to .21 at .05, since the variance of few levels
            is often estimated as zero when it is not.
        messages: Why it is not ok, and what else is worth knowing.
        loglik: Restricted log-likelihood.
        n: Number of independent rows; `groups` the number of levels of every grouping.
        left_out: Effects that are zero by construction, where the response sums to zero within groups of rows.
        method: How it was fitted.
        confidence: Of the intervals.
        diagnostics: How the fit went.
        design: How the columns of the fixed effects are made.
        inference: What tests of contrasts are computed from; None if the fit failed.
    """

    fixed: pl.DataFrame
    variances: pl.DataFrame
    covariances: pl.DataFrame
    random_effects: pl.DataFrame
    status: FitStatus
    messages: tuple[str, ...]
    loglik: float | None
    n: int
    groups: Mapping[str, int]
    response: str
    formula: str
    random: tuple[str, ...]
    left_out: tuple[str, ...]
    method: str
    confidence: float
    diagnostics: FitDiagnostics
    design: Design = field(repr=False)
    inference: Inference | None = field(repr=False)

    def contrast(self, weights: Mapping[str, float], *, null: float = 0.0) -> TestResult:
        """t-test and interval of a weighted sum of fixed effects, with Satterthwaite degrees of freedom.

        Args:
            weights: Weight of each term, by its name in `fixed`; terms that are not named have weight zero.
            null: Value under the null hypothesis.

        Raises:
            ValueError: if a term is unknown, no weight differs from zero, one is not finite, or the fit failed.
        """
        unknown = [name for name in weights if name not in self.design.names]
        if unknown:
            raise ValueError(f"weights: expected terms of {', '.join(self.design.names)}, got {', '.join(unknown)}")
        return self._test(np.array([float(weights.get(name, 0.0)) for name in self.design.names]), null=null)

    def slopes(self, covariate: str, *, by: Sequence[str] | None = None) -> pl.DataFrame:
        """Slope over a covariate at each combination of levels of factors.

        Other factors are averaged over their levels, each with the same weight; other numbers are at their mean.

        Args:
            covariate: A number in the fixed effects.
            by: The factors; all in the formula by default.

        Returns:
            A column for each factor, then estimate, se, df, statistic, p, ci_low, ci_high.

        Raises:
            ValueError: if the covariate or a factor is not in the formula, or the fit failed.
        """
        factors = self._factors(covariate, list(self.design.factors) if by is None else by, "by")
        rows = []
        for levels in itertools.product(*(self.design.factors[name] for name in factors)):
            at = dict(zip(factors, levels, strict=True))
            rows.append(at | result_columns(self._test(self.design.slope(covariate, at))))
        return pl.DataFrame(rows, schema=table_schema(factors))

    def slope_differences(
        self, covariate: str, *, between: str | Sequence[str], within: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Differences of slopes between levels of factors, a later level minus an earlier one.

        Args:
            covariate: A number in the fixed effects.
            between: One factor, or several for differences in differences, e.g. of role and regime.
            within: Factors at each level of which the difference is taken; over the others it is averaged.

        Returns:
            A column for each factor (for `between`: "later - earlier"), then as :meth:`slopes`.

        Raises:
            ValueError: if the covariate or a factor is not in the formula, a factor is named twice, the formula has no
                such interaction, or the fit failed.
        """
        across = self._factors(covariate, [between] if isinstance(between, str) else between, "between")
        inside = self._factors(covariate, within, "within")
        if not across or len({*across, *inside}) < len(across) + len(inside):
            raise ValueError(f"between, within: expected different factors, got {', '.join([*across, *inside])}")
        rows = []
        for levels in itertools.product(*(self.design.factors[name] for name in inside)):
            at = dict(zip(inside, levels, strict=True))
            for pairs in itertools.product(*(itertools.combinations(self.design.factors[f], 2) for f in across)):
                weights = np.zeros(len(self.design.names))
                for chosen in itertools.product((0, 1), repeat=len(across)):
                    there = {name: pair[i] for name, pair, i in zip(across, pairs, chosen, strict=True)}
                    sign = (-1) ** (len(across) - sum(chosen))
                    weights += sign * self.design.slope(covariate, at | there)
                shown = {name: f"{pair[1]} - {pair[0]}" for name, pair in zip(across, pairs, strict=True)}
                if not weights.any():
                    raise ValueError(f"between: the slope over {covariate} can't differ so in {self.formula!r}")
                rows.append(at | shown | result_columns(self._test(weights)))
        return pl.DataFrame(rows, schema=table_schema([*inside, *across]))

    def _factors(self, covariate: str, names: Sequence[str], where: str) -> list[str]:
        if covariate not in self.design.means:
            raise ValueError(f"covariate: expected one of {', '.join(self.design.means) or 'none'}, got {covariate!r}")
        unknown = [name for name in names if name not in self.design.factors]
        if unknown:
            known = ", ".join(self.design.factors) or "none"
            raise ValueError(f"{where}: expected factors of the formula ({known}), got {', '.join(unknown)}")
        return list(names)

    def _test(self, weights: Floats, *, null: float = 0.0) -> TestResult:
        if self.inference is None:
            raise ValueError(f"the model has no fit: {'; '.join(self.messages)}")
        if not np.isfinite(weights).all() or not weights.any():
            raise ValueError(f"weights: expected finite numbers, not all zero, got {weights.tolist()}")
        estimate, se, df = self.inference.of(weights)
        result = difference_test(estimate, se, df, null=null, confidence=self.confidence)
        return replace(result, method=f"t-test in a mixed model ({self.method})")
