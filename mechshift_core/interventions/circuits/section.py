"""The sections of a spec for running circuits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.kinds.section import AblationMethod, Intervention
from mechshift_core.spec.base import Name, Percent

Selection = Literal["top", "greedy"]
SignConsistency = Annotated[float, Field(gt=0.5, le=1)]


class CircuitPatching(Intervention):
    """Faithfulness of circuits by size: everything outside of the circuit is ablated."""

    kind: Literal["circuit_patching"]
    """`circuit_patching`."""
    of: Name
    """The edge attribution that ranks the edges."""
    sizes: Annotated[tuple[Percent, ...], Field(min_length=1)] = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    """Sizes of the circuits, in percent of the edges, ascending."""
    ablation: AblationMethod = "counterfactual"
    """What takes the place of the edges outside."""
    selection: Selection = "top"
    """Which edges make a circuit: those with the largest scores (`top`), or those among them that lead to the logits,
    grown backwards from there (`greedy`)."""
    sign_consistency: SignConsistency | None = None
    """Only edges whose mean score has the same sign in this share of bootstrap samples of the prompts, e.g. 0.95
    (Nikankin et al. 2025, arXiv 2510.25786). Where there are fewer than a size asks for, the circuit is smaller."""
    positive_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """This share of a circuit's edges by the largest positive scores, the others by magnitude as always (the same
    paper); with `selection: top`."""
    random: Annotated[int, Field(ge=0, le=1000)] = 5
    """Random circuits of the same size and depth profile beside each."""
    held_out: bool = True
    """Evaluate each example under the circuit that was ranked on the other half of the examples: a circuit looks better
    than it is on the prompts that chose it. `false` ranks and evaluates on all."""


class CircuitTransfer(Intervention):
    """Faithfulness of one model under the other model's circuit."""

    kind: Literal["circuit_transfer"]
    """`circuit_transfer`."""
    of: Name
    """The edge attribution that ranks the edges."""
    size: Percent = 10
    """Size of the circuit, in percent of the edges."""
    ablation: AblationMethod = "counterfactual"
    """What takes the place of the edges outside."""
    selection: Selection = "top"
    """Which edges make a circuit, as in `circuit_patching`."""
    sign_consistency: SignConsistency | None = None
    """As in `circuit_patching`."""
    positive_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """As in `circuit_patching`."""
    held_out: bool = True
    """Evaluate each example under circuits that were ranked on the other half of the examples."""
