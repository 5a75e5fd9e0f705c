"""Other choices that a study could have made, under which its hypotheses are decided again: one class, one list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mechshift_core.spec.base import Location, Section
from mechshift_core.spec.hypotheses import INTERVENTION_NEEDS
from mechshift_core.spec.interventions import (
    Ablation,
    AblationMethod,
    CircuitPatching,
    CircuitTransfer,
    EdgeAttribution,
    Intervention,
    TargetedAblation,
)
from mechshift_core.spec.measures import IntegrationIndex, SpecializationIndex, TopK

if TYPE_CHECKING:
    from mechshift_core.spec.schema import Spec


class Sensitivity(Section):
    """Other choices under which every hypothesis is decided again, one change at a time.

    They are shown beside the verdicts, with a correction of their own, and are no part of the family of hypotheses.
    """

    top_k: tuple[TopK, ...] = ()
    """Sizes K, each by itself instead of the mean over `measures.overlap.top_k`."""
    specialization: tuple[SpecializationIndex, ...] = ()
    """Indices in place of `measures.specialization.index`."""
    integration: tuple[IntegrationIndex, ...] = ()
    """Indices in place of `measures.integration.index`."""
    interval: tuple[Literal["studentized", "percentile"], ...] = ()
    """Methods in place of `statistics.bootstrap.method`."""
    location: tuple[Location, ...] = ()
    """`mean` or `trimmed` in place of `statistics.location`."""
    ablation: tuple[AblationMethod, ...] = ()
    """What takes the place of what is ablated, in every intervention that a hypothesis depends on. These are new runs
    of the models."""
    steps: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = ()
    """Points on the path in place of the edge attribution's `steps` (method `eap-ig` only). These are new runs of the
    models, as many as those of the study."""


SERVES: dict[str, str] = {"integration": "ablation", "alignment": "logit_lens", **INTERVENTION_NEEDS}
"""Measure of a hypothesis -> the kind of intervention that it is computed from, beside the edge attribution."""
PROMPT_MEANS = ("depth_slope", "early_share", "alignment", "decision_time", "right_context", "targeted")
"""Measures of hypotheses that have one value for each prompt, of which `statistics.location` is taken."""
MEASURES: dict[str, tuple[str, ...]] = {
    "top_k": ("overlap", "retention", "node_overlap", "node_retention"),
    "specialization": ("specialization",),
    "integration": ("integration",),
    "location": PROMPT_MEANS,
    "ablation": ("integration", "transfer", "faithfulness", "targeted"),
}
"""Choice -> the measures of hypotheses that it can change; those that are not listed can change all."""

_ABLATING = (Ablation, CircuitPatching, CircuitTransfer, TargetedAblation)


@dataclass(frozen=True, slots=True)
class Choice:
    """A spec in which one choice is made otherwise.

    Attributes:
        name: What is chosen, a field of :class:`Sensitivity`; `value` is how, and `position` its place in the list.
        spec: The spec with this choice; its interventions are those that a hypothesis depends on.
        new_runs: Whether models must be run for it.
    """

    name: str
    value: str
    position: int
    spec: Spec
    new_runs: bool

    @property
    def measures(self) -> frozenset[str] | None:
        """The measures of hypotheses that it can change; None for all."""
        found = MEASURES.get(self.name)
        return None if found is None else frozenset(found)


def choices(spec: Spec) -> Iterator[Choice]:
    """Every alternative that a spec names, with its spec, at the first inference budget; in the order of the fields."""
    named, steps_of_answer = spec.sensitivity, spec.denoising.steps
    if isinstance(steps_of_answer, tuple):
        first = spec.denoising.model_copy(update={"steps": steps_of_answer[0]})
        spec = spec.model_copy(update={"denoising": first})
    for position, k in enumerate(named.top_k):
        yield _measured(spec, "top_k", position, f"K = {k}", "overlap", top_k=(k,))
    for position, index in enumerate(named.specialization):
        yield _measured(spec, "specialization", position, index, "specialization", index=index)
    for position, name in enumerate(named.integration):
        yield _measured(spec, "integration", position, name, "integration", index=name)
    for position, method in enumerate(named.interval):
        bootstrap = spec.statistics.bootstrap.model_copy(update={"method": method})
        yield _decided(spec, "interval", position, method, bootstrap=bootstrap)
    for position, location in enumerate(named.location):
        yield _decided(spec, "location", position, location, location=location)
    for position, ablation in enumerate(named.ablation):
        yield Choice("ablation", ablation, position, _rerun(spec, _ABLATING, ablation=ablation), True)
    for position, steps in enumerate(named.steps):
        yield Choice("steps", f"{steps} steps", position, _rerun(spec, (EdgeAttribution,), steps=steps), True)


def own_values(spec: Spec) -> dict[str, tuple[object, ...]]:
    """Choice -> the values that are the study's own, so that naming them would change nothing."""
    measures = spec.measures
    needed = _needed(spec)
    ablations = {i.ablation for i in needed if isinstance(i, _ABLATING)}
    return {
        "top_k": measures.overlap.top_k if measures.overlap and len(measures.overlap.top_k) == 1 else (),
        "specialization": (measures.specialization.index,) if measures.specialization else (),
        "integration": (measures.integration.index,) if measures.integration else (),
        "interval": (spec.statistics.bootstrap.method,),
        "location": (spec.statistics.location,),
        "ablation": tuple(ablations) if len(ablations) == 1 else (),
        "steps": tuple(i.steps for i in needed if isinstance(i, EdgeAttribution)),
    }


def _needed(spec: Spec) -> tuple[Intervention, ...]:
    """The interventions that a hypothesis depends on."""
    kinds = {SERVES[hypothesis.measure] for hypothesis in spec.hypotheses if hypothesis.measure in SERVES}
    return tuple(i for i in spec.interventions if isinstance(i, EdgeAttribution) or i.kind in kinds)


def _rerun(spec: Spec, kinds: tuple[type[Section], ...], **update: object) -> Spec:
    changed = tuple(i.model_copy(update=update) if isinstance(i, kinds) else i for i in _needed(spec))
    return spec.model_copy(update={"interventions": changed})


def _decided(spec: Spec, name: str, position: int, value: str, **update: object) -> Choice:
    statistics = spec.statistics.model_copy(update=update)
    return Choice(name, value, position, spec.model_copy(update={"statistics": statistics}), False)


def _measured(spec: Spec, name: str, position: int, value: str, section: str, **update: object) -> Choice:
    own = getattr(spec.measures, section)
    changed = None if own is None else own.model_copy(update=update)
    measures = spec.measures.model_copy(update={section: changed})
    return Choice(name, value, position, spec.model_copy(update={"measures": measures}), False)
