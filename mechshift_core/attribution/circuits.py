"""Running a model as a circuit: every edge outside of it carries a replacement, by default its corrupted value.

The full circuit is the clean run, the empty one, counterfactually ablated, the corrupted run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mechshift_core.attribution.ablation import Ablation, replacement_of
from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.memory import sequences_for_patching
from mechshift_core.attribution.patching import circuit_patch, run_in_batches
from mechshift_core.attribution.readable import check_readable
from mechshift_core.graph import Graph
from mechshift_core.models.load import Model
from mechshift_core.models.ungroup import ungrouped
from mechshift_core.options import Count, Seed, checked

Circuit = Sequence[str] | npt.NDArray[np.bool_]
"""Names of edges, or whether each edge of the graph is in the circuit, [edges]."""


@checked
def evaluate_circuits(
    model: Model,
    batch: CounterfactualBatch,
    circuits: Sequence[Circuit],
    *,
    ablation: Ablation = "counterfactual",
    seed: Seed = 0,
    only: Sequence[int] | None = None,
    rows: Count | None = None,
    halvings: list[int] | None = None,
) -> Tensor:
    """The metric of each example with everything outside of a circuit replaced.

    Args:
        model: A loaded model.
        batch: Examples. The ablations `mean` and `resample` take their values from all of them.
        circuits: The edges of each circuit. Where query heads share a key/value head, its readers can also be named
            one by one, `a0.h1<k>` instead of `a0.kv0<k>`.
        ablation: What the edges outside carry, see :mod:`mechshift_core.attribution.ablation`.
        seed: Seed of the ablation `resample`.
        only: The examples to evaluate, by number; all unless given. (Of the others `mean` and `resample` are made too.)
        rows: Circuits times examples that go through the model at once; as many as fit into memory unless given. The
            result does not depend on it.
        halvings: Receives the numbers of rows that did not fit into memory.

    Returns:
        [circuits, examples evaluated], on the CPU; float32 or, as the model, float64.

    Raises:
        ValueError: for a name that is no edge of the model, a batch that the model can't read, one over which the
            ablation can't be taken, or an option that is not known or out of range.
        ExecutionError: if a metric is not finite.
    """
    check_readable(model, batch)
    if _reads_shared_heads_apart(model, circuits):
        group = model.shape.heads // model.shape.key_value_heads
        circuits = [_per_query_head(circuit, group) for circuit in circuits]
        model = ungrouped(model)
    graph = Graph.of(model.shape)
    members = [graph.membership(circuit) for circuit in circuits]
    rows = rows or sequences_for_patching(model, batch.clean_ids.shape[1])
    return run_in_batches(
        model,
        batch,
        replacement_of(model, batch, ablation, seed=seed, rows=rows),
        lambda runs, _: circuit_patch(graph, members[runs], model.device),
        len(members),
        only=only,
        rows=rows,
        halvings=halvings,
    )


def _reads_shared_heads_apart(model: Model, circuits: Sequence[Circuit]) -> bool:
    shared = model.shape.heads != model.shape.key_value_heads
    return shared and any(
        re.search(r"\.h\d+<[kv]>$", name)
        for circuit in circuits
        if not isinstance(circuit, np.ndarray)
        for name in circuit
    )


def _per_query_head(circuit: Circuit, group: int) -> Circuit:
    """Edges into `a{l}.kv{j}` as the edges into each of its query heads."""
    if isinstance(circuit, np.ndarray):
        raise ValueError("circuits as arrays and circuits that tell the readers of a shared head apart do not mix")
    names: dict[str, None] = {}
    for name in circuit:
        shared = re.fullmatch(r"(.*->a\d+)\.kv(\d+)(<[kv]>)", name)
        heads = range(int(shared[2]) * group, int(shared[2]) * group + group) if shared else ()
        names |= dict.fromkeys([f"{shared[1]}.h{head}{shared[3]}" for head in heads] if shared else [name])
    return list(names)
