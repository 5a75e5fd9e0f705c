"""Section 8: the neurons that each model owes most to, what drives them, and how selective they are."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import agreement, sides, svg
from reports.figures import neurons as drawings
from reports.figures.agreement import Agreement
from reports.figures.base import Figure, Key, Panel
from reports.figures.matrix import LONGEST
from reports.figures.neurons import Neuron
from reports.sections.base import Part, Section
from reports.templating import render_template
from stats.findings import Estimate

DRAWS = ("neurons",)
"""Tables and measures that this section draws."""

LISTED = 10
"""Neurons of each model and task that are drawn: the first of those that the table has."""
_FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "layer": tables.whole("layer"),
    "neuron": tables.whole("neuron"),
    "score": tables.real("score"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "p_corrected": tables.p_values("p corrected"),
    "partner": tables.real("score in the other model"),
    "tokens": tables.text("most active at"),
    "answer": tables.text("selective for the answer"),
    "selectivity": tables.real("selectivity"),
    "selectivity_null": tables.real("with answers permuted"),
    "selectivity_p": tables.p_values("p"),
}
_SHARED = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "overlap": tables.real("overlap"),
    "chance": tables.real("by chance"),
}
_EXPLAINED = (
    "A neuron's score is what corrupting its activation would cost, to first order: (clean minus corrupted activation) "
    "times the gradient of the metric. The strongest neurons were chosen on one half of the prompts; scores and "
    "intervals are from the other half, p-values are Benjamini–Hochberg-corrected over those listed of a model and "
    "task. Selectivity compares the magnitude of the activation for one answer with that for the others, the answer "
    "chosen on other prompts than the means are taken from; 0 is none, and permuted answers say what noise gives."
)


def section(data: ReportData) -> Section | None:
    """How many of the strongest neurons both models share, and what they score; None where no neurons were scored."""
    found = data.table("neurons")
    if found is None:
        return None
    shared = [one for one in data.findings.estimates if one.measure == "neuron_overlap"]
    parts = [Part(paragraphs=(_EXPLAINED,), figure=overlap_figure(shared) if shared else None)]
    for number, name in enumerate(in_order(found, "intervention"), start=1):
        rows = found.filter(pl.col("intervention") == name)
        parts.append(Part(heading=name if number > 1 else "", figure=figure(rows, number=number)))
    return Section(id="neurons", title="Neurons", body=render_template("parts", parts=parts))


def overlap_figure(shared: Sequence[Estimate]) -> Figure:
    """For each task how many of the strongest neurons the models of each pair share, beside chance.

    Args:
        shared: Estimates of the measure `neuron_overlap`.
    """
    scale = agreement.scale_of([one.estimate for one in shared if one.estimate is not None])
    panels = []
    for task in dict.fromkeys(one.task for one in shared):
        here = [one for one in shared if one.task == task]
        words = [
            f"{one.pair} {formats.number(one.estimate)} (chance {formats.number(one.reference.get('chance'))})"
            for one in here
        ]
        label = f"Overlap of the strongest neurons before and after, {task}: {formats.listed(words)}."
        pairs = [_overlap(one, one.estimate) for one in here if one.estimate is not None]
        drawn = (agreement.draw(pairs, scale=scale, label=label),) if pairs else ()
        notes = [f"{one.pair}: {one.message or one.status}." for one in here if one.estimate is None]
        panels.append(Panel(title=task, subtitle="", drawings=drawn, note=" ".join(notes)))
    rows = [(one.task, one.pair, one.estimate, one.reference.get("chance")) for one in shared]
    point = svg.sample(svg.element("circle", cx=17, cy=7, r=4, class_="f-ink"))
    chance = svg.sample(svg.element("rect", x=16, y=0, width=2, height=14, class_="f-chance", opacity=0.35))
    return Figure(
        id="figure-neuron-overlap",
        caption=(
            "Overlap (Jaccard index) of the strongest neurons of the two models of each pair: 1 where they are the "
            "same. Both sets are chosen once, on one half of the prompts: there is no interval."
        ),
        panels=tuple(panels),
        columns=min(2, len(panels)),
        legend=(
            Key(sample=point, label="between the two models"),
            Key(sample=chance, label="as many neurons drawn at random"),
        ),
        tables=(tables.build("Strongest neurons that both models share (Jaccard)", [*_SHARED.values()], rows),),
    )


def figure(rows: pl.DataFrame, *, number: int) -> Figure:
    """For each task and pair the strongest neurons of the model before and of the model after.

    Args:
        rows: Rows of the table `neurons` of one intervention.
        number: Of the figure within the section.
    """
    every = {(task, pair): {side: _neurons(one, side) for side in sides.SIDES} for task, pair, one in panels_of(rows)}
    names = [one.name for models in every.values() for found in models.values() for one in found]
    frames = {
        task: drawings.frame_of(
            [one for key, models in every.items() if key[0] == task for found in models.values() for one in found],
            names=names,
        )
        for task in in_order(rows, "task")
    }
    panels = []
    for (task, pair), models in every.items():
        drawn = [
            drawings.draw(found, frame=frames[task], side=side, label=_label(found, side, f"{task}, {pair}"))
            for side, found in models.items()
            if found
        ]
        notes = [f"No neurons of the model {side}." for side, found in models.items() if not found]
        panels.append(Panel(title=task, subtitle=pair, drawings=tuple(drawn), note=" ".join(notes)))
    selective = any(frame.lowest is not None for frame in frames.values())
    return Figure(
        id=f"figure-neurons-{number}",
        caption=_caption(rows, selective=selective),
        hint="Point at a score for its numbers.",
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=drawings.legend(selective=selective),
        tables=(tables.from_frame("The strongest neurons of each model", rows, _FIELDS),),
    )


def _overlap(one: Estimate, value: float) -> Agreement:
    chance = one.reference.get("chance")
    return Agreement(
        name=svg.cut(one.pair, LONGEST),
        between=value,
        low=one.low,
        high=one.high,
        null_low=chance,
        null_high=chance,
        ceiling=None,
    )


def _neurons(rows: pl.DataFrame, side: str) -> list[Neuron]:
    """The first :data:`LISTED` neurons of a model by rank; `rows` are those of one task and pair."""
    others = set(rows.filter(pl.col("side") != side).select("layer", "neuron").rows())
    first = rows.filter(pl.col("side") == side).sort("rank").head(LISTED)
    return [
        Neuron(
            name=f"m{row['layer']}.n{row['neuron']}",
            score=row["score"],
            low=row["low"],
            high=row["high"],
            p=row["p_corrected"],
            partner=row["partner"],
            shared=(row["layer"], row["neuron"]) in others,
            selectivity=row["selectivity"],
            null=row["selectivity_null"],
            answer=row["answer"],
            tokens=row["tokens"],
        )
        for row in first.rows(named=True)
    ]


def _label(found: Sequence[Neuron], side: str, where: str) -> str:
    other = next(name for name in sides.SIDES if name != side)
    words = [f"{one.name} {formats.number(one.score)} ({formats.number(one.partner)})" for one in found]
    shared = [one.name for one in found if one.shared]
    return (
        f"Scores of the strongest neurons {side} ({other} in brackets), {where}: {formats.listed(words)}. Corrected p "
        f"below .05: {sum(one.clear for one in found)} of {len(found)}. Among the strongest {other} as well: "
        f"{formats.listed(shared) or 'none'}."
    )


def _caption(rows: pl.DataFrame, *, selective: bool) -> str:
    most = max(rows.group_by("task", "pair", "side").len()["len"].to_list())
    first = f", the first {LISTED} of {formats.count(most)}," if most > LISTED else ""
    answers = " Beside it how selective the neuron is, and for which answer." if selective else ""
    return (
        f"The strongest neurons of each model{first} in the order of the half of the prompts that chose them; scores "
        "are from the other half, on one scale for each task. Where the tick is near the point the neuron scores as "
        f"much in the other model, where it is near zero only in this one.{answers}"
    )
