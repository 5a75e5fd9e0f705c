"""The restricted likelihood of a linear mixed model.

    y = X beta + sum_t Z_t b_t + e,   b_t ~ N(0, I x Psi_t),   e ~ N(0, sigma^2),   Psi_t = sigma^2 L_t L_t'

As in lme4 (Bates et al. 2015) sigma and beta are profiled out, so that what remains is a function of the lower
triangles L_t, and each value costs a Cholesky factor of the size of the random effects. That of the grouping with the
most levels is block-diagonal and is eliminated first, level by level; only the other groupings make a dense matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import linalg, sparse

from stats.checks import Floats
from stats.mixed_basis import Basis
from stats.mixed_design import RandomTerm


class RestrictedLikelihood:
    """The restricted likelihood of data, up to the scale of the covariance factors L_t.

    Response, fixed and random columns are centred, scaled and orthogonalised first, which the results undo, so that
    nothing depends on units, nor on where a covariate or the response has its zero.

    Args:
        y: Response [n].
        x: Columns of the fixed effects [n, columns], linearly independent: an array, or columns that span them.
        terms: The random terms, at least one.
        lost: Rows that are no independent ones.

    Attributes:
        n: Independent rows.
        columns: Columns of X.
        terms: The random terms, those of the grouping with the most levels first; `given` their places as given.
        basis: The columns X that are computed with, and how those of the fixed effects are made of them.
        orthogonal: X is this basis [n, columns] times `triangle`.
        fit: Coefficients of least squares on X, of the response over `unit` after `zero` has been subtracted.
        scale: Root mean square of the residuals of least squares; 0 if nothing is left to explain.
        rest: These residuals [n], over `scale`.
        units: Root mean square of every term's columns [k].
        sizes: k of every term; its effects are at `offsets[t]` to `offsets[t + 1]` of all, level by level.
        z: All random columns [n, q], over their units; `zz`, `zw` and `ww` are the cross-products of these and of
            w = [orthogonal, rest].
    """

    def __init__(self, y: Floats, x: Floats | Basis, terms: Sequence[RandomTerm], *, lost: int = 0) -> None:
        self.basis = x if isinstance(x, Basis) else Basis(x, np.eye(x.shape[1]), None)
        rows, self.columns = self.basis.matrix.shape
        self.n = rows - lost
        leading = max(terms, key=lambda term: len(term.levels))
        first = [t for t in terms if np.array_equal(t.codes, leading.codes)]
        self.terms = [*first, *(t for t in terms if not any(t is other for other in first))]
        self.given = [next(i for i, own in enumerate(self.terms) if own is term) for term in terms]
        self.orthogonal, self.triangle = linalg.qr(self.basis.matrix, mode="economic")
        self.zero = float(y.mean()) if self.basis.constant is not None else 0.0
        moved = y - self.zero
        self.unit = float(np.abs(moved).max()) or 1.0
        moved /= self.unit
        inside = self.orthogonal.T @ moved
        rest = moved - self.orthogonal @ inside
        self.fit = linalg.solve_triangular(self.triangle, inside)
        size = math.sqrt(rest @ rest / self.n)
        # The response is known to its rounding only.
        rounding = 2 * np.finfo(np.float64).eps * float(np.abs(y).max()) / self.unit
        size = size if size > max(rounding, 1e-10 * math.sqrt(moved @ moved / self.n)) else 0.0
        self.scale = size * self.unit
        # What scaling y and X adds to the deviance.
        logs = np.log(np.abs(np.diag(self.triangle))).sum() + np.linalg.slogdet(self.basis.onto)[1]
        self.constant = 2 * float(logs + (self.n - self.columns) * math.log(self.scale or 1.0))
        self.units = [np.sqrt((t.values**2).mean(axis=0)) for t in self.terms]
        self.units = [np.where(unit > 0, unit, 1.0) for unit in self.units]
        self.sizes = [len(t.names) for t in self.terms]
        self.lower = {k: np.tril_indices(k) for k in self.sizes}
        self._cross_products(rest / size if size else rest, len(first))

    def _cross_products(self, rest: Floats, first: int) -> None:
        z = [_indicators(t, unit) for t, unit in zip(self.terms, self.units, strict=True)]
        self.rest = rest
        self.z = sparse.hstack(z, format="csr")
        self.offsets = np.cumsum([0, *(part.shape[1] for part in z)])
        self.groups = [len(t.levels) for t in self.terms]
        w = np.column_stack([self.orthogonal, rest])
        self.zz = (self.z.T @ self.z).toarray()
        self.zw = np.asarray(self.z.T @ w)
        self.ww = w.T @ w
        # Exactly zero by construction; rounding would tell on small residual variances.
        self.ww[:-1, -1] = self.ww[-1, :-1] = 0
        self.ww[:-1, :-1] = np.eye(self.columns)
        self.first = first
        levels, width = self.groups[0], sum(self.sizes[:first])
        # Columns of the leading grouping, level by level.
        order = np.concatenate(
            [
                self.offsets[t] + np.arange(self.offsets[t + 1] - self.offsets[t]).reshape(levels, -1)
                for t in range(first)
            ],
            axis=1,
        )
        self.lead_blocks = self.zz[order[:, :, None], order[:, None, :]]
        start = self.offsets[first]
        other = np.concatenate([self.zz[:, start:], self.zw], axis=1)
        self.lead_other = other[order.ravel()].reshape(levels, width, -1)
        self.rest_other = np.block([[self.zz[start:, start:], self.zw[start:]], [self.zw[start:].T, self.ww]])

    def absorbed(self) -> list[str]:
        """Random effects that are combinations of the fixed ones, as `column | group`."""
        found = []
        for t, term in enumerate(self.terms):
            shape = (self.groups[t], self.sizes[t])
            rows = (self.offsets[t] + np.arange(shape[0] * shape[1])).reshape(shape)
            fixed = self.zw[rows, :-1]
            left = self.zz[rows[:, :, None], rows[:, None, :]].sum(axis=0) - np.einsum("lax,lbx->ab", fixed, fixed)
            columns = self.units[t][:, None] * term.onto
            columns /= np.abs(columns).max(axis=0)
            shares = np.einsum("aj,ab,bj->j", columns, left, columns) / (columns**2).sum(axis=0) / self.n
            found += [f"({term.names[j]} | {term.group})" for j in np.flatnonzero(shares < 1e-10)]
        return found

    @property
    def parameters(self) -> int:
        """Number of entries of all L_t."""
        return sum(k * (k + 1) // 2 for k in self.sizes)

    def factors(self, theta: Floats) -> list[Floats]:
        """The lower triangles L_t whose entries, row by row, are theta."""
        found, at = [], 0
        for k in self.sizes:
            factor = np.zeros((k, k))
            count = k * (k + 1) // 2
            factor[self.lower[k]] = theta[at : at + count]
            at += count
            found.append(factor)
        return found

    def deviance(self, theta: Floats) -> float:
        """-2 log restricted likelihood at these L_t; infinite where it can't be computed."""
        factors = self.factors(theta)
        lead = factors[0] if self.first == 1 else linalg.block_diag(*factors[: self.first])
        width = len(lead)
        other = lead.T @ self.lead_other
        s = self.rest_other.copy()
        at = 0
        for t, factor in enumerate(factors[self.first :], self.first):
            size = self.groups[t] * self.sizes[t]
            block = slice(at, at + size)
            other[..., block] = _times(other[..., block], factor)
            s[:, block] = _times(s[:, block], factor)
            s[block] = _times(s[block].T, factor).T
            at += size
        s[range(at), range(at)] += 1
        blocks = lead.T @ self.lead_blocks @ lead + np.eye(width)
        try:
            root = np.linalg.cholesky(blocks)
            half = other / root if width == 1 else np.linalg.solve(root, other)
            half = half.reshape(-1, half.shape[-1])
            diagonal = np.diag(np.linalg.cholesky(s - half.T @ half))
        except np.linalg.LinAlgError:
            return math.inf
        free = self.n - self.columns
        logs = np.log(root[:, range(width), range(width)]).sum() + np.log(diagonal[:-1]).sum()
        return float(2 * logs + free * (1 + math.log(2 * math.pi * diagonal[-1] ** 2 / free)) + self.constant)

    def spread(self, blocks: Sequence[Floats], x: Floats) -> Floats:
        """The block-diagonal matrix with `blocks[t]` for every level of term t, times x [q, ...]."""
        out = np.empty_like(x)
        for t, block in enumerate(blocks):
            rows = slice(self.offsets[t], self.offsets[t + 1])
            out[rows] = _times(x[rows].T, block.T).T
        return out


def _indicators(term: RandomTerm, unit: Floats) -> sparse.csr_array:
    n, k = term.values.shape
    columns = term.codes[:, None] * k + np.arange(k)
    rows = np.repeat(np.arange(n), k)
    return sparse.csr_array(((term.values / unit).ravel(), (rows, columns.ravel())), shape=(n, k * len(term.levels)))


def _times(x: Floats, factor: Floats) -> Floats:
    """x [..., levels * k] times the block-diagonal matrix of `factor` [k, k], level by level."""
    k = len(factor)
    if k == 1:
        return np.asarray(x * factor[0, 0])
    return np.asarray((x.reshape(*x.shape[:-1], -1, k) @ factor).reshape(x.shape))
