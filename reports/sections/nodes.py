"""Section 6, second half: what happens when single heads, MLPs or residual streams are replaced."""

from __future__ import annotations

import math
import re

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import matrix
from reports.figures.base import Figure, Panel
from reports.figures.matrix import Axis, Cell
from reports.figures.sides import SIDES
from reports.sections.base import Part, Section
from reports.sections.specialization import attributed
from reports.templating import render_template

DRAWS = ("components",)
"""Tables and measures that this section draws."""

LISTED = 20
"""Components of each model, task and method that the page lists: those with the largest effects."""
FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "method": tables.text("method"),
    "component": tables.text("component"),
    "token_role": tables.text("token role"),
    "effect": tables.real("effect"),
    "low": tables.real("low"),
    "high": tables.real("high"),
}
_KINDS = {"residual": "residual stream", "mlp": "MLP", "head": "strongest head"}
_WIDTH, _WIDE, _SMALLEST, _LARGEST, _LINE = 200, 270, 6, 24, 15
_HEAD = re.compile(r"a\d+\.h(\d+)$")


def section(data: ReportData) -> Section | None:
    """A grid of effects for each method, of whole components and by token role; None where nothing was replaced."""
    found = data.table("components")
    if found is None or "method" not in found.columns:
        return None
    known = pl.col("kind").is_in(list(_KINDS)) & (pl.col("layer") >= 0) & pl.col("effect").is_not_null()
    measured = found.filter((pl.col("method") != "attribution") & known)
    reference = attributed(found)
    parts: list[Part] = []
    for (method, intervention), rows in _groups(measured):
        shared = measured.filter(pl.col("method") == method)["intervention"].n_unique() > 1
        title = f"{method}, {intervention}" if shared else str(method)
        whole, by_role = rows.filter(pl.col("token_role").is_null()), rows.filter(pl.col("token_role").is_not_null())
        number = sum(part.figure is not None for part in parts) + 1
        if not whole.is_empty():
            figure = component_figure(whole, reference, number=number, title=title)
            parts.append(Part(heading=title[:1].upper() + title[1:], figure=figure))
            number += 1
        if not by_role.is_empty():
            heading = f"{title[:1].upper()}{title[1:]} by token role"
            parts.append(Part(heading=heading, figure=role_figure(by_role, number=number, title=title)))
    if not parts:
        return None
    return Section(
        id="nodes", title="Nodes", body=render_template("parts", parts=[Part(paragraphs=_EXPLAINED), *parts])
    )


_EXPLAINED = (
    "Attribution estimates effects from gradients; here they are measured. A component's effect is the metric of the "
    "untouched run minus the metric of a run in which only this component is replaced: positive where the component "
    "works for the answer, negative where it works against it. Activation patching puts what the component writes on "
    "the corrupted prompt in its place, an ablation what its name says.",
    "Effects of single components do not add up: a component that others stand in for shows no effect, and one that "
    "others depend on shows theirs too.",
)


def component_figure(rows: pl.DataFrame, reference: pl.DataFrame | None, *, number: int, title: str) -> Figure:
    """Layers by components, before and after.

    Args:
        rows: Rows of the table `components` of one method, without token roles.
        reference: The rows of the method attribution, to compare with.
        number: Of the figure within the section.
        title: Method in words.
    """
    heads = [_head(name) for name in rows.filter(pl.col("kind") == "head")["component"].to_list()]
    count = max((head for head in heads if head is not None), default=-1) + 1
    others = [(kind, name) for kind, name in (("mlp", "MLP"), ("residual", "stream")) if kind in set(rows["kind"])]
    size = min(_LARGEST, max(_SMALLEST, _WIDTH / (count + len(others))))
    heads_named = matrix.numbered("h", count, size=size, room=26)
    columns = Axis(names=(*heads_named, *(name for _, name in others)), apart=len(others))
    place = {kind: count + at for at, (kind, _) in enumerate(others)}
    layers = max(rows["layer"].to_list()) + 1
    axis = Axis(names=matrix.numbered("L", layers, size=size, room=13)[::-1])
    panels = []
    for task, pair, one in panels_of(rows):
        cells: dict[str, list[Cell]] = {side: [] for side in SIDES}
        for row in one.filter(pl.col("side").is_in(list(SIDES))).rows(named=True):
            column = _head(row["component"]) if row["kind"] == "head" else place.get(row["kind"])
            if column is not None:
                at = layers - 1 - row["layer"]
                cells[row["side"]].append(Cell(column=column, row=at, value=row["effect"], name=row["component"]))
        drawn = _drawings(cells, columns, axis, size=size, where=f"{title}, {task}, {pair}")
        panels.append(Panel(title=task, subtitle=pair, drawings=drawn, note=_agreement(one, reference, task, pair)))
    return Figure(
        id=f"figure-nodes-{number}",
        caption=(
            f"Effects of {title}, components across and layers upwards. The area of a square is the magnitude of the "
            "effect, on one scale for both models of a panel."
        ),
        more="Effects below 1 % of the largest are not drawn." + _comparison(reference),
        hint="Point at a large square for its number.",
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=matrix.legend(),
        tables=(_largest(rows, title),),
    )


def role_figure(rows: pl.DataFrame, *, number: int, title: str) -> Figure:
    """Token roles by layers, before and after, for each kind of component; the arguments are as above."""
    layers = max(rows["layer"].to_list()) + 1
    size = min(_LARGEST, max(_SMALLEST, _WIDE / layers))
    columns = Axis(names=matrix.numbered("L", layers, size=size, room=24))
    kinds = [kind for kind in _KINDS if kind in set(rows["kind"])]
    panels = []
    for task, pair, one in panels_of(rows):
        drawn: list[Markup] = []
        roles = in_order(one, "token_role")
        for kind in kinds:
            cells: dict[str, list[Cell]] = {side: [] for side in SIDES}
            for row in _strongest(one.filter(pl.col("kind") == kind)).rows(named=True):
                at, name = roles.index(row["token_role"]), f"{row['component']} at {row['token_role']}"
                if row["side"] in SIDES:
                    cells[row["side"]].append(Cell(column=row["layer"], row=at, value=row["effect"], name=name))
            where = f"{title} by token role, {_KINDS[kind]}, {task}, {pair}"
            drawn += _drawings(
                cells,
                columns,
                Axis(names=tuple(roles)),
                size=size,
                pitch=max(size, _LINE),
                where=where,
                title=_KINDS[kind],
            )
        panels.append(Panel(title=task, subtitle=pair, drawings=tuple(drawn)))
    return Figure(
        id=f"figure-nodes-{number}",
        caption=(
            f"Effects of {title} at the tokens of one role only, roles downwards and layers from left to right. A "
            "stream that matters at one role in early layers and at another in late ones shows where information is "
            "moved."
        ),
        more="Of the heads of a layer the one with the largest effect is drawn. Both models share a scale.",
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=matrix.legend(),
        tables=(_largest(rows, f"{title} by token role"),),
    )


def rank_agreement(rows: pl.DataFrame, reference: pl.DataFrame) -> tuple[float, int] | None:
    """Spearman correlation of the magnitudes of the effects that both frames have, and their number.

    None with fewer than three common components, or where one side does not vary.
    """
    both = rows.select("component", "effect").join(reference.select("component", "effect"), on="component")
    both = both.drop_nulls().select(pl.col("effect").abs(), pl.col("effect_right").abs())
    if both.height < 3:
        return None
    value = both.select(pl.corr("effect", "effect_right", method="spearman")).item()
    return (float(value), both.height) if value is not None and math.isfinite(value) else None


def _agreement(rows: pl.DataFrame, reference: pl.DataFrame | None, task: str, pair: str) -> str:
    if reference is None:
        return ""
    same = reference.filter((pl.col("task") == task) & (pl.col("pair") == pair))
    parts, count = [], 0
    for side in SIDES:
        found = rank_agreement(rows.filter(pl.col("side") == side), same.filter(pl.col("side") == side))
        if found is not None:
            parts.append(f"{side} {formats.number(found[0])}")
            count = found[1]
    return (
        f"Rank correlation with attribution: {formats.listed(parts)} ({formats.count(count)} components)."
        if parts
        else ""
    )


def _comparison(reference: pl.DataFrame | None) -> str:
    if reference is None:
        return ""
    return (
        " The rank correlation (Spearman, of the magnitudes) says how far attribution puts the components in the same "
        "order; it describes these components and is no test."
    )


def _drawings(
    cells: dict[str, list[Cell]],
    columns: Axis,
    rows: Axis,
    *,
    size: float,
    where: str,
    title: str = "",
    pitch: float | None = None,
) -> tuple[Markup, ...]:
    top = max((abs(cell.value) for one in cells.values() for cell in one), default=0.0)
    drawn = []
    for side, one in cells.items():
        first = sorted(one, key=lambda cell: -abs(cell.value))[:3]
        words = formats.listed([f"{cell.name} {formats.number(cell.value)}" for cell in first])
        label = f"Effects {side}, {where}; largest: {words or 'none'}."
        drawn.append(
            matrix.draw(
                one,
                columns=columns,
                rows=rows,
                size=size,
                pitch=pitch,
                top=top,
                side=side,
                title=title,
                label=label,
            )
        )
    return tuple(drawn)


def _groups(rows: pl.DataFrame) -> list[tuple[tuple[str, str], pl.DataFrame]]:
    keys = rows.select("method", "intervention").unique(maintain_order=True).rows()
    return [
        ((method, name), rows.filter((pl.col("method") == method) & (pl.col("intervention") == name)))
        for method, name in keys
    ]


def _strongest(rows: pl.DataFrame) -> pl.DataFrame:
    """The row with the largest magnitude of each side, layer and token role."""
    keys = ["side", "layer", "token_role"]
    return rows.sort(pl.col("effect").abs(), descending=True).unique(keys, keep="first", maintain_order=True)


def _largest(rows: pl.DataFrame, title: str) -> tables.Table:
    keys = ["task", "pair", "side"]
    ranked = rows.sort(pl.col("effect").abs(), descending=True, maintain_order=True)
    kept = ranked.group_by(keys, maintain_order=True).head(LISTED)
    ordered = pl.concat(
        [kept.join(key, on=keys) for key in rows.select(keys).unique(maintain_order=True).iter_slices(1)]
    )
    caption = f"Largest effects of {title}, up to {LISTED} of each model and task; the download has all"
    return tables.from_frame(caption, ordered, FIELDS)


def _head(name: str) -> int | None:
    found = _HEAD.match(name)
    return int(found[1]) if found else None
