"""Executing cells: what is missing is computed, model by model, and stored one cell at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError, MechshiftError
from mechshift_core.execution.plan import Cell, Plan, describe_cell
from mechshift_core.execution.store import RunFolder
from mechshift_core.spec.interventions import EdgeAttribution
from mechshift_core.tasks.counterfactual import Dataset, Example

if TYPE_CHECKING:
    from torch import Tensor

    from mechshift_core.attribution import CounterfactualBatch, EdgeScores
    from mechshift_core.models import Model

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of executing a plan.

    Attributes:
        computed: Cells computed now; `cached` were there already.
        failures: Cell -> why it failed.
    """

    computed: int
    cached: int
    failures: dict[Cell, str]


def execute(plan: Plan, folder: RunFolder, *, progress: Progress | None = None) -> Execution:
    """Compute every missing cell; a cell that fails is noted and the others go on.

    Args:
        plan: The cells.
        folder: A claimed run directory.
        progress: Called with (what is being done, cells done, cells in all).
    """
    missing = [cell for cell in plan.cells if not folder.has_cell(cell.key)]
    failures: dict[Cell, str] = {}
    by_model: dict[str, list[Cell]] = defaultdict(list)
    for cell in missing:
        by_model[cell.model].append(cell)
    done = len(plan.cells) - len(missing)
    for name, cells in by_model.items():
        try:
            if progress is not None:
                progress(f"loading {name}", done, len(plan.cells))
            model = _load(plan, name)
        except MechshiftError as error:
            failures |= dict.fromkeys(cells, str(error))
            folder.log("model failed", model=name, reason=str(error))
            continue
        for cell in cells:
            if progress is not None:
                progress(f"{cell.intervention} of {name} on {cell.task}", done, len(plan.cells))
            try:
                _execute_cell(plan, cell, model, folder)
                folder.log("cell", key=cell.key, model=name, task=cell.task, start=cell.start, stop=cell.stop)
            except (MechshiftError, RuntimeError, ValueError) as error:
                failures[cell] = str(error)
                folder.log("cell failed", key=cell.key, model=name, task=cell.task, reason=str(error))
            done += 1
    if progress is not None:
        progress("cells", len(plan.cells) - len(failures), len(plan.cells))
    return Execution(len(missing) - len(failures), len(plan.cells) - len(missing), failures)


def _load(plan: Plan, name: str) -> Model:
    from mechshift_core.models import load_model

    facts, spec = plan.models[name], plan.spec
    declared = facts.declared
    model = load_model(
        facts.folder,
        paradigm=declared.paradigm,
        shifted=declared.shifted if declared.paradigm == "masked_diffusion" else None,
        mask_token=declared.mask_token,
        tokenizer=None if declared.tokenizer is None else spec.resolve(declared.tokenizer),
        device=spec.execution.device,
    )
    if declared.paradigm == "masked_diffusion" and model.mask_token_id is None:
        raise ExecutionError(f"model {name!r} is a masked diffusion model without a mask token; give `mask_token:`")
    return model


def _execute_cell(plan: Plan, cell: Cell, model: Model, folder: RunFolder) -> None:
    import torch

    intervention = next(i for i in plan.spec.interventions if i.name == cell.intervention)
    assert isinstance(intervention, EdgeAttribution)
    dataset = plan.datasets[cell.task]
    examples = dataset.examples[cell.start : cell.stop]
    scores = score_examples(model, dataset, examples, intervention, plan.spec.execution.batch_size)
    if not bool(torch.isfinite(scores.values).all()):
        raise ExecutionError(f"attribution of {cell.model!r} on {cell.task!r} is not finite")
    tensors = {
        "scores": scores.values,
        "clean_metric": scores.clean_metric,
        "corrupt_metric": scores.corrupt_metric,
        "predicted": scores.predicted,
    }
    folder.write_cell(cell.key, {**describe_cell(plan, cell), "device": device_name(model)}, tensors)


def device_name(model: Model) -> str:
    """What a model runs on, e.g. `cpu` or `cuda (NVIDIA H100)`."""
    import torch

    return f"cuda ({torch.cuda.get_device_name(model.device)})" if model.device.type == "cuda" else model.device.type


def score_examples(
    model: Model,
    dataset: Dataset,
    examples: Sequence[Example],
    intervention: EdgeAttribution,
    batch_size: int | str = "auto",
) -> EdgeScores:
    """Edge scores of examples of any length: they are batched by length, so that nothing is padded."""
    import torch

    from mechshift_core.attribution import EdgeScores, attribute_edges
    from mechshift_core.attribution.edges import DEFAULT_BATCH

    assert intervention.method != "exact"
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        groups[len(example.clean_ids), _masks(model, example)].append(row)
    parts = [
        attribute_edges(
            model,
            to_batch(model, dataset, [examples[row] for row in rows]),
            method=intervention.method,
            steps=intervention.steps,
            quadrature=intervention.quadrature,
            batch_size=DEFAULT_BATCH if isinstance(batch_size, str) else batch_size,
        )
        for rows in groups.values()
    ]
    order = torch.tensor([row for rows in groups.values() for row in rows]).argsort()

    def gather(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])[order]

    return EdgeScores(
        parts[0].edges, gather("values"), gather("clean_metric"), gather("corrupt_metric"), gather("predicted")
    )


def _masks(model: Model, example: Example) -> int:
    """Masks that follow the prompt; what follows the position read is invisible to an autoregressive model."""
    return example.masks if model.paradigm == "masked_diffusion" else 0


def to_batch(model: Model, dataset: Dataset, examples: Sequence[Example]) -> CounterfactualBatch:
    """Examples of equal length as a batch, read where this model predicts the token after the prompt."""
    import torch

    from mechshift_core.attribution import CounterfactualBatch
    from mechshift_core.attribution.batch import NO_TOKEN

    masks = _masks(model, examples[0])
    tail = [] if masks == 0 else [model.mask_token_id] * masks
    length = len(examples[0].clean_ids)

    def sets(rows: list[tuple[int, ...]]) -> Tensor:
        width = max(map(len, rows))
        return torch.tensor([[*row, *[NO_TOKEN] * (width - len(row))] for row in rows])

    return CounterfactualBatch(
        clean_ids=torch.tensor([[*example.clean_ids, *tail] for example in examples]),
        corrupt_ids=torch.tensor([[*example.corrupt_ids, *tail] for example in examples]),
        answer_ids=sets([example.answer_ids for example in examples]),
        foil_ids=sets([example.foil_ids for example in examples]),
        position=length - 1 if model.shifted else length,
        metric=dataset.metric,
    )
