"""Neurons of the synthetic run: some are among the strongest of both models; answers repeat in one task only."""

from __future__ import annotations

import random

import polars as pl
from synthetic_run import PAIRS, TASKS

from stats.findings import Estimate

COUNT, WIDTH = 12, 1024
ANSWERS = {"ioi": ("Emma", "Jack", "Christopher"), "countdown": ()}


def neurons_table(*, seed: int = 19) -> pl.DataFrame:
    """Twelve neurons of each model; those of the model after begin with a third of those of the model before."""
    made = random.Random(seed)
    rows: list[dict[str, object]] = []
    for task, regime in TASKS:
        for pair, role, *models in PAIRS:
            kept = COUNT // 3 if role == "treatment" else COUNT - 3
            places = [(made.randrange(6), number) for number in made.sample(range(WIDTH), 2 * COUNT - kept)]
            listed = {"before": places[:COUNT], "after": places[:kept] + places[COUNT:]}
            for (side, found), model in zip(listed.items(), models, strict=True):
                for number, (layer, neuron) in enumerate(found):
                    score = (1 if task == "ioi" else 20) * (made.uniform(0.2, 1) if number % 5 else -0.1)
                    row = {"pair": pair, "role": role, "model": model, "side": side, "task": task, "regime": regime}
                    row |= {"budget": "per_token", "intervention": "neurons", "layer": layer, "neuron": neuron}
                    row |= {"rank": number + 1, "score": score, "low": score - 0.1, "high": score + 0.3}
                    row |= {"p_corrected": 0.2 if number % 5 == 0 else 0.003, "partner": 0.8 * score, "n": 45}
                    row |= {"tokens": "had (6 of 10), on Wednesday (4 of 10)", "example": 7}
                    answer = made.choice(ANSWERS[task]) if ANSWERS[task] else None
                    value = None if answer is None else made.uniform(-0.2, 0.9)
                    row |= {"answer": answer, "selectivity": value, "selectivity_p": None if value is None else 0.01}
                    rows.append(row | {"selectivity_null": None if value is None else made.uniform(-0.05, 0.05)})
    return pl.DataFrame(rows, infer_schema_length=None)


def neuron_estimates() -> tuple[Estimate, ...]:
    """The overlap of the twelve of both models of each pair, counted in :func:`neurons_table`."""
    table, found = neurons_table(), []
    for task, regime in TASKS:
        for pair, role, *_ in PAIRS:
            here = table.filter((pl.col("task") == task) & (pl.col("pair") == pair))
            before, after = (
                set(here.filter(pl.col("side") == side).select("layer", "neuron").rows())
                for side in ("before", "after")
            )
            made = Estimate(
                pair=pair,
                role=role,
                seed=0,
                task=task,
                regime=regime,
                measure="neuron_overlap",
                side="between",
                estimate=len(before & after) / len(before | after),
                low=None,
                high=None,
                confidence=0.95,
                n={"prompt": 90},
                method=f"Jaccard of the {COUNT} neurons with the largest mean scores on half of the prompts",
                status="points only",
                message="sets chosen once: no interval",
                reference={"chance": 0.001},
            )
            found.append(made)
    return tuple(found)
