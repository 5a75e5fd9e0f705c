"""How estimates of the same prompts err together: by their joint replicates, or by what each prompt adds to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stats.checks import ROUNDING, Floats, Integers
from stats.strata import Strata

if TYPE_CHECKING:
    from stats.replicates import Replicated


def analytic_errors(parts: Sequence[Replicated]) -> bool:
    """Whether all estimates have contributions of their units."""
    return all(part.influence is not None for part in parts)


@dataclass(frozen=True, slots=True)
class Errors:
    """How the estimates of a group err together: [parts, R] replicates, or [parts, units] influence."""

    rows: Floats
    analytic: bool
    strata: Integers | None = None
    own: Floats | None = None

    @classmethod
    def of(cls, parts: Sequence[Replicated], *, analytic: bool) -> Errors:
        """Of the parts of a group.

        Raises:
            ValueError: if replicates or contributions do not pair.
        """
        if not analytic:
            return cls(stacked([part.replicates for part in parts], "replicates"), analytic)
        rows = stacked([part.influence for part in parts], "examples")
        given = [part.strata for part in parts]
        strata = None if any(one is None for one in given) else stacked(given, "strata").max(axis=0)
        own = None if any(part.own is None for part in parts) else stacked([part.own for part in parts], "examples")
        return cls(rows, analytic, strata, own)

    def variance(self, weights: Floats) -> float:
        """Of the weighted sum, over prompts."""
        combined = weights @ self.rows
        # What cancels leaves rounding, which is no variance.
        rounding = ROUNDING * float(np.abs(weights) @ np.abs(self.rows).max(axis=1))
        if self.analytic:
            return float(combined @ combined) if np.abs(combined).max() > rounding else 0.0
        return float(combined.var(ddof=1)) if np.ptp(combined) > rounding else 0.0

    def third_cumulant(self, weights: Floats) -> float:
        """Of the weighted sum; 0 where only replicates are known."""
        if not self.analytic:
            return 0.0
        combined, strata = self._within(weights)
        cubes = combined**3 if strata is None else combined**3 * strata.cubes
        return float(cubes.sum())

    def shared(self, weights: Floats) -> Floats:
        """Covariance of each estimate with the weighted sum [parts]; of influence only."""
        return np.asarray(self.rows @ (weights @ self.rows))

    def df(self, weights: Floats, parts: Sequence[float]) -> float:
        """Degrees of freedom of :meth:`variance`: of means within strata their own, else the fewest of any part."""
        combined, strata = self._within(weights)
        if strata is None or self.own is None:
            return min(parts)
        return float(strata.df_of(combined[:, None])[0])

    def _within(self, weights: Floats) -> tuple[Floats, Strata | None]:
        """What each unit adds to the error of the weighted sum, and the strata of these units."""
        combined = weights @ self.rows
        if self.strata is None:
            return combined, None
        present = self.strata >= 0
        return combined[present], Strata.made(self.strata[present])

    def by_unit(self, weights: Floats, units: int) -> tuple[Floats, Floats]:
        """What each unit of a part adds to the error of the weighted sum, `units` of them at least; and its values."""
        combined = weights @ self.rows
        values = combined if self.own is None else weights @ self.own
        in_it = self.rows.any(axis=0) if self.own is None else self.rows.any(axis=0) | self.own.any(axis=0)
        present = max(units, int(np.count_nonzero(in_it)))
        chosen = np.argsort(-np.where(in_it, np.abs(combined) + np.abs(values), -1.0), kind="stable")[:present]
        return combined[chosen], values[chosen]


def stacked(arrays: Sequence[NDArray[Any] | None], what: str) -> NDArray[Any]:
    """Arrays of the same draws or units, one in each row; those that are None are left out."""
    present = [array for array in arrays if array is not None]
    if len({len(array) for array in present}) > 1:
        raise ValueError(f"{what}: expected the same number in every part, got {[len(array) for array in present]}")
    return np.stack(present)
