"""How often each value is drawn in each bootstrap replicate, for whatever units are random.

- clusters: whole clusters are drawn (prompts; templates with all of their prompts).
- nested: clusters are drawn, then units within each drawn cluster (templates, then prompts). Units of a cluster that is
  drawn twice are drawn anew each time. The variance over clusters already holds that of their units, so that this adds
  the latter a second time: about (1 + r) times the variance, r = the share that units have in it (Davison & Hinkley
  1997, section 3.8). Drawing whole clusters is what intervals should rest on where there are enough of them.
- crossed: the two labels of a value (prompt and training seed) are drawn independently, and a value is drawn as often
  as the product says: the pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1, 386-411). Its variance is
  right for the two main effects and about three times too large for what is particular to a value.

All draws are whole numbers, are made row by row, and so do not depend on the size of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import BLOCK_NUMBERS, Integers, codes, known_labels
from stats.options import Count, Seed, checked
from stats.seeding import generator

Draw: TypeAlias = Callable[[int], Integers]
"""Number of further replicates -> how often each value is drawn in them [replicates, n]."""


@checked
def resampling_weights(units: Count, replicates: Count, *, seed: Seed) -> Integers:
    """How often each unit is drawn in each bootstrap replicate, [R, units]; every row sums to `units`.

    The same seed and number of units give the same weights, so statistics of the same units that are computed apart
    (of several models, say) have paired replicates.
    """
    return np.concatenate(list(unit_blocks(units, replicates, seed, BLOCK_NUMBERS)))


def unit_blocks(units: int, replicates: int, seed: int, block_numbers: int) -> Iterator[Integers]:
    """The rows of :func:`resampling_weights` in blocks of at most `block_numbers` numbers."""
    if units * replicates <= min(block_numbers, BLOCK_NUMBERS):
        yield _only_block(units, replicates, seed)
    else:
        yield from _in_blocks(_drawn_units(units, seed), units, replicates, block_numbers)


@lru_cache(maxsize=8)
def _only_block(units: int, replicates: int, seed: int) -> Integers:
    """A draw that is one block, kept: the intervals of many statistics of the same units share it."""
    drawn = _drawn_units(units, seed)(replicates)
    drawn.setflags(write=False)
    return drawn


@checked
def cluster_weights(cluster: ArrayLike, replicates: Count, *, seed: Seed) -> Integers:
    """How often each value is drawn where whole clusters are: [R, n].

    Args:
        cluster: Label of each value's cluster [n], e.g. its template.
        replicates: Number of bootstrap replicates.
        seed: Seed of the draws.
    """
    code, clusters = codes(cluster, "cluster", length=np.size(known_labels(cluster, "cluster")))
    return resampling_weights(clusters, replicates, seed=seed)[:, code]


@checked
def nested_weights(cluster: ArrayLike, within: ArrayLike, replicates: Count, *, seed: Seed) -> Integers:
    """How often each value is drawn where clusters are, and units within every drawn cluster: [R, n].

    Args:
        cluster: Label of each value's cluster [n], e.g. its template.
        within: Label of each value's unit [n], e.g. its prompt; the same label in two clusters is two units.
        replicates: Number of bootstrap replicates.
        seed: Seed of the draws.

    Raises:
        ValueError: if there are not as many labels of both kinds.
    """
    return np.concatenate(list(nested_blocks(cluster, within, replicates, seed=seed)))


def nested_blocks(
    cluster: ArrayLike, within: ArrayLike, replicates: int, *, seed: int, block_numbers: int = BLOCK_NUMBERS
) -> Iterator[Integers]:
    """The rows of :func:`nested_weights` in blocks of at most `block_numbers` numbers."""
    outer, inner, clusters, units = _both_labels(cluster, within, "within")
    pairs, unit = np.unique(outer * units + inner, return_inverse=True)
    members = [np.flatnonzero(pairs // units == one) for one in range(clusters)]
    draw_clusters = _drawn_units(clusters, seed)
    streams = [generator(seed, "resampling weights", "within", one) for one in range(clusters)]

    def draw(rows: int) -> Integers:
        times, drawn = draw_clusters(rows), np.empty((rows, len(pairs)), dtype=np.int64)
        for one, own in enumerate(members):
            # As often as the cluster: the sum of so many draws of all of its units is one larger draw.
            drawn[:, own] = streams[one].multinomial(times[:, one] * len(own), np.full(len(own), 1 / len(own)))
        return drawn[:, unit]

    yield from _in_blocks(draw, len(outer), replicates, block_numbers)


@checked
def crossed_weights(first: ArrayLike, second: ArrayLike, replicates: Count, *, seed: Seed) -> Integers:
    """How often each value is drawn where both of its labels are, independently (pigeonhole bootstrap): [R, n].

    A replicate that would draw no value at all, which can happen where few of the combinations exist, draws each once.

    Args:
        first: Label of each value's first unit [n], e.g. its prompt.
        second: Label of each value's second unit [n], e.g. the training seed of its model.
        replicates: Number of bootstrap replicates.
        seed: Seed of the draws.

    Raises:
        ValueError: if there are not as many labels of both kinds.
    """
    return np.concatenate(list(crossed_blocks(first, second, replicates, seed=seed)))


def crossed_blocks(
    first: ArrayLike, second: ArrayLike, replicates: int, *, seed: int, block_numbers: int = BLOCK_NUMBERS
) -> Iterator[Integers]:
    """The rows of :func:`crossed_weights` in blocks of at most `block_numbers` numbers."""
    one, two, ones, twos = _both_labels(first, second, "crossed")
    draw_first, draw_second = _drawn_units(ones, seed), _drawn_units(twos, seed, "crossed")

    def draw(rows: int) -> Integers:
        return drawn_at_all(draw_first(rows)[:, one] * draw_second(rows)[:, two])

    yield from _in_blocks(draw, len(one), replicates, block_numbers)


def drawn_at_all(weights: Integers) -> Integers:
    """The weights, with each value once in a replicate that would have none."""
    empty = weights.max(axis=1) == 0
    return np.where(empty[:, None], 1, weights) if empty.any() else weights


def _drawn_units(units: int, seed: int, *purpose: str) -> Draw:
    rng, share = generator(seed, "resampling weights", *purpose), np.full(units, 1 / units)
    return lambda rows: rng.multinomial(units, share, size=rows)


def _in_blocks(draw: Draw, numbers: int, replicates: int, block_numbers: int) -> Iterator[Integers]:
    step = max(1, block_numbers // numbers)
    for start in range(0, replicates, step):
        yield draw(min(step, replicates - start))


def _both_labels(first: ArrayLike, second: ArrayLike, name: str) -> tuple[Integers, Integers, int, int]:
    length = known_labels(first, "cluster").size
    one, ones = codes(first, "cluster", length=length)
    two, twos = codes(second, name, length=length)
    return one, two, ones, twos
