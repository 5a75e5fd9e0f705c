"""Estimates of a linear mixed model at given covariances, and exact derivatives of its restricted likelihood there.

Derivatives are in the entries of the covariance matrices Psi_t and in sigma^2 (see `stats.reml`). With P the projected
inverse of V = Var(y) everything follows from M = Z'PZ and Z'Py, since P V P = P. M itself is never made:
`stats.reml_products` has the sums of its entries that are needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from stats.checks import Floats
from stats.reml import RestrictedLikelihood
from stats.reml_products import InverseProducts

BOUNDARY = 1e-4
"""A standard deviation below this share of the residual one (in units of the columns) is zero, as in lme4."""

_FLAT = 1e-8
"""Curvature below this share of that of a single parameter is none."""


class Solution:
    """The model at given L_t, in the scaled units of the likelihood.

    Args:
        model: The likelihood.
        theta: Entries of all L_t, as :meth:`RestrictedLikelihood.factors` takes them.

    Attributes:
        factors: The L_t.
        sigma2: Residual variance.
        psi: Covariance matrices Psi_t.
        m: M, as far as it is needed.
        gamma: Coefficients on the orthogonal basis, `covariance` their covariance matrix.
        zvx: Z'V^-1 X, with that basis as X.
        gradient: Of the deviance, in the entries Psi_t[a, b] (a >= b) term by term, then sigma^2.
        hessian: Likewise.
    """

    def __init__(self, model: RestrictedLikelihood, theta: Floats) -> None:
        self.model, self.theta = model, theta
        self.factors = model.factors(theta)
        inverse = InverseProducts(model, self.factors)
        free = model.n - model.columns
        self.gamma = inverse.gamma
        self.sigma2 = s2 = inverse.ypy / free
        self.psi = [s2 * factor @ factor.T for factor in self.factors]
        self.covariance = s2 * inverse.covariance
        self.zvx = inverse.zvx / s2
        self.m = inverse.projected(s2)
        # w = Z'Py; then with one P more: v = Z'PPy.
        self.w = inverse.zpy / s2
        self.psi_w = model.spread(self.psi, self.w)
        self.v = (self.w - self.m.times(self.psi_w)) / s2
        self._differentiate(free)

    def _differentiate(self, free: int) -> None:
        """Of log|V| + log|X'V^-1X| + y'Py, with V_i the derivative of V in entry i.

        First derivatives are tr(P V_i) - y'P V_i P y, second ones 2 y'P V_i P V_j P y - tr(P V_i P V_j); where V_i is
        the identity (that of sigma^2), P V P = P gives the terms without V.
        """
        terms = range(len(self.psi))
        sums = [self.m.level_sums(t) for t in terms]
        squares = {(t, u): self.m.squares(t, u) for t in terms for u in terms}
        # The same sums of Z'PPZ = (M - M Psi M) / sigma^2.
        twice = [
            (sums[t] - sum(np.einsum("cd,acbd->ab", self.psi[u], squares[t, u]) for u in terms)) / self.sigma2
            for t in terms
        ]
        trace_p = (free - sum(float((psi * own).sum()) for psi, own in zip(self.psi, sums, strict=True))) / self.sigma2
        trace_pp = (
            trace_p - sum(float((psi * own).sum()) for psi, own in zip(self.psi, twice, strict=True))
        ) / self.sigma2
        yppy = (free - self.w @ self.psi_w) / self.sigma2
        ypppy = (yppy - self.v @ self.psi_w) / self.sigma2
        count = self.model.parameters
        gradient, hessian = np.zeros(count + 1), np.zeros((count + 1, count + 1))
        gradient[count], hessian[count, count] = trace_p - yppy, 2 * ypppy - trace_pp
        for u, columns, entries_u in self.blocks():
            inner = self._inner(u)
            w_u, v_u = self.by_level(u, self.w), self.by_level(u, self.v)
            own = sums[u] - w_u.T @ w_u
            mixed = w_u.T @ v_u
            with_sigma = mixed + mixed.T - twice[u]
            gradient[columns] = [own[a, b] * (1 + (a != b)) for a, b in entries_u]
            hessian[columns, count] = hessian[count, columns] = [
                with_sigma[a, b] * (1 + (a != b)) for a, b in entries_u
            ]
            for t, rows, entries_t in self.blocks():
                # 2 y'P Z_a Z_b' P Z_c Z_d' P y - tr(P Z_a Z_b' P Z_c Z_d') [a, b, c, d], a, b of t and c, d of u.
                second = 2 * inner[t] - squares[t, u].transpose(2, 0, 1, 3)
                hessian[rows, columns] = [[_over_orders(second, *i, *j) for j in entries_u] for i in entries_t]
        self.gradient, self.hessian = gradient, hessian

    def _inner(self, u: int) -> list[Floats]:
        """y'P Z_a Z_b' P Z_c Z_d' P y [a, b, c, d] for every term t, columns a, b of t and c, d of u."""
        k = self.model.sizes[u]
        w_u = self.by_level(u, self.w)
        start, stop = self.model.offsets[u], self.model.offsets[u + 1]
        placed = np.zeros((len(self.w), k, k))
        for c in range(k):
            placed[start + c : stop : k, c] = w_u
        moved = self.m.times(placed.reshape(len(self.w), -1)).reshape(len(self.w), k, k)
        found = []
        for t, size in enumerate(self.model.sizes):
            rows = slice(self.model.offsets[t], self.model.offsets[t + 1])
            found.append(np.einsum("la,lbcd->abcd", self.by_level(t, self.w), moved[rows].reshape(-1, size, k, k)))
        return found

    def blocks(self) -> list[tuple[int, slice, list[tuple[int, int]]]]:
        """Every term, its part of the derivatives, and the entries (a, b) of Psi_t there."""
        found, at = [], 0
        for t, k in enumerate(self.model.sizes):
            entries = [(a, b) for a in range(k) for b in range(a + 1)]
            found.append((t, slice(at, at + len(entries)), entries))
            at += len(entries)
        return found

    def by_level(self, t: int, x: Floats) -> Floats:
        """The part [levels, k] of a term in x [q], one value for each random effect."""
        rows = slice(self.model.offsets[t], self.model.offsets[t + 1])
        return x[rows].reshape(-1, self.model.sizes[t])

    def gradient_matrix(self, t: int) -> Floats:
        """The symmetric matrix G with d deviance = tr(G dPsi_t)."""
        _, rows, entries = self.blocks()[t]
        found = np.zeros((self.model.sizes[t], self.model.sizes[t]))
        for value, (a, b) in zip(self.gradient[rows], entries, strict=True):
            found[a, b] = found[b, a] = value / (1 + (a != b))
        return found

    def in_factors(self, roots: Sequence[Floats | None]) -> tuple[Floats, Floats, Floats]:
        """Jacobian of the entries in other parameters, and gradient and Hessian of the deviance in these.

        Args:
            roots: For every term F with Psi_t = F F', whose entries, row by row, are the parameters; None to keep those
                of Psi_t. sigma^2 stays the last.
        """
        jacobians: list[Floats] = []
        curvatures: list[Floats] = []
        for (t, _, entries), root in zip(self.blocks(), roots, strict=True):
            if root is None:
                jacobians.append(np.eye(len(entries)))
                curvatures.append(np.zeros((len(entries), len(entries))))
                continue
            k, rank = root.shape
            changes = np.zeros((len(entries), k, rank))
            for i, (a, b) in enumerate(entries):
                changes[i, a] += root[b]
                changes[i, b] += root[a]
            jacobians.append(changes.reshape(len(entries), k * rank))
            curvatures.append(np.asarray(np.kron(2 * self.gradient_matrix(t), np.eye(rank)), dtype=np.float64))
        jacobian = linalg.block_diag(*jacobians, np.eye(1))
        curvature = linalg.block_diag(*curvatures, np.zeros((1, 1)))
        return jacobian, jacobian.T @ self.gradient, jacobian.T @ self.hessian @ jacobian + curvature

    def roots(self) -> list[Floats | None]:
        """F with Psi_t = F F' where Psi_t is at the boundary, with as many columns as its rank; elsewhere None."""
        found: list[Floats | None] = []
        for psi in self.psi:
            values, vectors = np.linalg.eigh(psi)
            kept = values > self.sigma2 * BOUNDARY**2
            found.append(None if kept.all() else vectors[:, kept] * np.sqrt(values[kept]))
        return found

    def predictions(self) -> list[Floats]:
        """Best linear unbiased predictions of every term's effects [levels, k], in the units of the data."""
        model = self.model
        return [
            model.terms[t].effects(model.scale * self.by_level(t, self.psi_w) / unit)
            for t, unit in enumerate(model.units)
        ]

    def residuals(self) -> Floats:
        """What fixed and random effects leave [n], in residual standard deviations."""
        model = self.model
        left = model.rest - model.orthogonal @ self.gamma - model.z @ self.psi_w
        return np.asarray(left / np.sqrt(self.sigma2))

    def curvature(self, t: int, direction: Floats) -> float:
        """Second derivative of the deviance as Psi_t grows by a multiple of the outer square of a direction [k]."""
        _, rows, entries = self.blocks()[t]
        growth = np.array([direction[a] * direction[b] for a, b in entries])
        return float(growth @ self.hessian[rows, rows] @ growth)


def curved_inverse(hessian: Floats, *, either_way: bool = False) -> tuple[Floats, int]:
    """Inverse over the directions in which a function is convex, and the number of the others.

    With `either_way` directions in which it is concave count too, as if they were convex.
    """
    size = np.sqrt(np.abs(np.diag(hessian)))
    size = np.where(size > 0, size, 1.0)
    values, vectors = np.linalg.eigh(hessian / size / size[:, None])
    values = np.abs(values) if either_way else values
    kept = values > _FLAT
    inside = vectors[:, kept] / size[:, None]
    return np.asarray((inside / values[kept]) @ inside.T), int(np.count_nonzero(~kept))


def _over_orders(second: Floats, a: int, b: int, c: int, d: int) -> float:
    left = {(a, b), (b, a)}
    right = {(c, d), (d, c)}
    return float(sum(second[i, j, k, m] for i, j in left for k, m in right))
