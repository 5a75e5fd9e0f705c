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
        """Degrees of freedom of the variance where all strata have the same: n - count for strata of one size.

        Satterthwaite's n^2 / sum n_t^2 / (n_t - 1); see :meth:`df_of`.
        """
        sizes = self.sizes.astype(np.float64)
        return float(sizes.sum() ** 2 / (sizes**2 / (sizes - 1)).sum())

    def df_of(self, within: Floats) -> Floats:
        """Degrees of freedom of the variance of the mean of each column [C], from deviations within strata [n, C].

        A stratum of few prompts may have most of the variance. Satterthwaite's (sum v_t)^2 / sum v_t^2 / (n_t - 1) with
        estimates v_t is too small, most for small strata; both sums freed of that, it is
        (sum v_t)^2 / (sum v_t^2 / (n_t + 1)) - 2 (Welch 1947). At most :attr:`df`, and 1 at least.
        """
        squares = (self.of == np.arange(self.count)[:, None]).astype(np.float64) @ within**2
        total = squares.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            own = total**2 / (squares**2 / (self.sizes + 1.0)[:, None]).sum(axis=0) - 2
        return np.where(total > 0, np.clip(own, 1.0, self.df), self.df)

    @property
    def cubes(self) -> Floats:
        """What the cube of each prompt's deviation counts in the third cumulant of the mean [n].

        Deviations from the mean of n_t values have (n_t - 2) / sqrt(n_t (n_t - 1)) of the skewness that the values
        have, once they are scaled as :meth:`within` does. A stratum of two has none, and says nothing about it.
        """
        sizes = self.sizes.astype(np.float64)
        share = (sizes - 2) / np.sqrt(sizes * (sizes - 1))
        return np.divide(1.0, share, out=np.zeros_like(share), where=share > 0)[self.of]

    @property
    def scale(self) -> Floats:
        """What makes squared deviations from the stratum's mean unbiased, sqrt(n_t / (n_t - 1)) of each prompt [n]."""
        return np.asarray(np.sqrt(self.sizes / (self.sizes - 1))[self.of])

    def centred(self, values: Floats) -> Floats:
        """Values [n, ...] less the mean of their stratum."""
        # Around a value of the data first, so that a large common offset costs no digits.
        shifted = values - values[0]
        sums = np.zeros((self.count, *values.shape[1:]))
        np.add.at(sums, self.of, shifted)
        sizes = self.sizes.reshape(-1, *(1,) * (values.ndim - 1))
        return np.asarray(shifted - (sums / sizes)[self.of])

    def within(self, values: Floats) -> Floats | None:
        """Deviations from the stratum's mean [n], each sqrt(n_t / (n_t - 1)) times; None where none differs from 0.

        Their sum of squares over n^2 is the variance of the mean.
        """
        deviations = self.centred(values)
        if not varies(values) or np.abs(deviations).max() <= ROUNDING * float(np.abs(values - values[0]).max()):
            return None
        return np.asarray(deviations * self.scale)


def joined(template: Integers) -> Integers:
    """Stratum of each prompt, or other unit [n], from the number of its template.

    A prompt that is alone in its template has no spread of its own: all such form one stratum, a single one joins all.
    """
    sizes = np.bincount(template)
    alone = sizes[template] < 2
    if np.count_nonzero(alone) == 1:
        return np.zeros_like(template)
    return np.where(alone, len(sizes), template)
