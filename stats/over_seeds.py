"""The variance of a weighted sum of estimates over training seeds.

It varies over seeds by u_s, the sum over the parts i of seed s of w_i (x_i - m_i) with m_i the mean over seeds of what
x_i is a replication of, and has the variance S / (S - 1) sum_s u_s^2. Where parts that are replications of different
things come from different seeds, as roles that were trained with seeds of their own, this is added up over the sets of
seeds, with Welch's degrees of freedom. The same sums of the replicates' deviations vary over replicates by what is
particular to prompts and seeds together.

An estimate that is counted from a level of other pairs (:class:`stats.replicates.Reference`) errs with them: u_s has a
part w_i r_ij (y_j - m_j) for every y_j of seed s that x_i is counted from, with r_ij the derivative of x_i by y_j.

Pairs of a level that share a model are not independent (Aronow, Samii & Assenova 2015, Political Analysis 23:564). How
much they share is not known from a few of them. So it is taken to be all that it can be where a pair differs by what
its two models have in them, alike and independent: a correlation of 1/2, of 1 where both models are the same. With C
these correlations, the variance above is v'Av and has the mean tr(AC) and 2 tr(ACAC) / tr(AC)^2 = 2 / df, while that of
the level is w'Cw: the part of the level is enlarged by w'Cw / tr(AC), with these degrees of freedom. For a ring of six
pairs these are 2.5 and 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from stats.checks import ROUNDING, Floats, Integers
from stats.degrees_of_freedom import satterthwaite
from stats.joint_errors import Errors, analytic_errors
from stats.minimums import MINIMUM_CLUSTERS

if TYPE_CHECKING:
    from stats.replicates import Replicated


@dataclass(frozen=True, eq=False, slots=True)
class CountedFrom:
    """An estimate that parts of a contrast are counted from, with its weight in the contrast."""

    part: Replicated
    weight: float
    group: Hashable
    cell: tuple[Hashable, Hashable]
    seed: Hashable
    models: frozenset[Hashable] = frozenset()


@dataclass(frozen=True, slots=True)
class SharedModels:
    """What it does to the variance of a level over seeds that its pairs share models.

    Attributes:
        factor: By how much it is too small; 1 where no model is shared, infinite where all pairs are of the same two.
        df: Its degrees of freedom.
    """

    factor: float
    df: float

    @classmethod
    def of(cls, level: Sequence[CountedFrom]) -> SharedModels:
        """Of one level: at least two pairs."""
        w, seed = np.array([one.weight for one in level]), _numbered([one.seed for one in level])
        alike = np.array([[_correlation(one.models, other.models) for other in level] for one in level])
        np.fill_diagonal(alike, 1.0)
        seeds, n = int(seed.max()) + 1, len(level)
        if alike.sum() == n:
            return cls(1.0, seeds - 1.0)
        own = (seed == np.arange(seeds)[:, None]) * w
        around = own @ (np.eye(n) - 1 / n)
        form = seeds / (seeds - 1) * around.T @ around @ alike
        mean, true = float(np.trace(form)), float(w @ alike @ w)
        if mean <= ROUNDING * true:
            return cls(math.inf if true > 0 else 1.0, seeds - 1.0)
        return cls(max(1.0, true / mean), mean**2 / float(np.trace(form @ form)))


def _correlation(one: frozenset[Hashable], other: frozenset[Hashable]) -> float:
    return len(one & other) / max(len(one), len(other), 1)


def with_shared_models(level: Sequence[CountedFrom]) -> tuple[list[CountedFrom], dict[Hashable, float]]:
    """The pairs with weights that make up for shared models, and the degrees of freedom of the levels that have any."""
    shared = {cell: SharedModels.of(members) for cell, members in _levels(level).items()}
    found = [replace(one, weight=one.weight * math.sqrt(shared[one.cell].factor)) for one in level]
    return found, {cell: one.df for cell, one in shared.items() if one.factor > 1}


def counted_from(parts: Sequence[Replicated], weights: Floats, groups: Sequence[Hashable]) -> list[CountedFrom]:
    """What the parts of a contrast are counted from, each once."""
    found: dict[Hashable, CountedFrom] = {}
    for part, weight, group in zip(parts, weights.tolist(), groups, strict=True):
        for one in part.references:
            key = (group, id(one.part), one.level)
            cell = (group, ("counted from", one.level))
            known = found.get(key, CountedFrom(one.part, 0.0, group, cell, one.seed, one.models))
            found[key] = replace(known, weight=known.weight + weight * one.slope)
    return list(found.values())


def few_seeds(count: int | None, level: Sequence[CountedFrom]) -> str:
    """That there are too few seeds for an interval; empty where there are enough, or they are fixed."""
    if count is None:
        return ""
    if count < MINIMUM_CLUSTERS:
        return f"{count} training seed(s): fewer than {MINIMUM_CLUSTERS}, no interval"
    fewest = fewest_seeds([one.cell for one in level], [one.seed for one in level]) if level else count
    if fewest < MINIMUM_CLUSTERS:
        return f"counted from pairs of {fewest} training seed(s): fewer than {MINIMUM_CLUSTERS}, no interval"
    if any(math.isinf(SharedModels.of(members).factor) for members in _levels(level).values()):
        return (
            "counted from pairs that are all of the same two models, which do not tell how others differ: no interval"
        )
    return ""


def _levels(level: Sequence[CountedFrom]) -> dict[Hashable, list[CountedFrom]]:
    """The pairs of each level."""
    return {cell: [one for one in level if one.cell == cell] for cell in dict.fromkeys(one.cell for one in level)}


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Crossed:
    """Estimates of several seeds, with the weight, group, cell and seed of each.

    Attributes:
        fewer: Degrees of freedom of the cells that have fewer than their seeds less one.
    """

    parts: Sequence[Replicated]
    weights: Floats
    groups: Sequence[Hashable]
    cells: Sequence[Hashable]
    seeds: Sequence[Hashable]
    fewer: Mapping[Hashable, float] = field(default_factory=dict)

    def over_seeds(self) -> tuple[float, float, float]:
        """Variance of the weighted sum over seeds, its degrees of freedom, and what is particular to prompts in it."""
        estimates = np.array([part.estimate for part in self.parts])
        names = list(dict.fromkeys(self.groups))
        members = [np.array([i for i, group in enumerate(self.groups) if group == name]) for name in names]
        analytic = analytic_errors(self.parts)
        errors = [Errors.of([self.parts[i] for i in group], analytic=analytic) for group in members]
        rounding = ROUNDING * float(np.abs(self.weights) @ np.abs(estimates))
        both, between = 0.0, []
        for around, own in _around_cells(self.weights, self.cells, self.seeds):
            share = own / (own - 1)
            deviations = around @ estimates
            over = share * float(deviations @ deviations)
            between.append((over if over > share * rounding**2 else 0.0, self._df(around * estimates, float(own - 1))))
            both += share * sum(
                error.variance(row[group]) for error, group in zip(errors, members, strict=True) for row in around
            )
        variance = sum(one for one, _ in between)
        return variance, satterthwaite(variance, between) if variance > 0 else min(own for _, own in between), both

    def _df(self, deviations: Floats, usual: float) -> float:
        """Degrees of freedom of a set of seeds, from what each part adds to it [seeds, parts]."""
        if not self.fewer:
            return usual
        of = [cell if cell in self.fewer else None for cell in self.cells]
        added = [
            (float(np.square(deviations[:, [one == cell for one in of]].sum(axis=1)).sum()), df)
            for cell, df in {None: usual, **self.fewer}.items()
        ]
        total = sum(one for one, _ in added)
        return min(usual, satterthwaite(total, added)) if total > 0 else usual


def _around_cells(
    weights: Floats, cells: Sequence[Hashable], seeds: Sequence[Hashable]
) -> Iterator[tuple[Floats, int]]:
    """Weights of u_s for every seed [seeds, parts]: the seed's parts, each around the mean of its cell.

    One set of seeds that share cells after the other, with the number of seeds of its cell that has the fewest.
    """
    cell, seed = _numbered(cells), _numbered(seeds)
    same = (cell[:, None] == cell[None]).astype(np.float64)
    centred = np.eye(len(weights)) - same / same.sum(axis=1, keepdims=True)
    count = int(seed.max()) + 1
    own = (seed[None] == np.arange(count)[:, None]) * weights
    around = np.asarray(own @ centred)
    linked = sparse.coo_array((np.ones(len(seed)), (seed, count + cell)), shape=(count + cell.max() + 1,) * 2)
    _, label = csgraph.connected_components(linked, directed=False)
    for one in np.unique(label[:count]):
        inside = label[seed] == one
        chosen = np.flatnonzero(inside).tolist()
        yield around[label[:count] == one], fewest_seeds([cells[i] for i in chosen], [seeds[i] for i in chosen])


def fewest_seeds(cells: Sequence[Hashable], seeds: Sequence[Hashable]) -> int:
    """Number of seeds of the cell with the fewest."""
    pairs = set(zip(cells, seeds, strict=True))
    return min(sum(cell == own for own, _ in pairs) for cell in set(cells))


def _numbered(labels: Sequence[Hashable]) -> Integers:
    order = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return np.array([order[label] for label in labels], dtype=np.int64)
