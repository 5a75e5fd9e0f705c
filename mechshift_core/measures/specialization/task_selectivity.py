"""How specific each head and MLP is to one of the tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Rows
from mechshift_core.analysis.samples import Sample, Samples
from mechshift_core.measures.specialization.section import Specialization
from mechshift_core.measures.specialization.specialization import component_effects
from mechshift_core.spec import Spec
from stats.class_selectivity import selectivity
from stats.minimums import FEWEST_FOR_SPREAD
from stats.seeding import derived_seed

Kept = npt.NDArray[np.bool_]


def selectivity_rows(samples: Samples, spec: Spec) -> Rows:
    """Rows of `selectivity` for every pair that has two tasks or more with enough examples.

    A component's activity on a prompt is its share of the magnitudes of all components' effects there, so that tasks
    whose metrics differ in scale can be compared. A clean prompt that several tasks share counts for the first.
    """
    if spec.measures.of(Specialization) is None:
        return []
    rows: Rows = []
    for pair in spec.pairs:
        if pair.unrelated:
            continue
        own = [sample for (name, _), sample in samples.by_pair_and_task.items() if name == pair.name]
        usable = [sample for sample in own if not sample.too_few]
        for side in ("before", "after"):
            kept = [(sample, keep) for sample, keep in _own_prompts(usable, side) if keep.sum() >= FEWEST_FOR_SPREAD]
            if len(kept) > 1:
                rows += _rows(kept, side, derived_seed(spec.seed, "selectivity"))
    return rows


def _own_prompts(samples: Sequence[Sample], side: str) -> Iterator[tuple[Sample, Kept]]:
    """Samples of several tasks, and which of the examples selected on a side no task before has, [n]."""
    seen: set[tuple[int, ...]] = set()
    for sample in samples:
        prompts = [sample.dataset.examples[number].prompt_ids for number in sample.ids(side)]
        yield sample, np.array([prompt not in seen for prompt in prompts], dtype=bool)
        seen |= set(prompts)


def component_shares(sample: Sample, side: str) -> npt.NDArray[np.float64]:
    """Share of every head and MLP in the magnitudes of the effects on each selected example, [n, components]."""
    magnitudes = np.abs(component_effects(sample, side))
    total = magnitudes.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(magnitudes, total, out=np.zeros_like(magnitudes), where=total > 0))


def _rows(samples: list[tuple[Sample, Kept]], side: str, seed: int) -> Rows:
    first, names = samples[0][0], [sample.task.name for sample, _ in samples]
    found = selectivity(
        np.concatenate([component_shares(sample, side)[keep] for sample, keep in samples]),
        np.repeat(names, [int(keep.sum()) for _, keep in samples]),
        seed=seed,
    )
    return [
        {
            "pair": first.pair.name,
            "role": first.pair.role,
            "model": first.side(side).model,
            "side": side,
            "budget": first.reading.budget,
            "component": node.name,
            "kind": node.kind,
            "layer": node.layer,
            "task": found.conditions[found.preferred[place]],
            "selectivity": float(found.value[place]),
            "null": float(found.null[place]),
            "null_low": float(found.null_low[place]),
            "null_high": float(found.null_high[place]),
            "p": float(found.p[place]),
            "n": found.n,
        }
        for place, node in enumerate(first.graph.sources[1:])
    ]
