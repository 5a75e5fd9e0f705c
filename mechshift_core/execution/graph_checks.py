"""Whether what a spec asks for fits the graphs of its models, which `config.json` decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mechshift_core.execution.facts import ModelFacts
from mechshift_core.kinds import INTERVENTIONS, MEASURES
from mechshift_core.spec.schema import Spec
from mechshift_core.spec.translate import Complaint
from mechshift_core.spec.tree import Path

FEWEST_LAYERS = 2
"""Layers that a slope over depth needs."""


def check_graphs(spec: Spec, models: Mapping[str, ModelFacts]) -> Iterator[Complaint]:
    """Every size that is beyond a model's graph, once, for the model that has the least."""
    for name in spec.measures.declared:
        yield from MEASURES[name].checks_models(spec, models, ("measures", name))
    if spec.statistics.mixed_model is not None:
        yield from check_layers(models, ("statistics", "mixed_model"))
    for position, intervention in enumerate(spec.interventions):
        kind = INTERVENTIONS[intervention.kind]
        path: Path = ("interventions", position)
        yield from kind.checks_models(intervention, models, path)
        for pair in spec.every_pair:
            known = pair.before in models and pair.after in models and (kind.of_unrelated or not pair.unrelated)
            reason = kind.checks_pair(models[pair.before], models[pair.after]) if known else ""
            if reason:
                yield Complaint((*path, "kind"), f"{intervention.name!r} of pair {pair.name!r}: {reason}")


def check_layers(models: Mapping[str, ModelFacts], path: Path) -> Iterator[Complaint]:
    """Every model has the layers that a distribution over depth needs."""
    name = min(models, key=lambda one: models[one].shape.layers)
    layers = models[name].shape.layers
    if layers < FEWEST_LAYERS:
        message = f"a distribution over depth needs {FEWEST_LAYERS} layers, but model {name!r} has {layers}"
        yield Complaint(path, message, on_key=True)
