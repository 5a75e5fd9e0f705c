"""Running circuits: how faithful they are by size, and how faithful one model is under the other's circuit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mechshift_core.interventions.circuits.section import CircuitPatching, CircuitTransfer
from mechshift_core.interventions.circuits.tables import TABLES
from mechshift_core.kinds.checks import check_ascending, check_of
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.kinds.testable import Least, Testable
from mechshift_core.spec.translate import Complaint
from stats.minimums import FEWEST_FOR_FOLDS

if TYPE_CHECKING:
    from mechshift_core.analysis.measured import Measured, Results
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.cost import Reads
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.tree import Path

Circuits = CircuitPatching | CircuitTransfer


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: Circuits) -> None:
    from mechshift_core.interventions.circuits.cells import execute_circuits

    execute_circuits(plan, cell, model, folder, own)


def _faithfulness(sample: Sample, spec: Spec, own: CircuitPatching, results: Results) -> Measured:
    from mechshift_core.interventions.circuits.results import measure_faithfulness

    return measure_faithfulness(sample, spec, own, results)


def _performance(sample: Sample, spec: Spec, own: CircuitPatching, results: Results) -> Measured:
    from mechshift_core.interventions.circuits.results import measure_performance

    return measure_performance(sample, spec, own, results)


def _transfer(sample: Sample, spec: Spec, own: CircuitTransfer, results: Results) -> Measured:
    from mechshift_core.interventions.circuits.results import measure_transfer

    return measure_transfer(sample, spec, own, results)


def _patching_cost(reads: Reads, own: CircuitPatching) -> Cost:
    return Cost(reads.inputs, 0, reads.inputs * (2 + len(own.sizes) * (1 + own.random)))


def _transfer_cost(reads: Reads, _: CircuitTransfer) -> Cost:
    return Cost(reads.inputs, 0, reads.inputs * 4)


def _settings(own: Circuits) -> dict[str, Any]:
    """All options but those of the signs, where there are none: cells of runs without them are found again."""
    unused = {name for name in ("sign_consistency", "positive_share") if getattr(own, name) is None}
    settings: dict[str, Any] = own.model_dump(mode="json", exclude={"name", *unused})
    return settings


def _check_patching(draft: Draft, own: CircuitPatching, path: Path) -> Iterator[Complaint]:
    return itertools.chain(_check_transfer(draft, own, path), check_ascending(own.sizes, (*path, "sizes")))


def _check_transfer(draft: Draft, own: Circuits, path: Path) -> Iterator[Complaint]:
    yield from check_of(draft, own.of, (*path, "of"))
    if own.positive_share is not None and own.selection == "greedy":
        message = "edges that are grown from the logits have no share that is positive (selection: top has)"
        yield Complaint((*path, "positive_share"), message, on_key=True)


def _facts(own: Circuits) -> Mapping[str, object]:
    circuits = {
        "name": own.name,
        "ablation": own.ablation,
        "held_out": own.held_out,
        "greedy": own.selection == "greedy",
        "sign_consistency": own.sign_consistency,
        "positive_share": own.positive_share,
        "random": own.random if isinstance(own, CircuitPatching) else 0,
    }
    return {"circuits": [circuits]}


_LEAST = Least(FEWEST_FOR_FOLDS, "for two of them in each half")
CIRCUIT_PATCHING = InterventionKind(
    section=CircuitPatching,
    compute=_compute,
    cost=_patching_cost,
    cells=Cells(
        per_pair=True,
        settings=lambda own, _: _settings(own),
        ranks=True,
        of=lambda own: own.of,
        templates=lambda own: own.held_out,
        pads=lambda own: not own.mixes_prompts,
    ),
    least=_LEAST,
    results=_faithfulness,
    shifts=_performance,
    testables=(
        Testable(
            name="faithfulness",
            words="shift of the circuit performance ratio (CPR)",
            estimand="after-minus-before shift of the circuit performance ratio (CPR)",
            reading="negative: after post-training, circuits of the same sizes carry less of what the model does",
            scale="shift of an area under faithfulness; no bounds",
            lower="circuits carry less",
            higher="circuits carry more",
            choices=frozenset({"ablation"}),
            truth=0.0,
        ),
    ),
    tables=TABLES,
    checks=_check_patching,
    facts=_facts,
)
CIRCUIT_TRANSFER = InterventionKind(
    section=CircuitTransfer,
    compute=_compute,
    cost=_transfer_cost,
    cells=Cells(
        per_pair=True,
        settings=lambda own, _: _settings(own),
        ranks=True,
        of=lambda own: own.of,
        templates=lambda own: own.held_out,
        pads=lambda own: not own.mixes_prompts,
    ),
    least=_LEAST,
    results=_transfer,
    testables=(
        Testable(
            name="transfer",
            words="functional transfer ratio",
            estimand="faithfulness of the model after under the circuit of the model before, relative to its own "
            "circuit",
            reading="1: the model after is as faithful under the circuit of the model before as under its own, 0: it "
            "restores nothing",
            scale="ratio of two faithfulnesses; no bounds",
            lower="the circuit transfers less",
            higher="the circuit transfers more",
            between=True,
            ceiling=1.0,
            choices=frozenset({"ablation"}),
        ),
    ),
    apart="no run keeps the circuit of one half of a model's prompts intact on the other half",
    checks=_check_transfer,
    facts=_facts,
)
