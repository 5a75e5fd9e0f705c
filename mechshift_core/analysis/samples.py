"""What the statistics start from: the scores of both models of a pair on the examples selected for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import RunFolder
from mechshift_core.graph import Graph
from mechshift_core.spec import PairSpec, TaskSpec
from mechshift_core.tasks.counterfactual import Dataset
from stats.resampling import resampling_weights
from stats.seeding import derived_seed

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Side:
    """One model on all aligned examples of a task.

    Attributes:
        scores: Edge scores, [examples, edges].
        clean_metric: Metric on the clean prompts, [examples]; `corrupt_metric` on the corrupted ones.
        correct: Whether the most likely token is an answer, [examples].
    """

    model: str
    scores: Floats
    clean_metric: Floats
    corrupt_metric: Floats
    correct: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sample:
    """A pair on a task, with the examples that the selection rule keeps.

    Attributes:
        selected: Ids of the kept examples within the task, ascending, [n].
        spec_seed: Seed of the spec.
    """

    pair: PairSpec
    task: TaskSpec
    dataset: Dataset
    graph: Graph
    before: Side
    after: Side
    selected: npt.NDArray[np.int64]
    spec_seed: int

    @property
    def n(self) -> int:
        """Number of selected examples."""
        return len(self.selected)

    @property
    def total(self) -> int:
        """Number of aligned examples of the task, for which resampling is drawn."""
        return len(self.dataset.examples)

    @property
    def sides(self) -> tuple[tuple[str, Side], ...]:
        """(`before`, side) and (`after`, side)."""
        return ("before", self.before), ("after", self.after)

    @cached_property
    def templates(self) -> npt.NDArray[np.str_]:
        """Template of every aligned example, [total]."""
        return np.array([example.template for example in self.dataset.examples])

    def scores(self, side: str) -> Floats:
        """Scores of the selected examples, [n, edges]."""
        return (self.before if side == "before" else self.after).scores[self.selected]

    @property
    def seed(self) -> int:
        """Seed of all draws on the task, the same for every pair, so that pairs are resampled together."""
        return derived_seed(self.spec_seed, "task", self.task.name)

    @property
    def too_few(self) -> str:
        """Why nothing can be estimated from the selected examples; empty where it can."""
        return "" if self.n >= 2 else f"{self.n} example(s) that both models answer correctly"

    def labels(self) -> dict[str, str]:
        """The columns that say which pair and task a table row is about."""
        return {"pair": self.pair.name, "role": self.pair.role, "task": self.task.name, "regime": self.task.regime}


@dataclass(frozen=True, eq=False)
class Samples:
    """All samples of a run, and what is missing.

    Attributes:
        by_pair_and_task: Samples of which both models were executed.
        missing: (pair, task) -> why there is no sample.
    """

    by_pair_and_task: Mapping[tuple[str, str], Sample]
    missing: Mapping[tuple[str, str], str]


def collect(plan: Plan, folder: RunFolder, failures: Mapping[str, str]) -> Samples:
    """Read the stored cells and select the examples of every pair and task.

    Args:
        plan: The plan that was executed.
        folder: Its run directory.
        failures: Key of a failed cell -> why it failed.
    """
    graphs = {name: Graph.of(facts.shape) for name, facts in plan.models.items()}
    sides: dict[tuple[str, str], Side] = {}
    problems: dict[tuple[str, str], str] = {}
    for model in plan.models:
        for task in plan.spec.tasks:
            failed = [failures[cell.key] for cell in plan.cells_of(model, task.name) if cell.key in failures]
            if failed:
                problems[model, task.name] = f"{model}: {failed[0]}"
            else:
                sides[model, task.name] = _read_side(plan, folder, model, task.name)
    found: dict[tuple[str, str], Sample] = {}
    missing: dict[tuple[str, str], str] = {}
    for pair in plan.spec.pairs:
        for task in plan.spec.tasks:
            lacking = [problems[m, task.name] for m in (pair.before, pair.after) if (m, task.name) in problems]
            if lacking:
                missing[pair.name, task.name] = "; ".join(lacking)
                continue
            before, after = sides[pair.before, task.name], sides[pair.after, task.name]
            selected = np.flatnonzero(before.correct & after.correct)
            dataset = plan.datasets[task.name]
            found[pair.name, task.name] = Sample(
                pair, task, dataset, graphs[pair.before], before, after, selected, plan.spec.seed
            )
    return Samples(found, missing)


def _read_side(plan: Plan, folder: RunFolder, model: str, task: str) -> Side:
    from safetensors.numpy import load_file

    parts = [load_file(folder.cell_file(cell.key)) for cell in plan.cells_of(model, task)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    examples = plan.datasets[task].examples
    correct = [int(token) in e.answer_ids for token, e in zip(joined["predicted"], examples, strict=True)]
    return Side(model, joined["scores"], joined["clean_metric"], joined["corrupt_metric"], np.array(correct))


def task_weights(sample: Sample, replicates: int, *, all_examples: bool = False) -> npt.NDArray[np.int64]:
    """How often each selected example is drawn in each bootstrap replicate, [replicates, n] (all: [replicates, total]).

    Drawn for all examples of the task, so that pairs that share examples have paired replicates.
    """
    weights = resampling_weights(sample.total, replicates, seed=sample.seed)
    return weights if all_examples else weights[:, sample.selected]
