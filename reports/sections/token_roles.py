"""Section 3, second half: at which tokens the edges of the circuit carry what they carry."""

from __future__ import annotations

import polars as pl

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import sides
from reports.figures import token_roles as drawings
from reports.figures.base import Figure, Panel
from reports.sections.base import Part, Section
from reports.templating import render_template

DRAWS = ("edge_roles",)
"""Tables and measures that this section draws."""

LISTED = 10
"""Edges of each model and task that are listed: the strongest ones."""
_KEYS = ("task", "pair", "side")


def section(data: ReportData) -> Section | None:
    """Shares by token role and the strongest edges; None where no scores are kept by role."""
    found = data.table("edge_roles")
    if found is None:
        return None
    rows = found.filter(pl.col("score").is_not_null() & pl.col("side").is_in(list(sides.SIDES)))
    if rows.is_empty():
        return None
    part = Part(paragraphs=(_EXPLAINED,), figure=figure(rows))
    return Section(id="token-roles", title="Token roles", body=render_template("parts", parts=[part]))


_EXPLAINED = (
    "An edge's score is a sum over positions. Here it is split by what the token at a position is in its prompt, as "
    "the task declares it, which makes positions of different prompts comparable. A role with many tokens has more "
    "positions to collect attribution from: compare the two models within a role rather than roles with each other."
)


def figure(rows: pl.DataFrame) -> Figure:
    """The share of each role before and after, for each task and pair."""
    found = shares(rows)
    top = 1.05 * max(found["share"].to_list(), default=0.0) or 1.0
    panels = []
    for task, pair, one in panels_of(found):
        values = {
            side: dict(one.filter(pl.col("side") == side).select("token_role", "share").rows()) for side in sides.SIDES
        }
        words = [
            f"{role} {' to '.join(formats.percent(values[side].get(role)) for side in sides.SIDES)}"
            for role in in_order(one, "token_role")
        ]
        label = f"Share of attribution by token role before and after, {task}, {pair}: {formats.listed(words)}."
        drawing = drawings.shares(values, roles=in_order(one, "token_role"), top=top, label=label)
        panels.append(Panel(title=task, subtitle=pair, drawings=(drawing,)))
    return Figure(
        id="figure-token-roles",
        caption=(
            "How the magnitude of the edges' scores is spread over the roles of the tokens. A long line between the "
            "two points is a role that the model after reads more, or less, than the model before."
        ),
        more=(
            "The shares describe the mean scores of the strongest edges, which the table `edge_roles` holds; they come "
            "without intervals."
        ),
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=sides.keys(line=False),
        tables=(_share_table(found), _edge_table(rows)),
    )


def shares(rows: pl.DataFrame) -> pl.DataFrame:
    """Share of the sum of |score| over edges that each token role has, within each task, pair and side.

    Args:
        rows: Rows of the table `edge_roles`.

    Returns:
        Columns `task`, `pair`, `side`, `token_role`, `share`; roles in order of appearance. Zero where all scores are.
    """
    size = rows.group_by(*_KEYS, "token_role", maintain_order=True).agg(size=pl.col("score").abs().sum())
    total = pl.col("size").sum().over(_KEYS)
    share = pl.when(total > 0).then(pl.col("size") / total).otherwise(0.0)
    return size.select(*_KEYS, "token_role", share=share)


def main_roles(rows: pl.DataFrame) -> pl.DataFrame:
    """The strongest edges of each task, pair and side with the role that has most of their |score|, and its share."""
    size = pl.col("score").abs()
    edges = (
        rows.sort(size, descending=True, maintain_order=True)
        .group_by(*_KEYS, "source", "target", maintain_order=True)
        .agg(
            size=size.sum(),
            score=pl.col("score").sum(),
            main=pl.col("token_role").first(),
            share=size.max() / size.sum(),
        )
    )
    strongest = (
        edges.sort("size", descending=True, maintain_order=True).group_by(_KEYS, maintain_order=True).head(LISTED)
    )
    order = rows.select(_KEYS).unique(maintain_order=True)
    return pl.concat([strongest.join(key, on=list(_KEYS), maintain_order="left") for key in order.iter_slices(1)])


def _share_table(found: pl.DataFrame) -> tables.Table:
    fields = {name: tables.text(name) for name in _KEYS}
    fields |= {"token_role": tables.text("token role"), "share": tables.share("share")}
    return tables.from_frame("Share of attribution by token role", found, fields)


def _edge_table(rows: pl.DataFrame) -> tables.Table:
    fields = {name: tables.text(name) for name in _KEYS}
    fields |= {"source": tables.text("from"), "target": tables.text("to"), "score": tables.real("score")}
    fields |= {"main": tables.text("main role"), "share": tables.share("share of the main role")}
    caption = f"The {LISTED} strongest edges of each model and task, and the role at which each is strongest"
    return tables.from_frame(caption, main_roles(rows), fields)
