"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, MODEL, PAIR, REAL, TASK, TEXT, Column, Tables

TABLES: Tables = {
    "edges": PAIR
    | MODEL
    | TASK
    | {
        "source": Column(TEXT, "node that writes: input, a{l}.h{h}, m{l}"),
        "target": Column(TEXT, "node that reads: a{l}.h{h}<q>, a{l}.kv{j}<k>, a{l}.kv{j}<v>, m{l}, logits"),
        "kind": Column(TEXT, "source kind and receiver kind, e.g. head->q"),
        "source_layer": Column(INTEGER, "layer of the source; -1 for the input"),
        "target_layer": Column(INTEGER, "layer of the receiver; the number of layers for the logits"),
        "score": Column(REAL, "attribution score, mean over the selected examples"),
        "rank": Column(INTEGER, "rank by magnitude, 1 is the largest; null where the score is 0"),
    },
    "edge_scores": {"model": MODEL["model"]}
    | TASK
    | {
        "cell": Column(TEXT, "cell that holds the scores"),
        "path": Column(
            TEXT,
            "safetensors file, relative to the run directory; tensor `scores`, [examples, edges]; with two or more "
            "`draws` also `draw_variance`, the variance of one draw's",
        ),
        "examples": Column(INTEGER, "number of examples"),
        "edges": Column(INTEGER, "number of edges"),
    },
    "edge_roles": PAIR
    | MODEL
    | TASK
    | {
        "token_role": Column(TEXT, "role of the positions, e.g. s1, end, mask"),
        "source": Column(TEXT, "node that writes"),
        "target": Column(TEXT, "node that reads"),
        "score": Column(
            REAL,
            "part of the edge's score from these positions, mean over the selected examples; only the 1,000 edges "
            "with the largest sum of magnitudes over roles",
        ),
    },
}
