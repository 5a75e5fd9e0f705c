"""Section 6, fifth part: which answers are overwritten over the denoising steps, and how far confidence is right."""

from __future__ import annotations

import polars as pl

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import paths as drawings
from reports.figures import sides
from reports.figures.base import Figure, Panel
from reports.sections.base import Part, Section
from reports.sections.lens import WHERE
from reports.templating import render_template

DRAWS = ("answer_paths", "confidence", "reliability")
"""Tables and measures that this section draws."""

OUTCOMES = WHERE | {
    "outcome": tables.text("answer"),
    "share": tables.share("share of prompts"),
    "low": tables.share("low"),
    "high": tables.share("high"),
    "n": tables.whole("n"),
}
STEPS = WHERE | {
    "step": tables.whole("step"),
    "accuracy": tables.share("accuracy"),
    "confidence": tables.share("confidence"),
    "brier": tables.real("Brier score"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "ece": tables.real("calibration error"),
    "null": tables.real("of a calibrated model"),
    "null_high": tables.real("its 97.5 %"),
    "n": tables.whole("n"),
}
BINS = WHERE | {
    "step": tables.whole("step"),
    "bin": tables.whole("bin"),
    "confidence": tables.share("confidence"),
    "accuracy": tables.share("accuracy"),
    "low": tables.share("low"),
    "high": tables.share("high"),
    "n": tables.whole("n"),
}
_EXPLAINED = (
    "In every denoising step the most likely token is what the model would answer then. An answer is overwritten where "
    "it is right at some step and wrong at the last, corrected where it is wrong at some step and right at the last. "
    "All prompts count, also those that the study does not select: among prompts that are selected for being answered "
    "correctly nothing is overwritten."
)
_CALIBRATION = (
    "A model is calibrated if a share p is right of the answers that it gives with probability p. Its calibration "
    "error is above zero for every finite number of prompts; it says something only where it is above what a perfectly "
    "calibrated model has on as many prompts. The Brier score is the squared distance of the whole distribution from "
    "the answer, 0 where the model is sure and right, 2 where it is sure and wrong."
)


def section(data: ReportData) -> Section | None:
    """A figure for each such intervention; None where there is none."""
    steps = data.table("confidence")
    if steps is None:
        return None
    found = {name: data.table(name) for name in ("answer_paths", "reliability")}
    parts = []
    for number, name in enumerate(in_order(steps, "intervention")):
        own = {
            key: None if frame is None else frame.filter(pl.col("intervention") == name) for key, frame in found.items()
        }
        drawn = figure(
            steps.filter(pl.col("intervention") == name), own["answer_paths"], own["reliability"], number=number
        )
        several = steps["intervention"].n_unique() > 1
        explained = () if number else (_EXPLAINED, _CALIBRATION)
        parts.append(Part(heading=name if several else "", paragraphs=explained, figure=drawn))
    return Section(id="denoising-paths", title="Denoising paths", body=render_template("parts", parts=parts))


def figure(steps: pl.DataFrame, outcomes: pl.DataFrame | None, bins: pl.DataFrame | None, *, number: int = 0) -> Figure:
    """For each task and pair accuracy and confidence over the steps, and the bins of the first step.

    Args:
        steps: Rows of the table `confidence`.
        outcomes: Rows of `answer_paths`.
        bins: Rows of `reliability`.
        number: Number of the figure.
    """
    panels = []
    for task, pair, rows in panels_of(steps):
        drawn = [drawings.over_steps(rows, label=f"Accuracy over the denoising steps, {task}, {pair}: {_words(rows)}.")]
        first = None if bins is None else _first(bins, task, pair)
        if first is not None:
            words = formats.listed([f"{row['side']} {_bin(row)}" for row in first.rows(named=True)])
            label = f"Accuracy by confidence in the first step, {task}, {pair}: {words}."
            drawn.append(drawings.reliability(first, label=label))
        notes = [] if outcomes is None else _overwritten(outcomes, task, pair)
        notes += [] if first is not None else [f"{text}." for text in in_order(rows, "status") if text != "ok"]
        panels.append(Panel(title=task, subtitle=pair, drawings=tuple(drawn), note=" ".join(notes)))
    listed = [("What becomes of answers over the steps", outcomes, OUTCOMES)]
    listed += [("Confidence and accuracy by step", steps, STEPS), ("Accuracy by confidence", bins, BINS)]
    return Figure(
        id=f"figure-denoising-paths{f'-{number + 1}' if number else ''}",
        caption=(
            "First: share of the prompts whose most likely token is an answer, by denoising step; in grey the mean "
            "probability of that token, above the accuracy where the model is too sure. Second: prompts of the first "
            "step in bins by confidence, with 95 % bands; a calibrated model is on the line."
        ),
        more="Later steps are of fewer prompts, whose answers come later.",
        panels=tuple(panels),
        columns=len(in_order(steps, "pair")),
        legend=(*sides.keys(), drawings.confidence_key()),
        tables=tuple(
            tables.from_frame(caption, frame, fields)
            for caption, frame, fields in listed
            if frame is not None and not frame.is_empty()
        ),
    )


def _first(bins: pl.DataFrame, task: str, pair: str) -> pl.DataFrame | None:
    """The bins of the first step; None where there are none."""
    found = bins.filter((pl.col("task") == task) & (pl.col("pair") == pair) & (pl.col("step") == 1))
    return None if found.is_empty() else found


def _words(rows: pl.DataFrame) -> str:
    return formats.listed(
        [
            f"{side} "
            + ", ".join(
                f"{formats.percent(row['accuracy'])} (confidence {formats.percent(row['confidence'])}) at step "
                f"{row['step']}"
                for row in rows.filter(pl.col("side") == side).sort("step").rows(named=True)
            )
            for side in in_order(rows, "side")
        ]
    )


def _bin(row: dict[str, object]) -> str:
    confidence, accuracy = (formats.percent(row[name]) for name in ("confidence", "accuracy"))  # type: ignore[arg-type]
    return f"{accuracy} at {confidence}"


def _overwritten(outcomes: pl.DataFrame, task: str, pair: str) -> list[str]:
    own = outcomes.filter(
        (pl.col("task") == task) & (pl.col("pair") == pair) & pl.col("outcome").is_in(["overwritten", "corrected"])
    )
    words = {
        outcome: [
            f"{formats.percent(row['share'])} {row['side']}"
            for row in own.filter(pl.col("outcome") == outcome).rows(named=True)
        ]
        for outcome in ("overwritten", "corrected")
    }
    return [f"{outcome.capitalize()}: {formats.listed(said)}." for outcome, said in words.items() if said]
