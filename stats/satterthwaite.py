"""Standard errors and Satterthwaite degrees of freedom of the fixed effects of a linear mixed model.

They are 2 v^2 / Var(v), with v the estimated variance of a weighted sum of fixed effects (Satterthwaite 1946; for mixed
models Giesbrecht & Burns 1985, as in lmerTest, Kuznetsova et al. 2017). Var(v) is taken by the delta method from the
exact derivatives of `stats.reml_solution`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from stats.checks import Floats
from stats.reml_solution import Solution, curved_inverse


@dataclass(frozen=True, slots=True)
class Inference:
    """Estimate, standard error and degrees of freedom of any weighted sum of the fixed effects.

    Attributes:
        solution: The model at the maximum of its likelihood.
        beta: Fixed effects [columns] on the columns that the likelihood is computed with, in the units of the response
            and without its zero.
        uncertainty: Covariance matrix of the entries of all Psi_t and of sigma^2, in the order of the derivatives.
        curved: Whether the likelihood is curved in all directions.
    """

    solution: Solution
    beta: Floats
    uncertainty: Floats
    curved: bool

    @classmethod
    def at(cls, solution: Solution) -> Inference:
        """At the maximum of the likelihood."""
        model = solution.model
        beta = model.unit * model.fit + model.scale * linalg.solve_triangular(model.triangle, solution.gamma)
        return cls(solution, beta, *_uncertainty(solution))

    def of(self, weights: Floats) -> tuple[float, float, float]:
        """Estimate, standard error and degrees of freedom of the sum with these weights [columns].

        There are never more degrees of freedom than rows less fixed effects.
        """
        model = self.solution.model
        own = np.linalg.solve(model.basis.onto.T, weights)
        turned = linalg.solve_triangular(model.triangle, own, trans="T")
        size = float(np.abs(turned).max())
        turned /= size
        se = model.scale * size * float(np.sqrt(turned @ self.solution.covariance @ turned))
        estimate = float(own @ self.beta)
        if model.basis.constant is not None:
            estimate += model.zero * float(weights @ model.basis.constant)
        return estimate, se, min(self._degrees_of_freedom(turned), float(model.n - model.columns))

    def _degrees_of_freedom(self, weights: Floats) -> float:
        """Of a weighted sum of coefficients on the orthogonal basis."""
        solution = self.solution
        direction = solution.covariance @ weights
        variance = float(weights @ direction)
        u = solution.zvx @ direction
        slopes = []
        for t, _, entries in solution.blocks():
            own = solution.by_level(t, u)
            products = own.T @ own
            slopes += [products[a, b] * (1 + (a != b)) for a, b in entries]
        slopes.append((variance - float(u @ solution.model.spread(solution.psi, u))) / solution.sigma2)
        gradient = np.array(slopes)
        return 2 * variance**2 / float(gradient @ self.uncertainty @ gradient)


def _uncertainty(solution: Solution) -> tuple[Floats, bool]:
    """Covariance matrix of the entries and of sigma^2, and whether the likelihood is curved in all directions.

    Twice the inverse Hessian of the deviance. At the boundary, where some Psi_t have not full rank, only the directions
    that keep the rank count: the others are not estimated, a variance of zero has no uncertainty.
    """
    roots = solution.roots()
    jacobian, _, hessian = solution.in_factors(roots)
    inverse, flat = curved_inverse(hessian)
    turned = sum((root.shape[1] * (root.shape[1] - 1)) // 2 for root in roots if root is not None)
    return 2 * jacobian @ inverse @ jacobian.T, flat <= turned
