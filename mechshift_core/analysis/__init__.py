"""From stored cells to tables and findings; needs no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from mechshift_core.analysis.attention import measure_attention
from mechshift_core.analysis.circuits import measure_faithfulness, measure_transfer
from mechshift_core.analysis.component_graph import GRAPH_INDICES, measure_component_graph
from mechshift_core.analysis.depth import measure_depth, measure_depth_shifts
from mechshift_core.analysis.edges import edge_tables
from mechshift_core.analysis.half_sizes import with_half_size
from mechshift_core.analysis.hypotheses import Evidence, test_hypotheses
from mechshift_core.analysis.inherited import estimates as inherited_estimates
from mechshift_core.analysis.inherited import filled, inherited, with_inherited
from mechshift_core.analysis.integration import measure_ablation
from mechshift_core.analysis.lens import measure_lens
from mechshift_core.analysis.measured import InterventionMeasure, Measure, Measured, Results, Rows
from mechshift_core.analysis.mixed import fit_shift_models
from mechshift_core.analysis.needs import described, nothing, taken
from mechshift_core.analysis.neurons import measure_neurons
from mechshift_core.analysis.nodes import measure_nodes
from mechshift_core.analysis.overlap import measure_kept, measure_overlap
from mechshift_core.analysis.probes import measure_probes
from mechshift_core.analysis.samples import Sample, Samples, collect, read_results
from mechshift_core.analysis.specialization import measure_specialization, measure_specialization_shift
from mechshift_core.analysis.steps import Progress, Steps
from mechshift_core.analysis.targeted import measure_targeted
from mechshift_core.analysis.task_selectivity import selectivity_rows
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.reading import Reading, readings
from mechshift_core.execution.store import RunFolder
from mechshift_core.graph import Graph
from mechshift_core.spec import Spec
from mechshift_core.spec.interventions import Ablation, Intervention
from mechshift_core.spec.measures import JOINT_INDICES
from mechshift_core.spec.sensitivity import SERVES, Choice
from mechshift_core.tables import TABLES, frame
from stats.findings import Alternative, Declaration, Estimate, Finding, Findings

MEASURES: dict[str, Measure] = {
    "overlap": measure_overlap,
    "depth": measure_depth,
    "specialization": measure_specialization,
    "integration": measure_component_graph,
}
"""Name in a spec's `measures` -> what computes it for one pair and task."""

SHIFTS: dict[str, Measure] = {
    "overlap": measure_kept,
    "depth": measure_depth_shifts,
    "specialization": measure_specialization_shift,
}
"""Name in a spec's `measures` -> what hypotheses are tested with alone, without tables and nulls."""

INTERVENTIONS: dict[str, InterventionMeasure] = {
    "activation_patching": measure_nodes,
    "ablation": measure_ablation,
    "targeted_ablation": measure_targeted,
    "probe": measure_probes,
    "neurons": measure_neurons,
    "attention": measure_attention,
    "circuit_patching": measure_faithfulness,
    "circuit_transfer": measure_transfer,
    "logit_lens": measure_lens,
}
"""Kind of an intervention -> what its cells come to for one pair and task (an attribution's: the measures)."""

TESTABLE: dict[str, tuple[str, ...]] = {
    "overlap": ("similarity", "retention", "overlap", "node_retention", "node_overlap"),
    "depth": ("depth_slope", "early_share"),
    "specialization": ("specialization",),
    "integration": ("integration",),
    "circuit_transfer": ("transfer",),
    "circuit_patching": ("faithfulness",),
    "alignment": ("alignment",),
    "targeted_ablation": ("targeted",),
    "attention": ("right_context",),
    "logit_lens": ("decision_time",),
}
"""Name in a spec's `measures`, or kind of an intervention -> the measures that hypotheses can name."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that the statistics make of a run; `failures` says what of it broke, one line each."""

    findings: Findings
    tables: Mapping[str, pl.DataFrame]
    samples: Samples
    failures: tuple[str, ...] = ()


def analyse(
    plan: Plan,
    folder: RunFolder,
    failures: Mapping[str, str],
    *,
    declaration: Declaration | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Compute every declared measure for every pair and task, and test the hypotheses.

    Args:
        plan: The plan that was executed.
        folder: Its run directory.
        failures: Key of a failed cell -> why it failed.
        declaration: When the hypotheses were declared.
        progress: Called with (what is being computed, steps done, steps in all).
    """
    spec, declared = plan.spec, declaration or Declaration()
    dropped = len(declared.dropped)
    steps = Steps(progress, _step_count(plan))
    broken: dict[str, None] = {}
    parts = [
        _analyse_budget(plan, folder, failures, reading, steps, broken, dropped) for reading in readings(spec.denoising)
    ]
    primary, *others = parts
    budgets = [
        Alternative(choice="denoising", value=part.budget, hypotheses=part.hypotheses, estimates=part.estimates)
        for part in others
    ]
    chosen = []
    for choice, under in plan.alternatives:
        steps.begin(f"hypotheses under {choice.name} {choice.value}")
        chosen.append(_reconsidered(under, folder, failures, choice, primary, broken, dropped))
    findings = Findings(
        name=spec.name,
        hypotheses=primary.hypotheses,
        estimates=primary.estimates,
        alternatives=(*budgets, *chosen),
        declaration=declared,
    )
    scores = frame("edge_scores", _score_rows(plan, folder, failures))
    tables = {name: pl.concat([frame(name, []), *(part.tables[name] for part in parts)]) for name in TABLES}
    return Analysis(findings, tables | {"edge_scores": scores}, primary.samples, tuple(broken))


@dataclass(frozen=True, eq=False)
class _Part:
    """What the statistics make of one inference budget."""

    budget: str
    hypotheses: tuple[Finding, ...]
    estimates: tuple[Estimate, ...]
    tables: Mapping[str, pl.DataFrame]
    samples: Samples
    evidence: Evidence


def _step_count(plan: Plan) -> int:
    """Measures and interventions of every pair and task at every budget, the hypotheses at each, and alternatives."""
    spec = plan.spec
    each = sum(getattr(spec.measures, name) is not None for name in MEASURES)
    each += sum(intervention.kind in INTERVENTIONS for intervention in spec.interventions)
    unrelated = sum(pair.unrelated for pair in spec.pairs)
    of_pairs = (len(spec.pairs) - unrelated) * each + unrelated * (spec.measures.overlap is not None)
    return len(plan.budgets) * (of_pairs * len(spec.tasks) + 1) + len(plan.alternatives)


def _analyse_budget(
    plan: Plan,
    folder: RunFolder,
    failures: Mapping[str, str],
    reading: Reading,
    steps: Steps,
    broken: dict[str, None],
    dropped: int,
) -> _Part:
    spec = plan.spec
    samples = _collected(plan, folder, failures, reading)
    rows: dict[str, Rows] = {name: [] for name in TABLES}
    frames: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
    estimates: list[Estimate] = []
    evidence = Evidence({}, {}, samples.by_pair_and_task)
    for key, sample in samples.by_pair_and_task.items():
        rows["examples"] += _example_rows(sample)
        drawn = _kept(broken, f"edges of {key[0]} on {key[1]}", partial(edge_tables, sample))
        for table, parts in drawn.items():
            frames[table] += parts
        for measured in _measured(plan, folder, failures, sample, steps=steps):
            _note(broken, folder, measured)
            for table, more in measured.rows.items():
                rows[table] += more
            estimates += measured.estimates
            evidence = evidence.with_measured(key, measured)
    evidence = _with_missing(evidence, samples)
    heirs = inherited(evidence, spec)
    evidence = with_inherited(evidence, heirs)
    rows["similarity"] = filled(rows["similarity"], heirs, spec)
    estimates += inherited_estimates(heirs, samples.by_pair_and_task, spec)
    steps.begin("hypotheses")
    for table, more in _kept(broken, "mixed models", lambda: fit_shift_models(_related(samples), spec)).items():
        rows[table] = [{"budget": reading.budget, **row} for row in more]
    rows |= _kept(broken, "selectivity", lambda: {"selectivity": selectivity_rows(samples, spec)})
    hypotheses = _tested(spec, evidence, broken, dropped)
    columns = TABLES["findings"]
    rows["findings"] = [
        {name: value for name, value in asdict(finding).items() if name in columns} | {"budget": reading.budget}
        for finding in hypotheses
    ]
    tables = {name: pl.concat([frame(name, rows[name]), *frames[name]]) for name in TABLES}
    return _Part(reading.budget, hypotheses, tuple(estimates), tables, samples, evidence)


def _collected(plan: Plan, folder: RunFolder, failures: Mapping[str, str], reading: Reading) -> Samples:
    samples = collect(plan, folder, failures, reading)
    return Samples(with_half_size(samples.by_pair_and_task, plan.spec), samples.missing)


def _related(samples: Samples) -> Samples:
    """The samples without those of unrelated pairs, which are no shift of a model."""
    related = {key: one for key, one in samples.by_pair_and_task.items() if not one.pair.unrelated}
    return Samples(related, samples.missing)


def _with_missing(evidence: Evidence, samples: Samples) -> Evidence:
    """Why the pairs and tasks without a sample have no measure."""
    names = [name for names in TESTABLE.values() for name in names]
    lacking = {(name, *key): reason for key, reason in samples.missing.items() for name in names}
    return replace(evidence, problems={**evidence.problems, **lacking})


def _reconsidered(
    plan: Plan,
    folder: RunFolder,
    failures: Mapping[str, str],
    choice: Choice,
    primary: _Part,
    broken: dict[str, None],
    dropped: int,
) -> Alternative:
    """The hypotheses under another choice: what it can change is measured again, the rest is the study's own."""
    tested: set[str] = {hypothesis.measure for hypothesis in plan.spec.hypotheses}
    if "inherited" in tested:
        tested.add("similarity")
    changed = frozenset() if choice.name == "interval" else tested if choice.measures is None else choice.measures
    samples, evidence = primary.samples, primary.evidence
    if choice.name == "steps":
        samples = _collected(plan, folder, failures, readings(plan.spec.denoising)[0])
        evidence = _with_missing(Evidence({}, {}, samples.by_pair_and_task), samples)
    estimates: list[Estimate] = []
    for key, sample in samples.by_pair_and_task.items() if tested & changed else ():
        for measured in _measured(plan, folder, failures, sample, only=tested & changed):
            _note(broken, folder, measured, f"{choice.name} {choice.value}: ")
            estimates += measured.estimates
            evidence = evidence.with_measured(key, measured)
    hypotheses = _tested(plan.spec, with_inherited(evidence, inherited(evidence, plan.spec)), broken, dropped)
    return Alternative(choice=choice.name, value=choice.value, hypotheses=hypotheses, estimates=tuple(estimates))


def _measured(
    plan: Plan,
    folder: RunFolder,
    failures: Mapping[str, str],
    sample: Sample,
    *,
    only: Set[str] | None = None,
    steps: Steps | None = None,
) -> Iterator[Measured]:
    """What every declared measure and intervention comes to for one pair and task; of unrelated models the overlap.

    Args:
        only: Measures of hypotheses; what gives none of them is left out.
        steps: Told of each.
    """
    spec, steps = plan.spec, steps or Steps(None, 0)
    unrelated = sample.pair.unrelated
    for name, measure in MEASURES.items():
        if unrelated and name != "overlap":
            continue
        if getattr(spec.measures, name) is not None and (only is None or not only.isdisjoint(TESTABLE[name])):
            steps.begin(f"{name} of {sample.pair.name} on {sample.task.name}")
            alone = only is not None and name in SHIFTS and only.isdisjoint(("overlap", "node_overlap"))
            yield _of_scores(name, SHIFTS[name] if alone else measure, sample, spec)
    kinds = INTERVENTIONS if only is None else {kind for measure, kind in SERVES.items() if measure in only}
    for intervention in spec.interventions:
        if intervention.kind in kinds and not unrelated:
            steps.begin(f"{intervention.name} of {sample.pair.name} on {sample.task.name}")
            yield _of_results(plan, folder, failures, sample, intervention)


def _of_scores(name: str, measure: Measure, sample: Sample, spec: Spec) -> Measured:
    names = TESTABLE[name] if name != "integration" or _declares_graph(spec) else ()

    def take(few: str) -> Measured:
        return nothing(sample, spec, names, few) if few else measure(sample, spec)

    return taken(name, names, sample, spec, take)


def _declares_graph(spec: Spec) -> bool:
    """Whether the declared index of integration is one of the graph of components, not of knock-outs."""
    return spec.measures.integration is not None and spec.measures.integration.index in GRAPH_INDICES


def _of_results(
    plan: Plan, folder: RunFolder, failures: Mapping[str, str], sample: Sample, intervention: Intervention
) -> Measured:
    spec, kind = plan.spec, intervention.kind

    def take(few: str) -> Measured:
        if few:
            results: Results = {side: few for side, _ in sample.sides}
        else:
            results = read_results(plan, folder, failures, sample, intervention.name)
        return INTERVENTIONS[kind](sample, spec, intervention, results)

    names = [measure for measure, serves in SERVES.items() if serves == kind and _computes(spec, measure, intervention)]
    return taken(kind, names, sample, spec, take)


def _computes(spec: Spec, measure: str, intervention: Intervention) -> bool:
    """Whether an intervention is what a measure is computed from in this spec."""
    if measure == "integration":
        index = spec.measures.integration.index if spec.measures.integration else ""
        return isinstance(intervention, Ablation) and index in JOINT_INDICES and JOINT_INDICES[index](intervention)
    return measure != "alignment" or spec.measures.alignment is not None


def _note(broken: dict[str, None], folder: RunFolder, measured: Measured, before: str = "") -> None:
    """Keep what failed, once."""
    if measured.failed and f"{before}{measured.failed}" not in broken:
        broken[f"{before}{measured.failed}"] = None
        folder.log("failed", what=f"{before}{measured.failed}")


def _kept(broken: dict[str, None], what: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is made; nothing where that breaks, which is kept."""
    try:
        return make()
    except Exception as error:
        broken[f"{what}: {described(error)}"] = None
        return {}


def _tested(spec: Spec, evidence: Evidence, broken: dict[str, None], dropped: int) -> tuple[Finding, ...]:
    """The findings; a test that breaks is kept as a failure, as the finding says too."""
    found = test_hypotheses(spec, evidence, dropped=dropped)
    for finding in found:
        if finding.status == "failed" and not finding.terms:
            broken[f"hypothesis {finding.id}: {finding.message}"] = None
    return found


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
                    "correct_by_metric": bool(side.answers.metric[number]),
                    "correct_by_argmax": bool(side.answers.argmax[number]),
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
