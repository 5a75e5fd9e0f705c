"""From a run directory to the report's data: what the page needs to know, read from what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from mechshift_core import __version__
from mechshift_core.analysis.estimands import definition
from mechshift_core.calibration_file import calibration_facts, calibration_key, read_calibration
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.provenance import package_versions
from mechshift_core.execution.scores import judgement
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.timing import spent
from mechshift_core.files import write_text
from mechshift_core.kinds import INTERVENTIONS, MEASURES, InterventionKind, MeasureKind, testable, testables
from mechshift_core.metrics import metric_named
from mechshift_core.spec.base import Section
from mechshift_core.spec.sensitivity import choices, measures_of
from mechshift_core.tables import read_tables
from reports import (
    CircuitFacts,
    KindFacts,
    MeasureFacts,
    MethodsFacts,
    PairFacts,
    ReadingFacts,
    ReportData,
    TaskCount,
    Words,
    render,
)
from stats.findings import Findings


def write_report(plan: Plan, folder: RunFolder, *, static: bool = False) -> tuple[str, ...]:
    """Draw `report.html` from the tables, findings and provenance of a run; `static` leaves the script out.

    Returns:
        The sections that could not be drawn, and why.
    """
    broken: list[str] = []
    write_text(folder.path / "report.html", render(report_data(plan, folder, static=static), broken=broken))
    return tuple(broken)


def report_data(plan: Plan, folder: RunFolder, *, static: bool = False) -> ReportData:
    """All that the report, and whatever else is drawn like it, is made from; `static` as of :func:`write_report`."""
    tables = read_tables(folder.tables)
    findings = Findings.from_json((folder.path / "findings.json").read_text(encoding="utf-8"))
    stored = json.loads((folder.path / "provenance.json").read_text(encoding="utf-8"))
    failures = stored.pop("failures", [])
    examples = tables.get("examples")
    calibration = read_calibration(folder)
    key = calibration_key(plan, len(failures))
    computed = spent(folder.path, {cell.key for cell in plan.cells})
    shown = {name: _first_budget(plan, table) for name, table in tables.items() if "path" not in table.columns}
    return ReportData(
        title=plan.spec.title or plan.spec.name,
        name=plan.spec.name,
        version=__version__,
        findings=_known(findings, plan),
        tables=shown,
        provenance=stored,
        spec_text=plan.spec.text,
        methods=_methods(plan),
        task_counts=_counts(plan, shown.get("examples")),
        readings=[] if examples is None or len(plan.budgets) == 1 else _readings(plan, examples),
        failures=failures,
        calibration=None if calibration is None else calibration_facts(calibration, key=key),
        interactive=plan.spec.report.interactive and not static,
        measures=list(plan.spec.measures.declared),
        words=words_of_measures(),
        roles=_roles(plan),
        concerned=_concerned(plan),
        kinds=_kinds(plan),
        refused=plan.spec.refused,
        day=computed.day,
        seconds=computed.seconds,
    )


def _known(findings: Findings, plan: Plan) -> Findings:
    """The findings without those under other choices that this version would refuse."""
    left_out = plan.spec.left_out
    if not left_out:
        return findings
    offered = {(choice.name, choice.value) for choice in choices(plan.spec)}
    kept = (one for one in findings.alternatives if one.choice not in left_out or (one.choice, one.value) in offered)
    return replace(findings, alternatives=tuple(kept))


def words_of_measures() -> dict[str, Words]:
    """How the measures that hypotheses can name are spoken of."""
    return {
        one.name: Words(
            name=one.words,
            reading=one.reading,
            lower=one.lower,
            higher=one.higher,
            shift=not (one.between or one.distance),
            counted_from=one.counted_from,
        )
        for one, _ in testables()
    }


def _roles(plan: Plan) -> dict[str, str]:
    """Where all treatments become diffusion models, that is what they are called."""
    models = plan.spec.models
    treated = [pair for pair in plan.spec.pairs if pair.role == "treatment"]
    turned = [
        models[pair.before].paradigm == "autoregressive" and models[pair.after].paradigm == "masked_diffusion"
        for pair in treated
    ]
    return {"treatment": "after diffusion"} if turned and all(turned) else {}


def _concerned(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The measures that an other choice of the study can change, of those that can't change all."""
    found = {name: measures_of(name) for name in type(plan.spec.sensitivity).model_fields}
    return {name: measures for name, measures in found.items() if measures is not None}


def _kinds(plan: Plan) -> list[KindFacts]:
    """The kinds of measures and interventions that a study has, each once."""
    used = dict.fromkeys(one.kind for one in plan.spec.interventions)
    kinds: list[MeasureKind[Any] | InterventionKind[Any]] = [MEASURES[name] for name in plan.spec.measures.declared]
    kinds += [INTERVENTIONS[name] for name in used]
    return [
        KindFacts(
            name=kind.name,
            summary=kind.summary,
            tables=tuple(kind.tables),
            measures=tuple(one.name for one in kind.testables),
        )
        for kind in kinds
    ]


def _first_budget(plan: Plan, table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the budget at which the hypotheses are decided; with one budget the column says nothing."""
    if "budget" not in table.columns:
        return table
    return table.filter(pl.col("budget") == plan.budgets[0]).drop("budget")


def _readings(plan: Plan, examples: pl.DataFrame) -> list[ReadingFacts]:
    """Accuracy of every model on every task at every budget, in the order of the spec."""
    means = (
        examples.filter(pl.col("states") > 0)
        .unique(["budget", "task", "model", "example"])
        .group_by("budget", "task", "model")
        .agg(accuracy=pl.col("correct").mean(), masks=pl.col("masks").mean(), states=pl.col("states").mean())
    )
    found = {(row["budget"], row["task"], row["model"]): row for row in means.to_dicts()}
    order = [(b, task.name, model) for b in plan.budgets for task in plan.spec.tasks for model in plan.models]
    return [ReadingFacts(**found[key]) for key in order if key in found]


def _methods(plan: Plan) -> MethodsFacts:
    spec = plan.spec
    told: dict[str, Any] = {}
    circuits: list[CircuitFacts] = []
    kinds: list[tuple[Callable[[Any], Mapping[str, object]], Section]] = [
        *((MEASURES[name].facts, section) for name, section in spec.measures.declared.items()),
        *((INTERVENTIONS[one.kind].facts, one) for one in spec.interventions),
    ]
    known = MethodsFacts.__dataclass_fields__
    for facts_of, section in kinds:
        facts: dict[str, Any] = dict(facts_of(section))
        circuits += [CircuitFacts(**one) for one in facts.pop("circuits", [])]
        told |= {name: value for name, value in facts.items() if name in known}
    return MethodsFacts(
        **{"attribution": "none", "index": "none", **told},
        circuits=circuits,
        replicates=spec.statistics.bootstrap.replicates,
        bootstrap=spec.statistics.bootstrap.method,
        confidence=spec.statistics.confidence,
        correction=spec.statistics.correction,
        select=spec.select.correct,
        judged_by={task.name: judgement(spec, plan.datasets[task.name]) for task in spec.tasks},
        metrics={task.name: metric_named(plan.datasets[task.name].metric).summary for task in spec.tasks},
        random_templates=spec.statistics.units.template == "random",
        random_seeds=spec.statistics.units.seed == "random",
        measures=_measures(plan),
        pairs=[PairFacts(name=one.name, role=one.role, before=one.before, after=one.after) for one in plan.spec.pairs],
        packages=package_versions(),
    )


def _measures(plan: Plan) -> list[MeasureFacts]:
    """The measures that hypotheses name, in the words of their rooms."""
    named = dict.fromkeys(str(hypothesis.measure) for hypothesis in plan.spec.hypotheses)
    return [
        MeasureFacts(words=one.words, definition=definition(plan.spec, name), reading=one.reading, scale=one.scale)
        for name in named
        for one in (testable(name),)
    ]


def _counts(plan: Plan, examples: pl.DataFrame | None) -> list[TaskCount]:
    counts = []
    for pair in plan.spec.pairs:
        for task in plan.spec.tasks:
            dataset = plan.datasets[task.name]
            account = dataset.account
            rows = {side: _rows_of(examples, pair.name, task.name, side) for side in ("before", "after")}
            counts.append(
                TaskCount(
                    task=task.name,
                    pair=pair.name,
                    asked=account.asked,
                    found=account.found,
                    aligned=account.aligned,
                    read=account.read,
                    kept=sum(rows["before"]["selected"].to_list()) if rows["before"] is not None else 0,
                    dropped=account.dropped,
                    words=account.words,
                    templates=account.templates,
                    judged_by=judgement(plan.spec, dataset),
                    metric_before=_share(rows["before"], "correct_by_metric"),
                    metric_after=_share(rows["after"], "correct_by_metric"),
                    argmax_before=_share(rows["before"], "correct_by_argmax"),
                    argmax_after=_share(rows["after"], "correct_by_argmax"),
                )
            )
    return counts


def _rows_of(examples: pl.DataFrame | None, pair: str, task: str, side: str) -> pl.DataFrame | None:
    if examples is None:
        return None
    return examples.filter((pl.col("pair") == pair) & (pl.col("task") == task) & (pl.col("side") == side))


def _share(rows: pl.DataFrame | None, column: str) -> float | None:
    """Share of the rows in which a truth holds; None where it is not known of any, or the run is older."""
    if rows is None or column not in rows.columns or rows.is_empty():
        return None
    known = rows[column].drop_nulls()
    return None if known.is_empty() else float(known.cast(pl.Float64).to_numpy().mean())
