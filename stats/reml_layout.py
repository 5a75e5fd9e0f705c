"""Which random effects of a mixed model are eliminated block by block, and where they stand.

The cross-products of effects of different groups are zero. Where the groupings are nested (prompts in templates, prompt
x pair in prompts) all effects within a level of one grouping form a block of their own: as many small blocks as there
are levels. Effects of the other groupings, that cross it, make a dense matrix. Either can be the cheaper one, so that
every grouping is tried as the one that makes the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stats.checks import Booleans, Integers
from stats.mixed_design import RandomTerm

CALL = 1e5
"""Operations that take as long as the calls for one set of blocks."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Blocks of equal width; those that have fewer effects are filled up with effects of no row.

    Attributes:
        lead: The terms in the blocks; the others cross them.
        blocks: Number of blocks.
        width: Effects in each.
        spans: Of every leading term, first place within a block and number of levels there.
        places: Of all effects of the leading terms, term by term and level by level, the place among all
            `blocks * width`.
        alike: Blocks that touch the same columns of the terms that cross them and of the fixed effects with the
            response, and which columns these are; see :func:`alike`.
    """

    lead: tuple[int, ...]
    blocks: int
    width: int
    spans: tuple[tuple[int, int], ...]
    places: Integers
    alike: tuple[tuple[Integers, Integers], ...] = ()


def cheapest_layout(terms: Sequence[RandomTerm], columns: int) -> Layout:
    """The layout with the fewest operations.

    Args:
        terms: The random terms.
        columns: Number of fixed effects.
    """
    found: list[tuple[float, Layout]] = []
    for candidate in terms:
        nested = [_nested(term.codes, len(term.levels), candidate.codes) for term in terms]
        inside = {t: block for t, block in enumerate(nested) if block is not None}
        layout = _layout(terms, inside, len(candidate.levels))
        crossing = [term for t, term in enumerate(terms) if t not in inside]
        dense = sum(len(term.levels) * len(term.names) for term in crossing) + columns + 1
        cost = dense**3 / 3 + layout.blocks * layout.width**3
        if found and cost > min(found, key=lambda pair: pair[0])[0]:
            continue
        touched = [_touched(candidate, term) for term in crossing]
        touched.append(np.ones((layout.blocks, columns + 1), dtype=np.bool_))
        sets = alike(np.hstack(touched), layout.width)
        cost = dense**3 / 3 + sum(_cost(len(blocks), layout.width, len(own)) for blocks, own in sets)
        found.append((cost, replace(layout, alike=tuple(sets))))
    return min(found, key=lambda pair: pair[0])[1]


def alike(touched: Booleans, width: int) -> list[tuple[Integers, Integers]]:
    """Blocks that touch the same columns, with these columns; all in one with every column where that is cheaper.

    Effects of another task, say, are zero in a prompt's block. What is summed over blocks has then few columns each.

    Args:
        touched: Whether a block has entries in a column [blocks, columns].
        width: Effects in each block.
    """
    together: dict[bytes, list[int]] = {}
    for block, pattern in enumerate(np.packbits(touched, axis=1)):
        together.setdefault(pattern.tobytes(), []).append(block)
    found = [(np.array(own), np.flatnonzero(touched[own[0]])) for own in together.values()]
    blocks, columns = touched.shape
    if sum(_cost(len(own), width, len(few)) for own, few in found) < _cost(blocks, width, columns):
        return found
    return [(np.arange(blocks), np.arange(columns))]


def _cost(blocks: int, width: int, columns: int) -> float:
    """Operations for blocks and their products with columns."""
    return blocks * width * (width**2 + width * columns + columns**2) + CALL


def _touched(block: RandomTerm, term: RandomTerm) -> Booleans:
    """Whether a level of `block` has rows of a level of a term, for each of the term's effects [levels, effects]."""
    found = np.zeros((len(block.levels), len(term.levels)), dtype=np.bool_)
    found[block.codes, term.codes] = True
    return np.repeat(found, len(term.names), axis=1)


def _nested(codes: Integers, levels: int, blocks: Integers) -> Integers | None:
    """The block that every level lies in [levels]; None if one lies in several."""
    found = np.zeros(levels, dtype=np.int64)
    found[codes] = blocks
    return found if np.array_equal(found[codes], blocks) else None


def _layout(terms: Sequence[RandomTerm], inside: dict[int, Integers], blocks: int) -> Layout:
    spans, own, start = [], [], 0
    for t, block in inside.items():
        k = len(terms[t].names)
        counts = np.bincount(block, minlength=blocks)
        order = np.argsort(block, kind="stable")
        within = np.empty(len(block), dtype=np.int64)
        within[order] = np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts, counts)
        levels = int(counts.max())
        spans.append((start, levels))
        own.append((block, start + within * k, k))
        start += levels * k
    places = [(block * start + first)[:, None] + np.arange(k) for block, first, k in own]
    return Layout(tuple(inside), blocks, start, tuple(spans), np.concatenate([place.ravel() for place in places]))
