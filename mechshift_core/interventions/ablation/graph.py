"""The graph of a model's components: how much of the attribution flows between two heads or MLPs.

The weight between two components on an example is the magnitude of the summed scores of the edges between them (of the
queries, keys and values of a head; an edge to keys or values that several heads share counts for each of them in equal
parts). The input and the logits are no components.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.indices import Compared, SideIndex, measure_index, measure_indices
from mechshift_core.analysis.measured import Measured
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.graph import Graph, readers
from mechshift_core.interventions.ablation.integration_section import GRAPH_INDICES, INDICES, Integration
from mechshift_core.spec import Spec
from stats.graph_nulls import GraphIndex, GraphMeasures, efficiency_replicates, measure_graph, module_replicates

Floats = npt.NDArray[np.float64]
SMALL = 200
"""Components up to which a graph is measured unasked, beside more random graphs, and its efficiency resampled."""
DRAWS, FEW_DRAWS = 100, 20
"""Random graphs beside a small graph and beside a larger one."""
PATHS, PARTITIONS = 200, 100
"""Bootstrap replicates in which shortest paths, and in which modules are searched anew."""


def measure_component_graph(sample: Sample, spec: Spec) -> Measured:
    """Rows of `indices` for the graph of components; `integration` as the shift of the declared one, if it is one."""
    settings = spec.measures.of(Integration)
    assert settings is not None
    asked = settings.index in GRAPH_INDICES
    if not asked and (sample.too_few or len(sample.graph.sources) - 1 > SMALL):
        return Measured()
    if sample.too_few:
        return Measured(problems={"integration": sample.too_few})
    compared = _compared(sample, spec.statistics.bootstrap.replicates)
    if isinstance(compared, str):
        return Measured(problems={"integration": compared} if asked else {})
    return measure_indices(sample, spec, "integration", compared, declared=settings.index)


def measure_graph_shift(sample: Sample, spec: Spec) -> Measured:
    """`integration` as the shift of the declared index, without its null, as hypotheses are tested with it."""
    settings = spec.measures.of(Integration)
    assert settings is not None
    index = settings.index
    if sample.too_few:
        return Measured(problems={"integration": sample.too_few})
    weights = task_weights(sample, spec.statistics.bootstrap.replicates)
    try:
        # A single random graph, since these are what it costs.
        before, after = (_indices(sample, side, weights, draws=1, only=index) for side, _ in sample.sides)
    except ValueError as error:
        return Measured(problems={"integration": str(error)})
    return measure_index(
        sample, spec, "integration", index=index, name=INDICES[index], before=before[index], after=after[index]
    )


def _compared(sample: Sample, replicates: int) -> Mapping[str, Compared] | str:
    """All indices of both models, or why there are none; found once, whichever of them is declared."""
    key = ("component graph", replicates)
    if key not in sample.known:
        weights = task_weights(sample, replicates)
        try:
            before, after = (_indices(sample, side, weights) for side, _ in sample.sides)
        except ValueError as error:
            sample.known[key] = str(error)
        else:
            sample.known[key] = {one: Compared(INDICES[one], before[one], after[one]) for one in GRAPH_INDICES}
    found: Mapping[str, Compared] | str = sample.known[key]
    return found


def component_graphs(sample: Sample, side: str) -> Iterator[Floats]:
    """The graph of each selected example, symmetric [components, components]."""
    components = len(sample.graph.sources) - 1
    edge, row, column, part = _between(sample.graph)
    place = row * components + column
    for scores in sample.side(side).scores.each(sample.ids(side)):
        flow = np.bincount(place, weights=scores[edge] * part, minlength=components**2)
        one_way = np.abs(flow).reshape(components, components)
        yield one_way + one_way.T


def possible_connections(graph: Graph) -> npt.NDArray[np.bool_]:
    """Which components the graph of a model can connect, symmetric [components, components]."""
    components = len(graph.sources) - 1
    _, row, column, _ = _between(graph)
    possible = np.zeros((components, components), dtype=bool)
    possible[row, column] = possible[column, row] = True
    return possible


def _between(graph: Graph) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """(edge, component that writes, component that reads, part of the edge's score) of all edges between components."""
    reading = [readers(graph, receiver.name) for receiver in graph.receivers]
    source, receiver = graph.edge_index
    found = [
        (edge, u - 1, reader - 1, 1 / len(reading[v]))
        for edge, (u, v) in enumerate(zip(source.tolist(), receiver.tolist(), strict=True))
        if u > 0
        for reader in reading[v]
    ]
    edges, rows, columns, parts = zip(*found, strict=True)
    return np.array(edges), np.array(rows), np.array(columns), np.array(parts, dtype=np.float64)


def _indices(
    sample: Sample, side: str, weights: npt.NDArray[np.int64], *, draws: int | None = None, only: str = ""
) -> Mapping[str, SideIndex]:
    """The indices of one model; `only` the replicates of one of them, where it is named."""
    components = len(sample.graph.sources) - 1
    small = components <= SMALL
    # Those of a large model don't fit into memory: they are made again for the replicates.
    kept = [*component_graphs(sample, side)] if small else None
    total = np.zeros((components, components))
    for one in kept or component_graphs(sample, side):
        total += one
    found = measure_graph(
        total / sample.n,
        allowed=possible_connections(sample.graph),
        draws=draws or (DRAWS if small else FEW_DRAWS),
        seed=sample.seed,
    )
    participation = modularity = paths = None
    if only != "efficiency":
        graphs = kept or component_graphs(sample, side)
        participation, modularity = module_replicates(graphs, weights[:PARTITIONS], seed=sample.seed)
    if kept and only in ("", "efficiency"):
        paths = efficiency_replicates(kept, weights[:PATHS])
    return _sides(found, {"participation": participation, "modularity": modularity, "efficiency": paths})


def _sides(found: GraphMeasures, replicates: Mapping[str, Floats | None]) -> Mapping[str, SideIndex]:
    indices: dict[str, GraphIndex] = {
        "participation": found.participation,
        "modularity": found.modularity,
        "efficiency": found.efficiency,
    }
    return {
        name: SideIndex(
            one.value,
            replicates[name],
            {"null": one.null, "null_low": one.null_low, "null_high": one.null_high, "excess": one.excess},
        )
        for name, one in indices.items()
    }
