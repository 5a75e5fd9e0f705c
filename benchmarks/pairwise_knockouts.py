"""Time of knocking out a model's strongest components in pairs, batched, over one knock-out of one prompt at a time.

python benchmarks/pairwise_knockouts.py
python benchmarks/pairwise_knockouts.py --tasks countdown --threads 2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch
from shapes import machine

from mechshift_core.attribution import CounterfactualBatch, attribute_edges, node_scores, patch_nodes
from mechshift_core.execution.batches import row_groups, to_batch
from mechshift_core.execution.reading import Reading
from mechshift_core.loading import load_model
from mechshift_core.models.load import Model
from mechshift_core.tasks import TASKS
from mechshift_core.tasks.counterfactual import generated_dataset


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    print(machine("cpu"))
    model = load_model("bundled:tiny-s0/mdm", paradigm="masked_diffusion", device="cpu")
    for task in options.tasks:
        dataset = generated_dataset(TASKS[task], model.tokenizer, examples=options.examples, seed=0)
        groups = row_groups(model, dataset.examples, Reading())
        batches = [to_batch(model, dataset, [dataset.examples[n] for n in g.numbers], g.states) for g in groups]
        pairs = strongest_pairs(model, batches, options.components)
        print(f"{task}: {compared(model, batches, pairs)}", flush=True)


def compared(model: Model, batches: list[CounterfactualBatch], pairs: list[list[str]]) -> str:
    """What all knock-outs took, in a sentence, beside some that were made one at a time."""
    together = Timed(lambda: [knocked(model, batch, pairs) for batch in batches])
    few = [(n, b, row) for n in range(0, len(pairs), len(pairs) // 8) for b in range(len(batches)) for row in (0, 5)]
    alone = Timed(lambda: [knocked(model, batches[b], [pairs[n]], only=[row])[0, 0] for n, b, row in few])
    difference = max(abs(together.found[b][n, row] - one) for (n, b, row), one in zip(few, alone.found, strict=True))
    examples = sum(map(len, batches))
    runs = len(pairs) * examples
    lengths = sorted(batch.clean_ids.shape[1] for batch in batches)
    apart = alone.cpu / len(few) * runs
    return (
        f"{len(pairs)} pairs x {examples} examples of {lengths[0]}-{lengths[-1]} tokens: {together.wall:.0f} s, "
        f"{together.cpu:.0f} s of CPU; one pair and prompt at a time {apart:.0f} s of CPU (from {len(few)} of {runs} "
        f"runs), {apart / together.cpu:.1f} x as long; largest difference {difference:.0e}"
    )


class Timed:
    """What a piece of work gives, and the seconds that it took: by the clock, and of all cores together."""

    def __init__(self, work: Callable[[], Any]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.found = work()
        self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu


def knocked(model: Model, batch: CounterfactualBatch, pairs: list[list[str]], only: list[int] | None = None) -> Any:
    """The metric without each pair, [pairs, examples]; zero ablation, which needs no run of its own."""
    return patch_nodes(model, batch, pairs, ablation="zero", only=only).numpy()


def strongest_pairs(model: Model, batches: list[CounterfactualBatch], components: int) -> list[list[str]]:
    """Every pair of the components with the largest mean attribution."""
    found = [node_scores(model.shape, attribute_edges(model, batch, steps=2)) for batch in batches]
    names = found[0].nodes
    mean = torch.cat([one.values for one in found]).mean(0).abs()
    order = [int(n) for n in mean.argsort(descending=True) if names[int(n)][0] in "am"]
    return [list(pair) for pair in combinations([names[n] for n in sorted(order[:components])], 2)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["ioi", "countdown"], choices=list(TASKS))
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--components", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
