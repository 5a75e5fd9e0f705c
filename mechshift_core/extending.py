"""Everything that a kind of your own is made of: `from mechshift_core.extending import ...`.

A kind is a value: a :class:`MeasureKind`, an :class:`InterventionKind`, a :class:`TestKind`, an
:class:`ArchitectureKind`, a :class:`MetricKind`, or a :class:`Task`. A module lists what it brings as `KINDS`; a spec
names the module (`extensions: [./my_measure.py]`, run with `--allow-code`), or a package brings it by the entry point
group `mechshift.kinds`. For most kinds the helpers below are all there is to know: :func:`per_prompt` makes the cells
of an intervention from one function of a model and a batch, and :func:`shift_of` the measure from what these hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mechshift_core.analysis.measured import Measured, Results, estimate, mean_estimate, mean_interval
from mechshift_core.analysis.paired import paired_shift
from mechshift_core.analysis.samples import Sample
from mechshift_core.errors import ExecutionError
from mechshift_core.execution.scores import Stored
from mechshift_core.kinds import (
    Cells,
    Column,
    Cost,
    Intervention,
    InterventionKind,
    Least,
    MeasureKind,
    Testable,
    TestKind,
)
from mechshift_core.kinds.intervention import Compute, ResultsOf
from mechshift_core.metrics import MetricKind, TokenSet
from mechshift_core.models.declared import Architecture, ArchitectureKind
from mechshift_core.spec.base import Section
from mechshift_core.spec.schema import Spec
from mechshift_core.tasks.base import CounterfactualText, Task
from mechshift_core.tasks.roles import RoleSpan

if TYPE_CHECKING:
    from torch import Tensor

    from mechshift_core.attribution import CounterfactualBatch
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model

__all__ = [
    "Architecture",
    "ArchitectureKind",
    "Cells",
    "Column",
    "Cost",
    "CounterfactualText",
    "Field",
    "Intervention",
    "InterventionKind",
    "Least",
    "MeasureKind",
    "Measured",
    "MetricKind",
    "Results",
    "RoleSpan",
    "Sample",
    "Section",
    "Spec",
    "Stored",
    "Task",
    "TestKind",
    "Testable",
    "TokenSet",
    "estimate",
    "mean_estimate",
    "mean_interval",
    "paired_shift",
    "per_prompt",
    "shift_of",
]

S = TypeVar("S", bound=Intervention)
Floats = npt.NDArray[np.float64]


def per_prompt(measure: Callable[[Model, CounterfactualBatch, S], Mapping[str, Tensor]]) -> Compute[S]:
    """The cells of an intervention that has numbers for each prompt, whatever the pair.

    Prompts of equal length come together, or padded ones if the `cells` of the kind say that it `pads`, as many as
    `execution.batch_size` says or as memory has room for. Where a prompt is read in several states of its completion,
    each number is the mean over them, by their weights.

    Args:
        measure: Of a loaded model, a batch and the section of the spec: tensor -> its numbers, [rows].

    Returns:
        What an :class:`InterventionKind` takes as `compute`. A cell holds each tensor as [examples].
    """

    def compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: S) -> None:
        from mechshift_core.execution.batches import batch_rows, cell_groups, to_batch
        from mechshift_core.execution.plan import describe_cell

        dataset = plan.dataset(cell.model, cell.task)
        examples = dataset.examples[cell.start : cell.stop]
        found: dict[str, Floats] = {}
        halvings: list[int] = []
        for group in cell_groups(plan, cell, model, examples):
            batch = to_batch(model, dataset, [examples[number] for number in group.numbers], group.states)
            for name, numbers in _of_batch(measure, model, batch, own, batch_rows(plan.spec), halvings).items():
                total = found.setdefault(name, np.zeros(len(examples)))
                np.add.at(total, group.numbers, np.array(group.weights) * numbers)
        for name, of_examples in found.items():
            if not np.isfinite(of_examples).all():
                raise ExecutionError(f"{cell.intervention} of {cell.model!r} on {cell.task!r}: {name!r} is not finite")
        tensors = {name: of_examples.astype(np.float32) for name, of_examples in found.items()}
        folder.write_cell(cell.key, {**describe_cell(plan, cell, model), "halvings": halvings}, tensors)
        folder.log_halvings(cell, halvings)

    return compute


def _of_batch(
    measure: Callable[[Model, CounterfactualBatch, S], Mapping[str, Tensor]],
    model: Model,
    batch: CounterfactualBatch,
    own: S,
    rows: int | None,
    halvings: list[int],
) -> dict[str, Floats]:
    """The numbers of a batch, [rows] each, of as many rows at once as are let or fit.

    Raises:
        ExecutionError: if there is not one number for each row.
        MemoryError: if a single row does not fit into memory.
    """
    from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_gradients

    def compute(part: slice) -> dict[str, Floats]:
        of_part = batch.rows(part).to(model.device)
        found = {name: values.detach().cpu().double().numpy() for name, values in measure(model, of_part, own).items()}
        for name, numbers in found.items():
            if numbers.shape != (len(of_part),):
                expected = f"expected {len(of_part)} numbers, one for each row"
                raise ExecutionError(f"{own.name}: {expected}, got {name!r} of shape {numbers.shape}")
        return found

    batching = Batching(rows or sequences_for_gradients(model, batch.clean_ids.shape[1]), halvings)
    parts = list(in_batches(len(batch), batching, compute))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def shift_of(measure: str, tensor: str) -> ResultsOf[S]:
    """The measure that is the after-minus-before shift of a number of each prompt, with both models' means.

    Args:
        measure: What hypotheses call it.
        tensor: What the cells of :func:`per_prompt` call the number.

    Returns:
        What an :class:`InterventionKind` takes as `results`.
    """

    def results(sample: Sample, spec: Spec, own: S, found: Results) -> Measured:
        stored = {side: one for side, one in found.items() if isinstance(one, Stored)}
        failed = [f"{side}: {one}" for side, one in found.items() if isinstance(one, str)]
        if failed or sample.too_few:
            return Measured(problems={measure: "; ".join(failed) or sample.too_few})
        values = {side: one.tensors[tensor][sample.ids(side)].astype(np.float64) for side, one in stored.items()}
        return paired_shift(sample, spec, measure, values, source=own.name)

    return results
