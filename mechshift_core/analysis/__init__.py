"""From stored cells to tables and findings; needs no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from mechshift_core.analysis.attention import measure_attention
from mechshift_core.analysis.circuits import measure_faithfulness, measure_transfer
from mechshift_core.analysis.depth import measure_depth
from mechshift_core.analysis.edges import edge_tables
from mechshift_core.analysis.hypotheses import Evidence, test_hypotheses
from mechshift_core.analysis.integration import measure_ablation
from mechshift_core.analysis.measured import InterventionMeasure, Measure, Measured, Rows
from mechshift_core.analysis.mixed import fit_shift_models
from mechshift_core.analysis.nodes import measure_nodes
from mechshift_core.analysis.overlap import measure_overlap
from mechshift_core.analysis.probes import measure_probes
from mechshift_core.analysis.samples import Sample, Samples, collect, read_results
from mechshift_core.analysis.specialization import measure_specialization
from mechshift_core.analysis.targeted import measure_targeted
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.reading import Reading, readings
from mechshift_core.execution.store import RunFolder
from mechshift_core.graph import Graph
from mechshift_core.tables import TABLES, frame
from stats.findings import Alternative, Estimate, Finding, Findings
from stats.replicates import Replicated

MEASURES: dict[str, Measure] = {
    "overlap": measure_overlap,
    "depth": measure_depth,
    "specialization": measure_specialization,
}
"""Name in a spec's `measures` -> what computes it for one pair and task."""

INTERVENTIONS: dict[str, InterventionMeasure] = {
    "activation_patching": measure_nodes,
    "ablation": measure_ablation,
    "targeted_ablation": measure_targeted,
    "probe": measure_probes,
    "attention": measure_attention,
    "circuit_patching": measure_faithfulness,
    "circuit_transfer": measure_transfer,
}
"""Kind of an intervention -> what its cells come to for one pair and task (an attribution's: the measures)."""

TESTABLE: dict[str, tuple[str, ...]] = {
    "overlap": ("retention",),
    "depth": ("depth_slope", "early_share"),
    "specialization": ("specialization",),
    "integration": ("integration",),
}
"""Name in a spec's `measures` -> the measures that hypotheses can name."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that the statistics make of a run."""

    findings: Findings
    tables: Mapping[str, pl.DataFrame]
    samples: Samples


def analyse(plan: Plan, folder: RunFolder, failures: Mapping[str, str]) -> Analysis:
    """Compute every declared measure for every pair and task, and test the hypotheses.

    Args:
        plan: The plan that was executed.
        folder: Its run directory.
        failures: Key of a failed cell -> why it failed.
    """
    spec = plan.spec
    parts = [_analyse_budget(plan, folder, failures, reading) for reading in readings(spec.denoising)]
    primary, *others = parts
    findings = Findings(
        name=spec.name,
        hypotheses=primary.hypotheses,
        estimates=primary.estimates,
        alternatives=tuple(
            Alternative(choice="denoising", value=part.budget, hypotheses=part.hypotheses, estimates=part.estimates)
            for part in others
        ),
    )
    scores = frame("edge_scores", _score_rows(plan, folder, failures))
    tables = {name: pl.concat([frame(name, []), *(part.tables[name] for part in parts)]) for name in TABLES}
    return Analysis(findings, tables | {"edge_scores": scores}, primary.samples)


@dataclass(frozen=True, eq=False)
class _Part:
    """What the statistics make of one inference budget."""

    budget: str
    hypotheses: tuple[Finding, ...]
    estimates: tuple[Estimate, ...]
    tables: Mapping[str, pl.DataFrame]
    samples: Samples


def _analyse_budget(plan: Plan, folder: RunFolder, failures: Mapping[str, str], reading: Reading) -> _Part:
    spec = plan.spec
    samples = collect(plan, folder, failures, reading)
    rows: dict[str, Rows] = {name: [] for name in TABLES}
    frames: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
    estimates: list[Estimate] = []
    replicated: dict[tuple[str, str, str], Replicated] = {}
    problems: dict[tuple[str, str, str], str] = {}
    for key, sample in samples.by_pair_and_task.items():
        rows["examples"] += _example_rows(sample)
        for table, parts in edge_tables(sample).items():
            frames[table] += parts
        for measured in _measured(plan, folder, failures, sample):
            for table, more in measured.rows.items():
                rows[table] += more
            estimates += measured.estimates
            replicated |= {(name_, *key): value for name_, value in measured.replicated.items()}
            problems |= {(name_, *key): reason for name_, reason in measured.problems.items()}
    for key, reason in samples.missing.items():
        problems |= {(name_, *key): reason for names in TESTABLE.values() for name_ in names}
    rows["mixed_models"] = [{"budget": reading.budget, **row} for row in fit_shift_models(samples, spec)]
    hypotheses = test_hypotheses(spec, Evidence(replicated, problems, samples.by_pair_and_task))
    columns = TABLES["findings"]
    rows["findings"] = [
        {name: value for name, value in asdict(finding).items() if name in columns} | {"budget": reading.budget}
        for finding in hypotheses
    ]
    tables = {name: pl.concat([frame(name, rows[name]), *frames[name]]) for name in TABLES}
    return _Part(reading.budget, hypotheses, tuple(estimates), tables, samples)


def _measured(plan: Plan, folder: RunFolder, failures: Mapping[str, str], sample: Sample) -> Iterator[Measured]:
    """What every declared measure and intervention comes to for one pair and task."""
    spec = plan.spec
    for name, measure in MEASURES.items():
        if getattr(spec.measures, name) is not None:
            yield measure(sample, spec)
    for intervention in spec.interventions:
        if intervention.kind in INTERVENTIONS:
            results = read_results(plan, folder, failures, sample, intervention.name)
            yield INTERVENTIONS[intervention.kind](sample, spec, intervention, results)


def _example_rows(sample: Sample) -> Rows:
    rows: Rows = []
    for name, side in sample.sides:
        selected = np.isin(np.arange(sample.total), sample.ids(name))
        for number, example in enumerate(sample.dataset.examples):
            rows.append(
                {
                    **sample.labels(),
                    "model": side.model,
                    "side": name,
                    "template": example.template,
                    "example": number,
                    "clean": example.clean,
                    "corrupt": example.corrupt,
                    "answer": example.answer,
                    "foil": example.foil,
                    "masks": int(side.answers.masks[number]),
                    "states": int(side.answers.states[number]),
                    "clean_metric": float(side.answers.clean_metric[number]),
                    "corrupt_metric": float(side.answers.corrupt_metric[number]),
                    "correct": bool(side.answers.correct[number]),
                    "selected": bool(selected[number]),
                }
            )
    return rows


def _score_rows(plan: Plan, folder: RunFolder, failures: Mapping[str, str]) -> Rows:
    regimes = {task.name: task.regime for task in plan.spec.tasks}
    attribution = plan.spec.edge_attribution
    return [
        {
            "model": cell.model,
            "task": cell.task,
            "regime": regimes[cell.task],
            "budget": cell.budget,
            "cell": cell.key,
            "path": str(folder.cell_file(cell.key).relative_to(folder.path)),
            "examples": cell.stop - cell.start,
            "edges": len(Graph.of(plan.models[cell.model].shape).edges),
        }
        for cell in plan.cells
        if attribution is not None and cell.intervention == attribution.name and cell.key not in failures
    ]
