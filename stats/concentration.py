"""Whether the interval of a mean rests on a few prompts, so that t quantiles can't be trusted.

The t interval, with or without its correction for skewness, takes the variance that it estimates for known but for
chance of the usual size. Where a few prompts carry most of it, it is not: the next sample has other such prompts, or
none. Two signs are looked at, in what each unit adds to the error of the estimate (e_i, of which se^2 is the sum of
squares):

- the 5 % of the units that add most, one at least, carry more than half of the variance. With fewer than 10 units the
  share is that which the largest of normal values exceeds in 1 % of samples (Grubbs 1950, Annals of Mathematical
  Statistics 21, 27-58), where that is more;
- half of the units or more have exactly the same value, as zeros do, and fewer than 10 have another.

How often one of them shows, with 20, 40, 60 and 200 prompts (`tests/stats/test_trust_in_means.py`), and coverage of
the nominal .95 interval of a mean, corrected for skewness, in 3,000 data sets:

    distribution                        shows                 coverage
    normal                              .01 .00 .00 .00       .95 .95 .95 .95
    gamma, skewness 1                   .07 .05 .03 .00       .95 .95 .95 .95
    exponential, skewness 2             .21 .27 .30 .37       .94 .94 .94 .95
    normal, each x 10 by chance of .05  .43 .70 .82 .99       .94 .91 .91 .91
    N(1, 1), each x 10 by chance of .05 .47 .77 .88 1.00      .76 .79 .84 .94
    normal, one in twenty x 10          .65 .85 .93 1.00      .95 .92 .90 .91
    N(1, 1), one in twenty x 10         .75 .92 .97 1.00      .85 .90 .94 .98

Of 20 values of which each is an outlier by chance, a third of all samples has none, and nothing can show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from stats.checks import as_floats, ties

FEW = 0.05
"""Share of the units that are looked at."""
HALF = 0.5
"""Share of the variance, and of the units that are the same."""
FEWEST_OTHERS = 10
"""Units that add something else than most do, below which the interval rests on too few."""
_RARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Concentration:
    """How the error of an estimate is spread over its units.

    Attributes:
        units: Number of units, and `few` the number of those that add most.
        share: Share of the variance that the few carry; `limit`: above which that is worth saying.
        same: Number of units that have the same value (the largest such group; of each task, where there are several).
    """

    units: int
    few: int
    share: float
    limit: float
    same: int

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the t interval."""
        return not (self.carried or self.alike)

    @property
    def carried(self) -> bool:
        """Whether a few units carry too much of the variance."""
        return self.share > self.limit

    @property
    def alike(self) -> bool:
        """Whether nearly all units add the same."""
        return self.same >= HALF * self.units and self.units - self.same < FEWEST_OTHERS

    def warning(self, unit: str = "prompts") -> str:
        """What speaks against the t interval, in a clause with its numbers; empty where nothing does."""
        if self.carried:
            carried = f"{self.few} of {self.units} {unit} carry {self.share:.0%} of the variance"
            return f"{carried}: the interval may not hold its level"
        if self.alike:
            return (
                f"{self.same} of {self.units} {unit} have the same value: the interval rests on the other "
                f"{self.units - self.same} and may not hold its level"
            )
        return ""


def concentration(influence: ArrayLike, *, values: Sequence[ArrayLike] | None = None) -> Concentration | None:
    """How an error is spread over the units that add to it; None where they add nothing or are fewer than 3.

    Args:
        influence: What each unit adds to the error [n], of which the sum of squares is the variance.
        values: The units' values, an array for each group of units within which values can be compared, e.g. for each
            task; what they add to the error unless given. (Within strata equal values do not add the same.)

    Raises:
        ValueError: if there is none, or a number is not finite.
    """
    e = as_floats(influence, "influence", dimensions=1)
    total, units = float(e @ e), len(e)
    if total == 0 or units < 3:
        return None
    few = max(1, math.ceil(FEW * units - 1e-9))
    squares = np.sort(e**2)
    groups = [e] if values is None else [as_floats(group, "values", dimensions=1) for group in values]
    return Concentration(
        units=units,
        few=few,
        share=float(squares[-few:].sum() / total),
        limit=max(HALF, _largest_of_normal(units)) if few == 1 else HALF,
        same=sum(int(ties(np.sort(group))[1].max()) for group in groups),
    )


def _largest_of_normal(units: int) -> float:
    """Share of the sum of squares that the largest of so many normal deviations exceeds in 1 % of samples."""
    t2 = float(special.stdtrit(units - 2, _RARE / (2 * units))) ** 2
    return (units - 1) / units * t2 / (units - 2 + t2)
