"""Which prompts go through a model together: those of one length, or of lengths that padding makes one.

Padding is on the right. There the column of a token is its position in the prompt, so that positions, roles and what is
read are what they are of the prompt alone; and no token of a causal model sees what stands on its right, so that only
bidirectional models depend on the mask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from mechshift_core.tasks.counterfactual import Example

if TYPE_CHECKING:
    from torch import Tensor

Length = tuple[int, int, int]
"""Tokens of a prompt, masks that are read after it, and tokens behind these."""
WASTE = 0.25
"""Largest share of an input's positions that are padding, and so of any batch's."""
COMMON = 16
"""Prompts in a hundred, and in all, that make a length common: batches of it are large without padding."""


def length_of(example: Example, *, diffusion: bool) -> Length:
    """The length of what a model reads of an example, in each of its states.

    What follows the position read is invisible to an autoregressive model.
    """
    after = (example.masks, len(example.clean_behind_ids)) if diffusion else (0, 0)
    return len(example.clean_ids), *after


def common_lengths(examples: Collection[Example], *, diffusion: bool) -> frozenset[Length]:
    """The lengths that need no padding, given all examples of a data set."""
    counts = Counter(length_of(example, diffusion=diffusion) for example in examples)
    fewest = COMMON * max(1.0, len(examples) / 100)
    return frozenset(length for length, count in counts.items() if count >= fewest)


def padded_widths(positions: Collection[int]) -> Mapping[int, int]:
    """The width that inputs of each number of positions are padded to: the longest first, then the longest left.

    No more than :data:`WASTE` of any padded input is padding, and so of no batch, whichever inputs it is made of.
    """
    widths: dict[int, int] = {}
    width = 0
    for length in sorted(set(positions), reverse=True):
        if length < (1 - WASTE) * width or not width:
            width = length
        widths[length] = width
    return widths


def padded_rows(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Rows of whole numbers as one tensor, [rows, longest], filled on the right."""
    import torch

    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


def mask_of(rows: Sequence[Sequence[int]]) -> Tensor | None:
    """1 where a row has a token, 0 where it is padded, [rows, longest]; None where nothing is padded."""
    if len({len(row) for row in rows}) == 1:
        return None
    return padded_rows([[1] * len(row) for row in rows], 0)
