"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, MODEL, PAIR, REAL, TASK, TEXT, Column, Tables

TABLES: Tables = {
    "faithfulness": PAIR
    | MODEL
    | TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "ablation": Column(TEXT, "what edges outside of the circuit carry: counterfactual, mean, zero or resample"),
        "circuit": Column(TEXT, "own, partner (ranked on the other model's scores) or random (like own, all draws)"),
        "percent": Column(REAL, "size of the circuit in percent of the edges, as in the spec"),
        "edges": Column(INTEGER, "size of the circuit, mean over folds: of edges with a score other than 0"),
        "live_edges": Column(INTEGER, "edges on a path from the input to the logits, mean over folds (and draws)"),
        "metric": Column(REAL, "metric with only the circuit intact, mean over examples (and draws)"),
        "faithfulness": Column(
            REAL, "(metric - empty) / (full - empty); random: mean over draws; null where undefined"
        ),
        "low": Column(REAL, "lower end of the interval; random: smallest of the draws"),
        "high": Column(REAL, "upper end of the interval; random: largest of the draws"),
        "n": Column(INTEGER, "number of examples"),
        "status": Column(TEXT, "ok, or why a number is missing"),
    },
}
