"""What is computed from the interventions: one class a measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.spec.base import Section, Share
from mechshift_core.spec.interventions import Ablation

TopK = Annotated[int, Field(ge=1, le=100_000_000)]
SpecializationIndex = Literal["renyi_entropy", "gini", "participation_ratio", "hoyer", "entropy", "largest_share"]
IntegrationIndex = Literal[
    "interaction_share", "shapley_share", "interaction", "shapley", "participation", "modularity", "efficiency"
]
JOINT_INDICES: Mapping[str, Callable[[Ablation], bool]] = {
    "interaction_share": lambda ablation: ablation.pairwise > 0,
    "shapley_share": lambda ablation: ablation.shapley is not None,
    "interaction": lambda ablation: ablation.pairwise > 0,
    "shapley": lambda ablation: ablation.shapley is not None,
}
"""Index of integration that needs joint knock-outs -> whether an ablation has them."""
NOISY_INDICES: Mapping[str, Mapping[str, str]] = {
    "specialization": dict.fromkeys(
        ("gini", "participation_ratio", "hoyer", "entropy", "largest_share"), "renyi_entropy"
    ),
    "integration": {"interaction": "interaction_share", "shapley": "shapley_share"},
}
"""Measure -> index that noise alone moves, of magnitudes of means -> the one that can be tested in its place."""


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


class Depth(Section):
    """Where in the layers the attribution lies: share per layer, slope of the shift over depth, early share."""

    early: Share = 0.333
    """Share of the layers, from the first, that count as early."""


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


class Integration(Section):
    """How much components act together rather than alone."""

    index: IntegrationIndex = "interaction_share"
    """The index that hypotheses are about. `interaction_share`: share of the pairwise interactions in the sum of
    squared interactions and single effects, of the components that an ablation with `pairwise` knocks out in pairs,
    estimated without bias from products over different prompts: noise does not move it. `shapley_share`: the same of
    Shapley interactions of two and more and Shapley values, of the components that an ablation with `shapley` knocks
    out in combinations; it also sees what shows only once several are lost. `interaction` and `shapley`: sum of the
    magnitudes of the interactions over that of the single effects, which noise alone moves: they are described beside
    their values under sign flips, and no hypothesis can be tested with them. The others need the edge attribution only,
    and are of the graph of heads and MLPs weighted by the attribution between them, beside random graphs with the same
    strengths: `participation`, how evenly a component's connections are spread over modules; `modularity`, how much
    lies within modules (higher: less integrated); `efficiency`, how short paths over strong connections are."""


class Alignment(Section):
    """How sharply components write the answer in output space."""

    index: Literal["entropy"] = "entropy"
    """`entropy`: entropy of the distribution that a component's output projects to, in nats, averaged over heads and
    MLPs by what each adds to the answer's logit; it needs an intervention of kind `logit_lens`."""


class Measures(Section):
    """The measures to compute; one that is left out is not computed, `{}` computes it with its defaults."""

    overlap: Overlap | None = None
    """Overlap of the circuits; needed by hypotheses on `similarity`, `inherited`, `overlap`, `retention`,
    `node_overlap` and `node_retention`."""
    depth: Depth | None = None
    """Distribution over layers; needed by hypotheses on `depth_slope` and `early_share`."""
    specialization: Specialization | None = None
    """Inequality of component effects; needed by hypotheses on `specialization`."""
    integration: Integration | None = None
    """Interaction of components; needed by hypotheses on `integration`."""
    alignment: Alignment | None = None
    """Alignment with the output; needed by hypotheses on `alignment`."""


def default_measures() -> Measures:
    """The measures of a spec that names none."""
    return Measures(overlap=Overlap(), depth=Depth(), specialization=Specialization())
