"""Section 6, of integration: knock-outs in every combination, by order, and the Shapley interactions behind them."""

from __future__ import annotations

import polars as pl

from reports import formats, tables
from reports.data import in_order, panels_of
from reports.figures import effects, sides, svg
from reports.figures.base import Figure, Key, Panel
from reports.figures.effects import Effect
from reports.prose import index_name
from reports.sections.specialization import INDICES, observed_words, preferred, shift_note

INDEX = "shapley"
"""The ratio of knock-outs in combinations."""
SHARE = "shapley_share"
"""The share that hypotheses are tested with; it is drawn where there is one."""
LISTED = 10
"""Shapley values and interactions of each model and task that are listed: the largest ones."""
DRAWN = 4
"""Orders that are drawn; the table has all."""
_ORDERS = {1: "additive", 2: "pairs", 3: "triples", 4: "fours"}
_SHARES = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "order": tables.whole("order"),
    "share": tables.real("share"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "null": tables.real("null"),
    "null_low": tables.real("null low"),
    "null_high": tables.real("null high"),
    "status": tables.text("status"),
}
_LISTED = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "components": tables.text("components"),
    "value": tables.real("value"),
    "low": tables.real("low"),
    "high": tables.real("high"),
}
EXPLAINED = (
    "Pairs miss what shows only once more is gone: of three components that stand in for each other, any two can be "
    "lost at no cost. The strongest components are therefore also knocked out in every combination. A component's "
    "Shapley value is what losing it costs, averaged over all orders in which the components could be lost; the values "
    "sum to what losing all costs. The Shapley interaction of several is what they do only together, averaged likewise."
)


def figure(rows: pl.DataFrame, orders: pl.DataFrame, ratios: pl.DataFrame) -> Figure:
    """For each task and pair the shares of the orders before and after, and the ratio where there is one.

    Args:
        rows: The table `shapley`.
        orders: The table `shapley_orders`.
        ratios: Rows of the indices.
    """
    panels, drawn_index = [], preferred(ratios, SHARE)
    for task, pair, _ in panels_of(rows):
        where = f"{task}, {pair}"
        shares = orders.filter((pl.col("task") == task) & (pl.col("pair") == pair))
        drawn = []
        known = shares.filter((pl.col("side") != "shift") & pl.col("share").is_not_null() & (pl.col("order") <= DRAWN))
        if not known.is_empty():
            values = {side: _effects(known.filter(pl.col("side") == side)) for side in sides.SIDES}
            names = [order_name(order) for order in sorted(known["order"].unique().to_list())]
            said = [
                f"{name} {' and '.join(formats.percent(one[name].value) for one in values.values() if name in one)}"
                for name in names
            ]
            label = f"Shares of the orders before and after, {where}: {formats.listed(said)}."
            scale = (0.0, 1.0)
            drawn.append(effects.draw(values, rows=names, scale=scale, title="share of the variance", label=label))
        found = drawn_index.filter((pl.col("task") == task) & (pl.col("pair") == pair))
        if not found.is_empty():
            name = index_name(found["index"][0])
            label = f"{name}, {where}: {observed_words(found)}."
            drawn.append(sides.observed(found, title=name, domain=sides.domain_of(drawn_index), label=label))
        notes = sorted(set(shares["status"].to_list()) - {"ok"})
        note = " ".join(filter(None, [shift_note(found), *(f"No shares: {one}." for one in notes)]))
        panels.append(Panel(title=task, subtitle=pair, drawings=tuple(drawn), note=note))
    listed = [_largest(rows), tables.from_frame("Shares of the orders", orders, _SHARES)]
    if not ratios.is_empty():
        listed.append(tables.from_frame("Shares and ratios of Shapley interactions", ratios, INDICES))
    band = svg.sample(svg.element("rect", x=1, y=2, width=32, height=10, class_="f-chance", opacity=0.3))
    return Figure(
        id="figure-shapley",
        caption=(
            "How much of the variance of the metric over all combinations is additive, is due to pairs, to triples and "
            "so on, before and after, with intervals over prompts (or random templates). Last: the share of Shapley "
            "interactions in the sum of their squares and those of Shapley values, or the ratio where there is none."
        ),
        more="Bands: what noise alone would give, the order's effects having random signs on every prompt.",
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=(*sides.keys(line=False), Key(sample=band, label="95 % range under random signs")),
        tables=tuple(listed),
    )


def order_name(order: int) -> str:
    """Sets of so many components in a word or two."""
    return _ORDERS.get(order, f"order {order}")


def _effects(rows: pl.DataFrame) -> dict[str, Effect]:
    return {
        order_name(row["order"]): Effect(
            value=row["share"],
            low=row["low"],
            high=row["high"],
            null_low=row["null_low"],
            null_high=row["null_high"],
        )
        for row in rows.rows(named=True)
    }


def _largest(rows: pl.DataFrame) -> tables.Table:
    keys = ["task", "pair", "side"]
    place = pl.col("value").abs().fill_null(-1.0).rank("ordinal", descending=True)
    kept = rows.filter(place.over(keys) <= LISTED)
    return tables.from_frame(
        f"The {LISTED} largest Shapley values and interactions of each model and task", kept, _LISTED
    )
