"""The maximum of the restricted likelihood of a linear mixed model.

Powell's method on bounded shares of the variance, and L-BFGS-B from another start as a check; the better one is refined
by Newton steps with exact derivatives. At the maximum the gradient is zero in all directions that are free, and at a
variance of zero (or a correlation of one) none leads away from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from stats.checks import Booleans, Floats
from stats.reml import RestrictedLikelihood
from stats.reml_solution import BOUNDARY, Solution, curved_inverse

_NO_RESIDUAL = 1e-10
"""Share of the variance (given the fixed effects) below which the residual one is zero."""

_CONVERGED = 1e-5
_NEWTON_STEPS = 30
_LAST = 1 - 1e-12
_WORST = 1e12


@dataclass(frozen=True, slots=True)
class Found:
    """Where the search ended.

    Attributes:
        solution: The model there; None if the residual variance goes to zero.
        deviance: -2 log restricted likelihood.
        converged: Whether the likelihood has its maximum there.
        gain: How much another Newton step would lower the deviance.
        gap: How much higher the deviance was where the worse of the two optimizers stopped.
        evaluations: Evaluations of the likelihood by both.
    """

    solution: Solution | None
    deviance: float
    converged: bool
    gain: float
    gap: float
    evaluations: int


def search(model: RestrictedLikelihood) -> Found:
    """Where the restricted likelihood has its maximum, as far as can be found."""
    scale = _Scale(model.sizes)
    calls = 0

    def objective(scaled: Floats) -> float:
        nonlocal calls
        calls += 1
        return min(model.deviance(scale.theta(scaled)), _WORST)

    def powell(start: Floats) -> Floats:
        options = {"xtol": 1e-3, "ftol": 1e-7, "maxiter": 200}
        end = optimize.minimize(objective, start, method="Powell", bounds=scale.bounds, options=options)
        return _snapped(objective, np.atleast_1d(np.asarray(end.x)))

    best = powell(scale.diagonal / 2)
    check = optimize.minimize(objective, scale.diagonal / 20, method="L-BFGS-B", bounds=scale.bounds)
    other = _snapped(objective, np.asarray(check.x))
    worse = max(objective(best), objective(other))
    best = min(best, other, key=objective)
    for _ in range(1 + model.parameters):
        solution = Solution(model, scale.theta(best))
        if solution.sigma2 < _NO_RESIDUAL:
            return Found(None, worse, False, 0.0, 0.0, calls)
        solution, gain = _refined(solution)
        leads = _leads_away(solution)
        if not leads.any():
            break
        best = powell(np.where(leads, 0.05, scale.scaled(solution.theta)))
    if solution.sigma2 < _NO_RESIDUAL:
        return Found(None, worse, False, 0.0, 0.0, calls)
    deviance = model.deviance(solution.theta)
    converged = bool(gain < _CONVERGED and not leads.any())
    return Found(solution, deviance, converged, gain, max(0.0, worse - deviance), calls)


class _Scale:
    """The entries of L_t on bounded intervals: s^2 / (1 + s^2) if L_t is one number s, else s / (1 + |s|).

    A variance, not a standard deviation, where there is the choice: the likelihood has a slope of zero at a standard
    deviation of zero, wherever its maximum lies.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        lower = [np.tril_indices(k) for k in sizes]
        self.diagonal = np.concatenate([a == b for a, b in lower]).astype(np.float64)
        self.alone = np.concatenate([np.full(len(a), len(a) == 1) for a, _ in lower])
        self.bounds = [(0.0, _LAST) if on else (-_LAST, _LAST) for on in self.diagonal]

    def theta(self, scaled: Floats) -> Floats:
        ratio = scaled / (1 - np.abs(scaled))
        return np.asarray(np.where(self.alone, np.sqrt(np.abs(ratio)), ratio))

    def scaled(self, theta: Floats) -> Floats:
        ratio = np.where(self.alone, theta**2, theta)
        return np.asarray(ratio / (1 + np.abs(ratio)))


def _snapped(objective: Callable[[Floats], float], scaled: Floats) -> Floats:
    """The same, with entries at zero where that costs nothing: bounded searches come close to a bound only."""
    value = objective(scaled)
    for i in np.flatnonzero(np.abs(scaled) < 0.02):
        trial = scaled.copy()
        trial[i] = 0
        if objective(trial) <= value + _CONVERGED / 10:
            scaled = trial
    return scaled


def _refined(solution: Solution) -> tuple[Solution, float]:
    """Newton steps that keep the rank of every Psi_t; and what one more would gain."""
    deviance = solution.model.deviance(solution.theta)
    for _ in range(_NEWTON_STEPS):
        step = _NewtonStep.of(solution)
        if step.gain < 1e-14:
            break
        trials = (step.theta(shrink) for shrink in 0.5 ** np.arange(10))
        better = ((theta, solution.model.deviance(theta)) for theta in trials if theta is not None)
        # Less than this is rounding.
        theta, lower = next((pair for pair in better if pair[1] <= deviance + 1e-9), (None, deviance))
        if theta is None:
            break
        deviance, solution = lower, Solution(solution.model, theta)
    return solution, _NewtonStep.of(solution).gain


@dataclass(frozen=True, slots=True)
class _NewtonStep:
    """A step in the entries of F_t, Psi_t = F_t F_t', and in sigma^2, and how much it lowers the deviance if quadratic.

    F_t is the lower triangle where Psi_t has full rank, and has as many columns as the rank at the boundary.
    """

    roots: list[Floats]
    steps: list[Floats]
    sigma2: float
    step_sigma2: float
    gain: float

    @classmethod
    def of(cls, solution: Solution) -> _NewtonStep:
        sigma = np.sqrt(solution.sigma2)
        roots = [
            sigma * factor if root is None else root
            for factor, root in zip(solution.factors, solution.roots(), strict=True)
        ]
        _, gradient, hessian = solution.in_factors(list(roots))
        triangular = [np.tri(len(r)) if r.shape[1] == len(r) else np.ones_like(r) for r in roots]
        free = np.concatenate([*(part.ravel() for part in triangular), np.ones(1)]) > 0
        # Downhill where the likelihood is not concave, too.
        inverse, _ = curved_inverse(hessian[free][:, free], either_way=True)
        step = np.zeros(len(free))
        step[free] = -inverse @ gradient[free]
        sizes = np.cumsum([root.size for root in roots])
        steps = [part.reshape(root.shape) for part, root in zip(np.split(step, sizes), roots, strict=False)]
        gain = float(gradient[free] @ inverse @ gradient[free] / 2)
        return cls(roots, steps, solution.sigma2, float(step[-1]), gain)

    def theta(self, shrink: float) -> Floats | None:
        """The entries of L_t after a part of the step; None if no variance is left for the residual."""
        sigma2 = self.sigma2 + shrink * self.step_sigma2
        if sigma2 <= 0:
            return None
        found = []
        for root, step in zip(self.roots, self.steps, strict=True):
            k, rank = root.shape
            lower = np.zeros((k, k))
            if rank:
                lower[:, :rank] = linalg.qr((root + shrink * step).T, mode="r")[0][:rank].T
            signs = np.where(np.diag(lower) < 0, -1.0, 1.0)
            found.append((lower * signs)[np.tril_indices(k)])
        return np.asarray(np.concatenate(found) / np.sqrt(sigma2))


def _leads_away(solution: Solution) -> Booleans:
    """Entries of theta at zero from which the deviance falls: another start is needed there."""
    found = []
    for t, psi in enumerate(solution.psi):
        k = len(psi)
        values, vectors = np.linalg.eigh(psi / solution.sigma2)
        null = vectors[:, values <= BOUNDARY**2]
        downhill = False
        if null.shape[1]:
            slopes, inside = np.linalg.eigh(null.T @ solution.gradient_matrix(t) @ null)
            curvature = solution.curvature(t, null @ inside[:, 0])
            downhill = slopes[0] < 0 and bool(curvature <= 0 or slopes[0] ** 2 / curvature / 2 > _CONVERGED)
        found.append(np.eye(k)[np.tril_indices(k)] * downhill)
    return np.concatenate(found) > 0
