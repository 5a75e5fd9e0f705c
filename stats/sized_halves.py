"""Two disjoint sets of prompts of a given size, at random: what an overlap at that number of prompts is taken on.

An overlap of top-K sets depends on the number of prompts that scores are averaged over. Taken on all the prompts there
are, it is no property of two models; on as many for every pair and task, it can be compared between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Booleans, Floats
from stats.options import Count, Seed, checked
from stats.score_blocks import BLOCK_BYTES, ScoreBlocks
from stats.seeding import generator
from stats.split_half import Prompts, SplitHalfOverlap, half_overlaps, paired_scores, prompts


def sized_halves(chosen: Prompts, splits: int, rng: np.random.Generator, size: int) -> tuple[Booleans, Booleans]:
    """Whether a row is in the first and in the second set [splits, n], each of `size` rows, balanced over templates.

    The order is drawn for all `total` examples, so that the sets of two selections have much in common.

    Raises:
        ValueError: if there are fewer than two times as many rows.
    """
    n = len(chosen.rows)
    if 2 * size > n:
        raise ValueError(f"half_size: expected at most half of {n} prompts, got {size}")
    drawn = rng.random((splits, chosen.total))[:, chosen.rows]
    order = np.argsort(chosen.templates[chosen.rows] + drawn, axis=1)
    # Evenly along the order, one of every two neighbours for each set: every template in proportion, in both.
    offset = rng.random((splits, 1))
    places = np.minimum(n - 1, np.floor((np.arange(2 * size) + offset) * (n / (2 * size)))).astype(np.int64)
    taken = rng.permuted(np.take_along_axis(order, places, axis=1).reshape(splits, size, 2), axis=2)
    first, second = np.zeros((2, splits, n), dtype=np.bool_)
    np.put_along_axis(first, taken[:, :, 0], True, axis=1)
    np.put_along_axis(second, taken[:, :, 1], True, axis=1)
    return first, second


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapAtSize:
    """Overlaps at one number of prompts and one size of the sets, means over splits; retention None where undefined."""

    prompts: int
    k: int
    between: float
    null: float
    ceiling_before: float
    ceiling_after: float
    retention: float | None


@checked
def overlap_by_prompts(
    before: ArrayLike | ScoreBlocks,
    after: ArrayLike | ScoreBlocks,
    *,
    sizes: Sequence[Count],
    top_k: Sequence[Count],
    strata: ArrayLike | None = None,
    templates: ArrayLike | None = None,
    splits: Count = 50,
    seed: Seed = 0,
    examples: ArrayLike | None = None,
    total: Count | None = None,
    block_bytes: Count = BLOCK_BYTES,
) -> tuple[OverlapAtSize, ...]:
    """Overlap, chance and ceilings at several numbers of prompts, for the curve over it; no intervals.

    Args:
        before: Scores of the model before [n, E], one row per prompt.
        after: Scores of the model after [n, E], of the same prompts in the same order.
        sizes: Numbers of prompts, each at most half of n.
        top_k: Sizes of the sets of edges.
        strata: Stratum of each edge [E], for the chance level.
        templates: Template of every example [total]; sets are balanced over templates.
        splits: Random pairs of disjoint sets of prompts.
        seed: Seed of the analysis.
        examples: Example id of each row [n]; 0..n-1 by default.
        total: Number of examples of which the rows are a selection.
        block_bytes: Memory of one block of scores, approximately.

    Raises:
        ValueError: if shapes do not match, a size or K is out of range, or scores are not finite.
    """
    a, b = paired_scores(before, after)
    chosen = prompts(a.shape[0], examples=examples, total=total, templates=templates)
    drawn = [sized_halves(chosen, splits, generator(seed, "prompts of a curve", size), size) for size in sizes]
    first, second = (np.concatenate([pair[place] for pair in drawn]) for place in (0, 1))
    found = half_overlaps(a, b, first, second, top_k=top_k, strata=strata, block_bytes=block_bytes)
    return tuple(
        _at(found, size, place, slice(number * splits, (number + 1) * splits))
        for number, size in enumerate(sizes)
        for place in range(len(top_k))
    )


def _at(found: SplitHalfOverlap, size: int, place: int, rows: slice) -> OverlapAtSize:
    parts: Floats = np.array(
        [x[rows, place].mean() for x in (found.between, found.null, found.ceiling_before, found.ceiling_after)]
    )
    between, null, before, after = parts.tolist()
    gap = float(np.sqrt(before * after)) - null
    enough = int(found.members[rows, place].min()) >= found.top_k[place]
    return OverlapAtSize(
        prompts=size,
        k=found.top_k[place],
        between=between,
        null=null,
        ceiling_before=before,
        ceiling_after=after,
        retention=(between - null) / gap if gap > 0 and enough else None,
    )
