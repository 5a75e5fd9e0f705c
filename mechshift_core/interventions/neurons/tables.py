"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, MODEL, PAIR, REAL, TASK, TEXT, Column, Tables

TABLES: Tables = {
    "neurons": PAIR
    | MODEL
    | TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "layer": Column(INTEGER, "layer of the MLP"),
        "neuron": Column(INTEGER, "number of the neuron"),
        "rank": Column(INTEGER, "1 is the strongest on the half of the examples that chooses"),
        "score": Column(REAL, "what corrupting it costs, to first order; mean over the other half"),
        "p_corrected": Column(REAL, "of the score against 0, Benjamini-Hochberg over the listed neurons of the side"),
        "partner": Column(REAL, "score of the same neuron in the other model of the pair"),
        "tokens": Column(TEXT, "tokens at which it is most active in the ten examples that drive it most"),
        "example": Column(INTEGER, "the example that drives it most"),
        "answer": Column(TEXT, "answer that it is most active for; null where answers do not repeat"),
        "selectivity": Column(REAL, "(activity for that answer - mean for others) / their sum, cross-fitted"),
        "selectivity_null": Column(REAL, "mean with the answers permuted over the examples"),
        "selectivity_p": Column(REAL, "one-sided permutation p, not corrected"),
        "n": Column(INTEGER, "number of examples of the half that scores"),
    }
    | INTERVAL,
}
