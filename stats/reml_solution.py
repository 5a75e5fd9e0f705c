"""Estimates of a linear mixed model at given covariances, and exact derivatives of its restricted likelihood there.

Derivatives are in the entries of the covariance matrices Psi_t and in sigma^2 (see `stats.reml`). With P the projected
inverse of V = Var(y) everything follows from Z'PZ and Z'Py, since P V P = P.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from stats.checks import Floats
from stats.reml import RestrictedLikelihood

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
        gamma: Coefficients on the orthogonal basis, `covariance` their covariance matrix.
        zvx: Z'V^-1 X, with that basis as X.
        gradient: Of the deviance, in the entries Psi_t[a, b] (a >= b) term by term, then sigma^2.
        hessian: Likewise.
    """

    def __init__(self, model: RestrictedLikelihood, theta: Floats) -> None:
        self.model, self.theta = model, theta
        self.factors = model.factors(theta)
        p = model.columns
        transposed = [factor.T for factor in self.factors]
        inner = model.spread(transposed, model.spread(transposed, model.zz).T)
        inner[range(len(inner)), range(len(inner))] += 1
        root = linalg.cholesky(inner, lower=True, check_finite=False)
        both = np.concatenate([model.zz, model.zw], axis=1)
        half = linalg.solve_triangular(root, model.spread(transposed, both), lower=True, check_finite=False)
        q = len(inner)
        zvz, zvw = model.zz - half[:, :q].T @ half[:, :q], model.zw - half[:, :q].T @ half[:, q:]
        wvw = model.ww - half[:, q:].T @ half[:, q:]
        c = linalg.inv(wvw[:p, :p])
        self.gamma = c @ wvw[:p, p]
        ypy = float(wvw[p, p] - wvw[p, :p] @ self.gamma)
        free = model.n - p
        self.sigma2 = s2 = ypy / free
        self.psi = [s2 * factor @ factor.T for factor in self.factors]
        self.covariance = s2 * c
        self.zvx = zvw[:, :p] / s2
        # M = Z'PZ, w = Z'Py; then with one P more: K = Z'PPZ, v = Z'PPy.
        self.m = zvz / s2 - self.zvx @ self.covariance @ self.zvx.T
        self.w = (zvw[:, p] - zvw[:, :p] @ self.gamma) / s2
        psi_m = model.spread(self.psi, self.m)
        self.k = (self.m - self.m @ psi_m) / s2
        psi_w = model.spread(self.psi, self.w)
        self.v = (self.w - self.m @ psi_w) / s2
        self.psi_w = psi_w
        self._differentiate(free, psi_m)

    def _differentiate(self, free: int, psi_m: Floats) -> None:
        """Of log|V| + log|X'V^-1X| + y'Py, with V_i the derivative of V in entry i.

        First derivatives are tr(P V_i) - y'P V_i P y, second ones 2 y'P V_i P V_j P y - tr(P V_i P V_j); where V_i is
        the identity (that of sigma^2), P V P = P gives the terms without V.
        """
        spread = self.model.spread
        trace_p = (free - psi_m.trace()) / self.sigma2
        trace_pp = (trace_p - spread(self.psi, self.k).trace()) / self.sigma2
        yppy = (free - self.w @ self.psi_w) / self.sigma2
        ypppy = (yppy - self.v @ self.psi_w) / self.sigma2
        count = self.model.parameters
        gradient, hessian = np.zeros(count + 1), np.zeros((count + 1, count + 1))
        gradient[count], hessian[count, count] = trace_p - yppy, 2 * ypppy - trace_pp
        for t, rows, entries_t in self.blocks():
            w_t, v_t = self.by_level(t, self.w), self.by_level(t, self.v)
            own = np.einsum("lalb->ab", self._by_levels(t, t, self.m)) - w_t.T @ w_t
            mixed = w_t.T @ v_t
            with_sigma = mixed + mixed.T - np.einsum("lalb->ab", self._by_levels(t, t, self.k))
            gradient[rows] = [own[a, b] * (1 + (a != b)) for a, b in entries_t]
            hessian[rows, count] = hessian[count, rows] = [with_sigma[a, b] * (1 + (a != b)) for a, b in entries_t]
            for u, columns, entries_u in self.blocks():
                second = self._second(t, u)
                hessian[rows, columns] = [[_over_orders(second, *i, *j) for j in entries_u] for i in entries_t]
        self.gradient, self.hessian = gradient, hessian

    def _second(self, t: int, u: int) -> Floats:
        """2 y'P Z_a Z_b' P Z_c Z_d' P y - tr(P Z_a Z_b' P Z_c Z_d') [a, b, c, d], columns a, b of t and c, d of u."""
        m = self._by_levels(t, u, self.m)
        flat = m.transpose(1, 3, 0, 2).reshape(m.shape[1] * m.shape[3], -1)
        traces = (flat @ flat.T).reshape(m.shape[1], m.shape[3], m.shape[1], m.shape[3])
        inner = np.einsum("lbmc,md->lbcd", m, self.by_level(u, self.w))
        return np.asarray(
            2 * np.einsum("la,lbcd->abcd", self.by_level(t, self.w), inner) - traces.transpose(2, 0, 1, 3)
        )

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

    def _by_levels(self, t: int, u: int, x: Floats) -> Floats:
        offsets, sizes = self.model.offsets, self.model.sizes
        block = x[offsets[t] : offsets[t + 1], offsets[u] : offsets[u + 1]]
        return block.reshape(-1, sizes[t], block.shape[1] // sizes[u], sizes[u])

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
