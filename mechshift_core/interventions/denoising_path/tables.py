"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, MODEL, PAIR, REAL, TASK, TEXT, Column, Tables

_WHERE = {
    "intervention": Column(TEXT, "name of the intervention in the spec"),
    "step": Column(
        INTEGER, "denoising step of those that the budget has, 1 is the first; the answer is hidden in each"
    ),
}

TABLES: Tables = {
    "answer_paths": PAIR
    | MODEL
    | TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "outcome": Column(
            TEXT,
            "what becomes of the answer over the steps: kept (right at every step), corrected (wrong at some, right at "
            "the last), overwritten (right at some, wrong at the last) or never (right)",
        ),
        "share": Column(REAL, "share of all prompts; low and high: 95 % band"),
        "n": Column(INTEGER, "number of prompts"),
    }
    | INTERVAL,
    "confidence": PAIR
    | MODEL
    | TASK
    | _WHERE
    | {
        "accuracy": Column(REAL, "share of the prompts that have the step whose most likely token is an answer"),
        "confidence": Column(REAL, "mean probability of the most likely token"),
        "gap": Column(REAL, "confidence minus accuracy: above 0 the model is too sure"),
        "gap_low": Column(REAL, "lower end of its interval"),
        "gap_high": Column(REAL, "upper end of its interval"),
        "brier": Column(
            REAL,
            "mean Brier score: squared distance of the distribution from the answer, 0 to 2; low and high are its "
            "interval",
        ),
        "ece": Column(
            REAL, "expected calibration error in bins of equal numbers; null where answers are sets of tokens"
        ),
        "squared": Column(REAL, "squared calibration error without the bias of small bins; may be negative"),
        "null": Column(
            REAL,
            "mean calibration error of a perfectly calibrated model on as many prompts (of random templates: of "
            "deviations as large, of either sign for all prompts of a template; null with fewer than five)",
        ),
        "null_low": Column(REAL, "lower end of the middle 95 % of its values"),
        "null_high": Column(REAL, "upper end of them"),
        "n": Column(INTEGER, "number of prompts that have the step"),
        "status": Column(TEXT, "ok, or why there is no calibration error"),
    }
    | INTERVAL,
    "reliability": PAIR
    | MODEL
    | TASK
    | _WHERE
    | {
        "bin": Column(INTEGER, "bin of prompts, by confidence; 1 has the least"),
        "confidence": Column(REAL, "mean probability of the most likely token in the bin"),
        "accuracy": Column(REAL, "share of the bin whose most likely token is an answer; low and high: 95 % band"),
        "n": Column(INTEGER, "number of prompts in the bin"),
    }
    | INTERVAL,
}
