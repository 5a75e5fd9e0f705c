"""Cells: what is computed and stored as one, each named by the content that it depends on.

Attributions and patched components are cells of up to a shard's examples. Circuits are evaluated in a second stage,
one cell a pair, side and task: these depend on the attributions of both models of the pair.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mechshift_core.execution.batches import known_states, role_names
from mechshift_core.execution.lengths import length_of
from mechshift_core.execution.reading import Reading, left_to_right, readings
from mechshift_core.kinds import INTERVENTIONS, Intervention
from mechshift_core.models.declared import ARCHITECTURES
from mechshift_core.models.sources import read_config
from mechshift_core.spec.pairs import PairSpec
from mechshift_core.spec.placed import PlacedError, place_of, placed
from mechshift_core.spec.schema import Spec
from mechshift_core.tasks.counterfactual import Dataset, Example

if TYPE_CHECKING:
    from mechshift_core.execution.facts import ModelFacts

CELL_FORMAT = 3
"""Part of every cell's hash: another number makes all cells anew."""
SELECTED = "scores other than 0"
"""What edges and components are selected among, in the hash of cells that select."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One unit of execution: examples `start` to `stop` of a task on one model under one intervention.

    Attributes:
        pair: The pair that a circuit is evaluated for, and `side`, before or after; None for what needs no pair.
        needs: Keys of the cells that must be there first.
        budget: Inference budget, see :mod:`.reading`.
        part: Which part of the intervention it is of, where it has several; empty for the first.
    """

    model: str
    task: str
    intervention: str
    start: int
    stop: int
    key: str
    pair: str | None = None
    side: str | None = None
    needs: tuple[str, ...] = ()
    budget: str = "per_token"
    part: str = ""

    @property
    def of_weights(self) -> bool:
        """Whether it is of the weights of a pair, without any examples."""
        return self.stop == self.start and self.pair is not None

    @property
    def what(self) -> str:
        """What is computed of what, in a few words."""
        if self.of_weights:
            return f"{self.intervention} of pair {self.pair}"
        return f"{self.intervention} {self.part}".strip() + f" of {self.model} on {self.task}"

    def __str__(self) -> str:
        what = self.what
        if self.of_weights:
            return what
        if self.budget != "per_token":
            what = f"{what} ({self.budget} steps)" if self.budget.isdigit() else f"{what} ({self.budget})"
        return f"{what}, examples {self.start}-{self.stop}" if self.pair is None else f"{what}, pair {self.pair}"


def content_hash(content: object) -> str:
    """SHA-256 of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def name_cells(
    spec: Spec, models: Mapping[str, ModelFacts], datasets: Mapping[str, Dataset], *, shard: int
) -> tuple[Cell, ...]:
    """All cells of a spec; those that others need come first.

    Args:
        spec: The spec.
        models: Its models that pairs use.
        datasets: Its data sets.
        shard: Most examples of a cell.

    Raises:
        ExecutionError: if scores by token role are asked for and a data set has no roles, or if an ablation takes
            values from other prompts of a length that only one prompt has.
    """
    for task in spec.tasks:
        _check_lengths(spec, datasets[task.name], {_diffusion(model) for model in models.values()})
    first = [
        cell
        for model in models.values()
        for task in spec.tasks
        for reading in readings(spec.denoising)
        for intervention in spec.interventions
        if not (INTERVENTIONS[intervention.kind].cells.per_pair or INTERVENTIONS[intervention.kind].cells.weights)
        for cell in _shards(spec, model, datasets[task.name].begun(model.begin), reading, intervention, shard)
    ]
    attributed: dict[tuple[str, str, str, str], list[str]] = {}
    for cell in first:
        attributed.setdefault((cell.intervention, cell.model, cell.task, cell.budget), []).append(cell.key)
    second = [
        cell
        for intervention in spec.interventions
        if INTERVENTIONS[intervention.kind].cells.per_pair
        for pair in spec.every_pair
        if not pair.unrelated or INTERVENTIONS[intervention.kind].of_unrelated
        for task in spec.tasks
        for reading in readings(spec.denoising)
        for cell in _circuits(spec, models, pair, datasets[task.name], reading, intervention, attributed)
    ]
    joint = [cell for one in spec.interventions for cell in _parts(spec, one, first, attributed)]
    weights = [
        _weights(spec, models, pair, intervention)
        for intervention in spec.interventions
        if INTERVENTIONS[intervention.kind].cells.weights
        for pair in spec.every_pair
        if not pair.unrelated
    ]
    return (*first, *joint, *second, *weights)


def _weights(spec: Spec, models: Mapping[str, ModelFacts], pair: PairSpec, intervention: Intervention) -> Cell:
    """The cell of a pair's weights; the task and the budget that it is filed under are the first of the spec."""
    kind = INTERVENTIONS[intervention.kind]
    read = [_read(models[name]) for name in (pair.before, pair.after)]
    settings = kind.cells.settings(intervention, spec)
    key = content_hash([CELL_FORMAT, "weights", *read, settings, *INTERVENTIONS.marks(intervention.kind)])[:32]
    return Cell(
        model=pair.before,
        task=spec.tasks[0].name,
        intervention=intervention.name,
        start=0,
        stop=0,
        key=key,
        pair=pair.name,
        budget=readings(spec.denoising)[0].budget,
    )


def _parts(
    spec: Spec,
    intervention: Intervention,
    singles: Sequence[Cell],
    attributed: Mapping[tuple[str, str, str, str], list[str]],
) -> Iterator[Cell]:
    """Cells of further parts: one for each of the first ones, all of which of a model and task it needs.

    Where attributions rank the components, it needs those of the model and task too.
    """
    cells = INTERVENTIONS[intervention.kind].cells
    parts = cells.parts(intervention, spec)
    needed: dict[tuple[str, str, str], list[str]] = {}
    own = [cell for cell in singles if cell.intervention == intervention.name]
    for cell in own:
        needed.setdefault((cell.model, cell.task, cell.budget), []).append(cell.key)
    for part, settings in parts.items():
        for cell in own:
            keys = list(needed[cell.model, cell.task, cell.budget])
            if cells.parts_ranked(intervention) and spec.edge_attribution is not None:
                keys += attributed[spec.edge_attribution.name, cell.model, cell.task, cell.budget]
            needs = tuple(dict.fromkeys(keys))
            drawn = _drawn(spec, cell.task) if cells.draws(intervention, part) else []
            key = content_hash([CELL_FORMAT, cell.key, needs, part, *settings, *drawn])[:32]
            yield replace(cell, key=key, needs=needs, part=part)


def _check_lengths(spec: Spec, dataset: Dataset, paradigms: set[bool]) -> None:
    """Whether every prompt has another of its length, in as many states (for `diffusion` models or not)."""

    def prompts_alone(reading: Reading, *, diffusion: bool) -> int:
        counts = Counter(
            (length_of(example, diffusion=diffusion), state)
            for example in dataset.examples
            for state in range(len(known_states(example, reading, diffusion=diffusion)))
        )
        return len({length for (length, _), count in counts.items() if count == 1})

    alone = max(prompts_alone(reading, diffusion=kind) for reading in readings(spec.denoising) for kind in paradigms)
    for intervention in spec.interventions:
        ablation = intervention.replaces_by
        if intervention.mixes_prompts:
            _check_parts(spec, dataset, intervention)
        if alone and intervention.mixes_prompts:
            raise PlacedError(
                f"task {dataset.task!r}: {alone} of {len(dataset.examples)} prompts have a length that no other has, "
                f"so the ablation {ablation!r} of {intervention.name!r} has nothing to put in place of their values; "
                "use `counterfactual` or `zero`, or prompts of fewer lengths",
                *place_of(spec, "interventions", intervention.name),
                "ablation",
            )


def _check_parts(spec: Spec, dataset: Dataset, intervention: Intervention) -> None:
    """Whether all prompts have a state at every budget, so that values of other prompts are of the same steps."""
    for reading in readings(spec.denoising):
        lacking = sum(not reading.holds(left_to_right(one, reading)[0][0], one) for one in dataset.examples)
        if lacking:
            raise PlacedError(
                f"task {dataset.task!r}: {lacking} of {len(dataset.examples)} prompts have no state at "
                f"{reading.budget!r}, so the ablation {intervention.replaces_by!r} of {intervention.name!r} would take "
                "values from other steps; use `counterfactual` or `zero`, or a budget that all prompts have",
                *place_of(spec, "interventions", intervention.name),
                "ablation",
            )


def _shards(
    spec: Spec,
    model: ModelFacts,
    dataset: Dataset,
    reading: Reading,
    intervention: Intervention,
    shard: int,
) -> Iterator[Cell]:
    settings = _settings(spec, model, dataset, reading, intervention)
    for start in range(0, len(dataset.examples), shard):
        stop = min(start + shard, len(dataset.examples))
        states = _states(model, dataset.examples[start:stop], reading)
        content = [CELL_FORMAT, *_read(model), dataset.digest(slice(start, stop)), states, settings]
        content += INTERVENTIONS.marks(intervention.kind)
        if intervention.roles_key is not None:
            content.append(dataset.role_digest(slice(start, stop)))
        if intervention.mixes_prompts:
            # replaced by what other examples have
            content += [start, dataset.digest(), _states(model, dataset.examples, reading)]
        if INTERVENTIONS[intervention.kind].cells.draws(intervention, ""):
            content += _drawn(spec, dataset.task)
        key = content_hash(content)[:32]
        yield Cell(model.name, dataset.task, intervention.name, start, stop, key, budget=reading.budget)


def _settings(
    spec: Spec,
    model: ModelFacts,
    dataset: Dataset,
    reading: Reading,
    intervention: Intervention,
) -> dict[str, Any]:
    settings = {**INTERVENTIONS[intervention.kind].cells.settings(intervention, spec)}
    if intervention.roles_key is not None:
        with placed(*place_of(spec, "interventions", intervention.name), intervention.roles_key):
            settings["roles"] = role_names(dataset, reading, diffusion=_diffusion(model))
    return settings


def _circuits(
    spec: Spec,
    models: Mapping[str, ModelFacts],
    pair: PairSpec,
    dataset: Dataset,
    reading: Reading,
    intervention: Intervention,
    attributed: Mapping[tuple[str, str, str, str], list[str]],
) -> Iterator[Cell]:
    """One cell for each side of a pair."""
    cells = INTERVENTIONS[intervention.kind].cells
    assert spec.edge_attribution is not None  # a spec without one is refused
    templates = [example.template for example in dataset.examples] if cells.templates(intervention) else []
    of = cells.of(intervention) or spec.edge_attribution.name
    keys = {
        name: attributed[of, name, dataset.task, reading.budget] for name in (pair.before, pair.after, *pair.judged)
    }
    judging = [key for name in pair.judged for key in keys[name]] if pair.along else []
    for side, name, partner in (("before", pair.before, pair.after), ("after", pair.after, pair.before)):
        settings = {k: v for k, v in _settings(spec, models[name], dataset, reading, intervention).items() if k != "of"}
        roles = [] if intervention.roles_key is None else [dataset.role_digest()]
        states = _states(models[name], dataset.examples, reading)
        first, second = (pair.before, pair.after) if cells.both else (name, partner)
        own = _read_alike(models[name], states) if cells.both else _read(models[name])
        content = [
            CELL_FORMAT, *own, dataset.begun(models[name].begin).digest(), settings, templates,
            keys[first], keys[second], _selection(spec, dataset), spec.seed, dataset.task, states,
            pair.prompts, *cells.labels(dataset), *roles, *([SELECTED] if cells.ranks else []),
            *INTERVENTIONS.marks(intervention.kind), *([side] if _sided(spec, pair) else []),
            *([judging] if judging else []),
        ]  # fmt: skip
        yield Cell(
            model=name,
            task=dataset.task,
            intervention=intervention.name,
            start=0,
            stop=len(dataset.examples),
            key=content_hash(content)[:32],
            pair=pair.name,
            side=side,
            needs=tuple(dict.fromkeys([*keys[name], *keys[partner], *judging])),
            budget=reading.budget,
        )


def _sided(spec: Spec, pair: PairSpec) -> bool:
    """Whether examples are selected otherwise for the model before than for the model after, or by the one alone."""
    return pair.prompts == "halves" or spec.select.correct == "before"


def _drawn(spec: Spec, task: str) -> list[object]:
    """What random draws on a task come from."""
    return [spec.seed, task]


def _selection(spec: Spec, dataset: Dataset) -> list[object]:
    """What decides which examples are selected, beside the answers."""
    rule = spec.select.correct
    return [rule] if rule == "none" else [rule, spec.select.by or dataset.judged_by]


def _states(model: ModelFacts, examples: Sequence[Example], reading: Reading) -> list[object]:
    """What decides in which states examples are read; budgets that come to the same states share their cells."""
    known = [[state for state, _ in known_states(one, reading, diffusion=_diffusion(model))] for one in examples]
    single = all(one.revealed + one.masks == 1 for one in examples)
    if reading.order == "confidence" and _diffusion(model) and not single:  # the model decides
        part = [] if reading.part is None else [reading.part.model_dump(mode="json")]
        return [reading.order, reading.steps, *part]
    left_out = [
        n for n, (one, states) in enumerate(zip(examples, known, strict=True)) if not reading.holds(states[0], one)
    ]
    return [known, left_out] if left_out else [known]


def _diffusion(model: ModelFacts) -> bool:
    return model.declared.paradigm == "masked_diffusion"


def _read(model: ModelFacts) -> list[object]:
    """A model's weights and how it is read; the tokenizer decides which token is the mask, unless the spec names it."""
    read = model.declared.model_dump(mode="json", include={"paradigm", "mask_token", "shifted"})
    return [model.weights, read, model.tokenizer, model.dtype, *_declared(model)]


def _read_alike(model: ModelFacts, states: list[object]) -> list[object]:
    """How a model is read, without its weights unless these decide in which states."""
    weights, *read = _read(model)
    return [*read, weights] if states[0] == "confidence" else read


def _declared(model: ModelFacts) -> list[object]:
    """Where the model's architecture is declared; nothing for those of this package."""
    if not any(map(ARCHITECTURES.marks, ARCHITECTURES)):
        return []
    return [*ARCHITECTURES.marks(str(read_config(model.folder).get("model_type")))]
