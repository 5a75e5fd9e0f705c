"""Second-stage cells of probes: what a linear probe says of the selected examples, for each variable and layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import batch_rows, cell_groups, to_batch
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.scores import task_seed
from mechshift_core.execution.selected import examples_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.probe.section import Probe
from mechshift_core.tasks.counterfactual import Example
from mechshift_core.tasks.roles import OTHER
from stats.probes import cross_validated_probe, probeable

if TYPE_CHECKING:
    from mechshift_core.models import Model

Floats = npt.NDArray[np.float32]
ANSWER, TEMPLATE = "answer", "template"


def execute_probe(plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: Probe) -> None:
    """Fit and store the probes of one pair, side and task: `correct` and `control` [variables, layers + 1, examples].

    Both are NaN-free: -1 where an example's value is too rare to be probed for.

    Raises:
        ExecutionError: if an activation is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    attribution = plan.spec.edge_attribution
    assert attribution is not None  # a spec without one is refused
    pair = plan.spec.pair(cell.pair)
    selected = examples_of(plan, folder, attribution.name, pair, cell)
    dataset = plan.dataset(cell.model, cell.task)
    examples = [dataset.examples[number] for number in selected]
    labels = {name: values_of(name, examples) for name in intervention.variables or variables_of(examples)}
    usable = {name: _usable(values) for name, values in labels.items()}
    probed = [name for name, found in usable.items() if found.any()]
    shape = (len(probed), model.shape.layers + 1, len(selected))
    correct, control = np.full(shape, -1, dtype=np.float32), np.full(shape, -1, dtype=np.float32)
    variables: list[dict[str, object]] = []
    halvings: list[int] = []
    streams = _streams(plan, cell, model, examples, halvings=halvings) if probed else None
    for at, name in enumerate(probed):
        assert streams is not None
        chosen = usable[name]
        of_chosen = [value for value, keep in zip(labels[name], chosen, strict=True) if keep]
        for layer in range(shape[1]):
            found = cross_validated_probe(
                streams[chosen, layer],
                np.array(of_chosen),
                shuffles=intervention.shuffles,
                seed=task_seed(plan.spec.seed, cell.task),
            )
            correct[at, layer, chosen], control[at, layer, chosen] = found.correct, found.control
        variables.append({"name": name, "majority": found.majority, "classes": found.classes})
    description = {
        **describe_cell(plan, cell, model),
        "variables": variables,
        "left_out": [name for name in labels if name not in probed],
        "halvings": halvings,
    }
    tensors = {"correct": correct, "control": control} if probed else {}
    folder.write_cell(cell.key, description, {**tensors, "examples": selected})
    folder.log_halvings(cell, halvings)


def variables_of(examples: Sequence[Example]) -> list[str]:
    """What examples can be probed for: the answer, the template, and the token of every role that all of them have."""
    shared = set.intersection(*(set(example.prompt_roles) for example in examples)) if examples else set()
    in_order = dict.fromkeys(role for example in examples for role in example.prompt_roles)
    return [ANSWER, TEMPLATE, *(role for role in in_order if role in shared and role not in (ANSWER, TEMPLATE, OTHER))]


def values_of(variable: str, examples: Sequence[Example]) -> list[str]:
    """The value of a variable in each example; empty where it has none."""
    if variable == ANSWER:
        return [example.answer for example in examples]
    if variable == TEMPLATE:
        return [example.template for example in examples]
    return [
        str(example.prompt_ids[example.prompt_roles.index(variable)]) if variable in example.prompt_roles else ""
        for example in examples
    ]


def _usable(values: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which examples have a value that can be probed for; none where there are fewer than two such values."""
    array = np.array(values, dtype=str)
    known = array != ""
    usable = np.zeros(len(array), dtype=bool)
    if known.any():
        usable[known] = probeable(array[known])
    return usable if len(set(array[usable].tolist())) > 1 else np.zeros(len(array), dtype=bool)


def _streams(plan: Plan, cell: Cell, model: Model, examples: Sequence[Example], *, halvings: list[int]) -> Floats:
    """Residual streams at the position read, mean over an example's states, [examples, layers + 1, hidden]."""
    from mechshift_core.components.streams import streams_read

    dataset = plan.dataset(cell.model, cell.task)
    found = np.zeros((len(examples), model.shape.layers + 1, model.shape.hidden_size), dtype=np.float32)
    for group in cell_groups(plan, cell, model, examples):
        batch = to_batch(model, dataset, [examples[number] for number in group.numbers], group.states)
        streams = streams_read(model, batch, rows=batch_rows(plan.spec), halvings=halvings).numpy()
        weights = np.array(group.weights, dtype=np.float32)
        np.add.at(found, group.numbers, weights[:, None, None] * streams)
    if not np.isfinite(found).all():
        raise ExecutionError(f"{cell.intervention} of {cell.model!r} on {cell.task!r} is not finite")
    return found
