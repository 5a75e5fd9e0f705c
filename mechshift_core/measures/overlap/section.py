"""The section of a spec for overlap."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mechshift_core.spec.base import Section

TopK = Annotated[int, Field(ge=1, le=100_000_000)]


class Overlap(Section):
    """What the circuits share: the similarity of all edge scores, and the Jaccard overlap of the top-K edges with its
    chance level and its noise ceiling."""

    top_k: Annotated[tuple[TopK, ...], Field(min_length=1)] = (50, 100, 200, 400)
    """Sizes K of the edge sets, ascending. Overlap and retention are shown at each K; hypotheses about them test the
    mean over all declared K."""
    prompts: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    """Number of prompts that the scores behind every top-K set are averaged over: the same for both models and for all
    pairs and tasks, since overlap and retention depend on it. A pair and task needs twice as many selected. Unless
    given, half of the selected prompts of the pair and task with the fewest (of those with at least 10)."""
    splits: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Random splits of the prompts into halves, for the noise ceiling."""
    permutations: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Permutations of the edges within strata, for the chance level."""
