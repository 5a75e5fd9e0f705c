"""What a schema cannot say: names that must be known, files that must be there, options that must agree.

Each check is a generator over a draft; `check` runs them all. Hypotheses have their own module, `estimable`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

from mechshift_core.kinds import INTERVENTIONS, MEASURES, attributes
from mechshift_core.kinds.section import SHARED
from mechshift_core.spec.draft import LISTS, Draft
from mechshift_core.spec.enough import check_draws
from mechshift_core.spec.estimable import check_hypotheses, check_units
from mechshift_core.spec.implemented import refusal
from mechshift_core.spec.models import ModelSpec
from mechshift_core.spec.problems import suggestion
from mechshift_core.spec.sensible import check_sensitivity
from mechshift_core.spec.tasks import PartOfSteps, TaskSpec
from mechshift_core.spec.translate import Complaint
from mechshift_core.spec.tree import Path

REPOSITORY = re.compile(r"hf:[\w.-]+/[\w.-]+", re.ASCII)
"""A repository of the Hub; whether it is there is seen when it is fetched."""
HUB_FILE = re.compile(r"hf:[\w.-]+/[\w.-]+(/(?!\.{1,2}(/|$))[^/\\\0]+)+")
"""A file in one."""
LINES = (".jsonl", ".json", ".ndjson", ".csv")
"""What such a file is called if it can be a data set."""


def check(draft: Draft) -> list[Complaint]:
    """Everything that is wrong with a draft beyond its schema."""
    return [complaint for one in CHECKS for complaint in one(draft)]


def _check_names(draft: Draft) -> Iterator[Complaint]:
    """Names are unique within their section."""
    for section in LISTS:
        key = "id" if section == "hypotheses" else "name"
        seen: set[str] = set()
        for position, entry in enumerate(getattr(draft.spec, section)):
            name = getattr(entry, key)
            if name in seen:
                yield Complaint(draft.path(section, position, key), f"duplicate {key} {name!r} in {section}")
            seen.add(name)


def _check_models(draft: Draft) -> Iterator[Complaint]:
    """Models can be found, and diffusion options belong to diffusion models."""
    for name, model in draft.spec.models.items():
        path: Path = ("models", name)
        yield from _refused("model source", model.origin, (*path, "source"))
        yield from _refused("dtype", model.dtype, (*path, "dtype"))
        for key, source in (("source", model.source), ("adapter", model.adapter), ("tokenizer", model.tokenizer)):
            if source is not None and source.startswith("hf:") and not REPOSITORY.fullmatch(source):
                yield Complaint((*path, key), f"expected hf:ORG/NAME, got {source!r}")
        if model.origin != "hf" and model.revision is not None:
            yield Complaint((*path, "revision"), "only a model from the Hub (hf:) has a revision", on_key=True)
        if model.paradigm == "autoregressive":
            for key in ("mask_token", "shifted"):
                if key in model.model_fields_set and getattr(model, key) is not None:
                    yield Complaint((*path, key), f"an autoregressive model has no {key!r}", on_key=True)
        if draft.check_files:
            yield from _source(draft, model, path)


def _source(draft: Draft, model: ModelSpec, path: Path) -> Iterator[Complaint]:
    if model.origin == "bundled":
        from mechshift_core import zoo
        from mechshift_core.zoo.fetching import FETCHED

        known = sorted({*zoo.bundled_models(), *FETCHED})
        if model.location not in known:
            hint = suggestion(model.location, known) or f" (bundled: {', '.join(known) or 'none'})"
            yield Complaint((*path, "source"), f"unknown bundled model {model.location!r}{hint}")
    elif model.origin == "local":
        yield from _model_folder(draft.folder, model.location, (*path, "source"), file="config.json")
    elif model.origin == "gguf":
        yield from _readable(draft.folder, model.location, (*path, "source"))
    if model.adapter is not None and not model.adapter.startswith("hf:"):
        yield from _model_folder(draft.folder, model.adapter, (*path, "adapter"), file="adapter_config.json")
    if model.tokenizer is not None and not model.tokenizer.startswith("hf:"):
        yield from _model_folder(draft.folder, model.tokenizer, (*path, "tokenizer"))


def _model_folder(base: FilePath, location: str, path: Path, *, file: str | None = None) -> Iterator[Complaint]:
    try:
        folder = base / FilePath(location).expanduser()
        if not folder.is_dir():
            yield Complaint(path, f"no such folder: {folder}")
        elif file is not None and not (folder / file).is_file():
            adapter = next(folder.glob("adapter_*"), None)  # as a PEFT adapter without its base model looks
            advice = "" if adapter is None else f", but {adapter.name}: give it as `adapter`, its base as the source"
            yield Complaint(path, f"no {file} in {folder}{advice}")
    except (OSError, ValueError, RuntimeError) as error:
        yield Complaint(path, f"not a usable path: {error}")


def _check_pairs(draft: Draft) -> Iterator[Complaint]:
    """Pairs refer to models of the spec."""
    known = draft.declared["models"]
    for position, pair in enumerate(draft.spec.pairs):
        for key in ("before", "after"):
            name = getattr(pair, key)
            if name not in known and (known or "models" not in draft.broken):
                hint = suggestion(name, known) or f" (models: {', '.join(known) or 'none'})"
                yield Complaint(draft.path("pairs", position, key), f"unknown model {name!r}{hint}")


def _check_trajectories(draft: Draft) -> Iterator[Complaint]:
    """Trajectories refer to models of the spec."""
    known = draft.declared["models"]
    for position, trajectory in enumerate(draft.spec.trajectories):
        for number, name in enumerate(trajectory.models):
            if name not in known and (known or "models" not in draft.broken):
                hint = suggestion(name, known) or f" (models: {', '.join(known) or 'none'})"
                yield Complaint(draft.path("trajectories", position, "models", number), f"unknown model {name!r}{hint}")


def _check_halves(draft: Draft) -> Iterator[Complaint]:
    """A model is compared with itself on halves of the prompts only."""
    for position, pair in enumerate(draft.spec.pairs):
        if pair.before == pair.after and pair.prompts == "same":
            message = f"{pair.after!r} is compared with itself on the same prompts; `prompts: halves` compares halves"
            yield Complaint(draft.path("pairs", position, "after"), message)


def _check_tasks(draft: Draft) -> Iterator[Complaint]:
    """Generated tasks are known, with the regime that they have, and drawn as they can be; data sets can be read."""
    from mechshift_core.tasks import TASKS

    for position, task in enumerate(draft.spec.tasks):
        path = draft.path("tasks", position)
        yield from _metric(draft, task, path)
        of_hub = task.dataset is not None and task.dataset.startswith("hf:")
        if task.revision is not None and not of_hub:
            yield Complaint((*path, "revision"), "only a data set of the Hub (hf:) has a revision", on_key=True)
        if task.dataset is not None:
            yield from _only_generated(task, path)
            if of_hub:
                yield from _file_of_hub(task.dataset, (*path, "dataset"))
            elif draft.check_files:
                yield from _readable(draft.folder, task.dataset, (*path, "dataset"))
        elif task.name in TASKS:
            yield from _regime(task, TASKS[task.name].regime, path)
            yield from _wording(draft, task, TASKS[task.name], path)
        else:
            hint = suggestion(task.name, TASKS) or f" (known: {', '.join(TASKS)}; or give a dataset)"
            yield Complaint((*path, "name"), f"unknown task {task.name!r}{hint}")


def _metric(draft: Draft, task: TaskSpec, path: Path) -> Iterator[Complaint]:
    """The metric is known, and says what is right where answers are judged by it."""
    from mechshift_core.metrics import METRICS, judges_nothing
    from mechshift_core.tasks import TASKS

    if task.metric is not None and task.metric not in METRICS:
        hint = suggestion(task.metric, METRICS) or f" (known: {', '.join(METRICS)})"
        yield Complaint((*path, "metric"), f"unknown metric {task.metric!r}{hint}")
        return
    registered = None if task.dataset is not None else TASKS.get(task.name)
    metric = task.metric or (None if registered is None else registered.metric)
    by = draft.spec.select.by or (None if registered is None else getattr(registered, "judged_by", None))
    if metric is not None and by == "metric" and not METRICS[metric].indifferent_at_zero:
        yield Complaint((*path, "name" if task.metric is None else "metric"), judges_nothing(task.name, metric))


def _file_of_hub(dataset: str, path: Path) -> Iterator[Complaint]:
    if not HUB_FILE.fullmatch(dataset):
        yield Complaint(path, f"expected hf:ORG/NAME/FILE, e.g. hf:ORG/NAME/data/pairs.jsonl, got {dataset!r}")
    elif not dataset.lower().endswith(LINES):
        what = f"expected a file of JSON Lines or CSV ({', '.join(LINES)}), got {dataset.rpartition('/')[2]!r}"
        yield Complaint(path, f"{what}; other formats are not read")


def _only_generated(task: TaskSpec, path: Path) -> Iterator[Complaint]:
    for key in ("words", "ask"):
        if key in task.model_fields_set:
            yield Complaint((*path, key), f"a data set has no {key!r}: it is read as it is written", on_key=True)


def _wording(draft: Draft, task: TaskSpec, registered: object, path: Path) -> Iterator[Complaint]:
    """Words and place of the question are chosen of tasks that have several, and all models see what is asked for."""
    from mechshift_core.tasks import TASKS
    from mechshift_core.tasks.banks import banks_of
    from mechshift_core.tasks.blanks import asks_of

    if task.words != "auto" and not banks_of(registered):
        yield Complaint(
            (*path, "words"), f"the task {task.name!r} has one bank of words; leave 'words' out", on_key=True
        )
    if task.ask == "afterwards":
        return
    if task.ask not in asks_of(registered):
        able = ", ".join(name for name, one in TASKS.items() if task.ask in asks_of(one))
        yield Complaint((*path, "ask"), f"the task {task.name!r} has no blank to ask at (tasks that have: {able})")
        return
    pairs = draft.spec.every_pair
    used = dict.fromkeys(name for pair in pairs for name in (pair.before, pair.after) if name in draft.spec.models)
    blind = [name for name in used if draft.spec.models[name].paradigm == "autoregressive"]
    if blind:
        message = (
            f"at_blank is for pairs of masked diffusion models: {blind[0]!r} is autoregressive and does not see what "
            "stands behind the blank; use ask: afterwards"
        )
        yield Complaint((*path, "ask"), message)


def _regime(task: TaskSpec, registered: str, path: Path) -> Iterator[Complaint]:
    if task.regime != registered:
        yield Complaint((*path, "regime"), f"the task {task.name!r} is {registered}, not {task.regime}")


def _readable(base: FilePath, location: str, path: Path) -> Iterator[Complaint]:
    try:
        file = base / FilePath(location).expanduser()
        if file.is_dir() or (file.exists() and not file.is_file()):
            yield Complaint(path, f"expected a file, got a folder or device: {file}")
            return
        with file.open("rb"):
            pass
    except FileNotFoundError:
        yield Complaint(path, f"no such file: {file}")
    except (OSError, ValueError, RuntimeError) as error:
        yield Complaint(path, f"cannot be read: {getattr(error, 'strerror', None) or error}")


def _check_interventions(draft: Draft) -> Iterator[Complaint]:
    """There is one that scores edges, none too many, and each kind finds its own in order."""
    seen: set[str] = set()
    for position, intervention in enumerate(draft.spec.interventions):
        path, kind = draft.path("interventions", position), INTERVENTIONS[intervention.kind]
        if kind.single and kind.name in seen:
            yield Complaint((*path, "kind"), kind.single)
        seen.add(kind.name)
        yield from _checked(path, kind.checks, draft, intervention, path)
    if not any(map(attributes, draft.spec.interventions)) and "interventions" not in draft.broken:
        names = " or ".join(kind.name for kind in INTERVENTIONS.values() if kind.attributes)
        message = f"expected an {names}: it also decides which examples a model answers correctly"
        yield Complaint(("interventions",), message, on_key=True)


def _checked(path: Path, checks: Callable[..., Iterator[Complaint]], *arguments: Any) -> Iterator[Complaint]:
    """What a kind finds wrong; that its check broke, where it does."""
    try:
        yield from checks(*arguments)
    except Exception as error:
        yield Complaint(path, f"the check of this kind broke: {type(error).__name__}: {error}", on_key=True)


def _check_measures(draft: Draft) -> Iterator[Complaint]:
    """Measures are not left empty (which could mean on or off), and each kind finds its own in order."""
    measures = draft.spec.measures
    for name in type(measures).model_fields:
        if name in measures.model_fields_set and getattr(measures, name) is None:
            yield Complaint(("measures", name), "expected a mapping ({} for the defaults), got nothing", on_key=True)
    for name, section in measures.declared.items():
        path: Path = ("measures", name)
        yield from _checked(path, MEASURES[name].checks, draft, section, path)


def _check_settings(draft: Draft) -> Iterator[Complaint]:
    """Settings have values that this version implements."""
    spec = draft.spec
    statistics, units = spec.statistics, spec.statistics.units
    settings: list[tuple[str, object, Path]] = [
        ("selection", spec.select.correct, ("select", "correct")),
        ("prompt unit", units.prompt, ("statistics", "units", "prompt")),
        ("template unit", units.template, ("statistics", "units", "template")),
        ("seed unit", units.seed, ("statistics", "units", "seed")),
        ("bootstrap method", statistics.bootstrap.method, ("statistics", "bootstrap", "method")),
        ("device", spec.execution.device, ("execution", "device")),
        ("dtype", spec.execution.dtype, ("execution", "dtype")),
        ("engine", spec.execution.engine, ("execution", "engine")),
    ]
    for subject, value, path in settings:
        yield from _refused(subject, value, path)


def _check_denoising(draft: Draft) -> Iterator[Complaint]:
    """Budgets are distinct, and no option contradicts the order of revealing."""
    denoising = draft.spec.denoising
    if denoising.reveal == "all_masked" and "steps" in denoising.model_fields_set:
        message = "with reveal: all_masked the answer is read in one step; leave 'steps' out"
        yield Complaint(("denoising", "steps"), message, on_key=True)
    several = isinstance(denoising.steps, tuple)
    steps = denoising.steps if isinstance(denoising.steps, tuple) else (denoising.steps,)
    for position, step in enumerate(steps):
        if isinstance(step, PartOfSteps) and step.fault:
            yield Complaint(("denoising", "steps", *([position] if several else [])), step.fault)
        if step in steps[:position]:
            what = f"number of steps {step}" if isinstance(step, int) else f"budget {step}"
            yield Complaint(("denoising", "steps", position), f"duplicate {what}")
    if denoising.reveal != "confidence":
        return
    for position, intervention in enumerate(draft.spec.interventions):
        path = draft.path("interventions", position)
        ablation = intervention.replaces_by
        if ablation in SHARED:
            message = (
                f"{ablation!r} takes values from other prompts in the same state, but with reveal: confidence each has "
                "states of its own; use counterfactual or zero"
            )
            yield Complaint((*path, "ablation"), message)
        if intervention.roles_key is not None:
            message = "token roles need reveal: left_to_right or all_masked, in which all prompts share their states"
            yield Complaint((*path, intervention.roles_key), message)


def _refused(subject: str, value: object, path: Path, *, on_key: bool = False) -> Iterator[Complaint]:
    reason = refusal(subject, value)
    if reason is not None:
        yield Complaint(path, reason, on_key=on_key)


CHECKS: tuple[Callable[[Draft], Iterator[Complaint]], ...] = (
    _check_names,
    _check_models,
    _check_pairs,
    _check_trajectories,
    _check_halves,
    _check_tasks,
    _check_interventions,
    _check_measures,
    _check_denoising,
    check_hypotheses,
    check_units,
    check_draws,
    _check_settings,
    check_sensitivity,
)
"""Every check of a spec."""
