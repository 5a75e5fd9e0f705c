"""How much components act together: interactions of a model's strongest components, knocked out singly and in pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.indices import Compared, SideIndex, measure_index, measure_indices
from mechshift_core.analysis.measured import Measured, Results, Rows, mean_interval
from mechshift_core.analysis.nodes import measure_nodes
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.execution.scores import Stored
from mechshift_core.spec import Spec
from mechshift_core.spec.interventions import Ablation, Intervention
from stats.integration import interaction_ratio, interaction_ratio_replicates, interactions

Floats = npt.NDArray[np.float64]
INDICES = {
    "interaction": "interaction ratio of the strongest components",
    "participation": "mean participation coefficient of the graph of components",
    "modularity": "modularity of the graph of components (higher: less integrated)",
    "efficiency": "global efficiency of the graph of components, relative to its mean weight",
}
"""Index in a spec -> what it is in words."""


@dataclass(frozen=True, eq=False, slots=True)
class _Knocked:
    """One model's strongest components: single effects [n, C], interactions [n, P], and their names."""

    effects: Floats
    interaction: Floats
    pairs: list[tuple[str, str]]


def measure_ablation(sample: Sample, spec: Spec, intervention: Intervention, results: Results) -> Measured:
    """Rows of `components`; with knock-outs in pairs, rows of `interactions` and, if declared, `integration`."""
    assert isinstance(intervention, Ablation)
    single = measure_nodes(sample, spec, intervention, results)
    if not intervention.pairwise:
        return single
    declared = spec.measures.integration.index if spec.measures.integration else None
    problem = next((stored for stored in results.values() if isinstance(stored, str)), sample.too_few)
    if problem:
        return Measured(rows=single.rows, problems={"integration": problem} if declared == "interaction" else {})
    knocked = {side: _knocked(sample, side, stored) for side, stored in results.items() if isinstance(stored, Stored)}
    listed = [row for side, one in knocked.items() for row in _rows(sample, spec, side, one, intervention)]
    rows = {**single.rows, "interactions": listed}
    if declared is None:
        return Measured(rows=rows)
    weights = task_weights(sample, spec.statistics.bootstrap.replicates)
    try:
        before, after = (_index(knocked[side], weights, sample.seed) for side, _ in sample.sides)
    except ValueError as error:
        return Measured(rows=rows, problems={"integration": str(error)} if declared == "interaction" else {})
    compared = {"interaction": Compared(INDICES["interaction"], before, after)}
    found = measure_indices(sample, spec, "integration", compared, declared=declared)
    return replace(found, rows={**rows, **found.rows})


def measure_interaction_shift(sample: Sample, spec: Spec, results: Results) -> Measured:
    """`integration` without the null and the interactions, as hypotheses are tested with it."""
    declared = spec.measures.integration.index if spec.measures.integration else "interaction"
    if declared != "interaction":
        return Measured(problems={"integration": f"the {INDICES[declared]} can't be taken of A/A data yet"})
    problem = next((stored for stored in results.values() if isinstance(stored, str)), sample.too_few)
    if problem:
        return Measured(problems={"integration": problem})
    weights = task_weights(sample, spec.statistics.bootstrap.replicates)
    knocked = [_knocked(sample, side, stored) for side, stored in results.items() if isinstance(stored, Stored)]
    try:
        before, after = (
            SideIndex(
                # Without its null, whose draws are what it costs.
                interaction_ratio(one.effects, one.interaction, draws=1).value,
                interaction_ratio_replicates(one.effects, one.interaction, weights),
                {},
            )
            for one in knocked
        )
    except ValueError as error:
        return Measured(problems={"integration": str(error)})
    return measure_index(
        sample, spec, "integration", index="interaction", name="interaction ratio", before=before, after=after
    )


def _index(knocked: _Knocked, weights: npt.NDArray[np.int64], seed: int) -> SideIndex:
    found = interaction_ratio(knocked.effects, knocked.interaction, seed=seed)
    reference = {
        "null": found.null,
        "null_low": found.null_low,
        "null_high": found.null_high,
        "excess": found.excess,
    }
    replicates = interaction_ratio_replicates(knocked.effects, knocked.interaction, weights)
    return SideIndex(found.value, replicates, reference)


def _knocked(sample: Sample, side: str, stored: Stored) -> _Knocked:
    described = stored.description
    members = np.array(described["members"], dtype=np.int64).reshape(-1, 2)
    clean, single, both = (
        stored.tensors[name].astype(np.float64)[..., sample.ids(side)] for name in ("clean_metric", "metric", "pairs")
    )
    chosen = [described["components"].index(name) for name in described["strongest"]]
    return _Knocked(
        effects=(clean - single[chosen]).T,
        interaction=interactions(clean, single.T, both.T, members),
        pairs=[(described["components"][first], described["components"][second]) for first, second in members],
    )


def _rows(sample: Sample, spec: Spec, side: str, knocked: _Knocked, intervention: Ablation) -> Rows:
    rows: Rows = []
    for (first, second), values in zip(knocked.pairs, knocked.interaction.T, strict=True):
        interval = mean_interval(sample, spec, values)
        rows.append(
            {
                **sample.labels(),
                "model": sample.side(side).model,
                "side": side,
                "intervention": intervention.name,
                "ablation": intervention.ablation,
                "first": first,
                "second": second,
                "interaction": interval.estimate,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return rows
