"""The metric of a model on prompts with everything outside of a circuit replaced, whoever the circuit is of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.graph import Shape
from mechshift_core.interchange.circuit import Bools, Floats, ScoredCircuit

if TYPE_CHECKING:
    from mechshift_core.attribution.ablation import Ablation
    from mechshift_core.models import Model
    from mechshift_core.progress import Progress
    from mechshift_core.tasks.counterfactual import Dataset


def fitted(circuit: ScoredCircuit, model: Model) -> Model:
    """The model whose graph a circuit is of: the model itself, or it with a key/value head for each query head.

    Raises:
        UsageError: if it is a circuit of another graph, with what the two are.
        ExecutionError: if the model's key/value heads can't be taken apart.
    """
    from mechshift_core.models.ungroup import ungrouped

    of_file, of_model = circuit.shape, model.shape
    unlike = [
        f"{words}: {getattr(of_file, key)} in the circuit, {getattr(of_model, key)} in the model"
        for key, words in (("layers", "layers"), ("heads", "heads"), ("hidden_size", "hidden size"))
        if getattr(of_file, key) not in (getattr(of_model, key), *([0] if key == "hidden_size" else []))
    ]
    if of_file.parallel != of_model.parallel:
        unlike.append(f"blocks: {_blocks(of_file)} in the circuit, {_blocks(of_model)} in the model")
    apart = of_file.key_value_heads == of_file.heads
    if not unlike and of_file.key_value_heads != of_model.key_value_heads and not apart:
        unlike.append(
            f"key/value heads: {of_file.key_value_heads} in the circuit, {of_model.key_value_heads} in the model"
        )
    if unlike:
        raise UsageError(f"the circuit is of another graph than {model.source} ({'; '.join(unlike)})")
    return ungrouped(model) if apart else model


def _blocks(shape: Shape) -> str:
    return "parallel" if shape.parallel else "attention before the MLP"


def metrics_of(
    model: Model,
    dataset: Dataset,
    circuits: Sequence[Bools],
    *,
    ablation: Ablation,
    seed: int,
    rows: int | None = None,
    progress: Progress | None = None,
) -> Floats:
    """The metric of each prompt under each circuit, [circuits, examples]; equal circuits are run once.

    Args:
        model: A model.
        dataset: Prompts as it reads them.
        circuits: Whether each edge of the model's graph is in it, [edges].
        ablation: What the edges outside carry.
        seed: Seed of the ablation `resample`.
        rows: Circuits times examples that go through the model at once.
        progress: Called with what is being done.

    Raises:
        ExecutionError: if a metric is not finite, or the ablation can't be taken over these prompts.
    """
    from mechshift_core.attribution import evaluate_circuits
    from mechshift_core.execution.batches import is_diffusion, row_groups, to_batch
    from mechshift_core.execution.lengths import common_lengths
    from mechshift_core.execution.reading import Reading

    distinct = {circuit.tobytes(): circuit for circuit in circuits}
    found = np.zeros((len(distinct), len(dataset.examples)))
    # Of one length where values come from other examples, position by position.
    padded = ablation in ("counterfactual", "zero")
    common = common_lengths(dataset.examples, diffusion=is_diffusion(model)) if padded else None
    groups = row_groups(model, dataset.examples, Reading(), by_state=True, common=common)
    for number, group in enumerate(groups):
        if progress is not None:
            progress(f"running {len(distinct)} circuits", number, len(groups))
        batch = to_batch(model, dataset, [dataset.examples[place] for place in group.numbers], group.states)
        try:
            metric = evaluate_circuits(model, batch, [*distinct.values()], ablation=ablation, seed=seed, rows=rows)
        except ValueError as error:
            raise ExecutionError(f"{dataset.task}: {error}") from error
        found[:, group.numbers] += np.array(group.weights) * metric.double().numpy()
    if progress is not None:
        progress(f"running {len(distinct)} circuits", len(groups), len(groups))
    place = {content: number for number, content in enumerate(distinct)}
    return found[[place[circuit.tobytes()] for circuit in circuits]]
