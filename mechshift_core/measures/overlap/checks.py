"""What is wrong with the sizes, the permutations and the hypotheses of overlap, beyond what a schema can say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mechshift_core.graph import Graph
from mechshift_core.measures.overlap.section import Overlap
from mechshift_core.minimums import fewest_permutations, smallest_p
from mechshift_core.spec.translate import Complaint

if TYPE_CHECKING:
    from mechshift_core.execution.facts import ModelFacts
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.hypotheses import Hypothesis
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.tree import Path


def check_permutations(draft: Draft, own: Overlap, path: Path) -> Iterator[Complaint]:
    """Enough permutations for a p-value at the level."""
    if {"statistics", "measures"} & draft.broken:
        return
    level = 1 - draft.spec.statistics.confidence
    needed = fewest_permutations(level)
    if own.permutations < needed:
        message = (
            f"expected at least {needed} permutations at the level {level:.3g}, got {own.permutations}: no p-value "
            f"could be below {smallest_p(own.permutations):.3g}"
        )
        declared = "permutations" in own.model_fields_set
        yield Complaint((*path, "permutations") if declared else ("statistics", "confidence"), message)


def check_edges(spec: Spec, models: Mapping[str, ModelFacts], path: Path) -> Iterator[Complaint]:
    """Every K is below the number of edges, of the model that has the fewest."""
    counts = {name: len(Graph.of(facts.shape).edges) for name, facts in models.items()}
    name = min(counts, key=lambda one: counts[one])
    declared = spec.measures.of(Overlap)
    named: list[tuple[Path, tuple[int, ...]]] = [(("sensitivity", "top_k"), spec.sensitivity.values("top_k"))]
    if declared is not None:
        named.append(((*path, "top_k"), declared.top_k))
    for where, sizes in named:
        for place, k in enumerate(sizes):
            if k >= counts[name]:
                message = f"top_k {k} is not below the {counts[name]} edges of model {name!r}"
                yield Complaint((*where, place), message)


def check_inherited(draft: Draft, hypothesis: Hypothesis, place: Path) -> Iterator[Complaint]:
    """There are unrelated pairs from which to count, and no claim is about them."""
    if "pairs" in draft.broken:
        return
    if not any(pair.unrelated for pair in draft.spec.pairs):
        message = "measure 'inherited' is counted from unrelated pairs: declare a pair with role: unrelated"
        yield Complaint(place, message)
        return
    named = [repr(pair.name) for pair in draft.members(hypothesis) if pair.unrelated]
    if named:
        message = f"'inherited' of unrelated pairs ({', '.join(named)}) is 0 by definition: leave them out"
        yield Complaint(place, message)
