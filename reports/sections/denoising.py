"""Section 6, fourth part: from which denoising step on the answer is decided."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import lens as drawings
from reports.figures import matrix, sides
from reports.figures.base import Figure, Panel
from reports.figures.matrix import Axis, Cell
from reports.sections.base import Part, Section
from reports.sections.lens import WHERE, estimates_of, observed, of_panel
from reports.sections.specialization import shift_note
from reports.templating import render_template

DRAWS = ("denoising", "decision_time")
"""Tables and measures that this section draws."""

STEPS = WHERE | {
    "step": tables.whole("step"),
    "component": tables.text("stream"),
    "log_prob": tables.real("ln probability"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "rank": tables.Field(label="rank", write=formats.compact, numeric=True),
    "correct": tables.share("correct"),
    "decided": tables.share("decided"),
    "n": tables.whole("n"),
}
_WIDTH, _LARGEST, _SMALLEST = 150, 22, 8
_STEPS = (
    "An answer is decided at the step from which it stays the most likely token; the decision time is the share of the "
    "steps before it, 0 where it is decided from the start. Its null keeps the last step and how often the answer is "
    "right, and permutes the other steps. An autoregressive model is read in the same steps, masks included."
)
_ONE_STEP = (
    "every answer is read in a single denoising step: nothing varies over steps, and no answer has a decision time"
)


def section(data: ReportData) -> Section | None:
    """Decisions over denoising steps, or that there is but one; None where no lens was read."""
    steps = data.table("denoising")
    if steps is None:
        return None
    part = _part(steps, estimates_of(data.findings.estimates, "decision_time"))
    return Section(id="denoising", title="Denoising steps", body=render_template("parts", parts=[part]))


def _part(steps: pl.DataFrame, times: pl.DataFrame) -> Part:
    varying = [(task, pair) for task, pair, rows in panels_of(steps) if rows["step"].max() != 1]
    fixed = list(dict.fromkeys(task for task, pair, _ in panels_of(steps) if (task, pair) not in varying))
    if not varying:
        return Part(paragraphs=(f"In this run {_ONE_STEP}.",))
    said = [_STEPS] + ([f"On {formats.listed(fixed)} {_ONE_STEP}."] if fixed else [])
    return Part(paragraphs=tuple(said), figure=denoising_figure(steps, times, varying=varying))


def denoising_figure(steps: pl.DataFrame, times: pl.DataFrame, *, varying: Sequence[tuple[str, str]]) -> Figure:
    """For each task and pair with several steps: decided shares, correctness by layer and step, the decision time."""
    panels, kept = [], []
    for task, pair, rows in panels_of(steps):
        if (task, pair) not in varying:
            continue
        kept.append(rows)
        last = rows.filter(pl.col("layer") == rows["layer"].max())
        label = f"Share of prompts decided over the denoising steps, {task}, {pair}: {_decided_words(last)}."
        drawn = [drawings.decisions(last, label=label)]
        drawn += [
            _grid(one, side=side, where=f"{task}, {pair}")
            for side in in_order(rows, "side")
            if not (one := rows.filter(pl.col("side") == side)).is_empty()
        ]
        values = of_panel(times, task, pair)
        if not values.is_empty():
            drawn.append(observed(values, times, "decision time", task, pair))
        panels.append(Panel(title=task, subtitle=pair, drawings=tuple(drawn), note=shift_note(values)))
    shown = pl.concat(kept)
    return Figure(
        id="figure-denoising",
        caption=(
            "First: share of the prompts whose answer is decided by each denoising step. Squares: share of the prompts "
            "for which a stream (upwards) already has an answer as its most likely token at a step (from left to "
            "right); a full square is all of them. Last: the decision time, beside its null."
        ),
        more=(
            "Streams are read through the lens. Prompts whose answer comes early in the order have fewer steps; the "
            "table says how many prompts a step has."
        ),
        panels=tuple(panels),
        columns=len(in_order(shown, "pair")),
        legend=(*sides.keys(), drawings.null_key("null: steps in random order")),
        tables=(tables.from_frame("Residual streams over denoising steps", shown, STEPS),),
    )


def _grid(rows: pl.DataFrame, *, side: str, where: str) -> Markup:
    steps, layers = sorted(set(rows["step"].to_list())), sorted(set(rows["layer"].to_list()))
    size = min(_LARGEST, max(_SMALLEST, _WIDTH / max(len(steps), len(layers))))
    cells = [
        Cell(
            column=steps.index(row["step"]),
            row=len(layers) - 1 - layers.index(row["layer"]),
            value=row["correct"],
            name=f"{row['component']} at step {row['step']}",
        )
        for row in rows.filter(pl.col("correct").is_not_null()).rows(named=True)
    ]
    final = [
        formats.percent(row["correct"])
        for row in rows.filter(pl.col("layer") == layers[-1]).sort("step").rows(named=True)
    ]
    columns = tuple(
        name[1:] and str(int(name[1:]) + 1) for name in matrix.numbered("s", len(steps), size=size, room=20)
    )
    return matrix.draw(
        cells,
        columns=Axis(names=columns),
        rows=Axis(names=matrix.numbered("x", len(layers), size=size, room=13)[::-1]),
        size=size,
        top=1.0,
        side=side,
        label=f"Share of correct answers by stream and step {side}, {where}; in the output {formats.listed(final)}.",
    )


def _decided_words(rows: pl.DataFrame) -> str:
    parts = []
    for side in in_order(rows, "side"):
        own = rows.filter(pl.col("side") == side).sort("step")
        words = [f"{formats.percent(row['decided'])} by step {row['step']}" for row in own.rows(named=True)]
        parts.append(f"{side} {', '.join(words)}")
    return formats.listed(parts)
