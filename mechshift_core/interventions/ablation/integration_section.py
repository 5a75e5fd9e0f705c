"""The section of a spec for integration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mechshift_core.spec.base import Section

IntegrationIndex = Literal[
    "interaction_share", "shapley_share", "interaction", "shapley", "participation", "modularity", "efficiency"
]
INDICES: Mapping[str, str] = {
    "interaction_share": "share of interactions in the sum of squared interactions and effects, free of noise",
    "shapley_share": "share of Shapley interactions in the sum of squared interactions and values, free of noise",
    "interaction": "interaction ratio of the strongest components",
    "shapley": "Shapley interaction ratio of the strongest components",
    "participation": "mean participation coefficient of the graph of components",
    "modularity": "modularity of the graph of components (higher: less integrated)",
    "efficiency": "global efficiency of the graph of components, relative to its mean weight",
}
"""Index in a spec -> what it is in words."""
GRAPH_INDICES = ("participation", "modularity", "efficiency")
"""Those of the graph of components, which need no knock-outs."""
NOISY_INDICES = {"interaction": "interaction_share", "shapley": "shapley_share"}
"""Index that noise alone moves, of magnitudes of means -> the one that can be tested in its place."""


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
