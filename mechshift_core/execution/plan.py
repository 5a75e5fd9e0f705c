"""What a spec asks for: its models, its data sets, and the cells to compute.

A cell's hash covers the weights, how the model is read, the tokens of its examples and the intervention. A changed
hypothesis or statistic touches no cell; a changed prompt only its own (and the circuits that its scores select).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.cells import Cell, content_hash, name_cells
from mechshift_core.execution.data_files import LocatedFile, locate_data
from mechshift_core.execution.facts import (
    ModelFacts,
    hole_of,
    load_facts_tokenizer,
    model_facts,
    with_beginning,
)
from mechshift_core.execution.graph_checks import check_graphs
from mechshift_core.execution.plan_checks import check_models, check_prompts
from mechshift_core.execution.prompts import check_pooled
from mechshift_core.execution.reading import Reading, readings
from mechshift_core.files import write_text
from mechshift_core.graph import Shape
from mechshift_core.kinds.extensions import activate
from mechshift_core.models.hub import NotHadError
from mechshift_core.spec.models import ModelSpec
from mechshift_core.spec.placed import PlacedError, UnavailableError, place_of, placed, problems_of
from mechshift_core.spec.problems import SpecError
from mechshift_core.spec.schema import Spec
from mechshift_core.spec.sensitivity import Choice, choices
from mechshift_core.spec.tasks import GENERATED, TaskSpec
from mechshift_core.spec.translate import Complaint
from mechshift_core.tasks import TASKS
from mechshift_core.tasks.banks import in_words
from mechshift_core.tasks.blanks import asking
from mechshift_core.tasks.counterfactual import Dataset, generated_dataset
from mechshift_core.tasks.custom import NothingAlignedError, custom_dataset
from mechshift_core.tasks.encoding import Encoder

if TYPE_CHECKING:
    from mechshift_core.models import Model

SHARD = 100


@dataclass(frozen=True)
class Plan:
    """Models, data sets and cells of a spec.

    Attributes:
        dataset_keys: Task -> hash of all that its data set is made from, text and templates included.
        alternatives: The other choices that the spec names, each with the plan under it; they share cells with the
            study's own.
    """

    spec: Spec
    models: Mapping[str, ModelFacts]
    datasets: Mapping[str, Dataset]
    dataset_keys: Mapping[str, str]
    cells: tuple[Cell, ...]
    alternatives: tuple[tuple[Choice, Plan], ...] = ()

    @property
    def every_plan(self) -> tuple[Plan, ...]:
        """This plan and those of the alternatives that have cells of their own."""
        return (self, *(plan for choice, plan in self.alternatives if choice.new_runs))

    @property
    def every_cell(self) -> tuple[tuple[Plan, Cell], ...]:
        """The cells of all of them with the plan that they belong to; what the study has anyway is not repeated."""
        found = [(self, cell) for cell in self.cells]
        keys = {cell.key for cell in self.cells}
        for plan in self.every_plan[1:]:
            found += [(plan, cell) for cell in plan.cells if cell.key not in keys]
            keys |= {cell.key for cell in plan.cells}
        return tuple(found)

    def dataset(self, model: str, task: str) -> Dataset:
        """The examples of a task as a model reads them; models differ only in how they begin a text."""
        return self.datasets[task].begun(self.models[model].begin)

    def cells_of(
        self, intervention: str, model: str, task: str, *, budget: str, pair: str | None = None, part: str = ""
    ) -> list[Cell]:
        """The cells of an intervention on one model and task, read at one budget, in the order of their examples."""
        wanted = (intervention, model, task, budget, pair, part)
        found = (c for c in self.cells if (c.intervention, c.model, c.task, c.budget, c.pair, c.part) == wanted)
        return sorted(found, key=lambda c: c.start)

    @property
    def budgets(self) -> tuple[str, ...]:
        """The inference budgets; hypotheses are decided at the first."""
        return self.spec.denoising.budgets

    def partner(self, cell: Cell) -> str:
        """The model that the model of a cell has a pair with."""
        pair = self.spec.pair(cell.pair)
        return pair.after if cell.side == "before" else pair.before

    def reading(self, budget: str) -> Reading:
        """How answers are read at one of the budgets."""
        return next(reading for reading in readings(self.spec.denoising) if reading.budget == budget)


def make_plan(spec: Spec, *, store: Path | None = None, headers_only: bool = False) -> Plan:
    """Resolve models, tokenise every task and name the cells: every check that needs no model in memory.

    Args:
        spec: A validated spec.
        store: Folder in which tokenised data sets are kept, to be read again; None keeps nothing.
        headers_only: Neither fetch nor hash weights: all checks are made, but the cells have no final names.

    Raises:
        UnavailableError: if all that is wrong is that models or data sets of the Hub can't be had here.
        SpecError: for a checkpoint, tokenizer or data set that can't be used, or too few aligned prompts.
    """
    activate(spec.loaded_extensions)
    try:
        models = _models(spec, headers_only=headers_only)
        return _plan(spec, models, store)
    except PlacedError as error:
        raise SpecError(problems_of(spec, [error.complaint])) from error
    except ExecutionError as error:
        raise SpecError(problems_of(spec, [Complaint((), str(error))])) from error


def _models(spec: Spec, *, headers_only: bool) -> dict[str, ModelFacts]:
    """The models that pairs use; everything that is wrong with any of them, or with their graphs, at once."""
    compared = {name for pair in spec.every_pair for name in (pair.before, pair.after)}
    used = [name for name in spec.models if name in compared]
    models: dict[str, ModelFacts] = {}
    wrong: list[Complaint] = []
    lacking: list[Complaint] = []
    for name in used:
        try:
            models[name] = model_facts(spec, name, headers_only=headers_only)
        except PlacedError as error:
            wrong.append(error.complaint)
        except NotHadError as error:
            message = f"{error} (not checked: its graph and tokenizer, and the prompts)"
            lacking.append(Complaint(("models", name, "source"), message))
    if models:
        wrong += check_graphs(spec, models)
    if wrong:
        raise SpecError(problems_of(spec, [*wrong, *lacking]))
    if lacking:
        raise UnavailableError(problems_of(spec, lacking))
    return models


def _plan(spec: Spec, models: dict[str, ModelFacts], store: Path | None) -> Plan:
    check_models(spec, models)
    models, readers = _readers(models)
    keys: dict[str, str] = {}
    datasets: dict[str, Dataset] = {}
    for task in spec.tasks:
        with placed(*place_of(spec, "tasks", task.name), "name" if task.dataset is None else "dataset"):
            located = _located(spec, task)
            keys[task.name] = _dataset_key(spec, task, readers, located)
            datasets[task.name] = _dataset(spec, task, readers, located, _dataset_file(store, task.name, keys))
    check_prompts(spec, models, datasets)
    check_pooled(spec, datasets)
    plan = Plan(spec, models, datasets, keys, name_cells(spec, models, datasets, shard=SHARD))
    named = [
        name_cells(choice.spec, models, datasets, shard=SHARD) if choice.new_runs else plan.cells
        for choice in choices(spec)
    ]
    return _with_alternatives(plan, named)


def _with_alternatives(plan: Plan, cells: Iterable[tuple[Cell, ...]]) -> Plan:
    """A plan with those of the spec's other choices, given the cells of each."""
    under = tuple(
        (choice, replace(plan, spec=choice.spec, cells=own))
        for choice, own in zip(choices(plan.spec), cells, strict=True)
    )
    return replace(plan, alternatives=under)


def save_plan(plan: Plan) -> str:
    """The plan as JSON text; with the data sets that :func:`make_plan` stored, a run is analysed without its inputs."""
    models = {
        name: {
            **asdict(facts),
            "declared": facts.declared.model_dump(mode="json"),
            "folder": str(facts.folder.absolute()),
            "tokenizer_folder": str(facts.tokenizer_folder.absolute()),
            "adapters": [str(adapter.absolute()) for adapter in facts.adapters],
        }
        for name, facts in plan.models.items()
    }
    content = {
        "models": models,
        "dataset_keys": plan.dataset_keys,
        "cells": [asdict(cell) for cell in plan.cells],
        "alternatives": [
            [asdict(cell) for cell in other.cells] if choice.new_runs else None for choice, other in plan.alternatives
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def load_plan(spec: Spec, text: str, *, store: Path) -> Plan:
    """Read what :func:`save_plan` wrote, and the data sets from `store`; without the other choices of a refused spec.

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
                    "tokenizer_folder": Path(facts["tokenizer_folder"]),
                    "begin": tuple(facts["begin"]),
                    "adapters": tuple(map(Path, facts.get("adapters", ()))),
                    "shape": Shape(**facts["shape"]),
                }
            )
            for name, facts in content["models"].items()
        }
        keys = content["dataset_keys"]
        files = {name: _dataset_file(store, name, keys) for name in keys}
        datasets = {name: Dataset.from_json(path.read_text(encoding="utf-8")) for name, path in files.items() if path}
        plan = Plan(spec, models, datasets, keys, _read_cells(content["cells"]))
        if spec.refused:
            return plan
        others = [plan.cells if cells is None else _read_cells(cells) for cells in content["alternatives"]]
        return _with_alternatives(plan, others)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExecutionError(f"{store.parent} holds no complete run ({error}); run the spec again") from error


def saved_names(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Keys of all cells and names of all data files that a plan needs, alternatives too, from :func:`save_plan`'s text.

    Raises:
        ExecutionError: if the text is no plan.
    """
    try:
        content = json.loads(text)
        listed = [content["cells"], *(cells for cells in content["alternatives"] if cells is not None)]
        keys = content["dataset_keys"]
        files = [_dataset_file(Path(), name, keys) for name in keys]
        return frozenset(cell["key"] for cells in listed for cell in cells), frozenset(f.name for f in files if f)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExecutionError(f"no plan of a run ({error!r}); run the spec again") from error


def _read_cells(rows: Iterable[dict[str, Any]]) -> tuple[Cell, ...]:
    return tuple(Cell(**{**row, "needs": tuple(row["needs"])}) for row in rows)


@dataclass(frozen=True, slots=True)
class _Readers:
    """What data sets are made for: all models of a spec, which share their tokenizer.

    Attributes:
        first: The model whose beginning of a text the data sets have.
        encoder: How text becomes tokens; None where there is no tokenizer.
        holes: Mask tokens of masked diffusion models.
        vocabulary: Number of token ids that every model knows.
    """

    first: ModelFacts
    encoder: Encoder | None
    holes: frozenset[int]
    vocabulary: int


def _readers(models: Mapping[str, ModelFacts]) -> tuple[dict[str, ModelFacts], _Readers]:
    """The models with what goes before their prompts, and what data sets have to fit."""
    name, given = next((name, facts.declared.tokenizer) for name, facts in models.items())
    with placed("models", name, "source" if given is None else "tokenizer"):
        tokenizer = load_facts_tokenizer(models[name])
    begun = {}
    for name, facts in models.items():
        with placed("models", name, *([] if facts.declared.add_bos_token is None else ["add_bos_token"])):
            begun[name] = with_beginning(facts, tokenizer)
    found = (hole_of(facts, tokenizer) for facts in begun.values())
    holes = frozenset(token for token in found if token is not None)
    vocabulary, first = min(facts.vocabulary for facts in begun.values()), next(iter(begun.values()))
    encoder = None if tokenizer is None else Encoder(tokenizer, first.begin, holes, vocabulary)
    return begun, _Readers(first, encoder, holes, vocabulary)


def _located(spec: Spec, task: TaskSpec) -> LocatedFile | None:
    """The file of a task's data set.

    Raises:
        UnavailableError: if it is one of the Hub that can't be had here.
    """
    try:
        return locate_data(spec, task)
    except NotHadError as error:
        place = (*place_of(spec, "tasks", task.name), "dataset")
        raise UnavailableError(problems_of(spec, [Complaint(place, f"{error} (not checked: the prompts)")])) from error


def _dataset_key(spec: Spec, task: TaskSpec, readers: _Readers, located: LocatedFile | None) -> str:
    seed = spec.seed if task.seed is None else task.seed
    read = [readers.first.tokenizer, readers.first.begin, sorted(readers.holes), readers.vocabulary]
    marks = TASKS.marks(task.name) if task.dataset is None else []
    file = "" if located is None else asdict(located.file)
    return content_hash([_source_digest(), task.model_dump(mode="json"), seed, read, file, *marks])


def _dataset_file(store: Path | None, task: str, keys: Mapping[str, str]) -> Path | None:
    return None if store is None else store / f"{task}-{keys[task][:16]}.json"


def _dataset(spec: Spec, task: TaskSpec, readers: _Readers, located: LocatedFile | None, file: Path | None) -> Dataset:
    """The stored data set, or a new one (also in place of a damaged file), which is stored.

    Of one without an aligned pair the account is stored, for whoever wants to know which lines were dropped.
    """
    if file is not None:
        try:
            stored = Dataset.from_json(file.read_text(encoding="utf-8"))
            if stored.examples:
                return stored
        except (OSError, ValueError, KeyError, TypeError):
            pass
    try:
        dataset = _new_dataset(spec, task, readers, located)
    except NothingAlignedError as error:
        if file is not None:
            write_text(file, error.dataset.to_json())
        raise ExecutionError(str(error)) from error
    if file is not None:
        write_text(file, dataset.to_json())
    return dataset


def _new_dataset(spec: Spec, task: TaskSpec, readers: _Readers, located: LocatedFile | None) -> Dataset:
    dataset = _read_or_drawn(spec, task, readers, located)
    return dataset if task.metric is None else replace(dataset, metric=task.metric)


def _read_or_drawn(spec: Spec, task: TaskSpec, readers: _Readers, located: LocatedFile | None) -> Dataset:
    """The data set with the metric of its task."""
    seed = spec.seed if task.seed is None else task.seed
    if located is not None:
        read = custom_dataset(
            task.name,
            located.path,
            readers.encoder,
            examples=task.examples,
            seed=seed,
            vocabulary=readers.vocabulary,
            delimiter=task.target_delimiter,
            holes=readers.holes,
        )
        return replace(read, file=located.file)
    if readers.encoder is None:
        raise ExecutionError(f"task {task.name!r} is text, but model {readers.first.name!r} has no tokenizer")
    with placed(*place_of(spec, "tasks", task.name), "name" if task.words == "auto" else "words"):
        drawn = asking(in_words(TASKS[task.name], task.words, readers.encoder), task.ask)
    return generated_dataset(drawn, readers.encoder, examples=task.examples or GENERATED, seed=seed)


def _source_digest() -> str:
    """Hash of the code that makes data sets, so that a new version of a task makes them anew."""
    folder = Path(__file__).parent.parent / "tasks"
    return content_hash([path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))])


def describe_cell(plan: Plan, cell: Cell, model: Model) -> dict[str, Any]:
    """What a cell is, for the file beside its tensors."""
    facts = plan.models[cell.model]
    return {
        **asdict(cell),
        "weights": facts.weights,
        "source": facts.declared.source,
        "study": plan.spec.name,
        "examples_sha256": plan.dataset(cell.model, cell.task).digest(slice(cell.start, cell.stop)),
        "device": device_name(model),
        "attention": model.view.declaration.attention,
        "machine": {"node": platform.node(), "processor": platform.machine()},
    }


def device_name(model: Model) -> str:
    """What a model runs on, e.g. `cpu` or `cuda (NVIDIA H100)`."""
    import torch

    return f"cuda ({torch.cuda.get_device_name(model.device)})" if model.device.type == "cuda" else model.device.type
