"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import BUDGET, INTEGER, MODEL, PAIR, REAL, TEXT, Column, Tables

TABLES: Tables = {
    "selectivity": PAIR
    | MODEL
    | BUDGET
    | {
        "component": Column(TEXT, "head a{l}.h{h} or MLP m{l}"),
        "kind": Column(TEXT, "head or mlp"),
        "layer": Column(INTEGER, "layer of the component"),
        "task": Column(TEXT, "task in which the component has the largest share of the effects"),
        "selectivity": Column(
            REAL,
            "(share there - mean share in the other tasks) / their sum, the task chosen on other prompts than the "
            "shares are taken from: 1 is one task only, 0 none in particular",
        ),
        "null": Column(REAL, "mean with the tasks permuted over the prompts"),
        "null_low": Column(REAL, "2.5 % quantile of the null"),
        "null_high": Column(REAL, "97.5 % quantile of the null"),
        "p": Column(REAL, "one-sided permutation p, not corrected"),
        "n": Column(INTEGER, "number of prompts of all tasks"),
    },
}
