"""From stored cells to tables and findings; needs no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from mechshift_core.analysis.depth import measure_depth
from mechshift_core.analysis.hypotheses import Evidence, test_hypotheses
from mechshift_core.analysis.measured import Measure, Rows
from mechshift_core.analysis.overlap import measure_overlap
from mechshift_core.analysis.samples import Sample, Samples, collect
from mechshift_core.analysis.specialization import measure_specialization
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import RunFolder
from mechshift_core.graph import Graph
from mechshift_core.spec import Spec
from mechshift_core.tables import TABLES, frame
from stats.findings import Estimate, Findings
from stats.replicates import Replicated

MEASURES: dict[str, Measure] = {
    "overlap": measure_overlap,
    "depth": measure_depth,
    "specialization": measure_specialization,
}
"""Name in a spec's `measures` -> what computes it for one pair and task."""

TESTABLE: dict[str, tuple[str, ...]] = {
    "overlap": ("retention",),
    "depth": ("depth_slope", "early_share"),
    "specialization": ("specialization",),
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
    samples = collect(plan, folder, failures)
    rows: dict[str, Rows] = {name: [] for name in TABLES}
    estimates: list[Estimate] = []
    replicated: dict[tuple[str, str, str], Replicated] = {}
    problems: dict[tuple[str, str, str], str] = {}
    for key, sample in samples.by_pair_and_task.items():
        rows["examples"] += _example_rows(sample, spec)
        rows["edges"] += _edge_rows(sample)
        for name, measure in MEASURES.items():
            if getattr(spec.measures, name) is None:
                continue
            measured = measure(sample, spec)
            for table, more in measured.rows.items():
                rows[table] += more
            estimates += measured.estimates
            replicated |= {(name_, *key): value for name_, value in measured.replicated.items()}
            problems |= {(name_, *key): reason for name_, reason in measured.problems.items()}
    for key, reason in samples.missing.items():
        problems |= {(name_, *key): reason for names in TESTABLE.values() for name_ in names}
    hypotheses = test_hypotheses(spec, Evidence(replicated, problems, samples.by_pair_and_task))
    findings = Findings(name=spec.name, hypotheses=hypotheses, estimates=tuple(estimates))
    rows["edge_scores"] = _score_rows(plan, folder, failures)
    columns = TABLES["findings"]
    rows["findings"] = [
        {name: value for name, value in asdict(finding).items() if name in columns} for finding in hypotheses
    ]
    return Analysis(findings, {name: frame(name, more) for name, more in rows.items()}, samples)


def _example_rows(sample: Sample, spec: Spec) -> Rows:
    selected = np.isin(np.arange(sample.total), sample.selected)
    rows: Rows = []
    for name, side in sample.sides:
        diffusion = spec.models[side.model].paradigm == "masked_diffusion"
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
                    "masks": example.masks if diffusion else 0,
                    "clean_metric": float(side.clean_metric[number]),
                    "corrupt_metric": float(side.corrupt_metric[number]),
                    "correct": bool(side.correct[number]),
                    "selected": bool(selected[number]),
                }
            )
    return rows


def _edge_rows(sample: Sample) -> Rows:
    if sample.n == 0:
        return []
    source, receiver = sample.graph.edge_index
    rows: Rows = []
    for name, side in sample.sides:
        means = sample.scores(name).mean(0)
        ranks = np.empty(len(means), dtype=np.int64)
        ranks[np.argsort(-np.abs(means), kind="stable")] = np.arange(1, len(means) + 1)
        for u, v, score, rank in zip(source, receiver, means, ranks, strict=True):
            writer, reader = sample.graph.sources[u], sample.graph.receivers[v]
            rows.append(
                {
                    **sample.labels(),
                    "model": side.model,
                    "side": name,
                    "source": writer.name,
                    "target": reader.name,
                    "kind": f"{writer.kind}->{reader.kind}",
                    "source_layer": writer.layer,
                    "target_layer": reader.layer,
                    "score": float(score),
                    "rank": int(rank),
                }
            )
    return rows


def _score_rows(plan: Plan, folder: RunFolder, failures: Mapping[str, str]) -> Rows:
    regimes = {task.name: task.regime for task in plan.spec.tasks}
    return [
        {
            "model": cell.model,
            "task": cell.task,
            "regime": regimes[cell.task],
            "cell": cell.key,
            "path": str(folder.cell_file(cell.key).relative_to(folder.path)),
            "examples": cell.stop - cell.start,
            "edges": len(Graph.of(plan.models[cell.model].shape).edges),
        }
        for cell in plan.cells
        if cell.key not in failures
    ]
