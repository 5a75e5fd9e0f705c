"""Section 8: the neurons that each model owes most to, what drives them, and how selective they are."""

from __future__ import annotations

from reports import tables
from reports.data import ReportData
from reports.figures.base import Figure
from reports.sections.base import Part, Section
from reports.templating import render_template

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
    """The strongest neurons, and how many of them both models share; None where no neurons were scored."""
    found = data.table("neurons")
    if found is None:
        return None
    listed = [tables.from_frame("The strongest neurons of each model", found, _FIELDS)]
    shared = [one for one in data.findings.estimates if one.measure == "neuron_overlap"]
    if shared:
        rows = [(one.task, one.pair, one.estimate, one.reference.get("chance")) for one in shared]
        listed.insert(0, tables.build("Strongest neurons that both models share (Jaccard)", [*_SHARED.values()], rows))
    figure = Figure(
        id="figure-neurons",
        caption="In the tables: the strongest neurons of each model on each task, and how many of them are shared.",
        panels=(),
        columns=1,
        legend=(),
        tables=tuple(listed),
    )
    return Section(
        id="neurons",
        title="Neurons",
        body=render_template("parts", parts=[Part(paragraphs=(_EXPLAINED,), figure=figure)]),
    )
