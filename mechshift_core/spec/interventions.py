"""What is done to the models of a spec: one class a kind, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from mechshift_core.spec.base import Name, Percent, Section

Components = Annotated[tuple[Literal["heads", "mlps"], ...], Field(min_length=1)]
Nodes = Annotated[tuple[Literal["heads", "mlps", "residual"], ...], Field(min_length=1)]
AblationMethod = Literal["counterfactual", "mean", "zero", "resample"]
SHARED = ("mean", "resample")
"""Ablations that replace values by those of other prompts of the same length."""
Selection = Literal["top", "greedy"]
MOST_COMBINED = 12
"""Most components of which every combination is run."""


class _Intervention(Section):
    name: Name
    """What the intervention is called in tables and in `of`."""

    @property
    def roles_key(self) -> str | None:
        """The field by which something is asked for by token role; None where nothing is."""
        return None


class EdgeAttribution(_Intervention):
    """A score for every edge of the graph and every example: the circuit. All measures are computed from it."""

    kind: Literal["edge_attribution"]
    """`edge_attribution`."""
    method: Literal["eap", "eap-ig", "clean-corrupted", "exact"] = "eap-ig"
    """Where the gradient is taken: on the clean run (`eap`), along the path between the input embeddings (`eap-ig`),
    or on the clean and the corrupted run (`clean-corrupted`); `exact` patches every edge instead, one run an edge."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 5
    """Points on the path (method `eap-ig` only)."""
    quadrature: Literal["left", "midpoint", "gauss-legendre"] = "midpoint"
    """Where the points lie on the path (method `eap-ig` only). `midpoint` came closest to the integral at five points
    (see the benchmarks); `gauss-legendre` does where the path is smooth; `left` is the rule of the reference
    implementation."""
    by_role: bool = False
    """Whether scores are kept by token role too (subject, operator, ...), for the table `edge_roles`; not with `exact`,
    and many times the disk space."""

    @property
    def roles_key(self) -> str | None:
        """See the base class."""
        return "by_role" if self.by_role else None


class CircuitPatching(_Intervention):
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
    random: Annotated[int, Field(ge=0, le=1000)] = 5
    """Random circuits of the same size and depth profile beside each."""
    held_out: bool = True
    """Evaluate each example under the circuit that was ranked on the other half of the examples: a circuit looks better
    than it is on the prompts that chose it. `false` ranks and evaluates on all."""


class CircuitTransfer(_Intervention):
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
    held_out: bool = True
    """Evaluate each example under circuits that were ranked on the other half of the examples."""


class ActivationPatching(_Intervention):
    """Effect of patching each component's output from the corrupted into the clean run."""

    kind: Literal["activation_patching"]
    """`activation_patching`."""
    components: Nodes = ("heads", "mlps")
    """Which components are patched; `residual` is the residual stream at each block's input and at the final norm's."""
    positions: Literal["all", "roles"] = "all"
    """Where: at all positions together, or at those of each token role separately (as many times the runs)."""

    @property
    def roles_key(self) -> str | None:
        """See the base class."""
        return "positions" if self.positions == "roles" else None


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


class Ablation(_Intervention):
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

    @field_validator("pairwise")
    @classmethod
    def _a_pair_or_none(cls, value: int) -> int:
        if value == 1:
            raise PydanticCustomError("pairwise", "expected 0, or at least 2 components to make a pair of")
        return value


class Attention(_Intervention):
    """Where every head looks on the clean prompts: the attention from the position read, and from each token role, to
    each token role and to the tokens on the left and on the right. Nothing is changed in the model."""

    kind: Literal["attention"]
    """`attention`."""

    @property
    def roles_key(self) -> str | None:
        """See the base class."""
        return "kind"


class TargetedAblation(_Intervention):
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


class Probe(_Intervention):
    """What can be read off the residual stream at the position read, layer by layer: a logistic regression for each
    task variable, cross-validated over the selected examples. Nothing is changed in the model."""

    kind: Literal["probe"]
    """`probe`."""
    variables: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """What is probed for: `answer`, `template`, or a token role, whose first token it is. Unless given, all that vary
    enough: at least two values, each in five examples or more."""
    shuffles: Annotated[int, Field(ge=1, le=100)] = 3
    """Permutations of the labels behind the control."""


class Neurons(_Intervention):
    """Attribution of the neurons of all MLPs: the strongest, the tokens and examples that drive them, and how selective
    they are for one of the answers. Nothing is changed in the model."""

    kind: Literal["neurons"]
    """`neurons`."""
    strongest: Annotated[int, Field(ge=1, le=1000)] = 10
    """How many of the strongest neurons of each model and task are listed; chosen on one half of the prompts, scored on
    the other."""


class LogitLens(_Intervention):
    """What each component's output says about the answer, projected to the vocabulary: the logit lens of every residual
    stream, head and MLP, what each adds to the answer's logit, and when the answer is decided over denoising steps."""

    kind: Literal["logit_lens"]
    """`logit_lens`."""


Intervention = Annotated[
    EdgeAttribution
    | CircuitPatching
    | CircuitTransfer
    | ActivationPatching
    | Ablation
    | TargetedAblation
    | Attention
    | Probe
    | Neurons
    | LogitLens,
    Field(discriminator="kind"),
]
PerExample = EdgeAttribution | ActivationPatching | Ablation | Attention | Neurons | LogitLens
"""What needs no pair: its cells hold some of a task's examples each."""
PerPair = CircuitPatching | CircuitTransfer | TargetedAblation | Probe
"""What depends on the examples that are selected for a pair: its cells are one for each pair and side."""
