"""How often the tests reject and the intervals cover on A/A data of the run, and what they can detect."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import CalibrationFacts, ReportData, ScenarioFacts, in_order
from reports.figures import coefficients, power
from reports.figures.base import Figure, Panel
from reports.figures.coefficients import Coefficient
from reports.prose import correction_name, measure_name
from reports.sections.base import Part, Section
from reports.templating import render_template

_RATES = {
    "kind": tables.text("rate"),
    "name": tables.text("of"),
    "value": tables.real("true value"),
    "rate": tables.share("share"),
    "low": tables.share("low"),
    "high": tables.share("high"),
    "nominal": tables.share("nominal"),
    "n": tables.whole("n"),
    "flag": tables.text("band against nominal"),
}
_POWER = {
    "hypothesis": tables.text("hypothesis"),
    "distance": tables.real("distance from the null"),
    "value": tables.real("value"),
    "power": tables.share("power"),
    "low": tables.share("low"),
    "high": tables.share("high"),
    "corrected": tables.share("power, corrected"),
}
_HYPOTHESES = {
    "hypothesis": tables.text("hypothesis"),
    "status": tables.text("status"),
    "tested": tables.whole("repetitions tested"),
    "se": tables.real("median se"),
    "sd": tables.real("sd of the estimates"),
    "detectable": tables.real("detectable"),
    "corrected": tables.real("detectable, corrected"),
    "message": tables.text("message"),
}
_STALE = (
    "Stale: the cells, the statistics or the hypotheses of the run have changed since it was calibrated. What follows "
    "is about the run as it was then; mechshift calibrate brings it up to date."
)
_ASSUMED = (
    "A test whose null is not the A/A value, and all power, is had by adding a shift to the A/A estimates, which takes "
    "the noise not to depend on the shift. A band is about the repetitions: it does not hold for other prompts. The "
    "detectable effect is the distance from the null at which the power reaches .8."
)


def section(data: ReportData) -> Section | None:
    """Rates with bands beside their nominal levels and power curves; None where the run was not calibrated."""
    facts = data.calibration
    if facts is None:
        return None
    paragraphs = (
        *([_STALE] if facts.stale else []),
        _explained(facts),
        _flagged(facts.rates, facts.uninformative),
        _ASSUMED,
    )
    parts = [Part(paragraphs=paragraphs, figure=_figure(facts))]
    parts += [_scenario(facts, number, one) for number, one in enumerate(facts.scenarios, start=1)]
    if facts.unseen:
        parts.append(Part(heading="What this calibration can't see", paragraphs=tuple(facts.unseen)))
    body = render_template("parts", parts=parts)
    return Section(id="calibration", title="Calibration", body=body)


def _scenario(facts: CalibrationFacts, number: int, scenario: ScenarioFacts) -> Part:
    """One kind of planted data: what it is, its rates, and those whose band excludes the nominal value."""
    figure = Figure(
        id=f"figure-calibration-{number}",
        caption=f"Rates over {formats.plural(facts.repetitions, 'data set')}: {scenario.name}.",
        panels=tuple(panel for panel in _rate_panels(facts, scenario.rates) if panel.drawings),
        columns=2,
        legend=(),
        tables=(tables.from_frame(f"Rates, {scenario.name}", scenario.rates, _RATES),),
    )
    return Part(
        heading=f"{scenario.name[:1].upper()}{scenario.name[1:]}",
        paragraphs=(scenario.description, _flagged(scenario.rates, facts.uninformative)),
        figure=figure,
    )


def _explained(facts: CalibrationFacts) -> str:
    fewest, most = facts.prompts
    prompts = formats.count(fewest) if fewest == most else f"{formats.count(fewest)} to {formats.count(most)}"
    return (
        f"The analysis was repeated on {formats.plural(facts.repetitions, 'A/A data set')} with "
        f"{formats.count(facts.replicates)} bootstrap replicates each: one model of each pair on two random halves of "
        f"its own prompts ({formats.listed(list(facts.models))}), between which nothing differs. A half has {prompts} "
        "prompts, half as many as the study has, and the halves are unpaired: where the study reads both models on the "
        "same prompts, it detects smaller effects, as a rule, than this shows."
    )


def _flagged(rates: pl.DataFrame, uninformative: str) -> str:
    wrong = rates.filter(pl.col("flag") != "")
    if uninformative and wrong.is_empty():
        return f"The bands are {uninformative}."
    if wrong.is_empty():
        return "The band of every rate contains its nominal value."
    percent = formats.percent
    said = [
        f"{row['kind']} of {row['name']} ({percent(row['rate'])}, {row['flag']} {percent(row['nominal'])})"
        for row in wrong.rows(named=True)
    ]
    few = f" The bands are {uninformative}." if uninformative else ""
    return f"Bands that exclude the nominal value: {formats.listed(said)}.{few}"


def _figure(facts: CalibrationFacts) -> Figure:
    panels = [
        *_rate_panels(facts, facts.rates),
        *(_curve(facts, name) for name in in_order(facts.power, "hypothesis")),
    ]
    listed = [
        tables.from_frame("Rates on A/A data", facts.rates, _RATES),
        tables.from_frame("Detectable effects", facts.hypotheses, _HYPOTHESES),
        tables.from_frame("Power", facts.power, _POWER),
    ]
    return Figure(
        id="figure-calibration",
        caption=(
            "False positives: uncorrected, at the null of each test (an equivalence has two), and any of the family "
            f"after the correction ({correction_name(facts.correction)}). Power over the distance from the null "
            "towards the claim, in units of the measure."
        ),
        more=(
            "The corrected power is with all other hypotheses at their nulls. Coverage: of the intervals of the "
            "hypotheses and of the measures over all pairs and tasks."
        ),
        panels=tuple(panel for panel in panels if panel.drawings),
        columns=2,
        legend=power.legend(),
        tables=tuple(listed),
    )


def _rate_panels(facts: CalibrationFacts, rates: pl.DataFrame) -> list[Panel]:
    return [
        _rates(rates, ["false positives", "any false positive"], title="False positives", nominal=facts.level),
        _rates(rates, ["coverage"], title="Coverage", nominal=facts.confidence),
    ]


def _rates(rates: pl.DataFrame, kinds: list[str], *, title: str, nominal: float) -> Panel:
    rows = rates.filter(pl.col("kind").is_in(kinds))
    found = [
        Coefficient(term=row["name"], estimate=row["rate"], low=row["low"], high=row["high"])
        for row in rows.rows(named=True)
    ]
    said = [f"{one.term} {formats.percent(one.estimate)} {formats.interval(one.low, one.high)}" for one in found]
    label = f"{title}, nominal {formats.percent(nominal)}: {formats.listed(said)}."
    drawings: tuple[Markup, ...] = (coefficients.draw(found, label=label, marked=nominal),) if found else ()
    return Panel(title=title, subtitle=f"nominal {formats.percent(nominal)}", drawings=drawings)


def _curve(facts: CalibrationFacts, name: str) -> Panel:
    rows = facts.power.filter(pl.col("hypothesis") == name)
    (one,) = facts.hypotheses.filter(pl.col("hypothesis") == name).rows(named=True)
    largest = formats.number(rows["distance"].max())  # type: ignore[arg-type]
    detected = f"beyond {largest}" if one["detectable"] is None else formats.number(one["detectable"])
    label = f"Power of {name}: .8 at a distance of {detected} from the null."
    return Panel(
        title=name,
        subtitle=measure_name(rows["measure"][0]),
        drawings=(power.curve(rows, label=label),),
        note=f"Detectable: {detected}.",
    )
