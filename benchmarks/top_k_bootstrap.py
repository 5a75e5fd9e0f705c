"""What do 10,000 bootstrap replicates of the top-K overlap cost, for all K of a grid at once?

    OMP_NUM_THREADS=1 python benchmarks/top_k_bootstrap.py

Two models' scores of 110,000 edges on 200 examples, float32. `products` is the bare matrix products of the weights with
both models' scores, which no exact method can do without; `by partition` ranks every replicate's scores by a partition,
the obvious vectorised way, timed on a few replicates and scaled up. All in one process, in turns. Times are of the
processor, so that what else the machine does hardly counts, and the smallest of several runs; with one thread they are
what the clock would show on a machine with nothing else to do. Memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from shapes import machine

from stats import jaccard, overlap_replicates, resampling_weights, retention_index
from stats.overlap import memberships

Scores = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=110_000)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(machine("cpu"))
    print(f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}; other work beside")
    print(f"this: load average {os.getloadavg()[1]:.1f} before it started")
    print(f"{options.edges} edges x {options.examples} examples, {options.replicates} replicates; CPU seconds,")
    print(f"smallest (largest) of {options.repeats} runs, and ours over the products\n")
    weights = resampling_weights(options.examples, options.replicates, seed=0)
    grids = {"50-400": [50, 100, 200, 400], "0.1-10 %": [options.edges * p // 1000 for p in (1, 5, 10, 50, 100)]}
    head = f"{'scores':>8s} {'top K':>10s}      ours s        products s    over products   by partition s   over ours"
    print(f"{head}   peak GB")
    for name, both in (("skewed", skewed(options)), ("noise", noise(options))):
        for grid, sizes in grids.items():
            ours, bare = [], []
            for _ in range(options.repeats):
                ours.append(timed(lambda both=both, sizes=sizes: overlap_replicates(*both, weights, top_k=sizes)))
                bare.append(timed(lambda both=both: products(*both, weights)))
            # Before anything else, whose own memory would count.
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            few = weights[:64]
            obvious = timed(lambda both=both, sizes=sizes, few=few: by_partition(*both, few, sizes))
            obvious *= len(weights) / len(few)
            print(
                f"{name:>8s} {grid:>10s} {span(ours):>14s} {span(bare):>14s} {min(ours) / min(bare):10.1f} "
                f"{obvious:16.0f} {obvious / min(ours):14.1f} {peak:11.2f}",
                flush=True,
            )
    both = skewed(options)
    took = timed(lambda: retention_index(*both, top_k=[50, 100, 200, 400], replicates=1000))
    print(f"\nretention index, 1000 replicates of 4 splits in halves (16,000 rankings): {took:.0f} CPU s, one run")


def skewed(options: argparse.Namespace) -> tuple[Scores, Scores]:
    """Scores that differ between edges by orders of magnitude, as attributions do; the models share their means."""
    rng = np.random.default_rng(0)
    shape = (options.examples, options.edges)
    mean = np.exp(1.5 * rng.standard_normal(options.edges)) * rng.standard_normal(options.edges)
    spread = np.exp(1.5 * rng.standard_normal(options.edges)).astype(np.float32)
    first, second = (mean.astype(np.float32) + spread * rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    return first, second


def noise(options: argparse.Namespace) -> tuple[Scores, Scores]:
    """Scores without any structure: every replicate has other edges at the top."""
    rng = np.random.default_rng(1)
    first, second = (rng.standard_normal((options.examples, options.edges), dtype=np.float32) for _ in range(2))
    return first, second


def products(before: Scores, after: Scores, weights: NDArray[np.int64]) -> None:
    drawn = weights.astype(np.float32)
    for start in range(0, len(drawn), 256):
        for scores in (before, after):
            drawn[start : start + 256] @ scores


def by_partition(before: Scores, after: Scores, weights: NDArray[np.int64], sizes: list[int]) -> None:
    drawn = weights.astype(np.float32)
    for start in range(0, len(drawn), 32):
        sets = (memberships(np.abs(drawn[start : start + 32] @ scores), sizes) for scores in (before, after))
        jaccard(*sets)


def timed(work: Callable[[], object]) -> float:
    """CPU seconds that a piece of work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def span(seconds: list[float]) -> str:
    return f"{min(seconds):.1f} ({max(seconds):.1f})"


if __name__ == "__main__":
    main()
