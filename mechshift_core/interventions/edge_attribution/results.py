"""Tables of edges: mean scores and ranks, and the strongest edges by token role.

They are built column by column: there may be a million edges.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from mechshift_core.analysis.measured import Rows
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import RunFolder
from mechshift_core.graph import Graph
from mechshift_core.interventions.edge_attribution.section import EdgeAttribution
from mechshift_core.interventions.edge_attribution.tables import TABLES

STRONGEST = 1000
"""Edges that `edge_roles` shows of each model and task."""


def edge_tables(sample: Sample) -> dict[str, list[pl.DataFrame]]:
    """Parts of `edges` and `edge_roles`: one for each model of a pair on a task."""
    if sample.n == 0:
        return {}
    return {
        "edges": [_edges(sample, side) for side, _ in sample.sides],
        "edge_roles": [_roles(sample, side) for side, of_side in sample.sides if of_side.by_role is not None],
    }


def _edges(sample: Sample, side: str) -> pl.DataFrame:
    graph = sample.graph
    source, receiver = graph.edge_index
    means = sample.side(side).scores.mean(sample.ids(side))
    ranks = np.empty(len(means), dtype=np.int64)
    ranks[np.argsort(-np.abs(means), kind="stable")] = np.arange(1, len(means) + 1)
    names = _names(graph, np.arange(len(source)))
    return _labelled(
        "edges",
        sample,
        side,
        names.with_columns(
            kind=pl.concat_str(
                _taken([node.kind for node in graph.sources], source),
                pl.lit("->"),
                _taken([node.kind for node in graph.receivers], receiver),
            ),
            source_layer=np.array([node.layer for node in graph.sources])[source],
            target_layer=np.array([node.layer for node in graph.receivers])[receiver],
            score=means,
            # A score of 0 has no rank: in which order such edges come says nothing of them.
            rank=pl.Series(ranks).set(pl.Series(means == 0), None),
        ),
    )


def _roles(sample: Sample, side: str) -> pl.DataFrame:
    of_side = sample.side(side)
    assert of_side.by_role is not None
    means = of_side.by_role.mean(sample.ids(side))
    strength = np.abs(means).sum(axis=0)
    strongest = np.argsort(-strength, kind="stable")[:STRONGEST]
    names = _names(sample.graph, strongest)
    parts = [
        names.with_columns(token_role=pl.lit(role), score=score[strongest])
        for role, score in zip(of_side.roles, means, strict=True)
    ]
    return _labelled("edge_roles", sample, side, pl.concat(parts))


def _names(graph: Graph, edges: npt.NDArray[np.int64]) -> pl.DataFrame:
    source, receiver = (index[edges] for index in graph.edge_index)
    return pl.DataFrame(
        {
            "source": _taken([node.name for node in graph.sources], source),
            "target": _taken([node.name for node in graph.receivers], receiver),
        }
    )


def _taken(words: list[str], numbers: npt.NDArray[np.int64]) -> pl.Series:
    return pl.Series(words, dtype=pl.String).gather(numbers)


def _labelled(table: str, sample: Sample, side: str, columns: pl.DataFrame) -> pl.DataFrame:
    labels = {**sample.labels(), "model": sample.side(side).model, "side": side}
    labelled = columns.with_columns(pl.lit(value).alias(name) for name, value in labels.items())
    return labelled.select(pl.col(name).cast(column.type) for name, column in TABLES[table].items())


def score_rows(plan: Plan, folder: RunFolder, failures: Mapping[str, str], own: EdgeAttribution) -> Rows:
    """Rows of `edge_scores`: where the scores of every model and task are."""
    regimes = {task.name: task.regime for task in plan.spec.tasks}
    return [
        {
            "model": cell.model,
            "task": cell.task,
            "regime": regimes[cell.task],
            "budget": cell.budget,
            "cell": cell.key,
            "path": str(folder.cell_file(cell.key).relative_to(folder.path)),
            "examples": cell.stop - cell.start,
            "edges": len(Graph.of(plan.models[cell.model].shape).edges),
        }
        for cell in plan.cells
        if cell.intervention == own.name and cell.key not in failures
    ]
