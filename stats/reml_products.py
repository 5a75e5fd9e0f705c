"""Products with the inverse covariance matrix of a mixed model, block by block.

With D the part of V that the effects in blocks make up with the residual, and the other random columns Z_2 = U,

    D^-1 = (I - Z_1 T Z_1') / sigma^2,    V^-1 = D^-1 - D^-1 U (...)^-1 U' D^-1,    P = V^-1 - V^-1 X C X'V^-1.

Z_1'D^-1 Z_1 is block-diagonal, and all else of low rank: M_11 = Z_1'P Z_1 = (B - N N') / sigma^2 with B in blocks and N
[effects, others]. Sums of squares of the entries of M, which second derivatives need, follow from those of B, from
B and N N' within the blocks, and from N'N; memory and time grow with the number of blocks, not with its square.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from stats.checks import Floats
from stats.reml import RestrictedLikelihood


class InverseProducts:
    """Products of the columns of a model with V^-1 and P, times sigma^2, at given L_t.

    Attributes:
        covariance: C = (X'V^-1 X)^-1 for sigma^2 = 1, with the orthogonal basis as X; `gamma` the coefficients.
        ypy: y'Py.
        zvx: Z'V^-1 X [q, columns].
        zpy: Z'Py [q].
    """

    def __init__(self, model: RestrictedLikelihood, factors: list[Floats]) -> None:
        self.model = model
        p, width = model.columns, model.layout.width
        count = self.count = int(model.offsets[-1] - model.offsets[model.first])
        lead = model.leading(factors)
        inner = lead.T @ model.within @ lead + np.eye(width)
        both = np.concatenate([model.within, model.across], axis=2)
        half = np.linalg.solve(np.linalg.cholesky(inner), lead.T @ both)
        own, other = half[..., :width], half[..., width:]
        turned = own.transpose(0, 2, 1)
        self.blocks = model.within - turned @ own
        across = model.across - turned @ other
        flat = other.reshape(-1, other.shape[-1])
        others = model.others - flat.T @ flat
        # The terms that cross the blocks.
        first = model.crossing(factors, others[:, :count])
        crossed = model.crossing(factors, first[:count].T)
        crossed[range(count), range(count)] += 1
        root = linalg.cholesky(crossed, lower=True) if count else np.zeros((0, 0))
        through = _solved(root, first.T)
        rows = model.crossing(factors, across[..., :count]).reshape(-1 if count else across[..., 0].size, count)
        low = _solved(root, rows.T).T.reshape(*across.shape[:2], count)
        across = across - low @ through
        others = others - through.T @ through
        x, y = slice(count, count + p), count + p
        self.covariance = linalg.inv(others[x, x])
        self.gamma = self.covariance @ others[x, y]
        self.ypy = float(others[y, y] - others[y, x] @ self.gamma)
        self.zvx = self._flat(across[..., x], others[:count, x])
        self.zpy = self._flat(across[..., y], others[:count, y]) - self.zvx @ self.gamma
        to_x = across[..., x] @ np.linalg.cholesky(self.covariance)
        self.low = np.concatenate([low, to_x], axis=2)
        self.crosswise = across[..., :count] - across[..., x] @ (self.covariance @ others[x, :count])
        self.rest = others[:count, :count] - others[:count, x] @ self.covariance @ others[x, :count]

    def projected(self, sigma2: float) -> Projected:
        """M at a residual variance."""
        return Projected(self, sigma2)

    def _flat(self, lead: Floats, rest: Floats) -> Floats:
        """Effects in the order of the terms, from those in blocks [blocks, width, ...] and the others."""
        layout = self.model.layout
        shape = (layout.blocks * layout.width, *lead.shape[2:])
        return np.concatenate([lead.reshape(shape)[layout.places], rest])


class Projected:
    """M = Z'PZ, as products and sums.

    Args:
        inverse: The products that it is made of.
        sigma2: The residual variance.
    """

    def __init__(self, inverse: InverseProducts, sigma2: float) -> None:
        self.model, self.count = inverse.model, inverse.count
        self.blocks, self.rest = inverse.blocks / sigma2, inverse.rest / sigma2
        self.crosswise, self.low = inverse.crosswise / sigma2, inverse.low / np.sqrt(sigma2)
        self.outer = self.low @ self.low.transpose(0, 2, 1)
        self.moments = [self._moments(t) for t in range(self.model.first)]

    def times(self, x: Floats) -> Floats:
        """M x, for x [q] or [q, columns]."""
        layout, start = self.model.layout, len(self.model.layout.places)
        columns = x.reshape(len(x), -1)
        lead = np.zeros((layout.blocks * layout.width, columns.shape[1]))
        lead[layout.places] = columns[:start]
        rest = columns[start:]
        low, crosswise = self.low.reshape(len(lead), -1), self.crosswise.reshape(len(lead), -1)
        own = (self.blocks @ lead.reshape(layout.blocks, layout.width, -1)).reshape(lead.shape)
        own = own - low @ (low.T @ lead) + crosswise @ rest
        found = np.concatenate([own[layout.places], crosswise.T @ lead + self.rest @ rest])
        return np.asarray(found.reshape(x.shape))

    def level_sums(self, t: int) -> Floats:
        """Sum over the levels of a term of M[level a, level b] [a, b]."""
        if t < self.model.first:
            at, levels, k = self._span(t)
            own = self.blocks[:, at, at].reshape(-1, levels, k, levels, k)
            return np.asarray(np.einsum("siaib->ab", own) - np.einsum("abrr->ab", self.moments[t]))
        rows, k = self._rows(t), self.model.sizes[t]
        return np.asarray(np.einsum("iaib->ab", self.rest[rows, rows].reshape(-1, k, self.model.groups[t], k)))

    def squares(self, t: int, u: int) -> Floats:
        """Sum over levels l of t and m of u of M[l a, m c] M[l b, m d] [a, c, b, d]."""
        k, j = self.model.sizes[t], self.model.sizes[u]
        if t < self.model.first and u < self.model.first:
            own, outer = self._within(t, u, self.blocks), self._within(t, u, self.outer)
            mixed = own.T @ outer
            found = (own.T @ own - mixed - mixed.T).reshape(k, j, k, j)
            return np.asarray(found + np.einsum("abrq,cdrq->acbd", self.moments[t], self.moments[u]))
        if t < self.model.first:
            at, _, _ = self._span(t)
            block = self.crosswise[:, at, self._rows(u)].reshape(-1, k, self.model.groups[u], j)
        elif u < self.model.first:
            return self.squares(u, t).transpose(1, 0, 3, 2)
        else:
            block = self.rest[self._rows(t), self._rows(u)].reshape(-1, k, self.model.groups[u], j)
        flat = block.transpose(0, 2, 1, 3).reshape(-1, k * j)
        return np.asarray((flat.T @ flat).reshape(k, j, k, j))

    def _moments(self, t: int) -> Floats:
        """Sum over the levels of N[level a]' N[level b] [a, b, others, others]."""
        at, levels, k = self._span(t)
        own = self.low[:, at].reshape(self.low.shape[0] * levels, k, self.low.shape[2])
        flat = own.reshape(len(own), -1)
        return np.asarray((flat.T @ flat).reshape(k, own.shape[2], k, own.shape[2]).transpose(0, 2, 1, 3))

    def _within(self, t: int, u: int, matrix: Floats) -> Floats:
        """Entries of two terms in the same block [pairs of levels, columns of both]."""
        (at, levels, k), (to, others, j) = self._span(t), self._span(u)
        block = matrix[:, at, to].reshape(-1, levels, k, others, j)
        return block.transpose(0, 1, 3, 2, 4).reshape(-1, k * j)

    def _span(self, t: int) -> tuple[slice, int, int]:
        """A leading term's places within a block, and its levels there and columns."""
        start, levels = self.model.layout.spans[t]
        k = self.model.sizes[t]
        return slice(start, start + levels * k), levels, k

    def _rows(self, t: int) -> slice:
        """The effects of a term that crosses the blocks, among all that do."""
        start = self.model.offsets[self.model.first]
        return slice(self.model.offsets[t] - start, self.model.offsets[t + 1] - start)


def _solved(root: Floats, x: Floats) -> Floats:
    """root^-1 x, of a lower triangle that may be empty."""
    return np.asarray(linalg.solve_triangular(root, x, lower=True)) if len(root) else np.zeros((0, x.shape[1]))
