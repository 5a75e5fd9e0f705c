"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, MODEL, PAIR, REAL, TASK, TEXT, Column, Tables

TABLES: Tables = {
    "lens": PAIR
    | MODEL
    | TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "component": Column(
            TEXT,
            "residual stream x{l} (x{L}, which the final norm reads, gives the model's output), input, head a{l}.h{h}, "
            "MLP m{l}, or bias (what no component writes)",
        ),
        "kind": Column(TEXT, "residual, input, head, mlp or bias"),
        "layer": Column(INTEGER, "layer of the component; -1 for the input, null for bias"),
        "log_prob": Column(
            REAL,
            "ln of the answers' probability where the vector alone is read through final norm and output matrix, mean "
            "over examples (and states); low and high are its interval",
        ),
        "foil_log_prob": Column(REAL, "the same of the foils"),
        "rank": Column(REAL, "rank of the most likely answer, 1 is the first, median over examples"),
        "entropy": Column(REAL, "entropy of the distribution in nats, mean over examples"),
        "top": Column(TEXT, "the tokens that are most often the most likely one, with the share of the examples"),
        "direct": Column(
            REAL,
            "direct logit attribution: what the component adds to the mean logit of the answers minus that of the "
            "foils, before soft-capping, at the final norm's scale of the whole stream; input, heads, MLPs and bias "
            "sum to the difference; null for streams",
        ),
        "direct_low": Column(REAL, "lower end of its interval"),
        "direct_high": Column(REAL, "upper end of its interval"),
        "n": Column(INTEGER, "number of examples"),
    }
    | INTERVAL,
    "denoising": PAIR
    | MODEL
    | TASK
    | {
        "step": Column(
            INTEGER, "denoising step of those that the budget has, 1 is the first; the answer is hidden in each"
        ),
        "component": Column(TEXT, "residual stream x{l} that is read through the logit lens"),
        "layer": Column(INTEGER, "its layer"),
        "log_prob": Column(REAL, "ln of the answers' probability, mean over the examples that have the step"),
        "rank": Column(REAL, "rank of the most likely answer, median over the same"),
        "correct": Column(REAL, "share of the same whose most likely token is an answer"),
        "decided": Column(REAL, "share of all selected examples whose answer is right from this step, or before, on"),
        "n": Column(INTEGER, "number of examples that have the step"),
    }
    | INTERVAL,
}
