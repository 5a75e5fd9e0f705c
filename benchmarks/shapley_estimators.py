"""How far are shapiq's estimates of Shapley interactions from the exact ones, on a bundled model's knock-outs?

python benchmarks/shapley_estimators.py
python benchmarks/shapley_estimators.py --tasks countdown --budgets 200 400 --seeds 20

The 12 strongest components are knocked out in all 4,096 combinations; each estimator sees a sample of these.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import shapiq
import torch
from pairwise_knockouts import knocked, strongest_pairs
from shapes import machine

from mechshift_core.execution.batches import row_groups, to_batch
from mechshift_core.execution.reading import Reading
from mechshift_core.loading import load_model
from mechshift_core.tasks import TASKS
from mechshift_core.tasks.counterfactual import generated_dataset
from stats.shapley import all_combinations, order_shares, sets_up_to, shapley_interactions

COMPONENTS = 12
ESTIMATORS = ("InconsistentKernelSHAPIQ", "KernelSHAPIQ", "SVARMIQ", "PermutationSamplingSII")
Floats = np.ndarray[Any, np.dtype[np.float64]]


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    print(machine("cpu"))
    for task in options.tasks:
        metric = every_combination(task, options.examples)
        shares = ", ".join(f"{share:.3f}" for share in order_shares(metric).value[:4])
        print(f"{task}: {options.examples} prompts; shares of the orders {shares}, ...")
        mean = metric.mean(axis=0)
        for order in (2, 3):
            exact = shapley_interactions(mean[None], order=order).values[0]
            for budget in options.budgets:
                for name in ESTIMATORS:
                    errors = [error(name, mean, exact, order, budget, seed) for seed in range(options.seeds)]
                    by_order = "  ".join(f"{one:6.3f}" for one in np.mean(errors, axis=0))
                    print(f"  order {order}, {budget:4d} combinations, {name:25s} {by_order}", flush=True)


def every_combination(task: str, examples: int) -> Floats:
    """The metric of every combination of the strongest components, [examples, combinations]."""
    model = load_model("bundled:tiny-s0/mdm", paradigm="masked_diffusion", device="cpu")
    dataset = generated_dataset(TASKS[task], model.tokenizer, examples=examples, seed=0)
    groups = row_groups(model, dataset.examples, Reading())
    batches = [to_batch(model, dataset, [dataset.examples[n] for n in g.numbers], g.states) for g in groups]
    names = list(dict.fromkeys(name for pair in strongest_pairs(model, batches, COMPONENTS) for name in pair))
    lost = [[names[n] for n in np.flatnonzero(row)] for row in all_combinations(COMPONENTS)]
    return np.concatenate([knocked(model, batch, lost) for batch in batches], axis=1).T.astype(np.float64)


def error(name: str, mean: Floats, exact: Floats, order: int, budget: int, seed: int) -> list[float]:
    """Root mean square error of the sets of each order, over the root mean square of the exact values."""

    def play(intact: Floats) -> Floats:
        return mean[~np.atleast_2d(intact).astype(bool) @ (1 << np.arange(COMPONENTS))]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a budget that does not divide evenly
        approximator = getattr(shapiq, name)(n=COMPONENTS, max_order=order, index="SII", random_state=seed)
        found = approximator.approximate(budget=budget, game=play)
    sets = sets_up_to(COMPONENTS, order)
    off = np.array([found[one] for one in sets]) - exact
    size = np.array([len(one) for one in sets])
    return [
        float(np.sqrt(np.mean(off[size == one] ** 2) / np.mean(exact[size == one] ** 2))) for one in range(1, order + 1)
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["ioi", "countdown"], choices=list(TASKS))
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--budgets", nargs="+", type=int, default=[200, 400, 1000])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
