"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, PAIR, REAL, TASK, TEXT, Column, Tables

TABLES: Tables = {
    "layers": PAIR
    | TASK
    | {
        "side": Column(TEXT, "before, after, or shift (after minus before, paired)"),
        "layer": Column(INTEGER, "layer of the edges' sources"),
        "depth": Column(REAL, "layer scaled to [-1/2, 1/2]"),
        "share": Column(REAL, "share of the attribution mass, mean over examples (shift: difference of shares)"),
        "n": Column(INTEGER, "number of examples"),
    }
    | INTERVAL,
}
