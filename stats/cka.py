"""Debiased linear CKA: how alike two models represent the same inputs, whatever basis and scale each uses.

    CKA(X, Y) = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)),   K = X X',  L = Y Y'

with X, Y the vectors of n inputs in two models (Kornblith et al. 2019, ICML; linear kernel). With few inputs and many
dimensions the usual HSIC, the trace of the product of the centred K and L, is far above 0 for vectors that have nothing
in common. Here it is the unbiased one (Song et al. 2012, Journal of Machine Learning Research 13:1393), as Murphy et
al. (2024, "Correcting biased centered kernel alignment measures in biological and artificial neural networks") advise:
with the diagonals of K and L set to 0,

    HSIC(K, L) = [ tr(K L) + 1'K1 1'L1 / ((n - 1) (n - 2)) - 2 / (n - 2) 1'K L 1 ] / (n (n - 3))

It is the inner product of the U-centred matrices (Szekely & Rizzo 2014, Annals of Statistics 42:2382), so that CKA lies
in [-1, 1]. Of unrelated vectors it is 0 on average; of vectors that differ by a rotation, a factor and an offset it is
1.

The error is that of the delete-one jackknife over inputs. It counts twice what pairs of inputs add (Efron & Stein
1981), which is nearly all where the representations have nothing in common: there intervals are too wide. Near 1 it
shrinks with the distance to 1, so that estimates that happen to be high come with too small an error: tests therefore
have to hold with Fisher's transformation to second order and without it (:mod:`stats.skewness`). Simulated coverage of
nominal .95 t intervals is in the documentation (`docs/statistics.md`).

What CKA does not say (Davari et al. 2022, "Reliability of CKA as a similarity measure in deep learning"): a few inputs
far from the others, or a few directions of large variance, can decide it; a low value need not mean that a model
computes otherwise, and a high one not that it computes the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import ROUNDING, Floats, Integers, as_floats, codes
from stats.jackknife import Jackknifed
from stats.minimums import MINIMUM_CLUSTERS
from stats.options import checked
from stats.skewness import curvature_of_correlation

FEWEST_FOR_CKA = 4
"""Inputs below which the unbiased HSIC is not defined."""
CONSTANT = 1e-9
"""Deviation of vectors from their mean, relative to the largest number in them, below which they do not vary."""


@dataclass(frozen=True, eq=False, slots=True)
class LinearCKA:
    """How alike two representations are, as the mean over layers.

    Attributes:
        debiased: The debiased CKA, with its error over inputs (or groups of them); without an estimate where the
            vectors do not vary, and without an error below five units.
        biased: The usual CKA, which few inputs and many dimensions raise; None where there is no debiased one.
        n: Number of inputs.
    """

    debiased: Jackknifed
    biased: float | None
    n: int

    @property
    def curvature(self) -> float:
        """How its standard error depends on it: as that of a correlation does (:mod:`stats.skewness`)."""
        return curvature_of_correlation(self.debiased.estimate or 0.0)


@checked
def linear_cka(before: ArrayLike, after: ArrayLike, *, cluster: ArrayLike | None = None) -> LinearCKA:
    """Debiased linear CKA of two models' vectors of the same inputs; see the module for the formula.

    Args:
        before: Vectors of one model [n, d].
        after: Vectors of the other [n, e], of the same inputs in the same order.
        cluster: Label of the independent unit of each input [n], e.g. its template; None if every input is one.

    Raises:
        ValueError: if shapes do not fit, values are not finite, or there are fewer than four inputs.
    """
    x, y = (as_floats(values, name, dimensions=2) for name, values in (("before", before), ("after", after)))
    return mean_linear_cka(x[None], y[None], cluster=cluster)


@checked
def mean_linear_cka(before: ArrayLike, after: ArrayLike, *, cluster: ArrayLike | None = None) -> LinearCKA:
    """The mean over layers of debiased linear CKA.

    Args:
        before: Vectors of one model [layers, n, d].
        after: Vectors of the other [layers, n, e].
        cluster: As in :func:`linear_cka`.

    Raises:
        ValueError: as :func:`linear_cka`.
    """
    x, y = (as_floats(values, name, dimensions=3) for name, values in (("before", before), ("after", after)))
    if x.shape[:2] != y.shape[:2]:
        raise ValueError(f"expected the same layers and inputs, got shapes {x.shape} and {y.shape}")
    n = x.shape[1]
    if n < FEWEST_FOR_CKA:
        raise ValueError(f"debiased CKA: expected at least {FEWEST_FOR_CKA} inputs, got {n}")
    unit, units = (np.arange(n), n) if cluster is None else codes(cluster, "cluster", length=n)
    layers = []
    for number, (one, other) in enumerate(zip(x, y, strict=True)):
        pair = _centred(one), _centred(other)
        flat = [side for side, vectors in zip(("before", "after"), pair, strict=True) if vectors is None]
        if pair[0] is None or pair[1] is None:
            where = f" in layer {number} of {len(x)}" if len(x) > 1 else ""
            reason = f"the vectors of the model {' and of the model '.join(flat)} are the same for all inputs{where}"
            return LinearCKA(Jackknifed(estimate=None, units=units, message=reason), None, n)
        layers.append(_Grams.of(pair[0], pair[1], unit))
    whole, biased = (float(np.mean([getattr(layer, name) for layer in layers])) for name in ("whole", "biased"))
    if units < MINIMUM_CLUSTERS or n - int(np.bincount(unit).max()) < FEWEST_FOR_CKA:
        return LinearCKA(Jackknifed(estimate=whole, units=units), biased, n)
    without = np.mean([layer.without for layer in layers], axis=0)
    deviations = np.sqrt((units - 1) / units) * (without.mean() - without)
    deviations[np.abs(deviations) <= ROUNDING * units] = 0.0
    return LinearCKA(Jackknifed(estimate=whole, units=units, deviations=deviations), biased, n)


def _centred(vectors: Floats) -> Floats | None:
    """Vectors [n, d] around their mean; None where they do not vary."""
    found: Floats = vectors - vectors.mean(axis=0)
    largest = float(np.abs(vectors).max())
    return None if float(np.abs(found).max()) <= CONSTANT * largest else found / np.abs(found).max()


@dataclass(frozen=True, eq=False, slots=True)
class _Grams:
    """The CKA of one layer.

    Attributes:
        whole: Debiased, of all inputs; `biased`, the usual one.
        without: Debiased, without the inputs of each unit [units]; NaN where fewer than four are left.
    """

    whole: float
    biased: float
    without: Floats

    @classmethod
    def of(cls, x: Floats, y: Floats, unit: Integers) -> _Grams:
        """From vectors around their mean [n, d] and [n, e], and the number of each one's unit [n]."""
        k, ell = x @ x.T, y @ y.T
        biased = float(_ratio(*(np.array([(a * b).sum()]) for a, b in ((k, ell), (k, k), (ell, ell))))[0])
        k, ell = _u_centred(k), _u_centred(ell)
        found = [_hsic(a, b, unit) for a, b in ((k, ell), (k, k), (ell, ell))]
        whole, without = (_ratio(*parts) for parts in zip(*found, strict=True))
        return cls(float(whole[0]), biased, without)


def _ratio(between: Floats, before: Floats, after: Floats) -> Floats:
    """CKA from three HSIC; exactly 1 where all are the same, 0 where one model's is none."""
    scale = np.sqrt(np.maximum(before, 0) * np.maximum(after, 0))
    found = np.divide(between, scale, out=np.zeros_like(between), where=~(scale <= 0))
    return np.where((between == before) & (before == after), 1.0, np.clip(found, -1.0, 1.0))


def _hsic(k: Floats, ell: Floats, unit: Integers) -> tuple[Floats, Floats]:
    """Unbiased HSIC of U-centred matrices: of all inputs [1], and without those of each unit [units].

    Rows of a U-centred matrix sum to 0. What is left of a row without a unit is therefore minus what it has of the
    unit, and so the sums over the inputs left follow from those over the unit.
    """
    n, every = len(k), np.arange(len(k))
    order = np.argsort(unit, kind="stable")
    starts = np.searchsorted(unit[order], np.arange(int(unit.max()) + 1))

    def by_unit(matrix: Floats) -> Floats:
        """Columns [n, n] summed by unit [n, units]."""
        return np.asarray(np.add.reduceat(matrix[:, order], starts, axis=1))

    def own(sums: Floats) -> Floats:
        """Of sums [n, units] those of the inputs of each unit itself [units]."""
        return np.bincount(unit, weights=sums[every, unit]).astype(np.float64)

    products = k * ell
    total = float(products.sum())
    together = total - 2 * np.bincount(unit, weights=products.sum(axis=1)) + own(by_unit(products))
    rows, others = by_unit(k), by_unit(ell)
    sums = own(rows) * own(others)
    chained = (rows * others).sum(axis=0) - own(rows * others)
    left = n - np.bincount(unit).astype(np.float64)
    m = np.where(left < FEWEST_FOR_CKA, np.nan, left)
    without = (together + sums / ((m - 1) * (m - 2)) - 2 * chained / (m - 2)) / (m * (m - 3))
    return np.array([total / (n * (n - 3))]), without


def _u_centred(gram: Floats) -> Floats:
    """Off-diagonal values less their row, column and overall means, without bias: HSIC stays what it is."""
    n = len(gram)
    off = gram - np.diag(np.diag(gram))
    rows = off.sum(axis=1) / (n - 2)
    found = off - rows[:, None] - rows[None] + off.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)
