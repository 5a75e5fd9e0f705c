"""Which random effects of a mixed model are eliminated block by block, and where they stand.

The cross-products of effects of different groups are zero. Where the groupings are nested (prompts in templates, prompt
x pair in prompts) all effects within a level of one grouping form a block of their own: as many small blocks as there
are levels. Effects of the other groupings, that cross it, make a dense matrix. Either can be the cheaper one, so that
every grouping is tried as the one that makes the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stats.checks import Integers
from stats.mixed_design import RandomTerm


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
    """

    lead: tuple[int, ...]
    blocks: int
    width: int
    spans: tuple[tuple[int, int], ...]
    places: Integers


def cheapest_layout(terms: Sequence[RandomTerm], columns: int) -> Layout:
    """The layout with the fewest operations.

    Args:
        terms: The random terms.
        columns: Number of fixed effects.
    """
    effects = [len(term.levels) * len(term.names) for term in terms]
    found: list[tuple[float, Layout]] = []
    for candidate in terms:
        nested = [_nested(term.codes, len(term.levels), candidate.codes) for term in terms]
        inside = {t: block for t, block in enumerate(nested) if block is not None}
        layout = _layout(terms, inside, len(candidate.levels))
        crossing = sum(effects[t] for t in range(len(terms)) if t not in inside) + columns + 1
        in_blocks = layout.blocks * layout.width
        cost = in_blocks * (layout.width**2 + layout.width * crossing + crossing**2) + crossing**3
        found.append((float(cost), layout))
    return min(found, key=lambda pair: pair[0])[1]


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
