"""Section 6, part on pairs: what each model can use of the other's activations, component by component and by role."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import matrix, sides
from reports.figures.base import Figure, Key, Panel
from reports.figures.matrix import Axis, Cell
from reports.figures.sides import SIDES
from reports.sections.base import Part, Section
from reports.sections.estimates import estimates_tables
from reports.templating import render_template

USE, COST = "cross_patching_use", "cross_patching_cost"
DRAWS = ("cross_patching", USE, COST)
"""Tables and measures that this section draws."""

LISTED = 20
"""Components of each model and task that the page lists: those whose own output restores most."""
_KINDS = {"residual": "stream", "attention": "attention", "mlp": "MLP", "head": "strongest head"}
_WIDTH, _WIDE, _SMALLEST, _LARGEST, _LINE = 200, 270, 6, 24, 15
_FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("into"),
    "component": tables.text("component"),
    "token_role": tables.text("token role"),
    "restored_own": tables.real("own restores"),
    "restored_cross": tables.real("other restores"),
    "restored_floor": tables.real("other, corrupted"),
    "use": tables.real("use"),
    "use_low": tables.real("low"),
    "use_high": tables.real("high"),
    "cost": tables.real("cost"),
    "cost_low": tables.real("low"),
    "cost_high": tables.real("high"),
    "shared": tables.share("positions"),
    "status": tables.text("status"),
}
_EXPLAINED = (
    "Both models read the same prompts. What a component of the one writes takes the place of its counterpart's output "
    "in the other: before is what the model before does with activations of the model after, after the reverse. Use "
    "compares the run on the corrupted prompt with the other model's output on the clean prompt and with its output on "
    "the corrupted one. The change of the metric between the two is what the other model's output says of the prompt "
    "in terms that this model reads; use is its share of the change that the model's own output makes. It is 1 where "
    "the other model's output serves as well, and 0 where this model can't read it.",
    "Cost is what the clean run loses with the other model's output, as a share of what corrupting the prompt costs. "
    "Pairs of role unrelated show the level of models that share nothing but their shape.",
)


def section(data: ReportData) -> Section | None:
    """Pooled use, a grid of components and one of token roles, for each intervention; None where there was none."""
    found = data.table("cross_patching")
    if found is None:
        return None
    parts = [Part(paragraphs=_EXPLAINED)]
    for number, name in enumerate(in_order(found, "intervention"), start=1):
        rows = found.filter(pl.col("intervention") == name)
        more = tuple(
            table
            for measure, caption in ((USE, "Use over components"), (COST, "Cost, mean over components"))
            for table in estimates_tables(caption, data.findings.estimates, measure, intervention=name)
        )
        parts.append(Part(heading=name if number > 1 else "", figure=figure(rows, number=number, more=more)))
        by_role = rows.filter(pl.col("token_role").is_not_null() & (pl.col("kind") != "pooled"))
        if not by_role.is_empty():
            parts.append(Part(heading="By token role", figure=role_figure(by_role, number=number)))
    return Section(
        id="cross-patching", title="The other model's activations", body=render_template("parts", parts=parts)
    )


def figure(rows: pl.DataFrame, *, number: int, more: tuple[tables.Table, ...] = ()) -> Figure:
    """For each task and pair the use of all components together, and of every one.

    Args:
        rows: Rows of the table `cross_patching` of one intervention.
        number: Of the figure within the section.
        more: Tables below that of these rows.
    """
    whole = rows.filter(pl.col("token_role").is_null())
    pooled = _observed(whole.filter(pl.col("component") == "counted"))
    single = whole.filter(pl.col("kind").is_in(list(_KINDS)))
    count = 1 + max([_head(name) for name in single.filter(pl.col("kind") == "head")["component"]], default=-1)
    others = [kind for kind in ("attention", "mlp", "residual") if kind in set(single["kind"])]
    size = min(_LARGEST, max(_SMALLEST, _WIDTH / max(1, count + len(others))))
    columns = Axis(
        names=(*matrix.numbered("h", count, size=size, room=26), *(_KINDS[kind] for kind in others)), apart=len(others)
    )
    place = {kind: count + at for at, kind in enumerate(others)}
    layers = 1 + max(single["layer"].drop_nulls().to_list(), default=0)
    axis = Axis(names=matrix.numbered("L", layers, size=size, room=13)[::-1])
    panels = []
    for task, pair, one in panels_of(whole):
        cells: dict[str, list[Cell]] = {side: [] for side in SIDES}
        for row in one.filter(pl.col("use").is_not_null() & pl.col("kind").is_in(list(_KINDS))).rows(named=True):
            column = _head(row["component"]) if row["kind"] == "head" else place[row["kind"]]
            at = layers - 1 - row["layer"]
            cells[row["side"]].append(Cell(column=column, row=at, value=row["use"], name=row["component"]))
        values = pooled.filter((pl.col("task") == task) & (pl.col("pair") == pair))
        words = formats.listed([f"{row['side']} {formats.number(row['value'])}" for row in values.rows(named=True)])
        label = f"Use over components, {task}, {pair}: {words or 'none'}."
        observed = sides.observed(
            values, title="use over components", domain=_domain(pooled), at=(0.0, 1.0), label=label
        )
        drawn = (observed, *_grids(cells, columns, axis, size=size, where=f"{task}, {pair}"))
        panels.append(Panel(title=task, subtitle=pair, drawings=drawn, note=_note(one)))
    return Figure(
        id=f"figure-cross-patching-{number}",
        caption=(
            "First: use over all heads and MLPs (or what there is) with its interval; lines at 0 and 1. Then the use "
            "of single components, layers upwards: a full square is a use of 1 or more, a hollow one is below 0."
        ),
        more="Places stay empty where the model's own output restores nothing that clears 0.",
        panels=tuple(panels),
        columns=len(in_order(whole, "pair")),
        legend=(*_keys(), *matrix.legend()),
        tables=(_table("Use and cost of the components whose own output restores most", whole), *more),
    )


def role_figure(rows: pl.DataFrame, *, number: int) -> Figure:
    """Token roles by layers, into the model before and after, for each kind of component."""
    layers = 1 + max(rows["layer"].to_list())
    size = min(_LARGEST, max(_SMALLEST, _WIDE / layers))
    columns = Axis(names=matrix.numbered("L", layers, size=size, room=24))
    panels = []
    for task, pair, one in panels_of(rows):
        roles = in_order(one, "token_role")
        drawn: list[Markup] = []
        for kind, title in _KINDS.items():
            own = one.filter((pl.col("kind") == kind) & pl.col("use").is_not_null())
            if own.is_empty():
                continue
            strongest = own.sort(pl.col("restored_own").abs(), descending=True, maintain_order=True)
            shown = strongest.unique(["side", "layer", "token_role"], keep="first", maintain_order=True)
            cells: dict[str, list[Cell]] = {side: [] for side in SIDES}
            for row in shown.rows(named=True):
                name = f"{row['component']} at {row['token_role']}"
                at = roles.index(row["token_role"])
                cells[row["side"]].append(Cell(column=row["layer"], row=at, value=row["use"], name=name))
            where = f"{title} by token role, {task}, {pair}"
            pitch = max(size, _LINE)
            drawn += _grids(cells, columns, Axis(names=tuple(roles)), size=size, where=where, pitch=pitch, title=title)
        note = "" if drawn else "No component restores anything at the tokens of one role that clears 0."
        panels.append(Panel(title=task, subtitle=pair, drawings=tuple(drawn), note=note))
    return Figure(
        id=f"figure-cross-patching-roles-{number}",
        caption=(
            "Use at the tokens of one role only, roles downwards and layers from left to right; of the heads of a "
            "layer the one whose own output restores most. A full square is a use of 1 or more."
        ),
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=matrix.legend(),
        tables=(_table("Use and cost by token role", rows),),
    )


def _observed(rows: pl.DataFrame) -> pl.DataFrame:
    """Values with intervals as :func:`sides.observed` draws them."""
    null = pl.lit(None, pl.Float64).alias("null")
    return rows.select("task", "pair", "side", null, value="use", low="use_low", high="use_high")


def _domain(values: pl.DataFrame) -> tuple[float, float]:
    low, high = sides.domain_of(values)
    return min(low, -0.1), max(high, 1.1)


def _grids(
    cells: dict[str, list[Cell]],
    columns: Axis,
    rows: Axis,
    *,
    size: float,
    where: str,
    pitch: float | None = None,
    title: str = "",
) -> tuple[Markup, ...]:
    drawn: list[Markup] = []
    if not columns.names:  # no component was measured
        return ()
    for side, own in cells.items():
        first = sorted(own, key=lambda cell: -abs(cell.value))[:3]
        words = formats.listed([f"{cell.name} {formats.number(cell.value)}" for cell in first])
        label = f"Use into the model {side}, {where}; largest: {words or 'none'}."
        drawn.append(
            matrix.draw(
                own, columns=columns, rows=rows, size=size, pitch=pitch, top=1.0, side=side, title=title, label=label
            )
        )
    return tuple(drawn)


def _keys() -> tuple[Key, ...]:
    return sides.keys(note=": into this model", line=False)


def _note(rows: pl.DataFrame) -> str:
    """What could not be measured of a panel, and how much of the prompts both models have."""
    single = rows.filter(pl.col("kind").is_in(list(_KINDS)))
    without = single.filter(pl.col("use").is_null()).height
    said = []
    if without:
        said.append(
            f"{formats.count(without)} of {formats.count(single.height)} components restore nothing of their own that "
            "clears 0."
        )
    for row in rows.filter(pl.col("component") == "counted").rows(named=True):
        if row["shared"] is not None and row["shared"] < 1:
            share = formats.percent(row["shared"])
            said.append(f"Into the model {row['side']}: at the {share} of the positions that the other reads too.")
        if row["status"] != "ok":
            said.append(f"{row['side']}: {row['status']}.")
    return " ".join(said)


def _table(caption: str, rows: pl.DataFrame) -> tables.Table:
    keys = ["task", "pair", "side"]
    pooled = rows.filter(pl.col("kind") == "pooled")
    single = rows.filter(pl.col("kind") != "pooled").sort(
        pl.col("restored_own").abs(), descending=True, nulls_last=True, maintain_order=True
    )
    kept = pl.concat([pooled, single.group_by(keys, maintain_order=True).head(LISTED).select(pooled.columns)])
    ordered = pl.concat(
        [kept.join(key, on=keys) for key in rows.select(keys).unique(maintain_order=True).iter_slices(1)]
    )
    return tables.from_frame(
        f"{caption}, up to {LISTED} of each model and task; the download has all", ordered, _FIELDS
    )


def _head(name: str) -> int:
    return int(name.partition(".h")[2] or -1)
