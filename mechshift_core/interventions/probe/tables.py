"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, PAIR, REAL, SIDES, TASK, TEXT, Column, Tables

TABLES: Tables = {
    "probes": PAIR
    | SIDES
    | TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "variable": Column(
            TEXT, "what is read off: answer, template, a token role (its first token), denoising_step or mask_fraction"
        ),
        "layer": Column(INTEGER, "block that reads the residual stream; the number of layers for the final norm"),
        "accuracy": Column(
            REAL,
            "share of the examples whose value the probe of the other folds says; of a variable of the denoising the "
            "share of an example's states, mean over examples (shift: difference of shares)",
        ),
        "control": Column(REAL, "the same with labels shuffled over the examples, mean over the shuffles"),
        "majority": Column(REAL, "share of the most frequent value"),
        "classes": Column(INTEGER, "number of values"),
        "n": Column(INTEGER, "number of examples with a value that is frequent enough"),
        "status": Column(TEXT, "ok, or why a number is missing"),
    }
    | INTERVAL,
}
