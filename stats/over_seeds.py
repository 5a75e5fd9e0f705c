"""The variance of a weighted sum of estimates over training seeds.

It varies over seeds by u_s, the sum over the parts i of seed s of w_i (x_i - m_i) with m_i the mean over seeds of what
x_i is a replication of, and has the variance S / (S - 1) sum_s u_s^2. Where parts that are replications of different
things come from different seeds, as roles that were trained with seeds of their own, this is added up over the sets of
seeds, with Welch's degrees of freedom. The same sums of the replicates' deviations vary over replicates by what is
particular to prompts and seeds together.

An estimate that is counted from a level of other pairs (:class:`stats.replicates.Reference`) errs with them: u_s has a
part w_i r_ij (y_j - m_j) for every y_j of seed s that x_i is counted from, with r_ij the derivative of x_i by y_j.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
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


def counted_from(parts: Sequence[Replicated], weights: Floats, groups: Sequence[Hashable]) -> list[CountedFrom]:
    """What the parts of a contrast are counted from, each once."""
    found: dict[Hashable, CountedFrom] = {}
    for part, weight, group in zip(parts, weights.tolist(), groups, strict=True):
        for one in part.references:
            key = (group, id(one.part), one.level)
            cell = (group, ("counted from", one.level))
            known = found.get(key, CountedFrom(one.part, 0.0, group, cell, one.seed))
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
    return ""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Crossed:
    """Estimates of several seeds, with the weight, group, cell and seed of each."""

    parts: Sequence[Replicated]
    weights: Floats
    groups: Sequence[Hashable]
    cells: Sequence[Hashable]
    seeds: Sequence[Hashable]

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
            between.append((over if over > share * rounding**2 else 0.0, float(own - 1)))
            both += share * sum(
                error.variance(row[group]) for error, group in zip(errors, members, strict=True) for row in around
            )
        variance = sum(one for one, _ in between)
        return variance, satterthwaite(variance, between) if variance > 0 else min(own for _, own in between), both


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
