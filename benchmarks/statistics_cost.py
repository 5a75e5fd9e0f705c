"""What do the statistics of one pair and task cost, stage by stage, beside the products that they can't do without?

    OMP_NUM_THREADS=1 python benchmarks/statistics_cost.py
    OMP_NUM_THREADS=1 python benchmarks/statistics_cost.py --shape llama2-7b --examples 300 --part 4

Two models' scores of the graph of a published shape, float32 in the files of a run folder, mapped and not loaded;
strata and nodes are those of the graph, counts those of `specs/smollm2.yaml`. As in the scores of that study, edges
differ in size by orders of magnitude, prompts in size, and the noise of a prompt is many times the mean.

`products` is the bare float64 product of the weights of all replicates of the retention index with both models' scores
(in blocks of edges, read from the files), timed on some of the rows; `ranking` is a comparison sort of all mean scores
that the agreement without a threshold ranks (`scipy.stats.rankdata`), timed on some of them. Both are scaled up. Times
are of the processor, so that what else the machine does hardly counts; memory is the peak of the process so far. With
`--part 4` a quarter of the replicates, splits and permutations is drawn, and the seconds are multiplied by 4: somewhat
too many, as what is done once is multiplied, too.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from shapes import machine

from mechshift_core.execution.scores import EdgeScoreStore, SelectedScores
from mechshift_core.execution.stream import TensorFile
from mechshift_core.graph import Graph, Shape
from mechshift_core.measures.overlap.edge_nodes import edge_nodes
from mechshift_core.measures.overlap.overlap import GRID, edge_strata
from stats.debiased import debiased_specialization
from stats.depth import layer_shares
from stats.half_bootstrap import resampled_halves
from stats.node_sets import node_permutation_null
from stats.overlap import stratified_permutation_null
from stats.plain_overlap import between_overlap
from stats.retention import INNER_SPLITS, retention_index
from stats.similarity import score_similarity
from stats.sized_halves import overlap_by_prompts
from stats.specialization import specializations
from stats.split_half import prompts
from stats.stability import selection_stability
from stats.threshold_free import REPLICATES, threshold_free_overlap

GRAPHS = {
    "smollm2-135m": Shape(layers=30, heads=9, key_value_heads=3, head_size=64, hidden_size=576),
    "llama2-7b": Shape(layers=32, heads=32, key_value_heads=32, head_size=128, hidden_size=4096),
}
TOP_K = [100, 200, 400, 1000]
RETAINED = 2000
"""Replicates of the retention index."""
SPLITS, PERMUTATIONS = 50, 1000
TIMED = 256
"""Rows of the products that are timed, and 8 vectors of the ranking."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(GRAPHS), default="smollm2-135m")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--part", type=int, default=1)
    options = parser.parse_args()
    graph = Graph.of(GRAPHS[options.shape])
    edges = len(graph.edge_index[0])
    print(machine("cpu"))
    print(f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}; other work beside")
    print(f"this: load average {os.getloadavg()[1]:.1f} before it started")
    print(f"{options.shape}: {edges} edges x {options.examples} prompts; CPU seconds, smallest of {options.repeats}")
    print(f"1 / {options.part} of the replicates, splits and permutations drawn, seconds multiplied accordingly\n")
    with tempfile.TemporaryDirectory() as folder:
        before, after = written(Path(folder), graph, options.examples)
        bare, ranking = products(before, after), compared(before)
        print(f"{'products':>24s} {bare:8.1f}   over products\n{'ranking':>24s} {ranking:8.1f} {ranking / bare:10.2f}")
        total = 0.0
        for name, stage in stages(before, after, graph, options.part):
            took = min(timed(stage) for _ in range(options.repeats)) * options.part
            total += took
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(f"{name:>24s} {took:8.1f} {took / bare:10.2f}   peak {peak:.2f} GB", flush=True)
        print(f"{'all of the pair and task':>24s} {total:8.1f} {total / bare:10.2f}")


def written(folder: Path, graph: Graph, examples: int) -> tuple[SelectedScores, SelectedScores]:
    """Scores of two models in files of their own; their means and the sizes of their edges have much in common."""
    rng = np.random.default_rng(0)
    edges = len(graph.edge_index[0])
    strata = edge_strata(graph)
    size = np.exp(1.2 * rng.standard_normal(int(strata.max()) + 1)[strata] + 1.6 * rng.standard_normal(edges))
    size = size.astype(np.float32)
    mean, factor = rng.standard_normal((2, edges), dtype=np.float32)
    found = []
    for name in ("before", "after"):
        own = 0.15 * size * (0.9 * mean + 0.4 * rng.standard_normal(edges, dtype=np.float32))
        path = folder / f"{name}.safetensors"
        with TensorFile(path, {"scores": (np.float32, (examples, edges))}) as file:
            for row in range(examples):
                noise = 0.6 * rng.standard_normal() * factor + 0.8 * rng.standard_normal(edges, dtype=np.float32)
                scores = np.exp(0.3 * rng.standard_normal()) * (own + size * noise)
                file.write("scores", [row], scores.astype(np.float32)[None])
        found.append(SelectedScores(EdgeScoreStore([path]), np.arange(examples)))
    return found[0], found[1]


def stages(
    before: SelectedScores, after: SelectedScores, graph: Graph, part: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What the measures of a study compute, one after the other, with their counts."""
    strata, nodes, n = edge_strata(graph), edge_nodes(graph), before.shape[0]
    both, means = (before, after), (before.mean(), after.mean())
    source, _ = graph.edge_index
    layers = graph.receivers[-1].layer
    layer = np.array([node.layer for node in graph.sources])[source]
    splits, few, many = (-(-number // part) for number in (SPLITS, REPLICATES, RETAINED))
    permuted = {"permutations": -(-PERMUTATIONS // part)}
    sets: dict[str, Any] = {"top_k": TOP_K, "nodes": nodes, "splits": splits, "half_size": n // 3}
    drawn: dict[str, Any] = {"strata": strata, "splits": splits, "replicates": few, **permuted}
    sizes = [size for size in GRID if size <= n // 2]
    yield "similarity", lambda: score_similarity(*both, replicates=many)
    yield "retention, with nodes", lambda: retention_index(*both, strata=strata, replicates=many, **sets)
    yield "overlap, with nodes", lambda: between_overlap(*both, replicates=few, **sets)
    yield "chance of edges", lambda: stratified_permutation_null(*means, strata, TOP_K, **permuted)
    yield "chance of nodes", lambda: node_permutation_null(*means, nodes, TOP_K, **permuted)
    curve: dict[str, Any] = {"sizes": sizes, "top_k": TOP_K, "splits": splits}
    yield "overlap by prompts", lambda: overlap_by_prompts(*both, strata=strata, **curve)
    yield "without a threshold", lambda: threshold_free_overlap(*both, **drawn)
    yield "stability", lambda: [selection_stability(one, top_k=TOP_K, nodes=nodes) for one in both]
    yield "depth", lambda: [layer_shares(one.store.rows(one.selected), layer, layers) for one in both]
    yield "specialization", lambda: [specialized(one, source) for one in both]


def specialized(scores: SelectedScores, source: NDArray[np.int64]) -> object:
    effects = np.stack([np.bincount(source, weights=row)[1:] for row in scores.store.each(scores.selected)])
    return specializations(effects), debiased_specialization(effects)


def products(before: SelectedScores, after: SelectedScores) -> float:
    """Seconds of weights @ scores for all rows of the retention index, of both models."""
    weights = np.random.default_rng(1).integers(0, 3, (TIMED, before.shape[0])).astype(np.float64)

    def once() -> None:
        for scores in (before, after):
            for _, block in scores.blocks(2**18):
                for start in range(0, block.shape[1], 2**12):
                    weights @ block[:, start : start + 2**12]

    return min(timed(once) for _ in range(3)) * RETAINED * INNER_SPLITS * 2 / TIMED


def compared(scores: SelectedScores) -> float:
    """Seconds of a comparison sort of all mean scores that the agreement without a threshold ranks."""
    chosen = prompts(scores.shape[0], examples=None, total=None, templates=None)
    weights = resampled_halves(chosen, 2, 0)[0]
    means = np.concatenate([weights @ block for _, block in scores.blocks(2**18)], axis=1)
    vectors = 4 * (REPLICATES * INNER_SPLITS + SPLITS)
    return timed(lambda: scipy_stats.rankdata(means, axis=1)) * vectors / len(means)


def timed(work: Callable[[], object]) -> float:
    """CPU seconds that a piece of work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
