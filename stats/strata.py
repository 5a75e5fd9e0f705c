"""Fixed templates as strata: the variance of a mean is then that within templates.

Where templates are taken as they are, with as many prompts of each as there are, that their means differ is no error of
the estimate. With n_t of n prompts in stratum t, of variance s_t^2, the mean has the variance sum n_t s_t^2 / n^2
(Cochran 1977, Sampling Techniques, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import ROUNDING, Floats, Integers, codes, varies


@dataclass(frozen=True, eq=False, slots=True)
class Strata:
    """Strata of prompts, each with two at least.

    Attributes:
        of: Stratum of each prompt [n], 0..count-1; `count` is the number of strata.
    """

    of: Integers
    count: int

    @classmethod
    def made(cls, template: ArrayLike) -> Strata:
        """The strata of prompts of these templates [n]; see :func:`joined`."""
        code, _ = codes(template, "strata", length=len(np.asarray(template)))
        found, of = np.unique(joined(code), return_inverse=True)
        return cls(of.astype(np.int64), len(found))

    @property
    def sizes(self) -> Integers:
        """Prompts of each stratum [count]."""
        return np.bincount(self.of, minlength=self.count)

    @property
    def df(self) -> float:
        """Degrees of freedom of the variance, n - count for strata of one size, a little fewer otherwise.

        Satterthwaite's n^2 / sum n_t^2 / (n_t - 1), with equal variances within all strata.
        """
        sizes = self.sizes.astype(np.float64)
        return float(sizes.sum() ** 2 / (sizes**2 / (sizes - 1)).sum())

    def within(self, values: Floats) -> Floats | None:
        """Deviations from the stratum's mean [n], each sqrt(n_t / (n_t - 1)) times; None where none differs from 0.

        Their sum of squares over n^2 is the variance of the mean.
        """
        sizes = self.sizes
        # Around a value of the data first, so that a large common offset costs no digits.
        shifted = values - values[0]
        deviations = shifted - (np.bincount(self.of, weights=shifted) / sizes)[self.of]
        if not varies(values) or np.abs(deviations).max() <= ROUNDING * float(np.abs(shifted).max()):
            return None
        return np.asarray(deviations * np.sqrt(sizes / (sizes - 1))[self.of])


def joined(template: Integers) -> Integers:
    """Stratum of each prompt, or other unit [n], from the number of its template.

    A prompt that is alone in its template has no spread of its own: all such form one stratum, a single one joins all.
    """
    sizes = np.bincount(template)
    alone = sizes[template] < 2
    if np.count_nonzero(alone) == 1:
        return np.zeros_like(template)
    return np.where(alone, len(sizes), template)
