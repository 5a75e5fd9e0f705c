"""Error of EAP-IG's integral over the number of steps, for each quadrature, on the bundled pair's own prompts.

    python benchmarks/quadrature_error.py

The reference is Gauss-Legendre with 200 steps. Errors are relative, in the Euclidean norm over edges: of the mean
over prompts, and of single prompts (median); beside them the Jaccard overlap of the 100 strongest edges with the
reference's.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from shapes import machine

from mechshift_core import CounterfactualBatch, attribute_edges, load_model
from mechshift_core.attribution.edges import Quadrature
from mechshift_core.execution.batches import to_batch
from mechshift_core.models.load import Model
from mechshift_core.tasks import TASKS
from mechshift_core.tasks.counterfactual import generated_dataset

QUADRATURES: tuple[Quadrature, ...] = ("left", "midpoint", "gauss-legendre")
STEPS = (1, 2, 3, 5, 8, 12, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine("cpu"))
    print(f"bundled:tiny-s0, {options.examples} prompts a task; error of the mean | of single prompts | Jaccard\n")
    for name, paradigm in (("arm", "autoregressive"), ("mdm", "masked_diffusion")):
        model = load_model(f"bundled:tiny-s0/{name}", paradigm=paradigm, device="cpu")
        for task in ("ioi", "countdown", "infilling"):
            batch = prompts(model, task, options.examples)
            exact = scores(model, batch, 200, "gauss-legendre")
            print(f"{name}, {task}\n  steps  " + "".join(f"{quadrature:^30s}" for quadrature in QUADRATURES))
            for steps in STEPS:
                columns = [errors(scores(model, batch, steps, quadrature), exact) for quadrature in QUADRATURES]
                print(f"  {steps:5d}  " + "".join(f"{a:10.4f} {b:8.4f} {c:6.2f}    " for a, b, c in columns))


def prompts(model: Model, task: str, examples: int) -> CounterfactualBatch:
    """Prompts of one length, so that they are one batch."""
    assert model.tokenizer is not None
    dataset = generated_dataset(TASKS[task], model.tokenizer, examples=3 * examples, seed=0)
    lengths = [(len(example.clean_ids), example.masks) for example in dataset.examples]
    usual = max(set(lengths), key=lengths.count)
    chosen = [example for example, length in zip(dataset.examples, lengths, strict=True) if length == usual]
    return to_batch(model, dataset, chosen[:examples])


def scores(model: Model, batch: CounterfactualBatch, steps: int, quadrature: Quadrature) -> np.ndarray:
    return attribute_edges(model, batch, steps=steps, quadrature=quadrature).values.numpy()


def errors(found: np.ndarray, exact: np.ndarray) -> tuple[float, float, float]:
    mean, reference = found.mean(0), exact.mean(0)
    single = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)
    top, best = (set(np.argsort(-np.abs(values), kind="stable")[:100]) for values in (mean, reference))
    overall = float(np.linalg.norm(mean - reference) / np.linalg.norm(reference))
    return overall, float(np.median(single)), len(top & best) / len(top | best)


if __name__ == "__main__":
    main()
