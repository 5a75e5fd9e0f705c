"""An intervention with a measure of its own: what the metric loses when the token embeddings are scaled down."""

from __future__ import annotations

from typing import Annotated, Literal

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution import CounterfactualBatch
from mechshift_core.attribution.walk import Site, Visitor, traced, walk
from mechshift_core.extending import Cost, Field, Intervention, InterventionKind, Testable, per_prompt, shift_of
from mechshift_core.models import Model


class DimmedEmbeddings(Intervention):
    """What the metric loses when all token embeddings are scaled down: how much it needs of what is said."""

    kind: Literal["dimmed_embeddings"]
    """`dimmed_embeddings`."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What embeddings are multiplied by."""


class Dimmer(Visitor):
    """Scales what the embedding writes."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def embedding(self, site: Site) -> None:
        """Scale it."""
        site.output = site.output * self.factor


def lost(model: Model, batch: CounterfactualBatch, own: DimmedEmbeddings) -> dict[str, Tensor]:
    """The clean metric minus that with scaled embeddings, [rows]."""
    metric = {}
    for name, visitor in (("clean", Visitor()), ("dimmed", Dimmer(own.factor))):
        with torch.no_grad(), traced(model, batch, batch.clean_ids):
            metric[name] = nnsight.save(batch.measure(walk(model, batch, visitor)))
    return {"lost": metric["clean"] - metric["dimmed"]}


KINDS = [
    InterventionKind(
        section=DimmedEmbeddings,
        compute=per_prompt(lost),
        cost=lambda reads, _: Cost(reads.inputs, patched=reads.inputs),
        results=shift_of("dimming_cost", "lost"),
        testables=(
            Testable(
                name="dimming_cost",
                words="cost of dimmed embeddings",
                estimand="after-minus-before shift of the metric that is lost when embeddings are scaled down",
                reading="higher: the model after loses more",
                scale="shift in the units of the task's metric; no bounds",
                per_prompt=True,
                choices=frozenset({"location"}),
                truth=0.0,
            ),
        ),
    )
]
