"""Whether the sizes that a spec names fit the graphs of its models, which `config.json` decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mechshift_core.execution.facts import ModelFacts
from mechshift_core.graph import Graph, component_names, components_by_depth
from mechshift_core.models import sources
from mechshift_core.spec.interventions import Ablation, Neurons, TargetedAblation
from mechshift_core.spec.schema import Spec
from mechshift_core.spec.translate import Complaint
from mechshift_core.spec.tree import Path

FEWEST_LAYERS = 2
"""Layers that a slope over depth needs."""


def check_graphs(spec: Spec, models: Mapping[str, ModelFacts]) -> Iterator[Complaint]:
    """Every size that is beyond a model's graph, once, for the model that has the least."""
    yield from _edges(spec, models)
    yield from _layers(spec, models)
    for position, intervention in enumerate(spec.interventions):
        path: Path = ("interventions", position)
        if isinstance(intervention, Ablation):
            yield from _joint(intervention, models, path)
        elif isinstance(intervention, TargetedAblation):
            yield from _targeted(intervention, models, path)
        elif isinstance(intervention, Neurons):
            yield from _neurons(intervention, models, path)


def _edges(spec: Spec, models: Mapping[str, ModelFacts]) -> Iterator[Complaint]:
    counts = {name: len(Graph.of(facts.shape).edges) for name, facts in models.items()}
    name = min(counts, key=lambda one: counts[one])
    named: list[tuple[Path, tuple[int, ...]]] = [(("sensitivity", "top_k"), spec.sensitivity.top_k)]
    if spec.measures.overlap is not None:
        named.append((("measures", "overlap", "top_k"), spec.measures.overlap.top_k))
    for path, sizes in named:
        for place, k in enumerate(sizes):
            if k >= counts[name]:
                message = f"top_k {k} is not below the {counts[name]} edges of model {name!r}"
                yield Complaint((*path, place), message)


def _layers(spec: Spec, models: Mapping[str, ModelFacts]) -> Iterator[Complaint]:
    name = min(models, key=lambda one: models[one].shape.layers)
    layers = models[name].shape.layers
    if layers >= FEWEST_LAYERS:
        return
    message = f"a distribution over depth needs {FEWEST_LAYERS} layers, but model {name!r} has {layers}"
    if spec.measures.depth is not None:
        yield Complaint(("measures", "depth"), message, on_key=True)
    if spec.statistics.mixed_model is not None:
        yield Complaint(("statistics", "mixed_model"), message, on_key=True)


def _joint(intervention: Ablation, models: Mapping[str, ModelFacts], path: Path) -> Iterator[Complaint]:
    counts = {name: len(component_names(facts.shape, intervention.components)) for name, facts in models.items()}
    name = min(counts, key=lambda one: counts[one])
    shapley = 0 if intervention.shapley is None else intervention.shapley.components
    what = f"of the kinds {' and '.join(intervention.components)}"
    for asked, place in ((intervention.pairwise, ("pairwise",)), (shapley, ("shapley", "components"))):
        if asked > counts[name]:
            message = (
                f"{intervention.name!r} knocks out {asked} components together, but model {name!r} has {counts[name]} "
                f"{what}"
            )
            yield Complaint((*path, *place), message)


def _targeted(intervention: TargetedAblation, models: Mapping[str, ModelFacts], path: Path) -> Iterator[Complaint]:
    counts = {name: len(components_by_depth(one.shape).get(intervention.layers, ())) for name, one in models.items()}
    name = min(counts, key=lambda one: counts[one])
    if intervention.size > counts[name]:
        message = (
            f"{intervention.name!r} knocks out {intervention.size} components of the {intervention.layers} layers, but "
            f"{name!r} has {counts[name]}; use a smaller `size`"
        )
        yield Complaint((*path, "size"), message)


def _neurons(intervention: Neurons, models: Mapping[str, ModelFacts], path: Path) -> Iterator[Complaint]:
    for name, facts in models.items():
        width = sources.neurons_per_layer(sources.read_config(facts.folder))
        every = None if width is None else width * facts.shape.layers
        if every is not None and intervention.strongest > every:
            message = f"{intervention.name!r} lists {intervention.strongest} neurons, but model {name!r} has {every}"
            yield Complaint((*path, "strongest"), message)
            return
