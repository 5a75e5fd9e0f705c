"""What the statistics start from: the scores of both models of a pair on the examples selected for it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.reading import Reading
from mechshift_core.execution.scores import (
    Answers,
    EdgeScoreStore,
    Floats,
    SelectedScores,
    Stored,
    halves,
    judgement,
    read_answers,
    read_stored,
    selected_examples,
    task_seed,
)
from mechshift_core.execution.store import RunFolder
from mechshift_core.graph import Graph
from mechshift_core.spec import PairSpec, TaskSpec
from mechshift_core.spec.tasks import Selection
from mechshift_core.tasks.base import Judgement
from mechshift_core.tasks.counterfactual import Dataset
from stats.minimums import FEWEST_FOR_SPREAD
from stats.unit_weights import cluster_weights, drawn_at_all, resampling_weights


@dataclass(frozen=True, eq=False)
class Side:
    """One model on all aligned examples of a task.

    Attributes:
        scores: Edge scores, [examples, edges], read as they are needed.
        answers: What it answers.
        by_role: Edge scores by token role, [examples, roles, edges]; None unless the attribution keeps them.
        roles: Names of the roles.
    """

    model: str
    scores: EdgeScoreStore
    answers: Answers
    by_role: EdgeScoreStore | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Sample:
    """A pair on a task, with the examples that the selection rule keeps.

    Attributes:
        selected: Ids of the kept examples within the task, ascending, [n].
        selected_after: Ids of as many other ones on which the model after is read, where the pair compares halves of
            the prompts; None where both models are read on the same.
        reading: How answers of several tokens are read.
        spec_seed: Seed of the spec.
        rule: Whose correct answers select an example, as the spec says.
        by: What makes an answer correct: the metric, or the most likely token.
        by_template: Whether templates are random, each with all of its prompts; else prompts are.
        answered: Model -> examples that it answers correctly, of all whose answers select those of a trajectory.
        half_size: Prompts of each of the sets on which top-K edges are compared; None for half of the selected ones.
        known: What has been computed of it and does not depend on the choices that a study names alternatives to.
    """

    pair: PairSpec
    task: TaskSpec
    dataset: Dataset
    graph: Graph
    before: Side
    after: Side
    selected: npt.NDArray[np.int64]
    spec_seed: int
    rule: Selection = "both"
    by: Judgement = "argmax"
    selected_after: npt.NDArray[np.int64] | None = None
    reading: Reading = field(default_factory=Reading)
    by_template: bool = False
    answered: Mapping[str, int] = field(default_factory=dict)
    half_size: int | None = None
    known: dict[Hashable, Any] = field(default_factory=dict, repr=False)

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

    def clusters(self, examples: npt.ArrayLike | None = None) -> npt.NDArray[np.str_] | None:
        """The independent unit of the selected (or other) examples: their template, or None where each is its own."""
        if not self.by_template:
            return None
        return self.templates[self.selected if examples is None else np.asarray(examples, dtype=np.int64)]

    @property
    def strata(self) -> npt.NDArray[np.str_] | None:
        """Template of every aligned example [total], where templates are fixed: strata of the variance over prompts.

        None where templates are random, or the two sides' prompts are of different ones.
        """
        same = (self.templates[self.ids("before")] == self.templates[self.ids("after")]).all()
        return self.templates if same and not self.by_template else None

    def strata_of(self, examples: npt.ArrayLike | None = None) -> npt.NDArray[np.str_] | None:
        """The strata of the selected (or other) examples; None where there are none."""
        strata = self.strata
        if strata is None:
            return None
        return strata[self.selected if examples is None else np.asarray(examples, dtype=np.int64)]

    @property
    def template_count(self) -> int | None:
        """Number of templates among the selected examples; None where the data set has a single one."""
        one = len(np.unique(self.templates)) == 1 and not self.by_template
        return None if one else len(np.unique(self.templates[self.selected]))

    @property
    def units(self) -> int:
        """Number of independent units among the selected examples."""
        clusters = self.clusters()
        return self.n if clusters is None else len(np.unique(clusters))

    @property
    def unit(self) -> str:
        """What is resampled, in words."""
        return "templates with all of their prompts" if self.by_template else "prompts"

    def scores(self, side: str) -> Floats:
        """Scores of the selected examples, [n, edges]; read anew each time, so that nothing stays in memory."""
        return self.side(side).scores.rows(self.ids(side))

    def score_blocks(self, side: str) -> SelectedScores:
        """Scores of the selected examples, [n, edges], that are read a block of edges at a time."""
        return SelectedScores(self.side(side).scores, self.ids(side))

    def ids(self, side: str) -> npt.NDArray[np.int64]:
        """Ids of the examples on which a side is read, [n]."""
        return self.selected_after if side == "after" and self.selected_after is not None else self.selected

    def side(self, name: str) -> Side:
        """The side `before` or `after`."""
        return self.before if name == "before" else self.after

    @property
    def seed(self) -> int:
        """Seed of all draws on the task, the same for every pair, so that pairs are resampled together."""
        return task_seed(self.spec_seed, self.task.name)

    @property
    def too_few(self) -> str:
        """Why nothing can be estimated from the selected examples; empty where it can."""
        return "" if self.n >= FEWEST_FOR_SPREAD else f"{self.selection}; at least {FEWEST_FOR_SPREAD} are needed"

    @property
    def selection(self) -> str:
        """How many examples are selected, by which rule, and how many each model answers correctly."""
        kept = f"{self.n} of {self.total} examples selected (correct: {self.rule}, by: {self.by})"
        if self.answered:
            few = min(self.answered, key=lambda model: self.answered[model])
            least = f"{few!r} answers the fewest of them correctly, {self.answered[few]}"
            advice = " (`select: ends` asks the first and the last only)" if len(self.answered) > 2 else ""
            return f"{kept} by the answers of {len(self.answered)} models: {least}{advice}"
        right = [f"{side.model!r} answers {int(side.answers.correct.sum())}" for _, side in self.sides]
        lacking = self.total - len(self.having_states)
        without = f", {lacking} have no state at {self.reading.budget!r}" if lacking else ""
        return f"{kept}, {' and '.join(right)} correctly{without}"

    @property
    def having_states(self) -> npt.NDArray[np.int64]:
        """Ids of the examples that both models are read on at the inference budget, selected or not."""
        return selected_examples((self.before.answers, self.after.answers), "none")

    def labels(self) -> dict[str, str]:
        """The columns that say which pair and task a table row is about."""
        pair = {"pair": self.pair.name, "role": self.pair.role}
        return {**pair, "task": self.task.name, "regime": self.task.regime, "budget": self.reading.budget}


@dataclass(frozen=True, eq=False)
class Samples:
    """All samples of a run, and what is missing.

    Attributes:
        by_pair_and_task: Samples of which both models were executed.
        missing: (pair, task) -> why there is no sample.
    """

    by_pair_and_task: Mapping[tuple[str, str], Sample]
    missing: Mapping[tuple[str, str], str]

    @property
    def declared(self) -> Samples:
        """Those of the pairs that the spec declares, without the steps of trajectories."""
        return Samples({key: one for key, one in self.by_pair_and_task.items() if not one.pair.along}, self.missing)

    @property
    def too_few(self) -> str:
        """Why nothing at all can be estimated, with the numbers of every pair and task; empty where something can."""
        reasons = {key: sample.too_few for key, sample in self.by_pair_and_task.items()}
        if not reasons or not all(reasons.values()):
            return ""
        listed = "; ".join(f"{pair} on {task}: {reason}" for (pair, task), reason in reasons.items())
        return f"no pair has enough examples on any task: {listed}"


def collect(
    plan: Plan, folder: RunFolder, failures: Mapping[str, str], reading: Reading, *, along: bool = False
) -> Samples:
    """Read the stored cells of one inference budget and select the examples of every pair and task.

    Args:
        plan: The plan that was executed.
        folder: Its run directory.
        failures: Key of a failed cell -> why it failed.
        reading: The inference budget.
        along: Whether the steps of trajectories are collected too, behind the declared pairs.
    """
    graphs = {name: Graph.of(facts.shape) for name, facts in plan.models.items()}
    sides: dict[tuple[str, str], Side] = {}
    problems: dict[tuple[str, str], str] = {}
    attribution = plan.spec.edge_attribution
    assert attribution is not None  # a spec without one is refused
    for model in plan.models:
        for task in plan.spec.tasks:
            cells = plan.cells_of(attribution.name, model, task.name, budget=reading.budget)
            failed = [failures[cell.key] for cell in cells if cell.key in failures]
            if failed:
                problems[model, task.name] = f"{model}: {failed[0]}"
            else:
                dataset = plan.datasets[task.name]
                sides[model, task.name] = _read_side(folder, cells, dataset, judgement(plan.spec, dataset))
    found: dict[tuple[str, str], Sample] = {}
    missing: dict[tuple[str, str], str] = {}
    for pair in plan.spec.every_pair if along else plan.spec.pairs:
        for task in plan.spec.tasks:
            needed = dict.fromkeys((pair.before, pair.after, *pair.judged))
            lacking = [problems[model, task.name] for model in needed if (model, task.name) in problems]
            if lacking:
                missing[pair.name, task.name] = "; ".join(lacking)
                continue
            before, after = sides[pair.before, task.name], sides[pair.after, task.name]
            rule = plan.spec.select.correct
            judged = {name: sides[name, task.name].answers for name in pair.judged}
            selected = selected_examples([*judged.values()], rule)
            dataset, other = plan.datasets[task.name], None
            if pair.prompts == "halves":
                selected, other = halves(selected, dataset, task_seed(plan.spec.seed, task.name))
            found[pair.name, task.name] = Sample(
                pair=pair,
                task=task,
                dataset=dataset,
                graph=graphs[pair.before],
                before=before,
                after=after,
                selected=selected,
                spec_seed=plan.spec.seed,
                rule=rule,
                by=judgement(plan.spec, dataset),
                selected_after=other,
                answered={name: int(one.correct.sum()) for name, one in judged.items()} if pair.along else {},
                reading=reading,
                by_template=plan.spec.statistics.units.template == "random",
            )
    return Samples(found, missing)


def _read_side(folder: RunFolder, cells: Sequence[Cell], dataset: Dataset, by: Judgement) -> Side:
    files = [folder.cell_file(cell.key) for cell in cells]
    answers = read_answers(folder, cells, dataset, by)
    roles = tuple(folder.describe(cells[0].key)["roles"])
    by_role = EdgeScoreStore(files, "by_role") if roles else None
    return Side(cells[0].model, EdgeScoreStore(files), answers, by_role, roles)


def read_results(
    plan: Plan, folder: RunFolder, failures: Mapping[str, str], sample: Sample, intervention: str
) -> dict[str, Stored | str]:
    """What an intervention left of each side of a pair, or why it failed."""
    found: dict[str, Stored | str] = {}
    own = (intervention, sample.pair.name)
    weights = [cell for cell in plan.cells if cell.of_weights and (cell.intervention, cell.pair) == own]
    parts = dict.fromkeys(cell.part for cell in plan.cells if cell.intervention == intervention and cell.part)
    for name, side in sample.sides:
        asked = (intervention, side.model, sample.task.name)
        cells = plan.cells_of(*asked, budget=sample.reading.budget)
        circuits = plan.cells_of(*asked, budget=sample.reading.budget, pair=sample.pair.name)
        cells += [cell for cell in circuits if cell.side == name]
        cells = weights or cells
        joint = {part: plan.cells_of(*asked, budget=sample.reading.budget, part=part) for part in parts}
        every = (*cells, *(cell for part in joint.values() for cell in part))
        failed = [f"failed: {failures[cell.key]}" for cell in every if cell.key in failures]
        found[name] = failed[0] if failed else _with_joint(read_stored(folder, cells), folder, joint)
    return found


def _with_joint(single: Stored, folder: RunFolder, joint: Mapping[str, Sequence[Cell]]) -> Stored:
    """What an intervention left with its further parts: a tensor for each part, and what its rows are.

    The description then says which are the `strongest_` of the part, and the `members_` of each row, by number.
    """
    description, tensors = dict(single.description), dict(single.tensors)
    for part, cells in joint.items():
        if cells:
            both = read_stored(folder, cells)
            tensors[part] = both.tensors["metric"]
            description |= {f"{name}_{part}": both.description[name] for name in ("strongest", "members")}
    return Stored(description, tensors)


def task_weights(sample: Sample, replicates: int, *, all_examples: bool = False) -> npt.NDArray[np.int64]:
    """How often each selected example is drawn in each bootstrap replicate, [replicates, n] (all: [replicates, total]).

    Drawn for all examples of the task, or for all of its templates where these are random, so that pairs that share
    examples have paired replicates. Of the selected ones, each is drawn once in a replicate that would have none.
    """
    if sample.by_template:
        weights = cluster_weights(sample.templates, replicates, seed=sample.seed)
    else:
        weights = resampling_weights(sample.total, replicates, seed=sample.seed)
    return weights if all_examples else drawn_at_all(weights[:, sample.selected])
