"""How often do nominal .95 intervals of a mean cover it, by method, number of clusters and skewness?

    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py

Effects of clusters have mean 0 and standard deviation 1: normal, Laplace (symmetric, heavy tails), exponential
(skewness 2) or log-normal (sigma 1, skewness 6.2). A cluster has one value, the effect itself, or 1 to 8 with normal
noise of standard deviation 1 within. `t` is estimate +- t x cluster-robust standard error; `hypothesis` the same
corrected for skewness, which is what hypotheses use, for one value in a cluster.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from shapes import machine

from stats import bootstrap_interval, difference_test, linear_contrast, mean_replicates, resampling_weights
from stats.resampling import clustered_mean

Floats = NDArray[np.float64]
EFFECTS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "Laplace": lambda rng, size: rng.laplace(size=size) / np.sqrt(2),
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,
    "log-normal": lambda rng, size: (rng.lognormal(size=size) - np.exp(0.5)) / np.sqrt(np.exp(2) - np.exp(1)),
}
METHODS = ("percentile", "bca", "studentized")


def covers(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low <= 0 <= high


def coverage(effects: str, clusters: int, sizes: str, data_sets: int, replicates: int) -> dict[str, float]:
    counts = dict.fromkeys((*METHODS, "t", "hypothesis"), 0)
    weights = resampling_weights(clusters, 2, seed=0)
    rng = np.random.default_rng([clusters, list(EFFECTS).index(effects)])
    quantile = scipy_stats.t.ppf(0.975, clusters - 1)
    for i in range(data_sets):
        values, cluster = EFFECTS[effects](rng, clusters), np.arange(clusters)
        if sizes == "1-8":
            cluster = np.repeat(cluster, rng.integers(1, 9, clusters))
            values = values[cluster] + rng.standard_normal(len(cluster))
        for method in METHODS:
            found = bootstrap_interval(values, cluster=cluster, method=method, replicates=replicates, seed=i // 100)
            counts[method] += covers(found.low, found.high)
        mean, se, _, _ = clustered_mean(values, cluster, clusters)
        counts["t"] += abs(mean) <= quantile * (se or 0)
        if sizes == "one":
            contrast = linear_contrast([mean_replicates(values, weights)], [1], ["task"])
            test = difference_test(contrast.estimate, contrast.se, contrast.df, skewness=contrast.skewness)
            counts["hypothesis"] += covers(test.low, test.high)
    return {name: count / data_sets for name, count in counts.items() if sizes == "one" or name != "hypothesis"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=4000)
    parser.add_argument("--replicates", type=int, default=1000)
    arguments = parser.parse_args()
    print(machine("cpu"))
    print(f"{arguments.data_sets} data sets, {arguments.replicates} replicates; ", end="")
    print(f"Monte Carlo standard error {np.sqrt(0.95 * 0.05 / arguments.data_sets):.4f} at .95")
    print(
        f"{'clusters':>8} {'values':>6} {'effects':12}"
        + "".join(f"{name:>13}" for name in (*METHODS, "t", "hypothesis"))
    )
    for clusters in (12, 40):
        for sizes in ("one", "1-8"):
            for effects in EFFECTS:
                rates = coverage(effects, clusters, sizes, arguments.data_sets, arguments.replicates)
                row = "".join(f"{rate:13.3f}" for rate in rates.values())
                print(f"{clusters:8d} {sizes:>6} {effects:12}{row}", flush=True)


if __name__ == "__main__":
    main()
