"""What the cells of a pair hold of one direction: use and cost of single components and of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.interventions.cross_patching.section import CrossPatching
from mechshift_core.spec import Spec
from stats.component_use import pooled_use
from stats.faithfulness import RatioEstimate, transfer_ratio

Floats = npt.NDArray[np.float64]
KINDS = {"heads": "head", "attention": "attention", "mlps": "mlp", "residual": "residual"}
"""What a spec says -> the kind of a component."""
COUNTED = "counted"
"""What the components that hypotheses are about are called together."""


@dataclass(frozen=True, eq=False, slots=True)
class Crossed:
    """One model with the other's activations, on some examples.

    Attributes:
        own: Metric of the corrupted run with its own clean output in place, [components, n]; `cross` with the donor's,
            and `floor` with the donor's output on the corrupted prompt.
        kept: Metric of the clean run with the donor's.
        clean: Metric of the clean run [n], and `corrupt` of the corrupted one.
        clusters: The independent unit of each; None if every example is one.
    """

    own: Floats
    cross: Floats
    floor: Floats
    kept: Floats
    clean: Floats
    corrupt: Floats
    clusters: npt.NDArray[np.str_] | None
    confidence: float

    def use(self, component: int) -> RatioEstimate:
        """How much of what its own output restores the donor's does."""
        return self._ratio(self.own[component], self.corrupt + self.brought[component])

    @property
    def brought(self) -> Floats:
        """What the donor's output changes where it is of the clean prompt, not of the corrupted one, [components, n].

        Either way the own output is gone, which by itself restores something: what it said was wrong.
        """
        return self.cross - self.floor

    def cost(self, components: Sequence[int]) -> RatioEstimate:
        """What the donor's output costs in the clean run, mean over components, as a share of what corruption does."""
        kept = self._ratio(self.clean, self.kept[list(components)].mean(axis=0))
        if kept.estimate is None:
            return kept
        ends = [None if end is None else 1 - end for end in (kept.high, kept.low)]
        influence = None if kept.influence is None else -kept.influence
        return replace(kept, estimate=1 - kept.estimate, low=ends[0], high=ends[1], influence=influence)

    def pooled(self, components: Sequence[int]) -> RatioEstimate:
        """How much of its own effects the donor's output brings, over several components."""
        chosen = list(components)
        return pooled_use(
            self.brought[chosen],
            self.own[chosen] - self.corrupt,
            cluster=self.clusters,
            confidence=self.confidence,
        )

    def _ratio(self, own: Floats, other: Floats) -> RatioEstimate:
        found = transfer_ratio(
            own, other, full=self.clean, empty=self.corrupt, cluster=self.clusters, confidence=self.confidence
        )
        if found.ratio.status != "undefined":
            return found.ratio
        return replace(found.ratio, message=found.ratio.message.replace("the own circuit restores", "it restores"))


def unusable(sample: Sample, stored: Stored | str) -> str:
    """Why a side has no numbers; empty where it has."""
    if isinstance(stored, str):
        return stored
    return "" if len(stored.tensors["examples"]) > 1 else f"{sample.selection}; use needs at least 2"


def crossed_of(sample: Sample, spec: Spec, stored: Stored, place: int, chosen: npt.NDArray[np.bool_]) -> Crossed:
    """What a cell has, at all positions (place 0) or those of a token role, of some of its examples."""
    values = {name: one.astype(np.float64)[..., chosen] for name, one in stored.tensors.items() if name != "examples"}
    return Crossed(
        own=values["own"][place],
        cross=values["cross"][place],
        floor=values["floor"][place],
        kept=values["kept"][place],
        clean=values["clean_metric"],
        corrupt=values["corrupt_metric"],
        clusters=sample.clusters(stored.tensors["examples"][chosen]),
        confidence=spec.statistics.confidence,
    )


def everything(stored: Stored) -> npt.NDArray[np.bool_]:
    """All examples of a cell, as a choice of them."""
    return np.ones(len(stored.tensors["examples"]), dtype=bool)


def kind_of(name: str) -> str:
    """The kind of a component."""
    if name[0] == "a":
        return "head" if "." in name else "attention"
    return {"m": "mlp", "x": "residual"}[name[0]]


def groups_of(intervention: CrossPatching, names: Sequence[str]) -> dict[str, list[int]]:
    """What is pooled: each kind, and those that hypotheses are about."""
    groups = {kind: [kind] for kind in intervention.components} | {COUNTED: list(intervention.counted)}
    return {
        label: [at for at, name in enumerate(names) if kind_of(name) in {KINDS[kind] for kind in kinds}]
        for label, kinds in groups.items()
    }
