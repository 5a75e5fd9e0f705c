"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, PAIR, REAL, SIDES, TASK, TEXT, Column, Tables

TABLES: Tables = {
    "attention": PAIR
    | SIDES
    | TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "layer": Column(INTEGER, "layer of the head"),
        "head": Column(INTEGER, "number of the head; null for the mean over the layer's heads"),
        "from_role": Column(TEXT, "role of the tokens that look, or (read): the position read"),
        "to_role": Column(
            TEXT, "role of the tokens looked at, or where they stand: (left), (self) or (right) of the one that looks"
        ),
        "mass": Column(
            REAL,
            "attention to all of these tokens together, mean over the tokens that look and over the examples that have "
            "such; it sums to 1 over the roles, and over the three directions",
        ),
        "uniform": Column(REAL, "the same of attention that is spread evenly over all visible tokens"),
        "n": Column(INTEGER, "number of examples"),
        "p_corrected": Column(
            REAL,
            "of a head's shift from (read): two-sided p-value, Benjamini-Hochberg over all heads and to_roles of the "
            "pair and task; null elsewhere and where the change has no spread",
        ),
    }
    | INTERVAL,
    "attention_parts": PAIR
    | SIDES
    | TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "part": Column(TEXT, "what is looked at: prompt, revealed (tokens of the answer) or masked (ones)"),
        "mass": Column(REAL, "attention from the position read to all of these, mean over heads and examples"),
        "uniform": Column(REAL, "the same of attention that is spread evenly over all visible tokens"),
        "n": Column(INTEGER, "number of examples"),
    }
    | INTERVAL,
}
