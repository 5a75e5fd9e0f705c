"""Section 6, third part: what residual streams and components say about the answer."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import lens as drawings
from reports.figures import sides
from reports.figures.base import Figure, Panel
from reports.prose import index_name
from reports.sections.base import Part, Section
from reports.sections.specialization import INDICES, observed_words, shift_note
from reports.templating import render_template
from stats.findings import Estimate

DRAWS = ("lens", "alignment")
"""Tables and measures that this section draws."""

DRAWN, LISTED = 8, 15
"""Components of a panel that are drawn, and of each model that are listed: those with the largest attributions."""
WHERE = {"task": tables.text("task"), "pair": tables.text("pair"), "side": tables.text("side")}
STREAMS = WHERE | {
    "component": tables.text("stream"),
    "log_prob": tables.real("ln probability"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "foil_log_prob": tables.real("of the foil"),
    "rank": tables.Field(label="rank", write=formats.compact, numeric=True),
    "entropy": tables.real("entropy, nats"),
    "top": tables.text("most likely"),
    "n": tables.whole("n"),
}
COMPONENTS = WHERE | {
    "component": tables.text("component"),
    "direct": tables.real("direct attribution"),
    "direct_low": tables.real("low"),
    "direct_high": tables.real("high"),
    "log_prob": tables.real("ln probability"),
    "entropy": tables.real("entropy, nats"),
    "top": tables.text("most likely"),
}
_LENS = (
    "The logit lens reads a residual stream, or what one component writes, as if it were the last one: through the "
    "model's own final norm and output matrix. Read so, the last stream gives the model's output; earlier ones show "
    "how the answer forms. The lens sees only what the output matrix reads: information that later layers translate "
    "first does not show."
)
ALIGNMENT = "alignment"
_ALIGNMENT = (
    "The alignment entropy is the entropy of what single heads and MLPs write, in nats, averaged by what each adds in "
    "favour of the answer: low where the components that write the answer write it sharply. Its null deals these "
    "weights out at random among components of a kind."
)
_DIRECT = (
    "Direct logit attribution is what a component adds to the logit of the answer minus that of the foil by itself, "
    "not through later components: its output through the final norm, at the scale that the whole stream gives it, and "
    "the output matrix. Input, heads, MLPs and biases sum to the difference (before any soft-capping of the logits), "
    "which is checked in every run. A component that adds nothing directly may still be one that others depend on."
)


def section(data: ReportData) -> Section | None:
    """Trajectories and direct attributions; None where no lens was read."""
    found = data.table("lens")
    if found is None:
        return None
    parts = []
    streams = found.filter((pl.col("kind") == "residual") & pl.col("log_prob").is_not_null())
    added = found.filter(pl.col("direct").is_not_null())
    aligned = estimates_of(data.findings.estimates, "alignment")
    if not streams.is_empty():
        explained = (_LENS,) if aligned.is_empty() else (_LENS, _ALIGNMENT)
        parts.append(Part(paragraphs=explained, figure=trajectory_figure(streams, aligned, data.table("indices"))))
    if not added.is_empty():
        parts.append(Part(heading="Direct logit attribution", paragraphs=(_DIRECT,), figure=direct_figure(added)))
    return Section(id="lens", title="Logit lens", body=render_template("parts", parts=parts)) if parts else None


def trajectory_figure(streams: pl.DataFrame, aligned: pl.DataFrame, indices: pl.DataFrame | None) -> Figure:
    """For each task and pair the answer's log-probability over the streams, and the alignment entropy if there is one.

    Args:
        streams: Rows of the table `lens` of kind `residual`.
        aligned: Estimates of the alignment, as :func:`sides.observed` draws them.
        indices: The table `indices`, whose rows of the alignment are listed.
    """
    domain = drawings.domain_of(streams, ("log_prob", "low", "high", "foil_log_prob"))
    panels = []
    for task, pair, rows in panels_of(streams):
        label = f"Log-probability of the answer over the residual streams, {task}, {pair}: {_trajectory_words(rows)}."
        drawn = [drawings.trajectories(rows, domain=domain, label=label)]
        values = of_panel(aligned, task, pair)
        if not values.is_empty():
            drawn.append(observed(values, aligned, index_name(ALIGNMENT), task, pair))
        panels.append(Panel(title=task, subtitle=pair, drawings=tuple(drawn), note=shift_note(values)))
    listed = [tables.from_frame("Residual streams through the logit lens", streams, STREAMS)]
    kept = None if indices is None else indices.filter(pl.col("index") == ALIGNMENT)
    if kept is not None and not kept.is_empty():
        listed.append(tables.from_frame("Alignment entropies", kept, INDICES))
    second = "" if aligned.is_empty() else " Second: the alignment entropy with its interval, beside its null."
    return Figure(
        id="figure-lens",
        caption=(
            "First: ln probability of the answer where a residual stream alone is read, mean over prompts (and "
            "states); in grey that of the foil, read the same way: where the two part, the stream tells answer from "
            "foil."
            f"{second}"
        ),
        panels=tuple(panels),
        columns=len(in_order(streams, "pair")),
        legend=drawings.legend(null="null: weights dealt out at random")
        if not aligned.is_empty()
        else drawings.legend(null="")[:-1],
        tables=tuple(listed),
    )


def direct_figure(added: pl.DataFrame) -> Figure:
    """For each task and pair the components that add most to the answer's logit, before and after."""
    chosen = {(task, pair): _largest(rows) for task, pair, rows in panels_of(added)}
    shown = pl.concat(
        [rows.filter(pl.col("component").is_in(chosen[task, pair])) for task, pair, rows in panels_of(added)]
    )
    domain = drawings.domain_of(shown, ("direct", "direct_low", "direct_high"), holding=(0.0,))
    panels = []
    for task, pair, rows in panels_of(added):
        label = f"Direct logit attributions, {task}, {pair}; largest {_direct_words(rows)}."
        drawn = drawings.attributions(rows, chosen[task, pair], domain=domain, label=label)
        panels.append(Panel(title=task, subtitle=pair, drawings=(drawn,), note=_sums(rows)))
    place = pl.col("direct").abs().rank("ordinal", descending=True).over("task", "pair", "side")
    listed = added.filter(place <= LISTED).with_columns(place=place).sort("place", maintain_order=True)
    keys = added.select("task", "pair", "side").unique(maintain_order=True)
    ordered = pl.concat([listed.join(key, on=["task", "pair", "side"]) for key in keys.iter_slices(1)])
    return Figure(
        id="figure-direct",
        caption=(
            f"What components add to the logit of the answer minus that of the foil, mean over prompts: the {DRAWN} "
            "largest of either model, in the order in which they compute. Right of zero they write for the answer, "
            "left of it against it."
        ),
        panels=tuple(panels),
        columns=len(in_order(added, "pair")),
        legend=sides.keys(note=", with its interval", line=False),
        tables=(
            tables.from_frame(
                f"The {LISTED} largest direct logit attributions of each model and task", ordered, COMPONENTS
            ),
        ),
    )


def estimates_of(estimates: Sequence[Estimate], measure: str) -> pl.DataFrame:
    """Estimates of a measure as rows to draw, with their nulls."""
    names = ("task", "pair", "side", "value", "low", "high", "null", "null_low", "null_high")
    rows = [
        (one.task, one.pair, one.side, one.estimate, one.low, one.high, *(one.reference.get(n) for n in names[6:]))
        for one in estimates
        if one.measure == measure
    ]
    types = (pl.String(),) * 3 + (pl.Float64(),) * 6
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def of_panel(frame: pl.DataFrame, task: str, pair: str) -> pl.DataFrame:
    """The rows of a task and pair."""
    return frame.filter((pl.col("task") == task) & (pl.col("pair") == pair))


def observed(values: pl.DataFrame, all_values: pl.DataFrame, name: str, task: str, pair: str) -> Markup:
    """A value of both models beside its null, on a scale that holds all values."""
    label = f"{name[:1].upper()}{name[1:]}, {task}, {pair}: {observed_words(values)}."
    return sides.observed(values, title=name, domain=sides.domain_of(all_values), label=label)


def _trajectory_words(rows: pl.DataFrame) -> str:
    parts = []
    for side in in_order(rows, "side"):
        own = rows.filter(pl.col("side") == side).sort("layer")
        first, last = own.row(0, named=True), own.row(-1, named=True)
        parts.append(
            f"{side} {formats.number(first['log_prob'])} in {first['component']} to {formats.number(last['log_prob'])} "
            f"in {last['component']} (foil {formats.number(last['foil_log_prob'])})"
        )
    return formats.listed(parts)


def _largest(rows: pl.DataFrame) -> list[str]:
    """The components with the largest attribution in either model, in the order in which they compute."""
    strongest = rows.group_by("component", maintain_order=True).agg(pl.col("direct").abs().max())
    kept = strongest.sort("direct", descending=True, maintain_order=True).head(DRAWN)["component"].to_list()
    return [name for name in in_order(rows, "component") if name in kept]


def _direct_words(rows: pl.DataFrame) -> str:
    parts = []
    for side in in_order(rows, "side"):
        first = rows.filter(pl.col("side") == side).sort(pl.col("direct").abs(), descending=True).head(3)
        words = [f"{row['component']} {formats.number(row['direct'])}" for row in first.rows(named=True)]
        parts.append(f"{side} {', '.join(words)}")
    return formats.listed(parts)


def _sums(rows: pl.DataFrame) -> str:
    totals = rows.group_by("side", maintain_order=True).agg(pl.col("direct").sum()).rows()
    return f"Sum of all: {formats.listed([f'{side} {formats.number(total)}' for side, total in totals])}."
