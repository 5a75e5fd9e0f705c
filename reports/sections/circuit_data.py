"""What the script of the circuits draws from: every edge up to the largest K, as JSON in the page.

An edge costs about 30 bytes in each panel, and 50 more once: its route and its two names stand once for all panels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

import polars as pl

from reports.data import ReportData, in_order, panels_of
from reports.figures import circuit
from reports.figures.layout import Layout
from reports.figures.routes import route
from reports.figures.spots import Spot, spots_of
from reports.templating import visible

MOST = 30_000
"""Edges of all panels together in a page; where the largest K have more, the largest that fits is the last one."""
BY_ROLE = 100
"""Rank up to which an edge's scores by token role are in the page."""
_SIDES = ("before", "after")
_ESCAPED = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}

Row = list[object]


def chosen(data: ReportData) -> list[int]:
    """The numbers of edges that the run's tables are of, ascending."""
    frames = [frame for name in ("overlap", "node_overlap", "stability") if (frame := data.table(name)) is not None]
    return sorted({k for frame in frames if "k" in frame.columns for k in frame["k"].drop_nulls().to_list()})


def reach(edges: pl.DataFrame, ks: Sequence[int]) -> int:
    """The largest of some numbers of edges that a page has room for; the smallest has room always."""
    for k in sorted(ks, reverse=True):
        if edges.filter(pl.col("rank") <= k).select("task", "pair", "source", "target").n_unique() <= MOST:
            return k
    return min(ks)


def written(data: ReportData, edges: pl.DataFrame, *, layout: Layout, shown: int) -> str:
    """JSON for the script, in which no text can end the element that it stands in.

    Args:
        data: The run.
        edges: Its table `edges`.
        layout: Where the nodes are.
        shown: Number of edges of each model at first.
    """
    ks = chosen(data)
    largest = min(reach(edges, [shown, *ks]), max(edges.select(pl.col("rank").max()).item() or 1, shown))
    roles = data.table("edge_roles")
    at: dict[tuple[str, str], int] = {}
    panels = []
    for task, pair, rows in panels_of(edges):
        found = circuit.edges_of(rows, k=largest)
        for edge in found:
            at.setdefault((edge.source, edge.target), len(at))
        panels.append(
            {
                "task": visible(task),
                "pair": visible(pair),
                "models": _models(rows),
                "rows": [_row(at[edge.source, edge.target], edge) for edge in found],
                "scores": _scores(rows, {edge.source for edge in found}),
                "byRole": _by_role(roles, task, pair, found, at),
            }
        )
    names = sorted({name for edge in at for name in edge})
    number = {name: place for place, name in enumerate(names)}
    content = {
        "k": shown,
        "ks": [k for k in ks if k <= largest],
        "left": [k for k in ks if k > largest],
        "largest": largest,
        "width": layout.width,
        "height": layout.height,
        "dense": layout.dense,
        "sources": edges["source"].n_unique(),
        "names": [visible(name) for name in names],
        "edges": [[number[source], number[target], route(layout, source, target)] for source, target in at],
        "spots": [_spot(spot, number) for spot in spots_of(layout, names)],
        "panels": panels,
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPED)


def _models(rows: pl.DataFrame) -> list[str]:
    if "model" not in rows.columns:
        return list(_SIDES)
    return [visible(str(next(iter(rows.filter(pl.col("side") == side)["model"]), side))) for side in _SIDES]


def _row(place: int, edge: circuit.Edge) -> Row:
    return [place, edge.rank_before or 0, _rounded(edge.before), edge.rank_after or 0, _rounded(edge.after)]


def _scores(rows: pl.DataFrame, sources: set[str]) -> dict[str, Row]:
    """Source -> sum of the scores of its outgoing edges and its rank by magnitude, before and after."""
    found: dict[str, Row] = {name: [None, 0, None, 0] for name in sorted(sources)}
    sums = rows.group_by("side", "source").agg(pl.col("score").sum())
    for place, side in enumerate(_SIDES):
        # Equal magnitudes share the better rank, so that the order of rows decides nothing.
        ranked = sums.filter(pl.col("side") == side).with_columns(
            rank=pl.col("score").abs().rank("min", descending=True).cast(pl.Int64)
        )
        for source, score, rank in ranked.select("source", "score", "rank").rows():
            if source in found:
                found[source][2 * place : 2 * place + 2] = [_rounded(score), rank]
    return {visible(name): row for name, row in found.items()}


def _by_role(
    roles: pl.DataFrame | None,
    task: str,
    pair: str,
    edges: Iterable[circuit.Edge],
    at: dict[tuple[str, str], int],
) -> dict[str, object]:
    """Token roles, and for each of the strongest edges its scores by role, before and after."""
    strong = {(edge.source, edge.target) for edge in edges if edge.fate_at(BY_ROLE)}
    if roles is None:
        return {"roles": [], "edges": {}}
    rows = roles.filter((pl.col("task") == task) & (pl.col("pair") == pair) & pl.col("score").is_not_null())
    names = in_order(rows, "token_role")
    column = {name: place for place, name in enumerate(names)}
    found: dict[int, list[Row]] = {}
    for side, role, source, target, score in rows.select("side", "token_role", "source", "target", "score").rows():
        if side in _SIDES and (source, target) in strong:
            own = found.setdefault(at[source, target], [[None] * len(names) for _ in _SIDES])
            own[_SIDES.index(side)][column[role]] = _rounded(score, digits=3)
    return {"roles": [visible(name) for name in names], "edges": {str(key): found[key] for key in sorted(found)}}


def _spot(spot: Spot, number: dict[str, int]) -> Row:
    sizes = [round(value, 1) for value in (spot.x, spot.y, spot.width, spot.height)]
    nodes = [[number[name] for name in names] for names in (spot.shown_by, spot.names)]
    return [spot.label, spot.words, spot.layer, spot.kind, *sizes, spot.tie, *nodes]


def _rounded(value: float | None, *, digits: int = 4) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")
