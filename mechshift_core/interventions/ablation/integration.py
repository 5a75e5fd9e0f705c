"""How much components act together: a model's strongest ones, knocked out alone, in pairs and in combinations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.debiased import measure_debiased
from mechshift_core.analysis.indices import Compared, SideIndex, measure_index, measure_indices
from mechshift_core.analysis.measured import Measured, Results, Rows, joined, mean_interval
from mechshift_core.analysis.nodes import measure_nodes
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.execution.scores import Stored
from mechshift_core.interventions.ablation.integration_section import INDICES, Integration
from mechshift_core.interventions.ablation.section import Ablation
from mechshift_core.interventions.ablation.shapley import ablation_labels, combined, order_rows, shapley_rows
from mechshift_core.spec import Spec
from stats.debiased import debiased_interaction_share
from stats.integration import interaction_ratio, interaction_ratio_replicates, interactions

Floats = npt.NDArray[np.float64]
Effects = tuple[Floats, Floats]
"""Effects of single components, [n, components], and interactions of several, [n, sets]."""
Found = tuple[dict[str, Rows], dict[str, Effects]]
"""Table -> rows; side -> effects."""


def measure_ablation(sample: Sample, spec: Spec, intervention: Ablation, results: Results) -> Measured:
    """Rows of `components`; with joint knock-outs their tables too and, if declared, `integration`."""
    single = measure_nodes(sample, spec, intervention.name, f"{intervention.ablation} ablation", results)
    taken = [name for name in _TAKEN if intervention.gives(name)]
    declared = declared_index(spec)
    served = intervention.gives(declared)
    problem = next((stored for stored in results.values() if isinstance(stored, str)), sample.too_few)
    if problem or not taken:
        return Measured(rows=single.rows, problems={"integration": str(problem)} if served else {})
    rows = dict(single.rows)
    problems: dict[str, str] = {}
    compared: dict[str, Compared] = {}
    shares: list[Measured] = []
    weights = task_weights(sample, spec.statistics.bootstrap.replicates)
    for name in taken:
        listed, effects = _TAKEN[name](sample, spec, intervention, _stored(results))
        rows |= listed
        if declared:
            shares.append(_share(sample, spec, f"{name}_share", effects, declared))
        try:
            before, after = (_index(effects[side], weights, sample.seed) for side, _ in sample.sides)
            compared[name] = Compared(INDICES[name], before, after)
        except ValueError as error:
            problems |= {"integration": str(error)} if name == declared else {}
    if not declared:
        return Measured(rows=rows)
    ratios = measure_indices(sample, spec, "integration", compared, declared=declared)
    return joined((*shares, replace(ratios, problems=problems)), **rows)


def measure_interaction_shift(sample: Sample, spec: Spec, intervention: Ablation, results: Results) -> Measured:
    """`integration` by an index of joint knock-outs, without its null, as hypotheses are tested with it."""
    declared = declared_index(spec)
    problem = next((stored for stored in results.values() if isinstance(stored, str)), sample.too_few)
    if problem:
        return Measured(problems={"integration": problem})
    taken = declared.removesuffix("_share")
    _, effects = _TAKEN[taken](sample, spec, intervention, _stored(results), listed=False)
    if taken != declared:
        return _share(sample, spec, declared, effects, declared)
    try:
        # Without null and replicates, which are what it costs: it is not tested.
        before, after = (SideIndex(interaction_ratio(*one, draws=1).value, None, {}) for one in effects.values())
    except ValueError as error:
        return Measured(problems={"integration": str(error)})
    return measure_index(
        sample, spec, "integration", index=declared, name=INDICES[declared], before=before, after=after
    )


def _share(sample: Sample, spec: Spec, index: str, effects: Mapping[str, Effects], declared: str) -> Measured:
    sides = {
        side: debiased_interaction_share(*effects[side], cluster=sample.clusters(sample.ids(side)), seed=sample.seed)
        for side, _ in sample.sides
    }
    return measure_debiased(sample, spec, "integration", sides, index=index, name=INDICES[index], declared=declared)


def declared_index(spec: Spec) -> str:
    """The index of integration that a spec declares; empty where it has none."""
    declared = spec.measures.of(Integration)
    return "" if declared is None else declared.index


def _stored(results: Results) -> dict[str, Stored]:
    return {side: one for side, one in results.items() if isinstance(one, Stored)}


def _index(effects: Effects, weights: npt.NDArray[np.int64], seed: int) -> SideIndex:
    found = interaction_ratio(*effects, seed=seed)
    reference = {
        "null": found.null,
        "null_low": found.null_low,
        "null_high": found.null_high,
        "excess": found.excess,
    }
    return SideIndex(found.value, interaction_ratio_replicates(*effects, weights), reference)


def _in_pairs(
    sample: Sample, spec: Spec, intervention: Ablation, stored: Mapping[str, Stored], *, listed: bool = True
) -> Found:
    """Single effects and interactions of pairs."""
    rows: Rows = []
    effects: dict[str, Effects] = {}
    for side, one in stored.items():
        described = one.description
        members = np.array(described["members_pairs"], dtype=np.int64).reshape(-1, 2)
        clean, single, both = (
            one.tensors[name].astype(np.float64)[..., sample.ids(side)] for name in ("clean_metric", "metric", "pairs")
        )
        chosen = [described["components"].index(name) for name in described["strongest_pairs"]]
        interaction = interactions(clean, single.T, both.T, members)
        effects[side] = ((clean - single[chosen]).T, interaction)
        names = [tuple(described["components"][number] for number in pair) for pair in members]
        rows += _pair_rows(sample, spec, side, names, interaction, intervention) if listed else []
    return {"interactions": rows}, effects


def _in_combinations(
    sample: Sample, spec: Spec, intervention: Ablation, stored: Mapping[str, Stored], *, listed: bool = True
) -> Found:
    """Shapley values and interactions of two and more."""
    sides = {side: combined(sample, side, one, intervention) for side, one in stored.items()}
    effects = {side: (one.found.single, one.found.above_one) for side, one in sides.items()}
    if not listed:
        return {}, effects
    asked = (sample, spec, intervention, sides)
    return {"shapley": shapley_rows(*asked), "shapley_orders": order_rows(*asked)}, effects


def _pair_rows(
    sample: Sample,
    spec: Spec,
    side: str,
    pairs: Sequence[tuple[str, str]],
    interaction: Floats,
    intervention: Ablation,
) -> Rows:
    labels = ablation_labels(sample, side, intervention)
    rows: Rows = []
    for (first, second), values in zip(pairs, interaction.T, strict=True):
        interval = mean_interval(sample, spec, values)
        rows.append(
            {
                **labels,
                "first": first,
                "second": second,
                "interaction": interval.estimate,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return rows


_TAKEN: dict[str, Callable[..., Found]] = {"interaction": _in_pairs, "shapley": _in_combinations}
"""Index -> what the knock-outs that it needs give."""
