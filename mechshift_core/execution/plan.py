"""What a spec asks for, as cells: (model, task, intervention, shard), each named by the content it depends on.

A cell's hash covers the weights, how the model is read, the tokens of its examples and the intervention. A changed
hypothesis or statistic touches no cell; a changed prompt only its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechshift_core.errors import ExecutionError
from mechshift_core.files import write_text
from mechshift_core.graph import Shape
from mechshift_core.spec.interventions import EdgeAttribution
from mechshift_core.spec.problems import Problem, SpecError
from mechshift_core.spec.schema import ModelSpec, Spec, TaskSpec
from mechshift_core.tasks import TASKS
from mechshift_core.tasks.counterfactual import Dataset, generated_dataset
from mechshift_core.tasks.custom import custom_dataset

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CELL_FORMAT = 1
SHARD = 100


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A declared model and the checkpoint behind it.

    Attributes:
        weights: Hash of the checkpoint's configuration and weights.
        tokenizer: Hash of the tokenizer's files; empty where there is none.
        vocabulary: Number of token ids.
    """

    name: str
    declared: ModelSpec
    folder: Path
    weights: str
    tokenizer: str
    vocabulary: int
    context: int | None
    shape: Shape


@dataclass(frozen=True, slots=True)
class Cell:
    """One unit of execution: examples `start` to `stop` of a task on one model under one intervention."""

    model: str
    task: str
    intervention: str
    start: int
    stop: int
    key: str


@dataclass(frozen=True)
class Plan:
    """Models, data sets and cells of a spec.

    Attributes:
        dataset_keys: Task -> hash of all that its data set is made from, text and templates included.
    """

    spec: Spec
    models: Mapping[str, ModelFacts]
    datasets: Mapping[str, Dataset]
    dataset_keys: Mapping[str, str]
    cells: tuple[Cell, ...]

    def cells_of(self, model: str, task: str) -> list[Cell]:
        """The cells of one model and task in the order of their examples."""
        return sorted((c for c in self.cells if (c.model, c.task) == (model, task)), key=lambda c: c.start)


def make_plan(spec: Spec, *, store: Path | None = None) -> Plan:
    """Resolve models, tokenise every task and name the cells: every check that needs no model in memory.

    Args:
        spec: A validated spec.
        store: Folder in which tokenised data sets are kept, to be read again; None keeps nothing.

    Raises:
        SpecError: for a checkpoint, tokenizer or data set that can't be used, or too few aligned prompts.
    """
    try:
        return _plan(spec, store)
    except ExecutionError as error:
        raise SpecError([Problem(str(spec.path or spec.name), 0, 0, str(error))]) from error


def _plan(spec: Spec, store: Path | None) -> Plan:
    used = [name for name in spec.models if any(name in (pair.before, pair.after) for pair in spec.pairs)]
    models = {name: model_facts(spec, name) for name in used}
    _check_tokenizers(list(models.values()))
    _check_shapes(spec, models)
    first = next(iter(models.values()))
    keys = {task.name: _dataset_key(spec, task, first) for task in spec.tasks}
    datasets = {task.name: _dataset(spec, task, first, _dataset_file(store, task.name, keys)) for task in spec.tasks}
    for dataset in datasets.values():
        _check_context(dataset, list(models.values()))
    cells = [
        cell
        for model in models.values()
        for task in spec.tasks
        for intervention in spec.interventions
        if isinstance(intervention, EdgeAttribution)
        for cell in _cells(model, datasets[task.name], intervention)
    ]
    return Plan(spec, models, datasets, keys, tuple(cells))


def save_plan(plan: Plan) -> str:
    """The plan as JSON text; with the data sets that :func:`make_plan` stored, a run is analysed without its inputs."""
    models = {
        name: {**asdict(facts), "declared": facts.declared.model_dump(mode="json"), "folder": str(facts.folder)}
        for name, facts in plan.models.items()
    }
    content = {"models": models, "dataset_keys": plan.dataset_keys, "cells": [asdict(cell) for cell in plan.cells]}
    return json.dumps(content, indent=2) + "\n"


def load_plan(spec: Spec, text: str, *, store: Path) -> Plan:
    """Read what :func:`save_plan` wrote, and the data sets from `store`.

    Raises:
        ExecutionError: if the plan or a data set of it is missing or damaged.
    """
    try:
        content = json.loads(text)
        models = {
            name: ModelFacts(
                **{
                    **facts,
                    "declared": ModelSpec.model_validate(facts["declared"]),
                    "folder": Path(facts["folder"]),
                    "shape": Shape(**facts["shape"]),
                }
            )
            for name, facts in content["models"].items()
        }
        keys = content["dataset_keys"]
        files = {name: _dataset_file(store, name, keys) for name in keys}
        datasets = {name: Dataset.from_json(path.read_text(encoding="utf-8")) for name, path in files.items() if path}
        return Plan(spec, models, datasets, keys, tuple(Cell(**cell) for cell in content["cells"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExecutionError(f"{store.parent} holds no complete run ({error}); run the spec again") from error


def model_facts(spec: Spec, name: str) -> ModelFacts:
    """Find a declared model's checkpoint and hash it."""
    from mechshift_core.models import sources

    declared = spec.models[name]
    folder = sources.resolve_source(
        declared.source if declared.origin == "bundled" else str(spec.resolve(declared.location)),
    )
    tokenizer = folder if declared.tokenizer is None else spec.resolve(declared.tokenizer)
    return ModelFacts(
        name,
        declared,
        folder,
        sources.weights_hash(folder),
        sources.tokenizer_hash(tokenizer),
        sources.vocabulary(folder),
        sources.context_length(folder),
        sources.graph_shape(sources.read_config(folder), source=folder),
    )


def load_facts_tokenizer(spec: Spec, facts: ModelFacts) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a declared model, None if it has none."""
    from mechshift_core.models.load import load_tokenizer

    given = facts.declared.tokenizer
    return load_tokenizer(facts.folder if given is None else spec.resolve(given))


def _check_tokenizers(models: list[ModelFacts]) -> None:
    first = models[0]
    for other in models[1:]:
        if other.tokenizer != first.tokenizer:
            raise ExecutionError(
                f"models {first.name!r} ({first.folder}) and {other.name!r} ({other.folder}) have different "
                "tokenizers; circuits can be compared only on the same tokens (`tokenizer:` gives a model another one)"
            )


def _check_shapes(spec: Spec, models: Mapping[str, ModelFacts]) -> None:
    for pair in spec.pairs:
        before, after = models[pair.before], models[pair.after]
        if before.shape != after.shape:
            raise ExecutionError(
                f"pair {pair.name!r}: {before.name!r} and {after.name!r} have different graphs ({before.shape} and "
                f"{after.shape}); their circuits can't be compared edge by edge"
            )


def _check_context(dataset: Dataset, models: list[ModelFacts]) -> None:
    longest = max(len(example.clean_ids) + example.masks for example in dataset.examples)
    for model in models:
        if model.context is not None and longest > model.context:
            raise ExecutionError(
                f"task {dataset.task!r} has a prompt of {longest} tokens, but model {model.name!r} "
                f"reads {model.context}"
            )


def _dataset_key(spec: Spec, task: TaskSpec, facts: ModelFacts) -> str:
    seed = spec.seed if task.seed is None else task.seed
    content = [_source_digest(), task.model_dump(mode="json"), seed, facts.tokenizer, facts.vocabulary]
    return _hash([*content, _bytes(spec, task)])


def _dataset_file(store: Path | None, task: str, keys: Mapping[str, str]) -> Path | None:
    return None if store is None else store / f"{task}-{keys[task][:16]}.json"


def _dataset(spec: Spec, task: TaskSpec, facts: ModelFacts, file: Path | None) -> Dataset:
    """The stored data set, or a new one (also in place of a damaged file), which is stored."""
    if file is not None:
        try:
            return Dataset.from_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            pass
    dataset = _new_dataset(spec, task, facts)
    if file is not None:
        write_text(file, dataset.to_json())
    return dataset


def _new_dataset(spec: Spec, task: TaskSpec, facts: ModelFacts) -> Dataset:
    tokenizer = load_facts_tokenizer(spec, facts)
    if task.dataset is not None:
        return custom_dataset(
            task.name, spec.resolve(task.dataset), tokenizer, examples=task.examples, vocabulary=facts.vocabulary
        )
    if tokenizer is None:
        raise ExecutionError(f"task {task.name!r} is text, but model {facts.name!r} has no tokenizer")
    seed = spec.seed if task.seed is None else task.seed
    return generated_dataset(TASKS[task.name], tokenizer, examples=task.examples, seed=seed)


def _bytes(spec: Spec, task: TaskSpec) -> str:
    if task.dataset is None:
        return ""
    try:
        return hashlib.sha256(spec.resolve(task.dataset).read_bytes()).hexdigest()
    except OSError as error:
        raise ExecutionError(f"dataset {task.dataset} cannot be read: {error.strerror}") from error


def _source_digest() -> str:
    """Hash of the code that makes data sets, so that a new version of a task makes them anew."""
    folder = Path(__file__).parent.parent / "tasks"
    return _hash([path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))])


def _cells(model: ModelFacts, dataset: Dataset, intervention: EdgeAttribution) -> list[Cell]:
    settings: dict[str, Any] = intervention.model_dump(mode="json", exclude={"name"})
    if intervention.method != "eap-ig":
        settings = {"kind": settings["kind"], "method": settings["method"]}
    # The tokenizer decides which token is the mask, unless the spec names it.
    read = [model.declared.model_dump(mode="json", include={"paradigm", "mask_token", "shifted"}), model.tokenizer]
    cells = []
    for start in range(0, len(dataset.examples), SHARD):
        stop = min(start + SHARD, len(dataset.examples))
        content = [CELL_FORMAT, model.weights, read, dataset.digest(slice(start, stop)), settings, "float32"]
        cells.append(Cell(model.name, dataset.task, intervention.name, start, stop, _hash(content)[:32]))
    return cells


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def describe_cell(plan: Plan, cell: Cell) -> dict[str, Any]:
    """What a cell is, for the file beside its tensors."""
    facts = plan.models[cell.model]
    return {
        **asdict(cell),
        "weights": facts.weights,
        "source": facts.declared.source,
        "examples_sha256": plan.datasets[cell.task].digest(slice(cell.start, cell.stop)),
    }
