"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, PAIR, REAL, SIDES, TASK, TEXT, TRUTH, Column, Tables

TABLES: Tables = {
    "targeted": PAIR
    | SIDES
    | TASK
    | {
        "intervention": Column(TEXT, "name of the targeted ablation in the spec"),
        "ablation": Column(TEXT, "what takes the place of a component's output: mean, zero, resample, counterfactual"),
        "layers": Column(
            TEXT, "where the group is from: early, middle or late layers, or random (anywhere, all draws)"
        ),
        "target": Column(TRUTH, "whether this is the group that the spec aims at"),
        "size": Column(INTEGER, "number of components in the group"),
        "components": Column(TEXT, "its components, joined by spaces: those that were knocked out in any fold"),
        "effect": Column(
            REAL,
            "clean metric minus the metric without the group, mean over the selected examples (random: and over draws)",
        ),
        "beyond": Column(REAL, "effect of the group aimed at minus that of this one, paired; null for itself"),
        "beyond_low": Column(REAL, "lower end of its interval"),
        "beyond_high": Column(REAL, "upper end of its interval"),
        "p": Column(
            REAL,
            "random: (1 + draws whose effect is at least that of the group aimed at) / (1 + draws); null elsewhere",
        ),
        "n": Column(INTEGER, "number of examples"),
        "status": Column(TEXT, "ok, or why a number is missing"),
    }
    | INTERVAL,
}
