"""The section of a spec for specialization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mechshift_core.spec.base import Section

SpecializationIndex = Literal["renyi_entropy", "gini", "participation_ratio", "hoyer", "entropy", "largest_share"]
INDICES: Mapping[str, str] = {
    "renyi_entropy": "normalised Renyi entropy of order 2, as 1 minus it, free of noise",
    "gini": "Gini index",
    "participation_ratio": "participation ratio, as (C - PR) / (C - 1)",
    "hoyer": "Hoyer index",
    "entropy": "normalised entropy, as 1 minus it",
    "largest_share": "share of the largest",
}
"""Index in a spec -> what it is in words; all are higher where fewer components do the work."""
NOISY_INDICES = dict.fromkeys(("gini", "participation_ratio", "hoyer", "entropy", "largest_share"), "renyi_entropy")
"""Index that noise alone moves, of magnitudes of means -> the one that can be tested in its place."""


class Specialization(Section):
    """How unevenly the effect is spread over single components."""

    index: SpecializationIndex = "renyi_entropy"
    """The index that hypotheses are about; all are tabled. All are higher where fewer components do more of the work,
    and 1 where one does all. `renyi_entropy`: 1 minus ln N / ln C of C components, N = (sum of squared effects)^2 / sum
    of their fourth powers the effective number of components, estimated without bias from products over different
    prompts: noise does not move it, and it is the one that hypotheses can be tested with. The others are of the
    magnitudes of mean effects, which noise alone moves; they are described beside their values under sign flips:
    `gini`; `participation_ratio`, as (C - PR) / (C - 1); `hoyer`; `entropy`, as 1 minus the normalised entropy;
    `largest_share`, the share of the component with the largest effect."""
