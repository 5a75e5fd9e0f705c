"""Second-stage cells of probes: what a linear probe says of the selected examples, for each variable and layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import batch_rows, cell_groups, to_batch
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.scores import task_seed
from mechshift_core.execution.selected import examples_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.probe.section import OF_STATES, Probe
from mechshift_core.tasks.counterfactual import Example
from mechshift_core.tasks.roles import OTHER
from stats.probes import cross_validated_probe, probeable

if TYPE_CHECKING:
    from mechshift_core.models import Model

Floats = npt.NDArray[np.float32]
ANSWER, TEMPLATE = "answer", "template"


def execute_probe(plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: Probe) -> None:
    """Fit and store the probes of one pair, side and task: `correct` and `control` [variables, layers + 1, examples].

    Both are NaN-free: -1 where an example's value is too rare to be probed for. Of variables of the denoising they are
    means over the states of an example.

    Raises:
        ExecutionError: if an activation is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    selected = examples_of(plan, folder, cell)
    dataset = plan.dataset(cell.model, cell.task)
    examples = [dataset.examples[number] for number in selected]
    names = tuple(intervention.variables or variables_of(examples))
    values = {name: np.array(values_of(name, examples), dtype=str) for name in names if name not in OF_STATES}
    usable = {name: _usable(own.tolist()) for name, own in values.items()}
    halvings: list[int] = []
    units: dict[str, Units] = {}
    if any(own.any() for own in usable.values()) or len(values) < len(names):
        read = _read(plan, cell, model, examples, halvings=halvings)
        units = {
            name: Units(read.mean[own], values[name][own], np.flatnonzero(own))
            for name, own in usable.items()
            if own.any()
        }
        of_states = {name: read.units(name) for name in names if name in OF_STATES}
        units |= {name: own for name, own in of_states.items() if own is not None}
    probed = [name for name in names if name in units]
    shape = (len(probed), model.shape.layers + 1, len(selected))
    correct, control = np.full(shape, -1, dtype=np.float32), np.full(shape, -1, dtype=np.float32)
    variables: list[dict[str, object]] = []
    for at, name in enumerate(probed):
        own = units[name]
        for layer in range(shape[1]):
            found = cross_validated_probe(
                own.features[:, layer],
                own.labels,
                groups=own.examples if name in OF_STATES else None,
                shuffles=intervention.shuffles,
                seed=task_seed(plan.spec.seed, cell.task),
            )
            correct[at, layer], control[at, layer] = own.by_example(found.correct, found.control, count=len(selected))
        variables.append({"name": name, "majority": found.majority, "classes": found.classes})
    description = {
        **describe_cell(plan, cell, model),
        "variables": variables,
        "left_out": [name for name in names if name not in probed],
        "halvings": halvings,
    }
    tensors = {"correct": correct, "control": control} if probed else {}
    folder.write_cell(cell.key, description, {**tensors, "examples": selected})
    folder.log_halvings(cell, halvings)


@dataclass(frozen=True, eq=False, slots=True)
class Units:
    """What is probed: examples, or states of examples.

    Attributes:
        features: Residual streams [units, layers + 1, hidden].
        labels: Values of a variable [units].
        examples: Place of the example of each unit among those selected [units].
    """

    features: Floats
    labels: npt.NDArray[np.str_]
    examples: npt.NDArray[np.int64]

    def by_example(self, *outcomes: npt.NDArray[Any], count: int) -> list[Floats]:
        """Outcomes [units], each as the mean over the units of an example [count]; -1 where it has none."""
        number = np.bincount(self.examples, minlength=count)
        means = [np.bincount(self.examples, weights=one, minlength=count) / np.maximum(number, 1) for one in outcomes]
        return [np.where(number > 0, mean, -1).astype(np.float32) for mean in means]


@dataclass(frozen=True, eq=False, slots=True)
class Read:
    """What is read of the examples.

    Attributes:
        mean: Residual streams, mean over an example's states [examples, layers + 1, hidden].
        streams: Residual streams state by state [states, layers + 1, hidden]; the others are [states].
        examples: Place of the example of each state.
        steps: At the start of which denoising step it is.
        masked: Share of the completion that is masked.
    """

    mean: Floats
    streams: Floats
    examples: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    masked: npt.NDArray[np.float64]

    def units(self, variable: str) -> Units | None:
        """The states and their values of a variable; None where no example has two, or values are too rare."""
        step, _ = OF_STATES
        values = self.steps.astype(str) if variable == step else np.array([f"{share:.3g}" for share in self.masked])
        kept = probeable(values, self.examples)
        several = kept.any() and np.bincount(self.examples[kept]).max() > 1
        if not several or len(set(values[kept].tolist())) < 2:
            return None
        return Units(self.streams[kept], values[kept], self.examples[kept])


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


def _read(plan: Plan, cell: Cell, model: Model, examples: Sequence[Example], *, halvings: list[int]) -> Read:
    """Residual streams at the position read, in every state of each example."""
    from mechshift_core.components.streams import streams_read

    dataset, reading = plan.dataset(cell.model, cell.task), plan.reading(cell.budget)
    numbers: list[int] = []
    weights: list[float] = []
    steps: list[int] = []
    masked: list[float] = []
    parts: list[Floats] = []
    for group in cell_groups(plan, cell, model, examples):
        of_group = [examples[number] for number in group.numbers]
        batch = to_batch(model, dataset, of_group, group.states)
        parts.append(streams_read(model, batch, rows=batch_rows(plan.spec), halvings=halvings).numpy())
        numbers += group.numbers
        weights += group.weights
        for one, state in zip(of_group, group.states, strict=True):
            steps.append(reading.step_of(state, one))
            masked.append(1 - sum(state) / (one.revealed + one.masks))
    streams = np.concatenate(parts)
    if not np.isfinite(streams).all():
        raise ExecutionError(f"{cell.intervention} of {cell.model!r} on {cell.task!r} is not finite")
    mean = np.zeros((len(examples), *streams.shape[1:]), dtype=np.float32)
    np.add.at(mean, numbers, np.array(weights, dtype=np.float32)[:, None, None] * streams)
    return Read(mean, streams, np.array(numbers), np.array(steps), np.array(masked))
