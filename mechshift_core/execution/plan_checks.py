"""Whether models, data sets and the declared statistics of a spec go together; no weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mechshift_core.execution.facts import ModelFacts, load_facts_tokenizer
from mechshift_core.execution.reading import hides_left, readings
from mechshift_core.execution.shift_model import check_mixed_model
from mechshift_core.metrics import METRICS, TokenSet, judges_nothing, metric_named, try_metric
from mechshift_core.models.masks import find_mask_token
from mechshift_core.models.published import layout_of
from mechshift_core.spec.placed import PlacedError, place_of, placed
from mechshift_core.spec.schema import Spec
from mechshift_core.tasks.counterfactual import Dataset

TRIED = 4
"""Prompts on whose answers and foils a metric of somebody's own is tried."""


def check_models(spec: Spec, models: Mapping[str, ModelFacts]) -> None:
    """Check what needs no prompts: the mixed model, tokenizers, and the graphs of each pair.

    Raises:
        PlacedError: saying what does not go together.
    """
    check_mixed_model(spec)
    _check_tokenizers([*models.values()])
    _check_shapes(spec, models)


def check_prompts(spec: Spec, models: Mapping[str, ModelFacts], datasets: Mapping[str, Dataset]) -> None:
    """Check that every model can read every prompt in every state that the spec's inference budgets ask for.

    Raises:
        PlacedError: for a prompt that is too long, a mask token that is missing, a budget that no prompt has, or a
            metric that answers can't be judged by or that is none.
    """
    for dataset in datasets.values():
        _check_context(spec, dataset, [*models.values()])
        _check_metric(spec, dataset, min(facts.vocabulary for facts in models.values()))
    _check_parts(spec, [*datasets.values()])
    for facts in models.values():
        _check_mask(spec, facts, [*datasets.values()])


def _check_tokenizers(models: Sequence[ModelFacts]) -> None:
    first = models[0]
    for other in models[1:]:
        if other.tokenizer != first.tokenizer:
            raise PlacedError(
                f"models {first.name!r} ({first.folder}) and {other.name!r} ({other.folder}) have different "
                "tokenizers; circuits can be compared only on the same tokens (`tokenizer:` gives a model another one)",
                "models",
                other.name,
                "source" if other.declared.tokenizer is None else "tokenizer",
            )


def _check_shapes(spec: Spec, models: Mapping[str, ModelFacts]) -> None:
    for pair in spec.every_pair:
        before, after = models[pair.before], models[pair.after]
        if before.shape != after.shape:
            what = f"trajectory {pair.along!r}" if pair.along else f"pair {pair.name!r}"
            place = (
                (*place_of(spec, "trajectories", pair.along), "models")
                if pair.along
                else (*place_of(spec, "pairs", pair.name), "after")
            )
            raise PlacedError(
                f"{what}: {before.name!r} and {after.name!r} have different graphs ({before.shape} and {after.shape}); "
                "their circuits can't be compared edge by edge",
                *place,
            )


def _check_context(spec: Spec, dataset: Dataset, models: Sequence[ModelFacts]) -> None:
    for model in models:
        longest = max(len(example.prompt_ids) + example.masks for example in dataset.begun(model.begin).examples)
        if model.context is not None and longest > model.context:
            raise PlacedError(
                f"task {dataset.task!r} has a prompt of {longest} tokens, but model {model.name!r} "
                f"reads {model.context}",
                *place_of(spec, "tasks", dataset.task),
            )


def _check_metric(spec: Spec, dataset: Dataset, vocabulary: int) -> None:
    """Whether answers can be judged by the metric, if they are; and what one of somebody's own is worth on logits."""
    kind, place = metric_named(dataset.metric), place_of(spec, "tasks", dataset.task)
    given = next(task.metric for task in spec.tasks if task.name == dataset.task)
    place = (*place, "name" if given is None else "metric")
    if (spec.select.by or dataset.judged_by) == "metric" and not kind.indifferent_at_zero:
        raise PlacedError(judges_nothing(dataset.task, kind.name), *place)
    if METRICS.marks(kind.name):
        tried = dataset.examples[:TRIED]
        with placed(*place):
            try_metric(
                kind,
                TokenSet.of([example.answer_ids for example in tried]),
                TokenSet.of([example.foil_ids for example in tried]),
                vocabulary=vocabulary,
            )


def _check_parts(spec: Spec, datasets: Sequence[Dataset]) -> None:
    """Whether each budget has a prompt with a state; which these are, a model that chooses the order decides."""
    for number, reading in enumerate(readings(spec.denoising)):
        examples = [example for dataset in datasets for example in dataset.examples]
        if any(reading.may_hold(one) for one in examples):
            continue
        longest = max(one.revealed + one.masks for one in examples)
        raise PlacedError(
            f"no prompt of any task has a state at the budget {reading.budget!r}, in which the token that is read is "
            f"hidden; the longest answer has {longest} token{'s' * (longest > 1)}",
            "denoising",
            "steps",
            *([number] if isinstance(spec.denoising.steps, tuple) else []),
        )


def _check_mask(spec: Spec, facts: ModelFacts, datasets: Sequence[Dataset]) -> None:
    """Whether there is a mask token where one is needed: for every masked diffusion model, and wherever a budget hides
    tokens before the one that is read."""
    diffusion, source = facts.declared.paradigm == "masked_diffusion", facts.declared.source
    hiding = [
        (dataset.task, reading.budget)
        for dataset in datasets
        for reading in readings(spec.denoising)
        if any(hides_left(example, reading) for example in dataset.examples)
    ]
    if not (diffusion or hiding):
        return
    layout, declared = layout_of(facts.folder), facts.declared.mask_token
    tokenizer = load_facts_tokenizer(facts)
    with placed("models", facts.name, "mask_token"):
        found = find_mask_token(facts.folder, layout, tokenizer, declared, source=source)
    if found is not None:
        return
    if diffusion:
        raise PlacedError(
            f"model {facts.name!r} is a masked diffusion model without a mask token; give `mask_token:`",
            "models",
            facts.name,
            on_key=True,
        )
    task, budget = hiding[0]
    raise PlacedError(
        f"model {facts.name!r} has no mask token, but with denoising steps {budget!r} tokens of an answer of {task!r} "
        "are hidden from it; use `steps: per_token`, or a tokenizer with a mask token",
        "denoising",
        "steps",
    )
