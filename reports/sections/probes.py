"""Section 8: what linear probes read off the residual stream, layer by layer, before and after."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import sides
from reports.figures import token_roles as drawings
from reports.figures.base import Figure, Panel
from reports.sections.base import Part, Section
from reports.templating import render_template

DRAWS = ("probes",)
"""Tables and measures that this section draws."""

_FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "variable": tables.text("variable"),
    "layer": tables.whole("layer"),
    "accuracy": tables.share("accuracy"),
    "low": tables.share("low"),
    "high": tables.share("high"),
    "control": tables.share("shuffled labels"),
    "majority": tables.share("most frequent value"),
    "classes": tables.whole("values"),
    "n": tables.whole("n"),
}
_EXPLAINED = (
    "A logistic regression reads a variable of the task off the residual stream at the position at which the answer is "
    "read, trained and asked on different prompts. What a state of the denoising is, its step or the share that is "
    "masked, is read in every state of each prompt, all states of a prompt in one fold. A probe shows what is there in "
    "a linear form, not whether the model uses it. The same procedure on shuffled labels says what the number of "
    "prompts and activations gives away by itself."
)


def section(data: ReportData) -> Section | None:
    """Accuracy by layer for each variable; None where nothing was probed for."""
    found = data.table("probes")
    if found is None:
        return None
    part = Part(paragraphs=(_EXPLAINED,), figure=figure(found))
    return Section(id="probes", title="Probes", body=render_template("parts", parts=[part]))


def figure(rows: pl.DataFrame) -> Figure:
    """For each task and pair a drawing for each variable.

    Args:
        rows: Rows of the table `probes`.
    """
    models = rows.filter(pl.col("side").is_in(list(sides.SIDES)))
    measured = models.filter(pl.col("accuracy").is_not_null())
    panels = []
    for task, pair, one in panels_of(models):
        known = one.filter(pl.col("accuracy").is_not_null())
        drawn = [
            _variable(known.filter(pl.col("variable") == name), name=name, where=f"{task}, {pair}")
            for name in in_order(known, "variable")
        ]
        lacking = one.filter(pl.col("accuracy").is_null())
        names = in_order(lacking.filter(pl.col("variable").is_not_null()), "variable")
        notes = [f"Not probed for: {formats.listed(names)}."] if names else []
        notes += [f"{row['side']}: {row['status']}." for row in lacking.rows(named=True) if row["variable"] is None]
        panels.append(Panel(title=task, subtitle=pair, drawings=tuple(drawn), note=" ".join(notes)))
    return Figure(
        id="figure-probes",
        caption=(
            "Accuracy of a probe by layer, from the stream that the first block reads (L0) to the one that the final "
            "norm reads, before and after. Read it against shuffled labels and the share of the most frequent value, "
            "which the table has."
        ),
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=sides.keys(line=False),
        tables=(tables.from_frame("Accuracy of probes", measured, _FIELDS),),
    )


def _variable(rows: pl.DataFrame, *, name: str, where: str) -> Markup:
    values = {
        side: {
            f"L{layer}": share
            for layer, share in rows.filter(pl.col("side") == side).select("layer", "accuracy").rows()
        }
        for side in sides.SIDES
    }
    layers = [f"L{layer}" for layer in sorted(rows["layer"].unique().to_list())]
    words = [
        f"{layer} {' to '.join(formats.percent(values[side].get(layer)) for side in sides.SIDES)}" for layer in layers
    ]
    label = f"Accuracy of a probe for {name} by layer before and after, {where}: {formats.listed(words)}."
    return drawings.shares(values, roles=layers[::-1], top=1.0, label=label, title=f"accuracy, {name}")
