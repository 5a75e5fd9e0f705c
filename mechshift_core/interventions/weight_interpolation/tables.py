"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, MODEL, PAIR, REAL, TASK, TEXT, Column, Tables

TABLES: Tables = {
    "weight_path": PAIR
    | MODEL
    | TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "paradigm": Column(
            TEXT, "how all points are read, as `model` is: autoregressive (causal) or masked_diffusion (bidirectional)"
        ),
        "point": Column(REAL, "share of the weights of the model after: 0 is the model before, 1 the model after"),
        "loss": Column(
            REAL,
            "-ln of the probability of all answers, mean over the selected examples (and states); low and high are its "
            "interval",
        ),
        "metric": Column(REAL, "the task's metric, mean over the same"),
        "accuracy": Column(REAL, "share of the same whose most likely token is an answer"),
        "excess": Column(REAL, "loss minus what the straight line between the losses of the two ends has at the point"),
        "excess_low": Column(REAL, "lower end of its interval"),
        "excess_high": Column(REAL, "upper end of its interval"),
        "n": Column(INTEGER, "number of examples"),
        "status": Column(TEXT, "ok, or why there are no numbers"),
    }
    | INTERVAL,
}
