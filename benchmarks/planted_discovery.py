"""Which methods find circuits that are known by construction, and how surely.

    python benchmarks/planted_discovery.py

The models of `mechshift_core/zoo/planted.py`, for several sizes of the random weights off the circuit (0.1 is their
default). AUROC of edges by the magnitude of their mean score, and the share of the circuit among as many top edges as
it has; each the mean over models with different random weights, and the worst of them. `accuracy` is that of the worst
model on clean and corrupted prompts, `f` the worst faithfulness of the planted circuit: where they fall far below 1,
the task is not solved by the planted circuit alone, and it is no ground truth.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

import numpy as np
import torch
from shapes import as_model, machine

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits
from mechshift_core.attribution.edges import Method, Quadrature
from mechshift_core.models.load import Model
from mechshift_core.zoo.planted import PlantedCircuit, planted_circuits
from stats import edge_auroc, recovery_at_size

METHODS: dict[str, tuple[Method, Quadrature]] = {
    "eap": ("eap", "left"),
    "clean-corrupted": ("clean-corrupted", "left"),
    "eap-ig left": ("eap-ig", "left"),
    "eap-ig midpoint": ("eap-ig", "midpoint"),
    "exact": ("exact", "left"),
}
NOISES = (0.05, 0.1, 0.2)
NAMES = [planted.name for planted in planted_circuits()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--models", type=int, default=3, help="models with different random weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine("cpu"))
    print(
        f"{options.examples} prompts, {options.models} models each, 5 steps; AUROC mean (worst) | recovery mean (worst)"
    )
    for noise in NOISES:
        sets = [planted_circuits(noise=noise, seed=seed) for seed in range(options.models)]
        for number, name in enumerate(NAMES):
            report(name, noise, [models[number] for models in sets], options.examples)


def report(name: str, noise: float, models: list[PlantedCircuit], examples: int) -> None:
    loaded = [(planted, as_model(planted.module, planted.name), prompts(planted, examples)) for planted in models]
    accuracy, faithful = zip(*(validity(*parts) for parts in loaded), strict=True)
    print(f"\n{name}, noise {noise:g}: accuracy {min(accuracy):.3f}, f {min(faithful):.3f}")
    for label, (method, quadrature) in METHODS.items():
        found = []
        for planted, model, batch in loaded:
            scores = attribute_edges(model, batch, method=method, quadrature=quadrature)
            truth = np.isin(scores.edges, planted.edges)
            mean = scores.mean().numpy()
            found.append((edge_auroc(mean, truth), recovery_at_size(mean, truth)))
        auroc, recovery = np.array(found).T
        print(f"  {label:16s} {auroc.mean():.4f} ({auroc.min():.4f}) | {recovery.mean():.2f} ({recovery.min():.2f})")


def prompts(planted: PlantedCircuit, examples: int) -> CounterfactualBatch:
    return CounterfactualBatch(**asdict(planted.draw(examples, 1)))


def validity(planted: PlantedCircuit, model: Model, batch: CounterfactualBatch) -> tuple[float, float]:
    """Accuracy on clean and corrupted prompts, and faithfulness of the planted circuit."""
    sides = ((batch.clean_ids, batch.answer_ids), (batch.corrupt_ids, batch.foil_ids))
    right = [batch.rows_read(model.logits(ids)).squeeze(1).argmax(-1) == tokens[:, 0] for ids, tokens in sides]
    graph_edges = attribute_edges(model, batch.rows(slice(0, 1)), method="eap").edges
    full, empty, own = evaluate_circuits(model, batch, [graph_edges, [], planted.edges]).mean(1).tolist()
    return float(torch.cat(right).float().mean()), (own - empty) / (full - empty)


if __name__ == "__main__":
    main()
