"""The section of a spec for knock-outs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from mechshift_core.kinds.section import AblationMethod, Intervention
from mechshift_core.spec.base import Section

Components = Annotated[tuple[Literal["heads", "mlps"], ...], Field(min_length=1)]
MOST_COMBINED = 12
"""Most components of which every combination is run."""
JOINT_INDICES = {
    "interaction_share": "pairs",
    "shapley_share": "combinations",
    "interaction": "pairs",
    "shapley": "combinations",
}
"""Index of integration that needs joint knock-outs -> which."""


class Shapley(Section):
    """Knock-outs of a model's strongest components in combinations, for Shapley values and interactions."""

    components: Annotated[int, Field(ge=2, le=32)] = 6
    """How many of the strongest components (see `strongest_by`). All 2^n combinations of them are run; more than 12
    need a `budget`."""
    order: Annotated[int, Field(ge=2, le=4)] = 3
    """The largest sets whose interactions are taken: 2 for pairs, 3 for triples as well."""
    budget: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How many combinations are run, where not all: a sample, from which the interactions are estimated. Those of the
    highest `order` are the least certain, and the others gain where `order` is one more than is asked for. It needs
    the extra `mechshift[shapley]`."""


class Ablation(Intervention):
    """Effect of knocking out each component, pairs of them, and combinations."""

    kind: Literal["ablation"]
    """`ablation`."""
    components: Components = ("heads", "mlps")
    """Which components are knocked out."""
    ablation: AblationMethod = "mean"
    """What takes the place of a component's output."""
    pairwise: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many of the strongest components are also knocked out in pairs; 0: none."""
    shapley: Shapley | None = None
    """Knock-outs of the strongest components in every combination; unless given, none."""
    strongest_by: Literal["knock_out", "attribution"] = "knock_out"
    """How the strongest components are found, for each model and task: by the effect of losing each alone, or by the
    sum of the scores of their outgoing edges. A component that others stand in for costs nothing alone, but on the
    path to the corrupted prompt it has a share of the attribution."""

    @property
    def joint(self) -> bool:
        """Whether several components are knocked out together."""
        return self.pairwise > 0 or self.shapley is not None

    def gives(self, index: str) -> bool:
        """Whether its joint knock-outs are those that an index of integration needs."""
        joint = {"pairs": self.pairwise > 0, "combinations": self.shapley is not None}
        return index in JOINT_INDICES and joint[JOINT_INDICES[index]]

    @field_validator("pairwise")
    @classmethod
    def _a_pair_or_none(cls, value: int) -> int:
        if value == 1:
            raise PydanticCustomError("pairwise", "expected 0, or at least 2 components to make a pair of")
        return value
