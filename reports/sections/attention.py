"""Section 7: where heads look before and after, above all at what stands to the right."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import matrix, sides
from reports.figures import token_roles as drawings
from reports.figures.base import Figure, Panel
from reports.figures.matrix import Axis, Cell
from reports.sections.base import Part, Section
from reports.sections.estimates import estimates_tables
from reports.templating import render_template

DRAWS = ("attention", "right_context")
"""Tables and measures that this section draws."""

READ, RIGHT = "(read)", "(right)"
LISTED = 15
"""Heads of each pair and task that are listed: those whose attention changed most."""
_WIDTH, _LARGEST, _SMALLEST = 200, 24, 6
_DIRECTIONS = ("(left)", "(self)", RIGHT)
_TOKENS = "Attention to the right of every token that is no mask, mean over tokens and heads"
_RIGHT = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "layer": tables.whole("layer"),
    "mass": tables.share("attention to the right"),
    "low": tables.share("low"),
    "high": tables.share("high"),
    "uniform": tables.share("if spread evenly"),
}
_CHANGED = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "head": tables.text("head"),
    "to_role": tables.text("looks at"),
    "before": tables.share("before"),
    "after": tables.share("after"),
    "mass": tables.real("change"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "p_corrected": tables.p_values("p, corrected"),
}
_EXPLAINED = (
    "The attention of every head on the clean prompts, from the position at which the answer is read. An "
    "autoregressive model sees nothing to the right of it; a head of a masked diffusion model can look there, and "
    "attention that is spread evenly over all visible tokens already would. Attention says where a head looks, not "
    "what it does with what it finds: effects are measured by replacing heads.",
)


def section(data: ReportData) -> Section | None:
    """Attention to the right by layer, and the heads that changed most; None where attention was not looked at."""
    found = data.table("attention")
    if found is None:
        return None
    rows = found.filter((pl.col("from_role") == READ) & pl.col("mass").is_not_null())
    if rows.is_empty():
        return None
    listed = estimates_tables(_TOKENS, data.findings.estimates, "right_context", null="if spread evenly")
    part = Part(paragraphs=_EXPLAINED, figure=figure(rows, more=listed))
    return Section(id="attention", title="Attention", body=render_template("parts", parts=[part]))


def figure(rows: pl.DataFrame, *, more: tuple[tables.Table, ...] = ()) -> Figure:
    """For each task and pair the attention to the right by layer, and its change by head.

    Args:
        rows: Rows of the table `attention` from the position read.
        more: Tables below those of these rows.
    """
    right = rows.filter(pl.col("to_role") == RIGHT)
    by_layer = right.filter(pl.col("head").is_null())
    models = by_layer.filter(pl.col("side").is_in(list(sides.SIDES)))
    top = 1.05 * max(models["mass"].to_list(), default=0.0) or 1.0
    changed = right.filter(pl.col("head").is_not_null() & (pl.col("side") == "shift"))
    largest = max((abs(value) for value in changed["mass"].to_list()), default=0.0)
    panels = []
    for task, pair, one in panels_of(models):
        here = changed.filter((pl.col("task") == task) & (pl.col("pair") == pair))
        where = f"{task}, {pair}"
        if max(one["mass"].to_list()) == 0:
            note = "Neither model can look to the right."
            panels.append(Panel(title=task, subtitle=pair, drawings=(), note=note))
            continue
        drawn = [_layers(one, top=top, where=where)]
        drawn += [] if here.is_empty() else [_heads(here, top=largest, where=where)]
        panels.append(Panel(title=task, subtitle=pair, drawings=tuple(drawn)))
    return Figure(
        id="figure-attention",
        caption=(
            "Left: attention from the position read to the tokens on its right, mean over the heads of a layer, before "
            "and after. Right: its change in every head, heads across and layers upwards; the area of a square is the "
            "change, filled where the head looks more to the right after."
        ),
        more="Of the heads listed, p is corrected over all heads and all that they look at (Benjamini and Hochberg).",
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=sides.keys(line=False),
        tables=(_by_layer(by_layer), _most_changed(rows), *more),
    )


def _layers(rows: pl.DataFrame, *, top: float, where: str) -> Markup:
    values = {
        side: {f"L{layer}": mass for layer, mass in rows.filter(pl.col("side") == side).select("layer", "mass").rows()}
        for side in sides.SIDES
    }
    names = [f"L{layer}" for layer in sorted(rows["layer"].unique().to_list(), reverse=True)]
    words = [
        f"{name} {' to '.join(formats.percent(values[side].get(name)) for side in sides.SIDES)}" for name in names[::-1]
    ]
    label = f"Attention to the right by layer before and after, {where}: {formats.listed(words)}."
    return drawings.shares(values, roles=names, top=top, label=label, title="attention to the right")


def _heads(rows: pl.DataFrame, *, top: float, where: str) -> Markup:
    layers, heads = (int(max(rows[name].to_list())) + 1 for name in ("layer", "head"))
    size = min(_LARGEST, max(_SMALLEST, _WIDTH / heads))
    cells = [
        Cell(
            column=row["head"], row=layers - 1 - row["layer"], value=row["mass"], name=f"a{row['layer']}.h{row['head']}"
        )
        for row in rows.rows(named=True)
    ]
    most = sorted(cells, key=lambda cell: -abs(cell.value))[:3]
    words = formats.listed([f"{cell.name} {formats.number(cell.value)}" for cell in most])
    return matrix.draw(
        cells,
        columns=Axis(names=matrix.numbered("h", heads, size=size, room=26)),
        rows=Axis(names=matrix.numbered("L", layers, size=size, room=13)[::-1]),
        size=size,
        top=top,
        side="after",
        title="minus before",
        label=f"Change of the attention to the right by head, {where}; largest: {words}.",
    )


def _by_layer(rows: pl.DataFrame) -> tables.Table:
    return tables.from_frame("Attention to the right of the position read, mean over heads", rows, _RIGHT)


def _most_changed(rows: pl.DataFrame) -> tables.Table:
    keys = ["task", "pair", "layer", "head", "to_role"]
    single = rows.filter(pl.col("head").is_not_null() & (~pl.col("to_role").is_in(_DIRECTIONS[:2])))
    shift = single.filter(pl.col("side") == "shift")
    for side in sides.SIDES:
        values = single.filter(pl.col("side") == side).select(*keys, pl.col("mass").alias(side))
        shift = shift.join(values, on=keys, how="left", maintain_order="left")
    place = pl.col("mass").abs().rank("ordinal", descending=True).over("task", "pair")
    kept = shift.filter(place <= LISTED).sort("task", "pair", pl.col("mass").abs(), descending=[False, False, True])
    named = kept.with_columns(head=pl.format("a{}.h{}", "layer", "head"))
    return tables.from_frame(f"The {LISTED} largest changes of each pair and task", named, _CHANGED)
