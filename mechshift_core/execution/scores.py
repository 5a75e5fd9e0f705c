"""Stored edge scores, read as they are needed: those of a large model on a task don't fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.stream import Array, open_tensors
from mechshift_core.metrics import judges_nothing, metric_named
from mechshift_core.spec.schema import Spec
from mechshift_core.spec.tasks import Selection
from mechshift_core.tasks.base import Judgement
from mechshift_core.tasks.counterfactual import Dataset
from stats.seeding import derived_seed, generator
from stats.split_half import draw_halves, prompts

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


class EdgeScoreStore:
    """A tensor of scores whose rows are the examples of a task, in the files of its cells.

    Args:
        files: The cells' files in the order of their examples.
        name: The tensor: `scores`, [examples, edges], or `by_role`, [examples, roles, edges].
    """

    def __init__(self, files: Sequence[Path], name: str = "scores") -> None:
        self._parts = [open_tensors(file)[name] for file in files]
        self._starts = np.cumsum([0, *[len(part) for part in self._parts]])

    @property
    def shape(self) -> tuple[int, ...]:
        """[examples, ..., edges]."""
        return (int(self._starts[-1]), *self._parts[0].shape[1:])

    def rows(self, selected: npt.ArrayLike) -> Floats:
        """The scores of some examples, [selected, ..., edges], in memory."""
        chosen = np.asarray(selected, dtype=np.int64)
        return self._columns(chosen, slice(None))

    def blocks(self, selected: npt.ArrayLike, edges_per_block: int) -> Iterator[tuple[slice, Floats]]:
        """The scores of some examples a block of edges at a time: (edges, [selected, ..., edges of the block]).

        Raises:
            ValueError: if a block has no edges.
        """
        if edges_per_block < 1:
            raise ValueError(f"edges_per_block: expected at least 1, got {edges_per_block}")
        chosen = np.asarray(selected, dtype=np.int64)
        for start in range(0, self.shape[-1], edges_per_block):
            part = slice(start, min(start + edges_per_block, self.shape[-1]))
            yield part, self._columns(chosen, part)

    def each(self, selected: npt.ArrayLike) -> Iterator[Floats]:
        """The scores of some examples one by one, [..., edges]."""
        for number in np.asarray(selected, dtype=np.int64).tolist():
            part = int(np.searchsorted(self._starts, number, side="right")) - 1
            yield self._parts[part][number - self._starts[part]]

    def mean(self, selected: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Mean over some examples, [..., edges].

        Raises:
            ValueError: if there are none.
        """
        chosen = np.asarray(selected, dtype=np.int64)
        if not len(chosen):
            raise ValueError("no examples to average over")
        total = np.zeros(self.shape[1:])
        for row in self.each(chosen):
            total += row
        return total / len(chosen)

    def _columns(self, chosen: Numbers, edges: slice) -> Floats:
        start, stop, _ = edges.indices(self.shape[-1])
        found = np.empty((len(chosen), *self.shape[1:-1], stop - start), dtype=np.float32)
        for row, scores in zip(found, self.each(chosen), strict=True):
            row[...] = scores[..., start:stop]
        return found


@dataclass(frozen=True, eq=False, slots=True)
class SelectedScores:
    """The scores of some examples, [selected, edges], for statistics that read a block of edges at a time."""

    store: EdgeScoreStore
    selected: Numbers

    @property
    def shape(self) -> tuple[int, ...]:
        """[selected, edges]."""
        return (len(self.selected), self.store.shape[-1])

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """As the scores are stored."""
        return np.dtype(np.float32)

    def blocks(self, edges_per_block: int) -> Iterator[tuple[slice, Floats]]:
        """(edges, [selected, edges of the block])."""
        return self.store.blocks(self.selected, edges_per_block)

    def mean(self) -> npt.NDArray[np.float64]:
        """Mean over the examples, [edges]."""
        return self.store.mean(self.selected)


@dataclass(frozen=True, eq=False, slots=True)
class Answers:
    """What a model answers on all aligned examples of a task.

    Attributes:
        clean_metric: Metric on the clean prompts, [examples]; `corrupt_metric` on the corrupted ones.
        correct: Whether it is answered correctly by the rule in use, [examples].
        argmax: Whether the most likely token is an answer, [examples]; in the state in which it is decided.
        masks: Hidden tokens where the example is read first, [examples], and in how many `states` it is read; 0 where
            it has none at the inference budget, and counts nowhere.
        prefers: Whether a metric above 0 means that answers are preferred to foils.
    """

    clean_metric: Floats
    corrupt_metric: Floats
    correct: npt.NDArray[np.bool_]
    argmax: npt.NDArray[np.bool_]
    masks: Numbers
    states: Numbers
    prefers: bool = True

    @property
    def metric(self) -> npt.NDArray[np.bool_] | None:
        """Whether the metric on the clean prompt is above 0, so that answers are preferred to foils, [examples].

        None of a metric that does not say which are preferred.
        """
        return self.clean_metric > 0 if self.prefers else None


@dataclass(frozen=True, eq=False, slots=True)
class Stored:
    """The cells of one intervention on one model and task, joined.

    Attributes:
        description: What the first of them says of itself.
        tensors: Tensor -> values, examples on the last axis.
    """

    description: Mapping[str, Any]
    tensors: Mapping[str, Array]


def judgement(spec: Spec, dataset: Dataset) -> Judgement:
    """What makes an answer of a task correct: what the spec says, or else the task."""
    return spec.select.by or dataset.judged_by


def read_answers(folder: RunFolder, cells: Sequence[Cell], dataset: Dataset, by: Judgement) -> Answers:
    """The answers in the cells of an edge attribution, judged by the metric or the most likely token."""
    parts = [open_tensors(folder.cell_file(cell.key)) for cell in cells]
    clean, corrupt, predicted, masks, states = (
        np.concatenate([part[name] for part in parts])
        for name in ("clean_metric", "corrupt_metric", "predicted", "masks", "states")
    )
    likely = [int(token) in example.answer_ids for token, example in zip(predicted, dataset.examples, strict=True)]
    argmax = np.array(likely, dtype=bool)
    prefers = metric_named(dataset.metric).indifferent_at_zero
    if by == "metric" and not prefers:
        raise ExecutionError(judges_nothing(dataset.task, dataset.metric))
    return Answers(clean, corrupt, clean > 0 if by == "metric" else argmax, argmax, masks, states, prefers)


def read_stored(folder: RunFolder, cells: Sequence[Cell]) -> Stored:
    """The cells of an intervention whose tensors have examples on the last axis.

    Where examples of a cell have fewer denoising steps (the first axis) than those of another, zeros are added.
    """
    parts = [open_tensors(folder.cell_file(cell.key)) for cell in cells]
    joined = {name: _joined([part[name] for part in parts]) for name in parts[0]}
    first, *others = (folder.describe(cell.key) for cell in cells)
    if "tokens" in first:
        first["tokens"] = {token: text for one in (first, *others) for token, text in one["tokens"].items()}
    return Stored(first, joined)


def _joined(parts: Sequence[Array]) -> Array:
    longest = max(len(part) for part in parts)
    if parts[0].ndim < 2:
        return np.concatenate(parts, axis=-1)
    padded = [np.pad(part, [(0, longest - len(part)), *[(0, 0)] * (part.ndim - 1)]) for part in parts]
    return np.concatenate(padded, axis=-1)


def task_seed(spec_seed: int, task: str) -> int:
    """Seed of all draws on a task, the same for every pair, so that pairs are resampled together."""
    return derived_seed(spec_seed, "task", task)


def halves(selected: Numbers, dataset: Dataset, seed: int) -> tuple[Numbers, Numbers]:
    """Two random halves of the kept examples, balanced over templates and of equal size; ids ascend in both.

    With an odd number, or fewer than two, the last example is left out.
    """
    kept = selected[: len(selected) // 2 * 2]
    if not len(kept):
        return kept, kept
    chosen = prompts(len(kept), examples=None, total=None, templates=[dataset.examples[n].template for n in kept])
    first = draw_halves(chosen, 1, generator(seed, "halves"))[0]
    return kept[first], kept[~first]


def selected_examples(answers: Sequence[Answers], rule: Selection) -> Numbers:
    """Ids of the examples that a spec's `select: {correct: RULE}` keeps, ascending.

    Examples that some model has no state of at the inference budget are not among them.

    Args:
        answers: Those of the models that are judged: before and after, or of a trajectory from its first to its last.
        rule: `both` is all of them.
    """
    correct = np.array([one.correct for one in answers])
    read = np.array([one.states > 0 for one in answers]).all(axis=0)
    kept = {"none": read, "both": correct.all(axis=0), "before": correct[0], "any": correct.any(axis=0)}
    return np.flatnonzero(kept[rule] & read)
