"""Estimated marginal slopes of a fitted mixed model, and their differences between the levels of two-level factors.

Coefficients depend on the coding of the factors, and most of them are slopes of a reference group or differences from
it. These are the quantities themselves: the slope in every combination of levels (other factors averaged with equal
weights, other numbers at their mean), the difference of slopes between the levels of one factor at each combination of
the others, and the difference of these differences.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from stats.checks import Floats
from stats.hypothesis_tests import TestResult
from stats.mixed_results import MixedModelFit
from stats.multiplicity import holm
from stats.options import checked

Kind: TypeAlias = Literal["slope", "difference", "difference in differences"]
KINDS: tuple[Kind, ...] = ("slope", "difference", "difference in differences")
_ZERO = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginalContrast:
    """A slope or a difference of slopes.

    Attributes:
        kind: What it is.
        levels: Factor -> the level it is taken at, or `first - second`.
        test: Against zero, with Satterthwaite degrees of freedom.
        p_corrected: Holm-adjusted p over all marginal contrasts of the model.
    """

    kind: Kind
    levels: Mapping[str, str]
    test: TestResult
    p_corrected: float | None


@checked
def marginal_contrasts(
    fit: MixedModelFit, covariate: str, *, factors: Mapping[str, tuple[str, str]]
) -> tuple[MarginalContrast, ...]:
    """Every slope, then every difference of slopes, then the difference in differences.

    Args:
        fit: The model; without a fit there are no contrasts.
        covariate: The number whose slope it is.
        factors: At most two factors with the two levels that are compared, first minus second. One that the slope does
            not depend on in this formula is left out, and so is a difference that is zero in it by construction.
    """
    if fit.inference is None or covariate not in fit.design.means:
        return ()
    moving = {name for column in fit.design.columns if covariate in column.numbers for name, _ in column.levels}
    used = {name: levels for name, levels in factors.items() if name in moving}
    found: list[tuple[Kind, dict[str, str], TestResult]] = []
    for size in range(len(used) + 1):
        for across in itertools.combinations(used, size):
            within = [name for name in used if name not in across]
            for chosen in itertools.product(*(used[name] for name in within)):
                at = dict(zip(within, chosen, strict=True))
                weights = _difference(fit, covariate, at, {name: used[name] for name in across})
                if np.abs(weights).max() <= _ZERO:
                    continue
                named = at | {name: " - ".join(used[name]) for name in across}
                test = fit.contrast(dict(zip(fit.design.names, weights.tolist(), strict=True)))
                found.append((KINDS[size], {name: named[name] for name in used}, test))
    corrected = holm([test.p for _, _, test in found])
    return tuple(
        MarginalContrast(kind=kind, levels=levels, test=test, p_corrected=p)
        for (kind, levels, test), p in zip(found, corrected, strict=True)
    )


def _difference(
    fit: MixedModelFit, covariate: str, at: Mapping[str, str], across: Mapping[str, tuple[str, str]]
) -> Floats:
    """Weights of the coefficients: slopes at the first levels of all factors minus those at the second ones."""
    weights = np.zeros(len(fit.design.names))
    for chosen in itertools.product((0, 1), repeat=len(across)):
        there = {name: levels[i] for (name, levels), i in zip(across.items(), chosen, strict=True)}
        weights += (-1) ** sum(chosen) * fit.design.slope(covariate, {**at, **there})
    return weights
