"""From examples of any length to batches, grouped by length so that nothing is padded; what positions are called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError
from mechshift_core.spec.schema import Spec
from mechshift_core.tasks.counterfactual import Dataset, Example

if TYPE_CHECKING:
    from torch import Tensor

    from mechshift_core.attribution import CounterfactualBatch
    from mechshift_core.models import Model


def length_groups(model: Model, examples: Sequence[Example]) -> list[list[int]]:
    """Numbers of the examples that are of equal length as this model reads them."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        groups[len(example.clean_ids), masks_read(example, diffusion=is_diffusion(model))].append(number)
    return list(groups.values())


def is_diffusion(model: Model) -> bool:
    """Whether the model sees masks after the prompt."""
    return model.paradigm == "masked_diffusion"


def masks_read(example: Example, *, diffusion: bool) -> int:
    """Masks that follow the prompt; what follows the position read is invisible to an autoregressive model."""
    return example.masks if diffusion else 0


def to_batch(model: Model, dataset: Dataset, examples: Sequence[Example]) -> CounterfactualBatch:
    """Examples of equal length as a batch, read where this model predicts the token after the prompt."""
    import torch

    from mechshift_core.attribution import CounterfactualBatch
    from mechshift_core.attribution.batch import NO_TOKEN

    masks = masks_read(examples[0], diffusion=is_diffusion(model))
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


def batch_rows(spec: Spec) -> int | None:
    """Sequences that a spec lets through a model at once; None where memory decides."""
    size = spec.execution.batch_size
    return None if isinstance(size, str) else size


def role_names(dataset: Dataset, *, diffusion: bool) -> tuple[str, ...]:
    """The token roles of a task's positions as a model reads them, sorted; roles are numbered in this order.

    Raises:
        ExecutionError: if an example's roles are unknown.
    """
    unknown = sum(not example.roles for example in dataset.examples)
    if unknown:
        raise ExecutionError(
            f"task {dataset.task!r}: the token roles of {unknown} of {len(dataset.examples)} examples are unknown; "
            "give `roles` in the data set (of text, use a fast tokenizer), or ask for nothing by token role"
        )
    read = [example.position_roles(masks_read(example, diffusion=diffusion)) for example in dataset.examples]
    return tuple(sorted({role for roles in read for role in roles}))


def role_numbers(model: Model, examples: Sequence[Example], names: Sequence[str]) -> Tensor:
    """Number of the role of every position of examples of equal length, [examples, positions]."""
    import torch

    numbers = {name: number for number, name in enumerate(names)}
    masks = [masks_read(example, diffusion=is_diffusion(model)) for example in examples]
    read = [example.position_roles(count) for example, count in zip(examples, masks, strict=True)]
    return torch.tensor([[numbers[role] for role in roles] for roles in read])
