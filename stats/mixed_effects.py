"""Linear mixed models with crossed or nested random effects, by REML, with Satterthwaite degrees of freedom.

The engine is our own: formulas and matrices in `stats.mixed_formula` and `stats.mixed_design`, the likelihood in
`stats.reml`, its derivatives in `stats.reml_solution`, the search for its maximum in `stats.reml_search`, the degrees
of freedom in `stats.satterthwaite`. That of statsmodels has no degrees of freedom and takes crossed groups as one
group, which is slow (`benchmarks/mixed_models.py`). It serves as a cross-check in the tests, as do reference fits of
R's lmerTest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from scipy import stats as scipy_stats

from stats.hypothesis_tests import difference_test
from stats.mixed_columns import as_frame
from stats.mixed_design import fixed_design, random_terms
from stats.mixed_results import FitDiagnostics, FitStatus, MixedModelFit
from stats.mixed_tables import covariance_table, fixed_table, prediction_table, variance_table
from stats.mixed_zero_sums import with_zero_sums
from stats.options import Share, checked
from stats.reml import RestrictedLikelihood
from stats.reml_search import search
from stats.reml_solution import BOUNDARY, Solution
from stats.satterthwaite import Inference

_METHOD = "REML, Satterthwaite degrees of freedom"
SINGULAR = "tests take what is estimated as zero to be zero, and reject too often what differs between few levels"
"""What a singular fit says last."""


@checked
def fit_mixed_model(
    frame: pl.DataFrame,
    *,
    formula: str,
    random: str | Sequence[str],
    sums_to_zero: Sequence[str] = (),
    confidence: Share = 0.95,
) -> MixedModelFit:
    """Fit a linear mixed model by restricted maximum likelihood.

    Args:
        frame: One row per observation; a mapping of columns will do. Columns that are not used may have gaps.
        formula: `response ~ fixed effects`, e.g. `shift ~ depth * regime`; see `stats.mixed_formula`.
        random: `effects | group`, e.g. `["0 + depth | prompt", "0 + depth | seed"]`: crossed, or nested as in
            `1 | template/prompt`. Effects of one entry are correlated unless `||` stands for `|`.
        sums_to_zero: Columns in whose combinations the response sums to zero, e.g. `["prompt", "pair"]` for shifts of
            shares over layers; such rows are one fewer than they look, see `stats.mixed_zero_sums`. Effects that do not
            vary within are left out, and named in `left_out`.
        confidence: Of the intervals.

    Returns:
        The fit; with the status `failed` and the reason, not an error, where data as they should be have no maximum of
        the likelihood.

    Raises:
        ValueError: if a formula can't be read; a column is missing, has gaps, or is of the wrong type; fixed effects
            are linearly dependent; a grouping has one level, or as many effects as there are rows; random effects are
            the same as others or as fixed ones; the response does not sum to zero where it should.
    """
    data = frame if isinstance(frame, pl.DataFrame) else as_frame(frame)
    entries = (random,) if isinstance(random, str) else tuple(random)
    response, y, design = fixed_design(data, formula)
    terms = random_terms(data, entries)
    left_out: tuple[str, ...] = ()
    lost = 0
    if sums_to_zero:
        inside = with_zero_sums(data, y, design, terms, tuple(sums_to_zero))
        design, terms, lost, left_out = inside.design, inside.terms, inside.groups, inside.left_out
    model = RestrictedLikelihood(y, design.basis, terms, lost=lost)
    absorbed = model.absorbed()
    if absorbed:
        raise ValueError(f"random: {'; '.join(absorbed)} can't be told from the fixed effects of {formula!r}")
    columns = design.basis.matrix
    unfitted = FitDiagnostics(
        converged=False,
        expected_gain=None,
        optimizer_gap=None,
        evaluations=0,
        condition_number=float(np.linalg.cond(columns / np.linalg.norm(columns, axis=0))),
        random_effects=sum(len(term.levels) * len(term.names) for term in terms),
        skewness=None,
        excess_kurtosis=None,
        largest_residual=None,
    )
    empty = MixedModelFit(
        fixed=fixed_table(design.names, None),
        variances=variance_table(model, None),
        covariances=covariance_table(model, None),
        random_effects=prediction_table(model, None),
        status="failed",
        messages=(),
        loglik=None,
        n=model.n,
        groups={term.group: len(term.levels) for term in terms},
        response=response,
        formula=formula,
        random=entries,
        left_out=left_out,
        method=_METHOD,
        confidence=confidence,
        diagnostics=unfitted,
        design=design,
        inference=None,
    )
    if model.scale == 0:
        what = "is constant" if np.ptp(y) == 0 else "is an exact function of the fixed effects"
        return replace(empty, messages=(f"the response {response!r} {what}: there is no variation to model",))
    return _fitted(model, empty)


def _fitted(model: RestrictedLikelihood, empty: MixedModelFit) -> MixedModelFit:
    found = search(model)
    solution = found.solution
    if solution is None:
        why = "the residual variance is zero: the random effects explain every value"
        return replace(empty, messages=(why,), diagnostics=replace(empty.diagnostics, evaluations=found.evaluations))
    diagnostics = replace(
        _with_residuals(solution, empty.diagnostics),
        converged=found.converged,
        expected_gain=found.gain,
        optimizer_gap=found.gap,
        evaluations=found.evaluations,
    )
    if not found.converged:
        why = f"no maximum of the likelihood was found: another step would change the deviance by {found.gain:.2g}"
        return replace(empty, messages=(why,), diagnostics=diagnostics)
    inference = Inference.at(solution)
    messages = _boundary(solution)
    status: FitStatus = "singular" if messages else "ok"
    if not inference.curved:
        status = "singular"
        messages.append("the variances can't be told apart: the likelihood is flat in one direction or more")
    if messages:
        messages.append(SINGULAR)
    tests = [
        difference_test(*inference.of(row), confidence=empty.confidence) for row in np.eye(len(empty.design.names))
    ]
    return replace(
        empty,
        fixed=fixed_table(empty.design.names, tests),
        variances=variance_table(model, solution),
        covariances=covariance_table(model, solution),
        random_effects=prediction_table(model, solution),
        status=status,
        messages=tuple(messages),
        loglik=-found.deviance / 2,
        diagnostics=diagnostics,
        inference=inference,
    )


def _boundary(solution: Solution) -> list[str]:
    messages = []
    for i in solution.model.given:
        term, psi = solution.model.terms[i], solution.psi[i]
        rank = int((np.linalg.eigvalsh(psi) > solution.sigma2 * BOUNDARY**2).sum())
        effects = f"{', '.join(term.names)} | {term.group}"
        if rank == 0:
            messages.append(f"the variance of ({effects}) is zero")
        elif rank < len(psi):
            messages.append(f"the covariance matrix of ({effects}) has rank {rank}, not {len(psi)}")
    return messages


def _with_residuals(solution: Solution, diagnostics: FitDiagnostics) -> FitDiagnostics:
    standardised = solution.residuals()
    return replace(
        diagnostics,
        skewness=float(scipy_stats.skew(standardised)),
        excess_kurtosis=float(scipy_stats.kurtosis(standardised)),
        largest_residual=float(np.abs(standardised).max()),
    )
