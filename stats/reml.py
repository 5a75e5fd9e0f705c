"""The restricted likelihood of a linear mixed model.

    y = X beta + sum_t Z_t b_t + e,   b_t ~ N(0, I x Psi_t),   e ~ N(0, sigma^2),   Psi_t = sigma^2 L_t L_t'

As in lme4 (Bates et al. 2015) sigma and beta are profiled out, so that what remains is a function of the lower
triangles L_t, and each value costs a Cholesky factor of the size of the random effects. Effects of nested groupings are
block-diagonal and are eliminated first, block by block; only the other groupings make a dense matrix
(`stats.reml_layout`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import linalg, sparse

from stats.checks import Floats, Integers
from stats.mixed_basis import Basis
from stats.mixed_design import RandomTerm
from stats.reml_layout import cheapest_layout


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
        terms: The random terms, those in blocks first; `given` their places as given.
        layout: The blocks.
        basis: The columns X that are computed with, and how those of the fixed effects are made of them.
        orthogonal: X is this basis [n, columns] times `triangle`.
        fit: Coefficients of least squares on X, of the response over `unit` after `zero` has been subtracted.
        scale: Root mean square of the residuals of least squares; 0 if nothing is left to explain.
        rest: These residuals [n], over `scale`.
        units: Root mean square of every term's columns [k].
        sizes: k of every term; its effects are at `offsets[t]` to `offsets[t + 1]` of all, level by level.
        z: All random columns [rows, q], over their units, sparse; `zw` are their cross-products with
            w = [orthogonal, rest].
        within: Cross-products of the random columns within every block [blocks, width, width].
        across: Those of the blocks with all other random columns and w [blocks, width, others].
        others: Those of the other random columns and w with each other.
        alike: Blocks that touch the same others: their numbers, these columns, and their part of `across`. Effects of
            another task, say, are zero in a prompt's block; the sum over blocks, which most of the time goes to, then
            takes few columns each.
    """

    def __init__(self, y: Floats, x: Floats | Basis, terms: Sequence[RandomTerm], *, lost: int = 0) -> None:
        self.basis = x if isinstance(x, Basis) else Basis(x, np.eye(x.shape[1]), None)
        rows, self.columns = self.basis.matrix.shape
        self.n = rows - lost
        layout = cheapest_layout(terms, self.columns)
        self.terms = [terms[t] for t in layout.lead] + [term for t, term in enumerate(terms) if t not in layout.lead]
        self.layout, self.first = layout, len(layout.lead)
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
        self._cross_products(rest / size if size else rest)

    def _cross_products(self, rest: Floats) -> None:
        z = [_indicators(t, unit) for t, unit in zip(self.terms, self.units, strict=True)]
        self.rest = rest
        self.z = sparse.hstack(z, format="csr")
        self.offsets = np.cumsum([0, *(part.shape[1] for part in z)])
        self.groups = [len(t.levels) for t in self.terms]
        w = np.column_stack([self.orthogonal, rest])
        self.zw = np.asarray(self.z.T @ w)
        ww = w.T @ w
        # Exactly zero by construction; rounding would tell on small residual variances.
        ww[:-1, -1] = ww[-1, :-1] = 0
        ww[:-1, :-1] = np.eye(self.columns)
        blocks, width, places = self.layout.blocks, self.layout.width, self.layout.places
        start = self.offsets[self.first]
        lead, other = self.z[:, :start], self.z[:, start:]
        products = (lead.T @ lead).tocoo()
        rows, columns = places[products.row], places[products.col]
        self.within = np.zeros((blocks, width, width))
        self.within[rows // width, rows % width, columns % width] = products.data
        across = np.zeros((blocks * width, other.shape[1] + w.shape[1]))
        across[places] = np.concatenate([(lead.T @ other).toarray(), self.zw[:start]], axis=1)
        self.across = across.reshape(blocks, width, -1)
        self.others = np.block([[(other.T @ other).toarray(), self.zw[start:]], [self.zw[start:].T, ww]])
        self.alike = [
            (blocks, columns, np.ascontiguousarray(self.across[blocks][:, :, columns]))
            for blocks, columns in self.layout.alike
        ]

    def absorbed(self) -> list[str]:
        """Random effects that are combinations of the fixed ones, as `column | group`."""
        found = []
        for t, term in enumerate(self.terms):
            shape = (self.groups[t], self.sizes[t])
            rows = (self.offsets[t] + np.arange(shape[0] * shape[1])).reshape(shape)
            fixed = self.zw[rows, :-1]
            own = term.values / self.units[t]
            left = own.T @ own - np.einsum("lax,lbx->ab", fixed, fixed)
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

    def leading(self, factors: Sequence[Floats]) -> Floats:
        """The block-diagonal matrix with L_t for every level within a block [width, width]."""
        found = np.zeros((self.layout.width, self.layout.width))
        for t, (start, levels) in enumerate(self.layout.spans):
            size = self.sizes[t]
            own = start + np.arange(levels * size).reshape(levels, size)
            found[own[:, :, None], own[:, None, :]] = factors[t]
        return found

    def crossing(self, factors: Sequence[Floats], x: Floats, columns: Integers | None = None) -> Floats:
        """x [..., columns] times that of the other terms, whose effects are the first columns; or some of them."""
        found, at, start = x.copy(), 0, 0
        for t, factor in enumerate(factors[self.first :], self.first):
            end = start + self.groups[t] * self.sizes[t]
            count = end - start if columns is None else int(np.searchsorted(columns, end)) - at
            own = slice(at, at + count)
            found[..., own] = _times(found[..., own], factor)
            at, start = own.stop, end
        return found

    def deviance(self, theta: Floats) -> float:
        """-2 log restricted likelihood at these L_t; infinite where it can't be computed."""
        factors = self.factors(theta)
        lead = self.leading(factors)
        width, count = len(lead), self.offsets[-1] - self.offsets[self.first]
        others = self.crossing(factors, self.crossing(factors, self.others).T)
        others[range(count), range(count)] += 1
        within = lead.T @ self.within @ lead + np.eye(width)
        try:
            root = np.linalg.cholesky(within)
            turned = lead.T / root if width == 1 else np.linalg.inv(root) @ lead.T
            for blocks, columns, across in self.alike:
                half = self.crossing(factors, turned[blocks] @ across, columns).reshape(-1, len(columns))
                others[np.ix_(columns, columns)] -= half.T @ half
            diagonal = np.diag(np.linalg.cholesky(others))
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
