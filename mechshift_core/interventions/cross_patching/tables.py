"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, MODEL, PAIR, REAL, TASK, TEXT, Column, Tables

TABLES: Tables = {
    "cross_patching": PAIR
    | MODEL
    | TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "donor": Column(TEXT, "the model whose activations are put in; `model` and `side` are of the one that is run"),
        "component": Column(
            TEXT,
            "head a{l}.h{h}, all of a layer's attention a{l}, MLP m{l}, residual stream x{l}; heads, attention, mlps "
            "or residual for all of a kind together; counted for those that hypotheses are about",
        ),
        "kind": Column(TEXT, "head, attention, mlp, residual, or pooled"),
        "layer": Column(INTEGER, "layer of the component; null where it is several"),
        "token_role": Column(TEXT, "token role at whose positions it is patched; null: all"),
        "restored_own": Column(
            REAL,
            "metric with the model's own clean output in its corrupted run, minus that of the corrupted run, mean over "
            "the examples; pooled: null",
        ),
        "restored_cross": Column(REAL, "the same with the donor's output on the clean prompt"),
        "restored_floor": Column(
            REAL, "the same with the donor's output on the corrupted prompt: what losing the own output does by itself"
        ),
        "use": Column(
            REAL,
            "(restored_cross - restored_floor) / restored_own; pooled: slope of the one on the other over the "
            "components, through the origin; null where the own output restores nothing that clears 0",
        ),
        "use_low": Column(REAL, "lower end of its interval"),
        "use_high": Column(REAL, "upper end of its interval"),
        "cost": Column(
            REAL,
            "(clean metric - metric of the clean run with the donor's output) / (clean metric - corrupted metric); "
            "pooled: mean over the components",
        ),
        "cost_low": Column(REAL, "lower end of its interval"),
        "cost_high": Column(REAL, "upper end of its interval"),
        "shared": Column(REAL, "share of the positions that the donor reads too, which alone are patched"),
        "n": Column(INTEGER, "number of examples"),
        "status": Column(TEXT, "ok, or why a number is missing"),
    },
}
