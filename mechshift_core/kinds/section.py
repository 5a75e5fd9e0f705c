"""What the sections of a spec for interventions share."""

from __future__ import annotations

from typing import Literal

from mechshift_core.method_names import AttributionMethod
from mechshift_core.spec.base import Name, Section

__all__ = ["SHARED", "AblationMethod", "AttributionMethod", "Intervention"]

AblationMethod = Literal["counterfactual", "mean", "zero", "resample"]
SHARED = ("mean", "resample")
"""Ablations that replace values by those of other prompts of the same length."""


class Intervention(Section):
    """What is done to the models of a spec. A kind adds a field `kind` with its own name, and its options."""

    name: Name
    """What the intervention is called in tables and in `of`."""
    kind: str
    """Its kind."""

    @property
    def roles_key(self) -> str | None:
        """The field by which something is asked for by token role; None where nothing is."""
        return None

    @property
    def replaces_by(self) -> str | None:
        """What takes the place of what is ablated, where the kind has a field `ablation`; None where it has none."""
        return getattr(self, "ablation", None)

    @property
    def ranks_edges(self) -> bool:
        """Whether what it scores edges by are ranks, which have no mass: no share of them says anything."""
        return False

    @property
    def mixes_prompts(self) -> bool:
        """Whether what is ablated is replaced by values of other prompts, position by position."""
        return self.replaces_by in SHARED
