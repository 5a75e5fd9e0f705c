"""The section of a spec for targeted ablation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.kinds.section import AblationMethod, Intervention
from mechshift_core.spec.base import Name


class TargetedAblation(Intervention):
    """Effect of knocking out together the heads and MLPs of some layers that a model's own circuit uses most, beside as
    many of other layers, and as many at random."""

    kind: Literal["targeted_ablation"]
    """`targeted_ablation`."""
    of: Name
    """The edge attribution that ranks the components: by the sum of the scores of their outgoing edges."""
    layers: Literal["early", "middle", "late"] = "early"
    """Which layers the group is from: the first third, the last, or those between; the others serve as controls."""
    size: Annotated[int, Field(ge=1, le=1000)] = 4
    """Number of components in the group."""
    ablation: AblationMethod = "mean"
    """What takes the place of a component's output."""
    random: Annotated[int, Field(ge=0, le=1000)] = 20
    """Random groups of as many heads and as many MLPs, from all layers."""
    held_out: bool = True
    """Knock out on each example the components that were ranked on the other half of the examples. `false` ranks and
    evaluates on all."""
