"""Section 4, second half: how much of the behaviour a circuit of some size carries, in its own model and the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from reports import formats, tables
from reports.data import CircuitFacts, ReportData, in_order, panels_of
from reports.figures import faithfulness as drawings
from reports.figures import sides
from reports.figures.base import Figure, Panel
from reports.prose import ablation_words, measure_name
from reports.sections.base import Part, Section
from reports.templating import render_template
from stats.findings import Estimate

DRAWS = ("faithfulness", "transfer")
"""Tables and measures that this section draws."""

FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "intervention": tables.text("intervention"),
    "ablation": tables.text("ablation"),
    "circuit": tables.text("circuit"),
    "percent": tables.Field(label="size, %", write=formats.compact, numeric=True),
    "edges": tables.whole("edges"),
    "live_edges": tables.whole("live edges"),
    "metric": tables.real("metric"),
    "faithfulness": tables.real("faithfulness"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "n": tables.whole("n"),
    "status": tables.text("status"),
}
SUMMARY = ("cmd", "cpr")
"""Measures of the whole curve."""


def section(data: ReportData) -> Section | None:
    """Faithfulness over size with its summary, and the transfer of circuits; None where there are no rows."""
    found = data.table("faithfulness")
    if found is None:
        return None
    carried = in_order(found.filter(pl.col("circuit") == "partner"), "intervention")
    curves = found.filter(~pl.col("intervention").is_in(carried))
    transfers = found.filter(pl.col("intervention").is_in(carried))
    parts = []
    if not curves.is_empty():
        summary = [one for one in data.findings.estimates if one.measure in SUMMARY]
        explained = _explained(curves, data.methods.circuits)
        parts.append(Part(paragraphs=explained, figure=curve_figure(curves, summary)))
    if not transfers.is_empty():
        ratios = [one for one in data.findings.estimates if one.measure == "transfer_ratio"]
        explained, figure = _transfer_explained(transfers, data.methods.circuits), transfer_figure(transfers, ratios)
        parts.append(Part(heading="Transfer", paragraphs=explained, figure=figure))
    return Section(id="faithfulness", title="Faithfulness", body=render_template("parts", parts=parts))


def curve_figure(curves: pl.DataFrame, summary: list[Estimate]) -> Figure:
    """The curves of each task, pair and intervention, with the circuit-model distance beside them."""
    domain = drawings.domain_of(curves)
    distances = estimates_frame(one for one in summary if one.measure == "cmd")
    top = sides.domain_of(distances)[1]
    panels = []
    for task, subtitle, rows in _panels(curves):
        label = f"Faithfulness over circuit size, {task}, {subtitle}: {_curve_words(rows)}."
        drawn = [drawings.curves(rows, domain=domain, label=label)]
        one, note = _of_panel(distances, rows), _undefined(rows)
        if not one.is_empty():
            words = f"Circuit-model distance, {task}, {subtitle}: {value_words(one)}."
            drawn.append(sides.observed(one, title="CMD (0 is best)", domain=(0.0, top), label=words))
        panels.append(Panel(title=task, subtitle=subtitle, drawings=tuple(drawn), note=note))
    found = [tables.from_frame("Faithfulness of each circuit", curves, FIELDS)]
    if summary:
        found.insert(0, _estimates_table("Distance (CMD) and performance ratio (CPR) of the circuits", summary))
    return Figure(
        id="figure-faithfulness",
        caption=(
            "First: faithfulness of the circuits over their size; 1 is the whole model, 0 is none of it. A circuit "
            "says something about the model where its curve leaves the grey band. Second: the distance of the whole "
            "curve from 1 (CMD), beside that of random circuits." + _cut(curves)
        ),
        more="The band is what circuits of the same size and depth profile reach when their edges are drawn at random.",
        panels=tuple(panels),
        columns=len(in_order(curves, "pair")),
        legend=drawings.legend(),
        tables=tuple(found),
    )


def transfer_figure(transfers: pl.DataFrame, ratios: list[Estimate]) -> Figure:
    """Each model with its own and with the other model's circuit, and the ratio of the two."""
    domain = drawings.domain_of(transfers)
    ratio = estimates_frame(ratios)
    low, high = sides.domain_of(ratio)
    reach = max(drawings.LIMITS[0], min(low, -0.08)), min(drawings.LIMITS[1], max(high, 1.08))
    panels = []
    for task, subtitle, rows in _panels(transfers):
        label = f"Own and carried-over circuits, {task}, {subtitle}: {_transfer_words(rows)}."
        drawn = [drawings.transfer(rows, domain=domain, label=label)]
        one = _of_panel(ratio, rows)
        if not one.is_empty():
            words = f"Transfer ratio, {task}, {subtitle}: {value_words(one)}."
            drawn.append(sides.observed(one, title="transfer ratio", domain=reach, label=words, at=(0.0, 1.0)))
        panels.append(Panel(title=task, subtitle=subtitle, drawings=tuple(drawn), note=_undefined(rows)))
    found = [tables.from_frame("Faithfulness of own and carried-over circuits", transfers, FIELDS)]
    if ratios:
        found.insert(0, _estimates_table("Transfer ratios", ratios))
    return Figure(
        id="figure-transfer",
        caption=(
            "First: faithfulness of each model with its own circuit and with the one found in the other model. "
            "Second: the ratio of the two; at 1 the other model's circuit serves as well as the own, at 0 it restores "
            "nothing." + _cut(transfers)
        ),
        panels=tuple(panels),
        columns=len(in_order(transfers, "pair")),
        legend=drawings.transfer_legend(),
        tables=tuple(found),
    )


def estimates_frame(estimates: Iterable[Estimate]) -> pl.DataFrame:
    """Estimates as rows to draw; `null` is what random circuits reach on average, where there are any.

    An estimate's method begins with the name of its intervention and a colon.
    """
    names = ("intervention", "task", "pair", "side", "value", "low", "high", "null", "null_low", "null_high")
    rows = [
        (one.method.split(":")[0], one.task, one.pair, one.side, one.estimate, one.low, one.high, *_random(one))
        for one in estimates
    ]
    types = (pl.String(),) * 4 + (pl.Float64(),) * 6
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def value_words(rows: pl.DataFrame) -> str:
    """Values of both sides with their intervals, and the null where there is one."""
    parts = []
    for row in rows.rows(named=True):
        null = "" if row["null"] is None else f" (random circuits {formats.number(row['null'])})"
        interval = formats.interval(row["low"], row["high"])
        parts.append(f"{row['side']} {formats.number(row['value'])} {interval}{null}")
    return formats.listed(parts) or "no values"


def _random(one: Estimate) -> tuple[float | None, ...]:
    """Mean, smallest and largest value of random circuits."""
    return tuple(one.reference.get(name) for name in ("random", "random_low", "random_high"))


def _panels(frame: pl.DataFrame) -> list[tuple[str, str, pl.DataFrame]]:
    """Task, subtitle and rows of each panel; the subtitle names the intervention where there are several."""
    names = in_order(frame, "intervention")
    return [
        (task, pair if len(names) == 1 else f"{pair}, {name}", one)
        for name in names
        for task, pair, rows in panels_of(frame)
        if not (one := rows.filter(pl.col("intervention") == name)).is_empty()
    ]


def _of_panel(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The estimates that belong to the rows of a panel."""
    keys = ("intervention", "task", "pair")
    return frame.filter([pl.col(key) == rows[key][0] for key in keys])


def _estimates_table(caption: str, estimates: list[Estimate]) -> tables.Table:
    fields = [tables.text(name) for name in ("measure", "task", "pair", "side")]
    fields += [tables.real("estimate"), tables.real("low"), tables.real("high")]
    fields += [tables.real(f"random circuits{name}") for name in ("", ", low", ", high")]
    fields += [tables.text(name) for name in ("n", "method", "status", "message")]
    rows = [
        (
            measure_name(one.measure),
            one.task,
            one.pair,
            one.side,
            one.estimate,
            one.low,
            one.high,
            *_random(one),
            ", ".join(formats.plural(amount, unit) for unit, amount in one.n.items()),
            one.method,
            one.status,
            one.message,
        )
        for one in estimates
    ]
    return tables.build(caption, fields, rows)


def _explained(curves: pl.DataFrame, facts: Sequence[CircuitFacts]) -> tuple[str, ...]:
    return (
        "Faithfulness is the share of the metric's difference between the whole model and the model with every edge "
        "replaced that a circuit restores on its own. Outside of the circuit each edge carries "
        f"{_replacements(curves)}.{_ranked(curves, facts)}",
        "What it does not show: a faithful circuit need be neither the only nor the smallest one, and two models whose "
        "curves agree may use different edges (see the overlap). Above 1 a circuit does better than the whole model, "
        "which means that edges outside of it work against the answer; CMD counts that as a distance too. Intervals "
        "are over prompts (or random templates) and do not contain the choice of the edges.",
    )


def _transfer_explained(transfers: pl.DataFrame, facts: Sequence[CircuitFacts]) -> tuple[str, ...]:
    sizes = formats.listed([f"{formats.compact(value)} %" for value in transfers["percent"].unique().sort().to_list()])
    return (
        f"Each model runs once with its own circuit of {sizes} of the edges and once with the circuit of the same size "
        f"found in the other model of the pair; every other edge carries {_replacements(transfers)}."
        f"{_ranked(transfers, facts)} The transfer ratio is the faithfulness of the other's circuit relative to that "
        "of the own. A ratio near 1 says that the edges still suffice, not that the model would choose them.",
    )


def _ranked(frame: pl.DataFrame, facts: Sequence[CircuitFacts]) -> str:
    """On which prompts the edges were ranked, as a sentence after others; empty where that is not known."""
    names = in_order(frame, "intervention")
    seen = [fact.name for fact in facts if fact.name in names and not fact.held_out]
    if seen:
        return f" In {formats.listed(seen)} edges are ranked on the prompts of the runs, which flatters the circuits."
    if not set(names) <= {fact.name for fact in facts}:
        return ""
    return (
        " Edges are ranked on one half of the prompts and the circuit is run on the other, both ways, so no circuit is "
        "judged by the prompts that chose it."
    )


def _replacements(frame: pl.DataFrame) -> str:
    return formats.listed([ablation_words(name) for name in in_order(frame, "ablation")], word="or")


def _cut(frame: pl.DataFrame) -> str:
    low, high = drawings.domain_of(frame)
    beyond = pl.any_horizontal(pl.col("faithfulness", "low", "high").is_between(low, high).not_())
    return "" if frame.filter(beyond).is_empty() else " What leaves the scale is drawn at its edge; the table has it."


def _undefined(rows: pl.DataFrame) -> str:
    bad = rows.filter((pl.col("status") != "ok") & (pl.col("circuit") != "random"))
    reasons = bad.select("side", "status").unique(maintain_order=True).rows()
    return "; ".join(f"{side}: {status}" for side, status in reasons)


def _curve_words(rows: pl.DataFrame) -> str:
    own = rows.filter((pl.col("circuit") == "own") & pl.col("faithfulness").is_not_null()).sort("percent")
    parts = []
    for side in sides.SIDES:
        points = [
            f"{formats.number(row['faithfulness'])} at {formats.compact(row['percent'])} %"
            for row in own.filter(pl.col("side") == side).rows(named=True)
        ]
        if points:
            parts.append(f"{side} {', '.join(points)}")
    return "; ".join(parts) or "not defined at any size"


def _transfer_words(rows: pl.DataFrame) -> str:
    names = {"own": "own", "partner": "the other's"}
    parts = [
        f"{row['side']} {names.get(row['circuit'], row['circuit'])} {formats.number(row['faithfulness'])} "
        f"{formats.interval(row['low'], row['high'])}"
        for row in rows.rows(named=True)
    ]
    return formats.listed(parts)
